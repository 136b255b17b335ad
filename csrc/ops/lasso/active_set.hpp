// SPDX-License-Identifier: Apache-2.0
// The lasso by an active set: the CPU's path for one signal.
//
// On a support S with signs s the optimality conditions are linear: <d_i, r> = penalty s_i for i in S. A
// round takes into S the atom that violates |<d_a, r>| <= penalty most, moves the codes to the solution of
// those equations, and lets out atoms whose code reaches zero on the way (feature-sign search: Lee, Battle,
// Raina, Ng 2006). The inverse of the Gram matrix of S is kept, by bordering as an atom comes and by
// elimination as one goes, so that a round is a few vector operations on a small matrix and one pass over the
// Gram rows of S for the gradient of all atoms. The move is computed from the gradient that the codes have,
// not from the signal: rounding in the inverse is corrected by the next round. The gradient also gives the
// duality gap, which decides when to stop.
//
// Codes from which to start (those of a similar signal) are a support with signs like any other, and moves go
// on from there.
//
// A signal that gets into trouble (an atom that depends on those of S, a support beyond the capacity, too
// many rounds) is declined: coordinate descent, the reference, takes it from the start.
#pragma once

#include "math/argmax.hpp"
#include "math/gap.hpp"
#include "math/tables.hpp"
#include "ops/lasso/lasso.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
class ActiveSet {
 public:
  static constexpr int kCapacity = 64;  // atoms of the largest support; a multiple of every vector's length

  ActiveSet(const LassoSettings<T>& settings, int width)
      : settings_(settings),
        width_(width),
        inverse_(kCapacity * kCapacity),
        gradient_(width),
        is_active_(width) {
    for (int a = 0; a < width; ++a) is_active_[a] = false;
  }

  // Solves for one signal; correlations [width] = D x, zero beyond the atoms; energy = |x|^2. Returns whether
  // it did: count, indices, values and gap then hold the answer. Starts from codes that are expected to be
  // near it; from none where that leads nowhere.
  bool solve(const T* gram, const T* correlations, T energy, const LassoStart<T>& start = {}) {
    gram_ = gram;
    correlations_ = correlations;
    energy_ = energy;
    rounds_ = 0;
    if (start.count > 0 && attempt(start) && (certified() || rounds_ >= settings_.max_sweeps)) return true;
    return attempt({});
  }

  // Whether the gap of the answer is as small as was asked for.
  bool certified() const { return gap_ <= target(); }

  // Rounds that the last signal took.
  int rounds() const { return rounds_; }

  int count() const { return count_; }
  const std::int32_t* indices() const { return indices_; }
  const T* values() const { return codes_; }
  T gap() const { return gap_; }

 private:
  static constexpr int kWays = kPadding / kVectorLength<T>;
  static constexpr int kMostRounds = 8 * kCapacity;
  static constexpr T kNear =
      T(1.1);  // times the penalty: the gap is not worked out while a gradient is above
  static constexpr int kRefinements =
      3;  // rounds without a new atom, after which the precision of T is reached

  T target() const { return settings_.gap_tolerance * energy_ / 2; }

  bool attempt(const LassoStart<T>& start) {
    seed(start);
    const bool solved = run(start.count > 0);
    for (int i = 0; i < count_; ++i) is_active_[indices_[i]] = false;
    return solved;
  }

  // Takes codes as they are. The inverse is made when they have to move: those of a signal that has not
  // changed come out to the bit.
  void seed(const LassoStart<T>& start) {
    count_ = 0;
    for (int i = 0; i < start.count && count_ < kCapacity; ++i) {
      const std::int32_t atom = start.atoms[i];
      if (start.values[i] == 0 || atom < 0 || atom >= width_) continue;
      indices_[count_] = atom;
      rows_[count_] = gram_ + std::int64_t{atom} * width_;
      codes_[count_] = start.values[i];
      signs_[count_] = start.values[i] > 0 ? T(1) : T(-1);
      is_active_[atom] = true;
      ++count_;
    }
  }

