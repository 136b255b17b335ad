// SPDX-License-Identifier: Apache-2.0
// Working memory of a kernel: aligned, uninitialised, freed at the end of the scope.
#pragma once

#include <cstdint>
#include <new>

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
class Scratch {
 public:
  SRDFAST_INLINE explicit Scratch(std::int64_t count)
      : data_(static_cast<T*>(::operator new(sizeof(T) * static_cast<std::size_t>(count), kAlignment))) {}
  SRDFAST_INLINE ~Scratch() { ::operator delete(data_, kAlignment); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  SRDFAST_INLINE T* data() const { return data_; }
  SRDFAST_INLINE T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  static constexpr std::align_val_t kAlignment{64};  // a cache line, and the widest vector
  T* data_;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
