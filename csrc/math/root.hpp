// SPDX-License-Identifier: Apache-2.0
// The square root in the precision of its argument, rounded to nearest.
#pragma once

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

SRDFAST_INLINE float root(float value) { return __builtin_sqrtf(value); }
SRDFAST_INLINE double root(double value) { return __builtin_sqrt(value); }

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
