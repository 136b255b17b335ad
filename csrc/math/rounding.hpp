// SPDX-License-Identifier: Apache-2.0
// The spacing of floating-point numbers at one, the unit in which rounding errors are counted.
#pragma once

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
constexpr T kEpsilon = T(0);
template <>
inline constexpr float kEpsilon<float> = 0x1p-23f;
template <>
inline constexpr double kEpsilon<double> = 0x1p-52;

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
