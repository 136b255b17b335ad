// SPDX-License-Identifier: Apache-2.0
// The Tikhonov split: low = argmin_u 1/2 |u - x|^2 + strength/2 |grad u|^2, high = x - low.
#pragma once

#include "core/registry.hpp"
#include "core/view.hpp"

namespace srdfast {

template <class T>
struct SplitProblem {
  static constexpr const char* name = "split";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 3> images;  // [planes, height, width]
  double strength;

  // outputs
  View<T, 3> low;   // [planes, height, width]
  View<T, 3> high;  // [planes, height, width]
};

}  // namespace srdfast
