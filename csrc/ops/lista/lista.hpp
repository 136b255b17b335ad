// SPDX-License-Identifier: Apache-2.0
// LISTA (Gregor and LeCun 2010): a fixed number of learned shrinkage steps from z = 0,
//
//     z <- shrink(z + (x - zD) E^T, thresholds).
//
// A step after the first can be written in two ways,
//
//     z <- shrink(z + (x - zD) E^T, thresholds)          two products of atoms x features
//     z <- shrink(x E^T + z (I - D E^T), thresholds)     one product of atoms x atoms
//
// and takes the cheaper one, by the shape of the dictionaries alone.
#pragma once

#include <cstdint>

#include "core/level.hpp"
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

inline namespace SRDFAST_LEVEL {

constexpr int kAnySteps = 2;  // for tables that are made before the steps are known

// Whether the steps after the first go by one product with I - D E^T.
SRDFAST_INLINE bool lista_by_gram(int steps, std::int64_t atoms, std::int64_t features) {
  return steps > 1 && atoms < 2 * features;
}

template <class T>
SRDFAST_INLINE bool lista_by_gram(int steps, const View<T, 3>& dictionary) {
  return lista_by_gram(steps, dictionary.extent(1), dictionary.extent(2));
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
