// SPDX-License-Identifier: Apache-2.0
// A team of lanes that solves one problem together.
//
// The mathematics of an operator is written once, as a function of a team. What a body may use:
//
//   team.for_each(n, f)     f(i) for every i in [0, n), shared among the lanes, in no order
//   team.sum<T>(n, f)       the sum of f(i); every lane gets it
//   team.best<T>(n, f)      the largest f(i) and its index, the lowest index on a tie; every lane gets it
//   team.once(f)            f() on one lane
//   team.sync()             what lanes wrote before is seen by all lanes after
//
// `sum` and `best` synchronise before they read and after they wrote; `for_each` and `once` do not. Every
// lane runs the same control flow. `SerialTeam` is one lane: the CPU path. `ThreadTeam`
// (tests/thread_team.hpp) runs the same body on real threads, so that a thread sanitizer finds a missing
// sync.
#pragma once

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
struct Best {
  T value;
  int index;
};

struct SerialTeam {
  static constexpr int kLanes = 16;  // independent partial results, so that the compiler can vectorise

  template <class Function>
  SRDFAST_INLINE void for_each(int count, const Function& function) const {
#pragma GCC ivdep
    for (int i = 0; i < count; ++i) function(i);
  }

  template <class T, class Function>
  SRDFAST_INLINE T sum(int count, const Function& function) const {
    T partial[kLanes] = {};
    int i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) partial[lane] += function(i + lane);
    }
    for (int lane = 0; i < count; ++i, ++lane) partial[lane] += function(i);
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int lane = 0; lane < half; ++lane) partial[lane] += partial[lane + half];
    }
    return partial[0];
  }

  template <class T, class Function>
  SRDFAST_INLINE Best<T> best(int count, const Function& function) const {
    T values[kLanes] = {};
    int indices[kLanes] = {};
    const int lanes = count < kLanes ? count : kLanes;
    for (int lane = 0; lane < lanes; ++lane) {
      values[lane] = function(lane);
      indices[lane] = lane;
    }
    int i = lanes;
    for (; i + kLanes <= count; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const T value = function(i + lane);
        const bool better = value > values[lane];
        values[lane] = better ? value : values[lane];
        indices[lane] = better ? i + lane : indices[lane];
      }
    }
    Best<T> best{values[0], indices[0]};
    for (int lane = 1; lane < lanes; ++lane) {
      if (values[lane] > best.value || (values[lane] == best.value && indices[lane] < best.index)) {
        best = {values[lane], indices[lane]};
      }
    }
    for (; i < count; ++i) {
      const T value = function(i);
      if (value > best.value) best = {value, i};
    }
    return best;
  }

  template <class Function>
  SRDFAST_INLINE void once(const Function& function) const {
    function();
  }

  SRDFAST_INLINE void sync() const {}
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