  bool run(bool started) {
    const T penalty = settings_.penalty;
    Best<T> worst = search_gradient();
    int refinements = 0;
    for (int round = 0;; ++round, ++rounds_) {
      collect_gradient();
      const bool spent = round >= settings_.max_sweeps;
      if (spent || worst.value <= kNear * penalty) {
        gap_ = duality_gap_of_support(worst.value);
        if (gap_ <= target() || spent) return true;
        if (!(gap_ < energy_)) return false;
      }
      if (round >= kMostRounds) return false;
      if (round == 0 && !border_seeds()) return false;
      if (worst.value > penalty && !is_active_[worst.index]) {
        if (!enter(worst.index)) return false;
        if (started) refinements = 0;  // rounds that only moved were no sign of the end
      } else if (++refinements > kRefinements) {
        gap_ = duality_gap_of_support(worst.value);
        return gap_ < energy_;
      }
      if (!move()) return false;
      worst = search_gradient();
    }
  }

  // gradient [width] = D r, and its largest magnitude.
  Best<T> search_gradient() {
    const int width = width_, count = count_;
    const T* const correlations = correlations_;
    T* const out = gradient_.data();
    Argmax<T, kWays> search;
    for (int a = 0; a < width; a += kPadding) {
      Vector<T> gradient[kWays];
#pragma GCC unroll 4
      for (int way = 0; way < kWays; ++way) gradient[way] = load(correlations + a + way * kVectorLength<T>);
      for (int i = 0; i < count; ++i) {
        const T* const row = rows_[i] + a;
        const T code = codes_[i];
#pragma GCC unroll 4
        for (int way = 0; way < kWays; ++way) gradient[way] -= code * load(row + way * kVectorLength<T>);
      }
#pragma GCC unroll 4
      for (int way = 0; way < kWays; ++way) {
        store(gradient[way], out + a + way * kVectorLength<T>);
        search.offer(way, a, magnitude<T>(gradient[way]));
      }
    }
    return search.result();
  }

  // How far the equations of the support are from holding.
  void collect_gradient() {
    for (int i = 0; i < count_; ++i) residuals_[i] = gradient_[indices_[i]] - settings_.penalty * signs_[i];
  }

  // As math/gap.hpp has it, from the support alone: r'r = x'x - z'c - z'g.
  T duality_gap_of_support(T largest) const {
    const T penalty = settings_.penalty;
    const T scale = largest > penalty ? penalty / largest : T(1);
    T residual_energy = energy_, complementarity = 0;
    for (int i = 0; i < count_; ++i) {
      const T gradient = gradient_[indices_[i]], code = codes_[i];
      residual_energy -= code * (correlations_[indices_[i]] + gradient);
      const T term = penalty * absolute(code) - scale * code * gradient;
      complementarity += term > 0 ? term : T(0);
    }
    residual_energy = residual_energy > 0 ? residual_energy : T(0);
    return T(0.5) * (1 - scale) * (1 - scale) * residual_energy + complementarity;
  }

  // Makes the inverse for the first `last` atoms of the support one for another atom as well, by bordering;
  // false if that depends on them.
  bool border(int last, int atom, const T* row) {
    T shares[kCapacity] __attribute__((aligned(64)));  // inverse times the Gram column
    for (int i = 0; i < last; ++i) column_[i] = row[indices_[i]];
    prefetch(row, width_);  // for the next gradient
    multiply_inverse(last, column_, shares);
    T outside = row[atom];
    for (int i = 0; i < last; ++i) outside -= column_[i] * shares[i];
    if (!(outside > 64 * kEpsilon<T> * row[atom])) return false;

    const T scale = 1 / outside;
    for (int at = 0; at < kCapacity; at += kVectorLength<T>) store(Vector<T>{}, inverse_row(last) + at);
    set_lane(shares, last, -1);
    add_outer(last + 1, scale, shares);
    return true;
  }

  bool border_seeds() {
    for (int i = 0; i < count_; ++i) {
      if (!border(i, indices_[i], rows_[i])) return false;
    }
    return true;
  }

  // Takes an atom into the support with code 0; false if there is no room, or it depends on the others.
  bool enter(int atom) {
    const T* const row = gram_ + std::int64_t{atom} * width_;
    const int last = count_;
    if (last == kCapacity || !border(last, atom, row)) return false;
    indices_[last] = atom;
    rows_[last] = row;
    codes_[last] = 0;
    signs_[last] = gradient_[atom] > 0 ? T(1) : T(-1);
    residuals_[last] = gradient_[atom] - settings_.penalty * signs_[last];
    is_active_[atom] = true;
    ++count_;
    return true;
  }

