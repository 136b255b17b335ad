// SPDX-License-Identifier: Apache-2.0
// The elimination of (1 + strength (eigenvalue_k + L)) u = b along a line, for all frequencies k, L being the
// second difference with reflecting boundary.
//
// The pivots are excess + strength with excess_0 = g = 1 + strength eigenvalue_k and
// excess_x = g + strength excess / (excess + strength): sums of positive terms, so that no strength cancels.
// The last element has one neighbour less: its pivot is its excess alone. With share = excess / pivot and
// inverse = 1 / pivot the two sweeps are
//
//   u_x = u_(x-1) + (b_x inverse_x - share_x u_(x-1))      forward
//   u_x = u_x + (u_(x+1) - share_x u_(x+1))                backward
//
// where 1 - share = strength / pivot, which would lose its digits to rounding when the strength is large.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/parallel.hpp"
#include "core/scratch.hpp"
#include "math/transpose.hpp"
#include "math/vector.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
class Elimination {
 public:
  static constexpr int kTogether = 4;  // blocks of frequencies whose sweeps hide each other's latency

  // `frequencies` of them, in blocks of a vector's length; lines of `length` elements.
  Elimination(int frequencies, int length, double strength)
      : length_(length),
        strength_(static_cast<T>(strength)),
        blocks_((frequencies + kVectorLength<T> - 1) / kVectorLength<T>),
        limits_(groups()),
        last_(blocks_ * kVectorLength<T>),
        pivots_(static_cast<std::int64_t>(blocks_) * length) {
    parallel_for(groups(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t group = begin; group < end; ++group) {
        prepare(static_cast<int>(group), frequencies, strength);
      }
    });
  }

  int blocks() const { return blocks_; }
  int groups() const { return (blocks_ + kTogether - 1) / kTogether; }

  // Solves one group in place; lines [blocks, line] begin `line` elements apart.
  SRDFAST_INLINE void solve(int group, std::int64_t line, T* lines) const {
    const int first = group * kTogether;
    T* const own = lines + first * line;
    switch (blocks_ - first) {
      case 1: return solve_blocks<1>(group, line, own);
      case 2: return solve_blocks<2>(group, line, own);
      case 3: return solve_blocks<3>(group, line, own);
      default: return solve_blocks<kTogether>(group, line, own);
    }
  }

 private:
  static constexpr int kLength = kVectorLength<T>;

  struct Pivot {
    T inverse[kLength], share[kLength];
  };

  // The pivots of one group, until they stop growing in double: the rest of the line repeats them.
  void prepare(int group, int frequencies, double strength) {
    constexpr double kPi = 3.14159265358979323846;
    const int first = group * kTogether * kLength;
    const int blocks = blocks_ - group * kTogether < kTogether ? blocks_ - group * kTogether : kTogether;
    double least[kTogether * kLength], excess[kTogether * kLength], grown[kTogether * kLength];
    for (int i = 0; i < blocks * kLength; ++i) {
      const double sine = ::sin(kPi * (first + i) / (2.0 * frequencies));
      excess[i] = least[i] = 1 + strength * 4 * sine * sine;
    }
    int x = 0;
    for (;; ++x) {
      int growing = 0;
      for (int b = 0; b < blocks; ++b) {
        Pivot& pivot = pivots_[static_cast<std::int64_t>(group * kTogether + b) * length_ + x];
        for (int i = 0; i < kLength; ++i) {
          const double e = excess[b * kLength + i], inverse = 1 / (e + strength), share = e * inverse;
          const double next = least[b * kLength + i] + strength * share;
          pivot.inverse[i] = static_cast<T>(inverse);
          pivot.share[i] = static_cast<T>(share);
          grown[b * kLength + i] = next;
          growing += next > e;
        }
      }
      if (growing == 0 || x == length_ - 1) break;
      std::memcpy(excess, grown, sizeof(excess));
    }
    for (int i = 0; i < blocks * kLength; ++i) last_[first + i] = static_cast<T>(1 / excess[i]);
    limits_[group] = x;
  }

  template <int Blocks>
  void solve_blocks(int group, std::int64_t line, T* SRDFAST_RESTRICT lines) const {
    const int first = group * kTogether, limit = limits_[group];
    const Pivot* const pivots = pivots_.data() + static_cast<std::int64_t>(first) * length_;
    Vector<T> u[Blocks] = {};
    const auto forward = [&](int x, const Pivot* pivot) {
      for (int b = 0; b < Blocks; ++b) {
        const Pivot& p = pivot[b * static_cast<std::int64_t>(length_)];
        const Vector<T> share = load_vector(p.share);
        Vector<T>& value = *reinterpret_cast<Vector<T>*>(lines + b * line + x * kLength);
        u[b] += value * load_vector(p.inverse) - share * u[b];
        value = u[b];
      }
    };
    const auto backward = [&](int x, const Pivot* pivot) {
      for (int b = 0; b < Blocks; ++b) {
        const Pivot& p = pivot[b * static_cast<std::int64_t>(length_)];
        const Vector<T> share = load_vector(p.share);
        Vector<T>& value = *reinterpret_cast<Vector<T>*>(lines + b * line + x * kLength);
        u[b] = value + (u[b] - share * u[b]);
        value = u[b];
      }
    };
    const int end = length_ - 1;
    const int varied = limit < end ? limit : end;
    for (int x = 0; x < varied; ++x) forward(x, pivots + x);
    for (int x = varied; x < end; ++x) forward(x, pivots + limit);
    for (int b = 0; b < Blocks; ++b) {  // at the end pivot = excess: (b + strength u) / excess
      Vector<T>& value = *reinterpret_cast<Vector<T>*>(lines + b * line + end * kLength);
      const Vector<T> inverse = load_vector(&last_[(first + b) * kLength]);
      u[b] = value * inverse + strength_ * inverse * u[b];
      value = u[b];
    }
    for (int x = end - 1; x >= varied; --x) backward(x, pivots + limit);
    for (int x = varied - 1; x >= 0; --x) backward(x, pivots + x);
  }

  int length_;
  T strength_;
  int blocks_;
  Scratch<int> limits_;    // [groups], the first pivot that repeats
  Scratch<T> last_;       // [blocks, lanes], the inverse of the last pivot
  Scratch<Pivot> pivots_;     // [blocks, length]
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
