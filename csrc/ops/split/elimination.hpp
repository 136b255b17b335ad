// SPDX-License-Identifier: Apache-2.0
// The elimination of (1 + strength (eigenvalue_k + L)) u = b along a line, for all frequencies k, L being the
// second difference with reflecting boundary and eigenvalue_k its k-th eigenvalue along the other axis.
//
// The pivots are excess + strength with excess_0 = g = 1 + strength eigenvalue_k and
// excess_y = g + strength excess / (excess + strength): sums of positive terms, so that no strength cancels.
// The last element has one neighbour less: its pivot is its excess alone. With share = excess / pivot and
// inverse = 1 / pivot the two sweeps are
//
//   u_y = u_(y-1) + (b_y inverse_y - share_y u_(y-1))      forward
//   u_y = u_y + (u_(y+1) - share_y u_(y+1))                backward
//
// where 1 - share = strength / pivot as one number would lose, at a large strength, what makes it less
// than 1.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/parallel.hpp"
#include "core/scratch.hpp"
#include "math/vector.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// Frequencies come in blocks of a vector, blocks in groups that are solved together.
template <class T>
class Elimination {
 public:
  Elimination(int frequencies, int length, double strength)
      : frequencies_(frequencies),
        length_(length),
        strength_(strength),
        limits_(groups()),
        offsets_(groups()),
        pivots_(settle()),
        last_(static_cast<std::int64_t>(blocks()) * kLength) {
    parallel_for(groups(), 1, [this](std::int64_t begin, std::int64_t end) {
      for (std::int64_t group = begin; group < end; ++group) prepare(static_cast<int>(group));
    });
  }

  int blocks() const { return (frequencies_ + kLength - 1) / kLength; }
  int groups() const { return (blocks() + kTogether - 1) / kTogether; }

  // Solves one group in place: lines [blocks, length] of vectors; a line begins every `stride` elements.
  void solve(int group, std::int64_t stride, T* lines) const {
    T* const own = lines + group * kTogether * stride;
    switch (blocks_of(group)) {
      case 1:
        return solve_blocks<1>(group, stride, own);
      case 2:
        return solve_blocks<2>(group, stride, own);
      case 3:
        return solve_blocks<3>(group, stride, own);
      default:
        return solve_blocks<kTogether>(group, stride, own);
    }
  }

 private:
  static constexpr int kLength = kVectorLength<T>;
  static constexpr int kTogether = 4;  // enough independent sweeps to hide the latency of one

  struct Pivot {
    T inverse[kLength], share[kLength];
  };

  int blocks_of(int group) const {
    const int rest = blocks() - group * kTogether;
    return rest < kTogether ? rest : kTogether;
  }

  // 1 + strength eigenvalue_k
  double least(int k) const {
    constexpr double kPi = 3.14159265358979323846;
    const double sine = ::sin(kPi * k / (2.0 * frequencies_));
    return 1 + strength_ * 4 * sine * sine;
  }

  // Finds where the pivots of every group stop growing in double: the rest of a line repeats the last of
  // them. Low frequencies take longest. Returns how many pivots there are.
  std::int64_t settle() {
    std::int64_t pivots = 0;
    for (int group = 0; group < groups(); ++group) {
      const double g = least(group * kTogether * kLength);
      double excess = g, next = excess;
      int y = 0;
      for (; y < length_ - 1; ++y, excess = next) {
        next = g + strength_ * (excess / (excess + strength_));
        if (next <= excess) break;
      }
      limits_[group] = y;
      offsets_[group] = pivots;
      pivots += static_cast<std::int64_t>(y + 1) * blocks_of(group);
    }
    return pivots;
  }

  void prepare(int group) {
    const int first = group * kTogether * kLength, count = blocks_of(group) * kLength;
    double g[kTogether * kLength], excess[kTogether * kLength];
    for (int i = 0; i < count; ++i) excess[i] = g[i] = least(first + i);
    Pivot* pivot = pivots_.data() + offsets_[group];
    for (int y = 0; y <= limits_[group]; ++y) {
      for (int b = 0; b < count; b += kLength, ++pivot) {
        for (int i = 0; i < kLength; ++i) {
          const double e = excess[b + i], inverse = 1 / (e + strength_), share = e * inverse;
          pivot->inverse[i] = static_cast<T>(inverse);
          pivot->share[i] = static_cast<T>(share);
          if (y < limits_[group]) excess[b + i] = g[b + i] + strength_ * share;
        }
      }
    }
    for (int i = 0; i < count; ++i) last_[first + i] = static_cast<T>(1 / excess[i]);
  }

  template <int Blocks>
  void solve_blocks(int group, std::int64_t stride, T* lines) const {
    const Pivot* const pivots = pivots_.data() + offsets_[group];
    const int end = length_ - 1, limit = limits_[group];
    const T* const last = last_.data() + group * kTogether * kLength;
    Vector<T> u[Blocks] = {};
    const auto element = [=](int b, int y) {
      return lines + b * stride + static_cast<std::int64_t>(y) * kLength;
    };
    const auto forward = [&](int y, const Pivot* pivot) {
      for (int b = 0; b < Blocks; ++b) {
        u[b] += load(element(b, y)) * load(pivot[b].inverse) - load(pivot[b].share) * u[b];
        store(u[b], element(b, y));
      }
    };
    const auto backward = [&](int y, const Pivot* pivot) {
      for (int b = 0; b < Blocks; ++b) {
        u[b] = load(element(b, y)) + (u[b] - load(pivot[b].share) * u[b]);
        store(u[b], element(b, y));
      }
    };
    for (int y = 0; y < limit; ++y) forward(y, pivots + y * Blocks);
    for (int y = limit; y < end; ++y) forward(y, pivots + limit * Blocks);
    for (int b = 0; b < Blocks; ++b) {
      u[b] = (load(element(b, end)) + static_cast<T>(strength_) * u[b]) * load(last + b * kLength);
      store(u[b], element(b, end));
    }
    for (int y = end - 1; y >= limit; --y) backward(y, pivots + limit * Blocks);
    for (int y = (limit < end ? limit : end) - 1; y >= 0; --y) backward(y, pivots + y * Blocks);
  }

  int frequencies_, length_;
  double strength_;
  Scratch<int> limits_;            // [groups], the pivot that repeats
  Scratch<std::int64_t> offsets_;  // [groups], where the pivots of a group begin
  Scratch<Pivot> pivots_;          // a group: [limit + 1, blocks]
  Scratch<T> last_;                // [blocks, lanes], the inverse of the last pivot of a line
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