  // Lets an atom out: eliminates its row and column of the inverse, and puts the last one in its place.
  void leave(int out) {
    const int last = count_ - 1;
    T shares[kCapacity] __attribute__((aligned(64)));
    const T scale = -1 / inverse_row(out)[out];
    for (int at = 0; at < count_; at += kVectorLength<T>) store(load(inverse_row(out) + at), shares + at);
    add_outer(count_, scale, shares);
    for (int i = 0; i < count_; ++i) {
      inverse_row(i)[out] = inverse_row(i)[last];
      inverse_row(i)[last] = 0;
    }
    for (int at = 0; at < count_; at += kVectorLength<T>)
      store(load(inverse_row(last) + at), inverse_row(out) + at);
    is_active_[indices_[out]] = false;
    indices_[out] = indices_[last];
    rows_[out] = rows_[last];
    codes_[out] = codes_[last];
    signs_[out] = signs_[last];
    residuals_[out] = residuals_[last];
    --count_;
  }

  // Moves the codes to where the equations of the support hold; atoms whose code changes sign on the way
  // leave.
  bool move() {
    for (int tries = 0; tries <= 2 * kCapacity && count_ > 0; ++tries) {
      multiply_inverse(count_, residuals_, steps_);
      T part = 1;  // of the step, up to where the first code is zero
      int first = -1;
      for (int i = 0; i < count_; ++i) {
        if ((codes_[i] + steps_[i]) * signs_[i] >= 0) continue;
        const T until = codes_[i] / -steps_[i];
        if (first < 0 || until < part) {
          part = until > 0 ? until : T(0);
          first = i;
        }
      }
      for (int i = 0; i < count_; ++i) codes_[i] += part * steps_[i];
      if (first < 0) return true;
      for (int i = 0; i < count_; ++i) residuals_[i] *= 1 - part;
      leave(first);
    }
    return count_ == 0;
  }

  // array[at] = value by a store of its whole vector, which a load of that vector need not wait for; what
  // lies beyond becomes zero.
  static SRDFAST_INLINE void set_lane(T* array, int at, T value) {
    const int lane = at % kVectorLength<T>;
    T* const from = array + at - lane;
    const auto numbers = lane_numbers<T>();
    const Vector<T> before = numbers < lane ? load(from) : Vector<T>{};
    store(numbers == lane ? broadcast<T>(value) : before, from);
  }

  T* inverse_row(int i) const { return inverse_.data() + i * kCapacity; }

  // out = inverse * vector for the first `count` atoms, both zero beyond them up to a whole vector.
  void multiply_inverse(int count, const T* vector, T* out) const {
    for (int at = 0; at < count; at += kVectorLength<T>) {
      Vector<T> even = {}, odd = {};
      int i = 0;
      for (; i + 2 <= count; i += 2) {
        even += vector[i] * load(inverse_row(i) + at);
        odd += vector[i + 1] * load(inverse_row(i + 1) + at);
      }
      if (i < count) even += vector[i] * load(inverse_row(i) + at);
      store(even + odd, out + at);
    }
  }

  // inverse += scale * vector vector', for the first `count` rows.
  void add_outer(int count, T scale, const T* vector) {
    for (int at = 0; at < count; at += kVectorLength<T>) {
      const Vector<T> scaled = scale * load(vector + at);
      for (int i = 0; i < count; ++i) {
        T* const entries = inverse_row(i) + at;
        store(load(entries) + vector[i] * scaled, entries);
      }
    }
  }

  LassoSettings<T> settings_;
  int width_;
  const T* gram_ = nullptr;          // [atoms, width]
  const T* correlations_ = nullptr;  // [width]
  T energy_ = 0, gap_ = 0;
  int count_ = 0, rounds_ = 0;
  Scratch<T> inverse_;       // [kCapacity, kCapacity], zero beyond the support
  Scratch<T> gradient_;      // [width]
  Scratch<bool> is_active_;  // [width]
  std::int32_t indices_[kCapacity];
  const T* rows_[kCapacity];  // of the Gram matrix
  T codes_[kCapacity], signs_[kCapacity];
  T residuals_[kCapacity];  // of the equations: <d_i, r> - penalty s_i
  T column_[kCapacity];
  T steps_[kCapacity] __attribute__((aligned(64)));
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
