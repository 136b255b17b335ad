// SPDX-License-Identifier: Apache-2.0
// The duality gap of the lasso, in a form without cancellation.
//
// Primal P(z) = 1/2 |r|^2 + penalty |z|_1 with r = x - zD; dual Q(u) = <x, u> - 1/2 |u|^2 for |Du|_inf <=
// penalty. The dual point is the scaled residual u = s r, s = min(1, penalty / |Dr|_inf). Because x = r + zD,
//
//     P - Q = 1/2 (1 - s)^2 |r|^2 + sum_a (penalty |z_a| - s z_a (Dr)_a),
//
// a sum of terms none of which is negative: no |x|^2 is subtracted, and the gap is >= 0 in floating point
// too.
#pragma once

#include "core/team.hpp"
#include "math/shrink.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// gradient [atoms] = D r; codes [atoms] = z; residual_energy = |r|^2.
template <class Team, class T>
SRDFAST_INLINE T duality_gap(const Team& team, int atoms, const T* gradient, const T* codes,
                             T residual_energy, T penalty) {
  const T largest = team.template best<T>(atoms, [=](int a) { return absolute(gradient[a]); }).value;
  const T scale = largest > penalty ? penalty / largest : T(1);
  const T complementarity = team.template sum<T>(atoms, [=](int a) {
    const T term = penalty * absolute(codes[a]) - scale * codes[a] * gradient[a];
    return term > 0 ? term : T(0);
  });
  return T(0.5) * (1 - scale) * (1 - scale) * residual_energy + complementarity;
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
