// SPDX-License-Identifier: Apache-2.0
// The gradient of a code on its support by the signal: the problem, and the equations of one signal.
//
// With D_S the atoms of the support, codes are (D_S D_S^T)^-1 D_S x up to a constant, and reconstructions the
// orthogonal projection of x on their span. So each task is to solve D_S D_S^T values = right for
//
//     of codes             right = the gradient by the codes of S    result = D_S^T values
//     of reconstructions   right = D_S times that by them            result = D_S^T values
//     codes                right = D_S x                             result = values, the first one's adjoint
//
// by elimination, D_S D_S^T = U^T P^-1 U with P the diagonal of U. A pivot that is rounding says that its
// atom lies in the span of those before it: that atom is left out.
#pragma once

#include <cstdint>

#include "core/prepared.hpp"
#include "core/registry.hpp"
#include "core/team.hpp"
#include "core/view.hpp"
#include "ops/omp/omp.hpp"

namespace srdfast {

enum class SupportTask : int { of_codes = 0, of_reconstructions = 1, codes = 2 };

template <class T>
struct SupportGradientProblem {
  static constexpr const char* name = "support_gradient";
  static constexpr const char* dtype = DTypeName<T>::value;

  SupportTask task;
  View<const T, 2> given;               // of codes [batch, width], else [batch, features]
  bool dense;                           // whether `codes` tell the supports, or `indices`
  View<const std::int32_t, 2> indices;  // [batch, width] atoms, -1 where there is none
  View<const T, 2> codes;               // [batch, width = atoms], the support is where they are not zero
  View<const T, 3> dictionary;          // [dictionaries, atoms, features]
  View<const std::int64_t, 1> index;    // [batch], or no data when there is one dictionary
  const Prepared* prepared = nullptr;   // GramTables of the dictionary, or null: the call makes its own

  // outputs
  View<T, 2> result;  // codes: [batch, width], 0 where there is no atom; else [batch, features]

  // Columns of the arrays that tell the supports.
  std::int64_t width() const { return dense ? codes.extent(1) : indices.extent(1); }

  // Atoms of the largest support: none comes twice.
  int most_atoms() const {
    return static_cast<int>(width() < dictionary.extent(1) ? width() : dictionary.extent(1));
  }
};

inline namespace SRDFAST_LEVEL {

// Where row j of U for `count` atoms begins: element i of it, from j to the right side at i = count, lies at
// that place + i.
SRDFAST_INLINE std::int64_t elimination_row(int j, int count) {
  return std::int64_t{j} * (2 * count + 1 - j) / 2;
}

SRDFAST_INLINE std::int64_t elimination_size(int count) { return std::int64_t{count} * (count + 3) / 2; }

// Solves the equations of `count` atoms, of which at most `features` are independent.
//   gram(j, i), j <= i, is an entry of D_S D_S^T; values [count] the right side on entry, the answer on
//   return; upper [elimination_size(count)] and inverses [count] are overwritten.
template <class Team, class T, class Gram>
SRDFAST_INLINE void solve_on_support(const Team& team, int count, int features, const Gram& gram, T* upper,
                                     T* inverses, T* values) {
  int rank = 0;
  for (int j = 0; j < count; ++j) {
    T* const row = upper + elimination_row(j, count);
    team.for_each(count + 1 - j, [=](int place) {
      const int i = j + place;
      T rest = i < count ? gram(j, i) : values[j];
      for (int m = 0; m < j; ++m) {
        const T* const earlier = upper + elimination_row(m, count);
        rest -= earlier[j] * inverses[m] * earlier[i];
      }
      row[i] = rest;
    });
    team.sync();
    // Only now: lanes that read the inverses before it may have read them in whole vectors.
    const T inverse = rank < features && row[j] > kDependent<T> * gram(j, j) ? 1 / row[j] : T(0);
    team.once([=] { inverses[j] = inverse; });
    if (inverse != 0) ++rank;
    team.sync();
  }
  team.for_each(count, [=](int j) { values[j] = upper[elimination_row(j, count) + count] * inverses[j]; });
  team.sync();
  for (int i = count - 1; i > 0; --i) {
    const T value = values[i];
    team.for_each(i, [=](int j) { values[j] -= upper[elimination_row(j, count) + i] * inverses[j] * value; });
    team.sync();
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
