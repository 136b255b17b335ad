// SPDX-License-Identifier: Apache-2.0
// A contiguous array that somebody else owns: pointer and extents, last dimension fastest.
#pragma once

#include <cstdint>

#include "core/level.hpp"

namespace srdfast {

template <class T, int Rank>
struct View {
  T* data = nullptr;
  std::int64_t extents[Rank] = {};

  SRDFAST_INLINE std::int64_t extent(int axis) const { return extents[axis]; }

  // Elements in one slice along the first axis.
  SRDFAST_INLINE std::int64_t slice_size() const {
    std::int64_t size = 1;
    for (int axis = 1; axis < Rank; ++axis) size *= extents[axis];
    return size;
  }

  SRDFAST_INLINE std::int64_t size() const { return extents[0] * slice_size(); }

  // Pointer to the first element of slice `i` along the first axis.
  SRDFAST_INLINE T* slice(std::int64_t i) const { return data + i * slice_size(); }
};

}  // namespace srdfast
