// SPDX-License-Identifier: Apache-2.0
// Makes the tables of dictionaries once for many calls.
#pragma once

#include <memory>

#include "core/prepared.hpp"
#include "core/registry.hpp"
#include "core/view.hpp"

namespace srdfast {

template <class T>
struct PrepareProblem {
  static constexpr const char* name = "prepare";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 3> dictionary;  // [dictionaries, atoms, features], must outlive the tables
  View<const T, 3> analysis;    // the same shape: ListaTables are made; no data: GramTables

  // outputs
  std::unique_ptr<Prepared>* tables;
};

}  // namespace srdfast
