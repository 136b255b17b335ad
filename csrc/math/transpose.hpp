// SPDX-License-Identifier: Apache-2.0
// Transposes a square of as many vectors as a vector has lanes, in registers.
#pragma once

#include <utility>

#include "math/vector.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// Swaps the upper right with the lower left element of every square of Step x Step blocks in two rows that
// are Step apart.
template <class T, int Step, int... Lane>
SRDFAST_INLINE void exchange_blocks(Vector<T>& upper, Vector<T>& lower, std::integer_sequence<int, Lane...>) {
  constexpr int kLength = kVectorLength<T>;
  const Vector<T> a = upper, b = lower;
  upper = __builtin_shufflevector(a, b, (Lane & Step ? kLength + Lane - Step : Lane)...);
  lower = __builtin_shufflevector(a, b, (Lane & Step ? kLength + Lane : Lane + Step)...);
}

// square[i] lane j <-> square[j] lane i.
template <class T, int Step = kVectorLength<T> / 2>
SRDFAST_INLINE void transpose_square(Vector<T>* square) {
  constexpr int kLength = kVectorLength<T>;
  if constexpr (Step > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < kLength; ++i) {
      if ((i & Step) == 0) {
        exchange_blocks<T, Step>(square[i], square[i + Step], std::make_integer_sequence<int, kLength>());
      }
    }
    transpose_square<T, Step / 2>(square);
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
