// SPDX-License-Identifier: Apache-2.0
// LISTA (Gregor and LeCun 2010): a fixed number of learned shrinkage steps from z = 0,
//
//     z <- shrink(z + (x - zD) E^T, thresholds).
#pragma once

#include <cstdint>

#include "core/registry.hpp"
#include "core/view.hpp"

namespace srdfast {

template <class T>
struct ListaProblem {
  static constexpr const char* name = "lista";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 2> signals;           // [batch, features]
  View<const T, 3> analysis;          // [dictionaries, atoms, features], E
  View<const T, 2> thresholds;        // [dictionaries, atoms]
  View<const T, 3> synthesis;         // [dictionaries, atoms, features], D
  View<const std::int64_t, 1> index;  // [batch], or no data when there is one dictionary
  int steps;

  // outputs
  View<T, 2> values;  // [batch, atoms]
};

}  // namespace srdfast
