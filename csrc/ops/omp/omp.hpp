// SPDX-License-Identifier: Apache-2.0
// Orthogonal matching pursuit: the problem, and the greedy loop for one signal.
//
// With an orthonormal basis u_0, u_1, ... of the chosen atoms, grown by Gram-Schmidt, every atom a keeps
//
//     coordinates[k][a] = <d_a, u_k>                     from the Gram matrix alone
//     remaining[a]      = |d_a|^2 - sum_k <d_a, u_k>^2     squared norm outside the span
//     correlations[a]   = <d_a, residual>
//
// so the residual itself is never formed. Choosing atom a lowers |residual|^2 by correlations[a]^2 /
// remaining[a]. Cost per signal: sum_k k * atoms multiply-adds, beside the atoms * features of the first
// correlations.
#pragma once

#include <cstdint>

#include "core/prepared.hpp"
#include "core/registry.hpp"
#include "core/team.hpp"
#include "core/view.hpp"
#include "math/root.hpp"
#include "math/rounding.hpp"
#include "math/shrink.hpp"

namespace srdfast {

enum class Selection : int {
  correlation = 0,  // the largest |<d_a, residual>|
  residual = 1,     // the largest drop of |residual|^2
};

template <class T>
struct OmpSettings {
  int max_atoms;
  T tolerance;  // stop when |residual|^2 is not above it
  Selection selection;
};

template <class T>
struct OmpProblem {
  static constexpr const char* name = "omp";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 2> signals;           // [batch, features]
  View<const T, 3> dictionary;        // [dictionaries, atoms, features]
  View<const std::int64_t, 1> index;  // [batch], or no data when there is one dictionary
  OmpSettings<T> settings;
  const Prepared* prepared = nullptr;  // GramTables of the dictionary, or null: the call makes its own

  // outputs
  View<std::int32_t, 2> indices;  // [batch, max_atoms], -1 where no atom was chosen
  View<T, 2> values;              // [batch, max_atoms]
  View<std::int32_t, 1> counts;   // [batch]
};

inline namespace SRDFAST_LEVEL {

// An atom with less than this share of its squared norm outside the span of the chosen ones lies in it.
template <class T>
constexpr T kDependent = 64 * kEpsilon<T>;

// A correlation below this share of its bound |d_a| |x| is rounding.
template <class T>
constexpr T kNoise = 8 * kEpsilon<T>;

template <class T>
struct OmpWorkspace {
  T* coordinates;  // [max_atoms, atoms]
  T* remaining;    // [atoms]
  T* projections;  // [max_atoms], <x, u_k>
};

// Chooses atoms for one signal and solves for their values; returns how many were chosen.
//   gram [atoms, width], width at least atoms, and its diagonal, an element every norms_apart;
//   correlations [atoms] = D x on entry; energy = |x|^2
template <class Team, class T>
SRDFAST_INLINE int omp_solve(const Team& team, const OmpSettings<T>& settings, int atoms, int width,
                             const T* gram, const T* norms, int norms_apart, T* correlations, T energy,
                             const OmpWorkspace<T>& work, std::int32_t* indices, T* values) {
  T* const remaining = work.remaining;
  const auto norm = [=](int a) { return norms[static_cast<long>(a) * norms_apart]; };
  team.for_each(atoms, [=](int a) { remaining[a] = norm(a); });

  T residual_energy = energy;
  int count = 0;
  // Without a tolerance only the noise decides: a small |residual|^2 is a difference of large numbers.
  while (count < settings.max_atoms && (settings.tolerance == 0 || residual_energy > settings.tolerance)) {
    const bool by_residual = settings.selection == Selection::residual;
    const Best<T> best = team.template best<T>(atoms, [=](int a) {
      const T score =
          by_residual ? correlations[a] * correlations[a] / remaining[a] : absolute(correlations[a]);
      return remaining[a] > kDependent<T> * norm(a) ? score : T(-1);
    });
    const int chosen = best.index;
    const T correlation = correlations[chosen];
    if (!(best.value > 0) || correlation * correlation <= kNoise<T> * kNoise<T> * energy * norm(chosen))
      break;

    const T length = root(remaining[chosen]);
    const T projection = correlation / length;
    const T* gram_row = gram + static_cast<long>(chosen) * width;
    T* const coordinates = work.coordinates + static_cast<long>(count) * atoms;
    team.sync();  // everyone has read remaining and correlations of the chosen atom
    team.for_each(atoms, [=](int a) { coordinates[a] = gram_row[a]; });
    for (int k = 0; k < count; ++k) {
      const T* earlier = work.coordinates + static_cast<long>(k) * atoms;
      const T share = earlier[chosen];
      team.for_each(atoms, [=](int a) { coordinates[a] -= share * earlier[a]; });
    }
    const T scale = 1 / length;
    team.for_each(atoms, [=](int a) {
      const T coordinate = coordinates[a] * scale;
      coordinates[a] = coordinate;
      correlations[a] -= projection * coordinate;
      remaining[a] -= coordinate * coordinate;
    });
    team.sync();
    team.once([=] {
      coordinates[chosen] = length;
      remaining[chosen] = 0;
      work.projections[count] = projection;
      indices[count] = chosen;
    });
    residual_energy -= projection * projection;
    ++count;
    team.sync();
  }
  team.once([=] {
    // Back substitution in the triangular system: x's projections = sum_m values[m] <d_m, u_k>.
    for (int k = count - 1; k >= 0; --k) {
      const T* row = work.coordinates + static_cast<long>(k) * atoms;
      T value = work.projections[k];
      for (int m = k + 1; m < count; ++m) value -= values[m] * row[indices[m]];
      values[k] = value / row[indices[k]];
    }
    for (int k = count; k < settings.max_atoms; ++k) {
      indices[k] = -1;
      values[k] = 0;
    }
  });
  team.sync();
  return count;
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
