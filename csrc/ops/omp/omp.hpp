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

#include "core/registry.hpp"
#include "core/scratch.hpp"
#include "core/team.hpp"
#include "core/view.hpp"
#include "math/rounding.hpp"
#include "math/shrink.hpp"
#include "math/tables.hpp"

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

  // outputs
  View<std::int32_t, 2> indices;  // [batch, max_atoms], -1 where no atom was chosen
  View<T, 2> values;              // [batch, max_atoms]
  View<std::int32_t, 1> counts;   // [batch]
};

inline namespace SRDFAST_LEVEL {

template <class T>
struct OmpWorkspace {
  T* coordinates;  // [max_atoms, atoms]
  T* remaining;    // [atoms]
  T* projections;  // [max_atoms], <x, u_k>
};

// Chooses atoms for one signal and solves for their values; returns how many were chosen.
//   gram [atoms, atoms]; correlations [atoms] = D x on entry; energy = |x|^2
template <class Team, class T>
SRDFAST_INLINE int omp_solve(const Team& team, const OmpSettings<T>& settings, int atoms, const T* gram,
                             T* correlations, T energy, const OmpWorkspace<T>& work, std::int32_t* indices,
                             T* values) {
  constexpr T kDependent = 64 * kEpsilon<T>;  // an atom with less than this share outside the span is in it
  constexpr T kNoise = 8 * kEpsilon<T>;       // correlations below this share of the bound are rounding
  T* const remaining = work.remaining;
  const auto norm = [=](int a) { return gram[static_cast<long>(a) * atoms + a]; };
  team.for_each(atoms, [=](int a) { remaining[a] = norm(a); });

  T residual_energy = energy;
  int count = 0;
  // Without a tolerance only the noise decides: a small |residual|^2 is a difference of large numbers.
  while (count < settings.max_atoms && (settings.tolerance == 0 || residual_energy > settings.tolerance)) {
    const bool by_residual = settings.selection == Selection::residual;
    const Best<T> best = team.template best<T>(atoms, [=](int a) {
      const T score =
          by_residual ? correlations[a] * correlations[a] / remaining[a] : absolute(correlations[a]);
      return remaining[a] > kDependent * norm(a) ? score : T(-1);
    });
    const int chosen = best.index;
    const T correlation = correlations[chosen];
    if (!(best.value > 0) || correlation * correlation <= kNoise * kNoise * energy * norm(chosen)) break;

    const T length = __builtin_sqrt(remaining[chosen]);
    const T projection = correlation / length;
    const T* gram_row = gram + static_cast<long>(chosen) * atoms;
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

// Codes tiles of signals, one tile at a time, on the calling thread.
template <class T>
class OmpCoder {
 public:
  OmpCoder(const OmpSettings<T>& settings, int atoms, int features)
      : settings_(settings),
        atoms_(atoms),
        features_(features),
        correlations_(static_cast<std::int64_t>(kTile) * atoms),
        coordinates_(static_cast<std::int64_t>(most(settings, atoms)) * atoms),
        remaining_(atoms),
        projections_(most(settings, atoms)) {}

  // signals [kTile, features]; transposed [features, atoms]
  SRDFAST_INLINE void begin_tile(const T* signals, const T* transposed) {
    signals_ = signals;
    tile_product(features_, atoms_, signals, features_, transposed, correlations_.data());
  }

  // Codes signal `row` of the tile; indices and values have max_atoms entries.
  SRDFAST_INLINE int solve(int row, const T* gram, std::int32_t* indices, T* values) {
    const T* signal = signals_ + static_cast<long>(row) * features_;
    const SerialTeam team;
    const T energy = team.sum<T>(features_, [=](int f) { return signal[f] * signal[f]; });
    return omp_solve(team, settings_, atoms_, gram, correlations_.data() + static_cast<long>(row) * atoms_,
                     energy, OmpWorkspace<T>{coordinates_.data(), remaining_.data(), projections_.data()},
                     indices, values);
  }

 private:
  // No more atoms are chosen than there are.
  static int most(const OmpSettings<T>& settings, int atoms) {
    return settings.max_atoms < atoms ? settings.max_atoms : atoms;
  }

  OmpSettings<T> settings_;
  int atoms_, features_;
  const T* signals_ = nullptr;
  Scratch<T> correlations_, coordinates_, remaining_, projections_;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
