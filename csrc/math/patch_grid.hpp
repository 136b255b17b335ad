// SPDX-License-Identifier: Apache-2.0
// Where overlapping patches lie along one axis: 0, stride, 2 stride, ..., and one flush with the far border.
#pragma once

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct PatchAxis {
  int length;  // of the image along this axis, at least `patch`
  int patch;
  int stride;  // from 1 to `patch`, so that patches cover every pixel

  SRDFAST_INLINE int count() const { return (length - patch + stride - 1) / stride + 1; }

  // First pixel of patch i.
  SRDFAST_INLINE int position(int i) const {
    const int last = length - patch;
    return i * stride < last ? i * stride : last;
  }

  // The first patch that covers a pixel.
  SRDFAST_INLINE int first_reaching(int pixel) const {
    const int first = pixel < patch ? 0 : (pixel - patch) / stride + 1;
    return first < count() ? first : count() - 1;
  }
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
