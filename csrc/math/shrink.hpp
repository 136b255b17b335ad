// SPDX-License-Identifier: Apache-2.0
// Soft thresholding, the proximal operator of the l1 norm: argmin_z 1/2 (z - value)^2 + threshold |z|.
#pragma once

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
SRDFAST_INLINE T absolute(T value) {
  return value < 0 ? -value : value;
}

// Of numbers, or of vectors lane by lane.
template <class T>
SRDFAST_INLINE T shrink(T value, T threshold) {
  const T above = value - threshold;
  const T below = value + threshold;
  return (above > 0 ? above : T{}) + (below < 0 ? below : T{});
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
