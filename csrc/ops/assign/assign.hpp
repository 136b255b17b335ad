// SPDX-License-Identifier: Apache-2.0
// The most likely of some diagonal Gaussians: the problem, and one latent.
//
// With means m_c, variances v_c and log priors of the clusters,
//
//     log p(z, c) = offsets[c] - sum_f (scales[f][c] * (z[f] - centre[f]) - shifts[f][c])^2
//
//     scales[f][c]  = sqrt(1 / (2 v_c[f]))
//     shifts[f][c]  = scales[f][c] * (m_c[f] - centre[f])
//     offsets[c]    = log prior_c - 1/2 sum_f log(2 pi v_c[f])
//
// which is the inner product of [z^2, z, 1] with one vector a cluster, at the same cost, but as a sum of
// squares: nothing in it cancels.
#pragma once

#include <cstdint>

#include "core/registry.hpp"
#include "core/team.hpp"
#include "core/view.hpp"

namespace srdfast {

template <class T>
struct AssignProblem {
  static constexpr const char* name = "assign";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 2> latents;  // [batch, latent]
  View<const T, 1> centre;   // [latent]
  View<const T, 2> scales;   // [latent, clusters]: neighbours are clusters, which lanes share out
  View<const T, 2> shifts;   // [latent, clusters]
  View<const T, 1> offsets;  // [clusters]

  // outputs
  View<std::int32_t, 1> index;  // [batch], the most likely cluster, the lowest on a tie
  View<T, 1> log_likelihood;    // [batch], log p(z, c) there
  View<T, 1> margin;  // [batch], by how much it exceeds that of the second; infinite where there is one
};

inline namespace SRDFAST_LEVEL {

template <class T>
constexpr T kInfinity = T(0);
template <>
inline constexpr float kInfinity<float> = __builtin_inff();
template <>
inline constexpr double kInfinity<double> = __builtin_inf();

template <class T>
struct Assigned {
  int index;
  T log_likelihood, margin;
};

// By how much the best score exceeds the second; both are -infinity for a latent beyond all range.
template <class T>
SRDFAST_INLINE T margin_of(T best, T second) {
  return best > second ? best - second : T(0);
}

// log p(z, c) for latents less the centre, [latent].
template <class T>
SRDFAST_INLINE T cluster_score(const AssignProblem<T>& problem, const T* centred, int cluster) {
  const std::int64_t clusters = problem.offsets.extent(0);
  T distance = 0;
  for (std::int64_t f = 0; f < problem.centre.extent(0); ++f) {
    const T away = problem.scales.data[f * clusters + cluster] * centred[f] -
                   problem.shifts.data[f * clusters + cluster];
    distance += away * away;
  }
  return problem.offsets.data[cluster] - distance;
}

// The reference: a lane scores whole clusters. centred [latent] is memory of the team.
template <class Team, class T>
SRDFAST_INLINE Assigned<T> assign_one(const Team& team, const AssignProblem<T>& problem, const T* latent,
                                      T* centred) {
  const int clusters = static_cast<int>(problem.offsets.extent(0));
  team.for_each(static_cast<int>(problem.centre.extent(0)),
                [=, &problem](int f) { centred[f] = latent[f] - problem.centre.data[f]; });
  team.sync();
  const auto score = [=, &problem](int cluster) { return cluster_score(problem, centred, cluster); };
  const Best<T> best = team.template best<T>(clusters, score);
  const Best<T> second = team.template best<T>(
      clusters, [=](int cluster) { return cluster == best.index ? -kInfinity<T> : score(cluster); });
  return {best.index, best.value, margin_of(best.value, second.value)};
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
