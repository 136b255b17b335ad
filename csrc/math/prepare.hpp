// SPDX-License-Identifier: Apache-2.0
// The tables of a call: those its caller had made before, or its own.
#pragma once

#include <type_traits>

#include "core/groups.hpp"
#include "math/tables.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class Tables, class Make, class Body>
SRDFAST_INLINE void with_tables(const Prepared* prepared, const Make& make, const Body& body) {
  if (prepared != nullptr) {
    body(static_cast<const Tables&>(*prepared));
  } else {
    body(make());
  }
}

// body(tables) with the GramTables of problem.dictionary; `groups` tells which dictionaries are in use.
template <class Problem, class Body>
SRDFAST_INLINE void with_gram_tables(const Problem& problem, const Groups& groups, const Body& body) {
  using T = std::remove_const_t<std::remove_pointer_t<decltype(problem.dictionary.data)>>;
  const auto make = [&] {
    return GramTables<T>(problem.dictionary, [&](std::int64_t d) { return groups.uses(d); });
  };
  with_tables<GramTables<T>>(problem.prepared, make, body);
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
