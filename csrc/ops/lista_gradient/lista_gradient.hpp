// SPDX-License-Identifier: Apache-2.0
// The gradient of LISTA by its signals. With E and D the atoms of ops/lista/lista.hpp, a step back from the
// gradient by its codes is
//
//     of_moved   = of_codes where the step's codes are not zero, 0 elsewhere
//     of_signals = of_signals + of_moved E
//     of_codes   = of_moved (I - E D^T)
//
// and the last step's of_codes is the gradient that came in, or that by the reconstruction times D^T.
#pragma once

#include <cstdint>

#include "core/prepared.hpp"
#include "core/registry.hpp"
#include "core/view.hpp"

namespace srdfast {

template <class T>
struct ListaGradientProblem {
  static constexpr const char* name = "lista_gradient";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 2> grad;              // [batch, atoms] by the codes, or where `rebuilt` [batch, features]
  View<const T, 2> signals;           // [batch, features]
  View<const T, 3> analysis;          // [dictionaries, atoms, features], E
  View<const T, 2> thresholds;        // [dictionaries, atoms]
  View<const T, 3> synthesis;         // [dictionaries, atoms, features], D
  View<const std::int64_t, 1> index;  // [batch], or no data when there is one dictionary
  int steps;
  bool rebuilt;                        // whether `grad` is the gradient by the reconstructions
  const Prepared* forward = nullptr;   // tables of LISTA, or null: the call makes its own
  const Prepared* backward = nullptr;  // the same with analysis and synthesis exchanged

  // outputs
  View<T, 2> of_signals;  // [batch, features]
};

}  // namespace srdfast
