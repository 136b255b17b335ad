// SPDX-License-Identifier: Apache-2.0
// The lasso: min_z 1/2 |x - zD|^2 + penalty |z|_1, by coordinate descent, certified by its duality gap.
//
// Coordinate descent keeps the gradient g = D (x - zD) by Gram rows: changing z_a by delta changes g by
// -delta * gram[a]. Rounds of sweeps over the support end with g recomputed from the signal itself, and the
// gap of math/gap.hpp on that exact gradient decides whether to stop.
#pragma once

#include <cstdint>

#include "core/prepared.hpp"
#include "core/registry.hpp"
#include "core/team.hpp"
#include "core/view.hpp"
#include "math/gap.hpp"
#include "math/root.hpp"
#include "math/rounding.hpp"
#include "math/shrink.hpp"

namespace srdfast {

template <class T>
struct LassoSettings {
  T penalty;
  T gap_tolerance;  // stop when the gap is not above this share of the objective at z = 0, 1/2 |x|^2
  int max_sweeps;   // give up after so many passes over the atoms; the gap then tells how far it got
};

template <class T>
struct LassoProblem {
  static constexpr const char* name = "lasso";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 2> signals;           // [batch, features]
  View<const T, 3> dictionary;        // [dictionaries, atoms, features]
  View<const std::int64_t, 1> index;  // [batch], or no data when there is one dictionary
  LassoSettings<T> settings;
  const Prepared* prepared = nullptr;  // GramTables of the dictionary, or null: the call makes its own
  View<const T, 2> start;              // [batch, atoms], codes to start from, or no data: zero; CPU only

  // outputs
  View<T, 2> values;             // [batch, atoms]
  View<T, 1> gap;                // [batch]
  View<std::int32_t, 1> rounds;  // [batch], of the active set and of sweeps, or no data; CPU only
};

// Codes of a few atoms to start from.
template <class T>
struct LassoStart {
  int count = 0;
  const std::int32_t* atoms = nullptr;
  const T* values = nullptr;
};

// What coordinate descent came to.
template <class T>
struct LassoEnd {
  T gap;
  int sweeps;
};

inline namespace SRDFAST_LEVEL {

// One signal in one dictionary. `transposed.correlate(team, features, atoms, residual, gradient)` writes
// gradient [atoms] = D residual, in the way that the device has its dictionary for.
template <class T, class Transposed>
struct LassoInput {
  int atoms, features, width;
  const T* signal;      // [features]
  const T* dictionary;  // [atoms, features]
  Transposed transposed;
  const T* gram;  // [atoms, width]
};

// One pass of coordinate descent over all atoms, or over the support only.
// Returns the largest move, in units of the reconstruction: max_a |delta_a| |d_a|.
template <class Team, class T, class Transposed>
SRDFAST_INLINE T lasso_sweep(const Team& team, const LassoInput<T, Transposed>& in, T penalty,
                             bool support_only, T* gradient, T* codes) {
  T largest = 0;
  for (int a = 0; a < in.atoms; ++a) {
    const T old = codes[a];
    if (old == 0 && (support_only || absolute(gradient[a]) <= penalty)) continue;
    const T* row = in.gram + static_cast<long>(a) * in.width;
    if (!(row[a] > 0)) continue;  // a zero atom
    const T updated = shrink(gradient[a] + row[a] * old, penalty) / row[a];
    const T delta = updated - old;
    if (delta == 0) continue;
    team.sync();  // everyone has read codes and gradient of this atom
    team.for_each(in.atoms, [=](int b) { gradient[b] -= delta * row[b]; });
    team.once([=] { codes[a] = updated; });
    team.sync();
    const T move = absolute(delta) * root(row[a]);
    largest = move > largest ? move : largest;
  }
  return largest;
}

// residual [features] = x - zD and gradient [width] = D residual, from the signal itself; returns
// |residual|^2.
template <class Team, class T, class Transposed>
SRDFAST_INLINE T lasso_refresh(const Team& team, const LassoInput<T, Transposed>& in, const T* codes,
                               T* residual, T* gradient) {
  team.for_each(in.features, [=](int f) { residual[f] = in.signal[f]; });
  for (int a = 0; a < in.atoms; ++a) {
    const T code = codes[a];
    if (code == 0) continue;
    const T* atom = in.dictionary + static_cast<long>(a) * in.features;
    team.for_each(in.features, [=](int f) { residual[f] -= code * atom[f]; });
  }
  team.sync();  // every lane has left the sweep, which reads the gradient
  in.transposed.correlate(team, in.features, in.atoms, residual, gradient);
  team.sync();
  return team.template sum<T>(in.features, [=](int f) { return residual[f] * residual[f]; });
}

// Solves for one signal and returns the duality gap reached.
//   gradient [width] = D x on entry; residual [features] and gradient are overwritten; codes [atoms] is the
//   answer. It starts from zero, or from what is in codes where that is `started`.
template <class Team, class T, class Transposed>
SRDFAST_INLINE LassoEnd<T> lasso_solve(const Team& team, const LassoSettings<T>& settings,
                                       const LassoInput<T, Transposed>& in, T* gradient, T* residual,
                                       T* codes, bool started = false) {
  const T energy = team.template sum<T>(in.features, [=](int f) { return in.signal[f] * in.signal[f]; });
  const T target = settings.gap_tolerance * energy / 2;
  const T still = kEpsilon<T> * root(energy);  // a smaller move is rounding
  T residual_energy = energy;
  if (started) {
    residual_energy = lasso_refresh(team, in, codes, residual, gradient);
  } else {
    team.for_each(in.atoms, [=](int a) { codes[a] = 0; });
    team.sync();
  }

  T gap = duality_gap(team, in.atoms, gradient, codes, residual_energy, settings.penalty);
  int sweeps = 0;
  T settled = T(0.1) * root(energy);  // a round on the support ends when moves are below this
  while (gap > target && sweeps < settings.max_sweeps) {
    const T first = lasso_sweep(team, in, settings.penalty, false, gradient, codes);
    ++sweeps;
    settled = T(0.1) * (first < settled ? first : settled);
    T move = first;
    while (move > settled && move > still && sweeps < settings.max_sweeps) {
      move = lasso_sweep(team, in, settings.penalty, true, gradient, codes);
      ++sweeps;
    }
    residual_energy = lasso_refresh(team, in, codes, residual, gradient);
    gap = duality_gap(team, in.atoms, gradient, codes, residual_energy, settings.penalty);
    if (first <= still) break;  // nothing moves any more: the precision of T is reached
  }
  return {gap, sweeps};
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
