// SPDX-License-Identifier: Apache-2.0
// The active set of active_set.hpp for a warp: a lane an atom of the support, the inverse in shared memory.
//
// It takes the same rounds and declines the same signals, and those with a larger support than a warp has
// lanes.
#pragma once

#include "device/queue.hpp"
#include "device/warp_team.hpp"
#include "math/rounding.hpp"
#include "math/shrink.hpp"
#include "ops/lasso/lasso.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class Block>
class ActiveSetWarp {
 public:
  static constexpr int kCapacity = kWarp;                                // atoms of the largest support
  static constexpr int kFloats = kCapacity * kCapacity + 3 * kCapacity;  // of shared memory

  SRDFAST_INLINE ActiveSetWarp(const Block& block, const LassoSettings<float>& settings, float* shared)
      : block_(block),
        settings_(settings),
        inverse_(shared),
        vector_(inverse_ + kCapacity * kCapacity),
        codes_(vector_ + kCapacity),
        indices_(reinterpret_cast<std::int32_t*>(codes_ + kCapacity)) {}

  // Solves for one signal; gram [atoms, atoms], correlations [atoms] = D x, energy = |x|^2; gradient [atoms]
  // is overwritten. Returns to every lane whether it did: `gap` and `write` then have the answer.
  SRDFAST_INLINE bool solve(int atoms, const float* gram, const float* correlations, float energy,
                            float* gradient) {
    atoms_ = atoms;
    gram_ = gram;
    correlations_ = correlations;
    gradient_ = gradient;
    energy_ = energy;
    count_ = 0;
    const float penalty = settings_.penalty, target = settings_.gap_tolerance * energy / 2;
    Worst worst = search_gradient();
    int refinements = 0;
    for (int round = 0;; ++round) {
      residual_ = lane_is_used() ? gradient_[index_] - penalty * sign_ : 0.0f;
      const bool spent = round >= settings_.max_sweeps;
      if (spent || worst.value <= kNear * penalty) {
        gap_ = duality_gap_of_support(worst.value);
        if (gap_ <= target || spent) return true;
        if (!(gap_ < energy)) return false;
      }
      if (round >= kMostRounds) return false;
      if (worst.value > penalty && !is_active(worst.index)) {
        if (!enter(worst.index)) return false;
      } else if (++refinements > kRefinements) {
        gap_ = duality_gap_of_support(worst.value);
        return gap_ < energy;
      }
      if (!move()) return false;
      worst = search_gradient();
    }
  }

  SRDFAST_INLINE float gap() const { return gap_; }

  // codes [atoms] of the signal, zeros included; may be where the gradient was.
  SRDFAST_INLINE void write(float* codes) const {
    block_.sync_warp();
    for (int a = block_.lane(); a < atoms_; a += kWarp) codes[a] = 0;
    block_.sync_warp();
    if (lane_is_used()) codes[index_] = code_;
    block_.sync_warp();
  }

 private:
  static constexpr int kMostRounds = 8 * kCapacity;
  static constexpr float kNear = 1.1f;  // see active_set.hpp
  static constexpr int kRefinements = 3;
  static constexpr int kTogether = 4;  // gradients that a lane works out at a time
  static constexpr unsigned kNone = 0xffffffffu;

  struct Worst {
    float value;
    int index;
  };

  SRDFAST_INLINE bool lane_is_used() const { return block_.lane() < count_; }

  SRDFAST_INLINE float sum(float mine) const {
    return WarpTeam<Block>(block_).template sum<float>(kWarp, [=](int) { return mine; });
  }

  // A non-negative float as a number of the same order, and back.
  SRDFAST_INLINE static unsigned number_of(float value) {
    unsigned bits;
    __builtin_memcpy(&bits, &value, sizeof(bits));
    return bits;
  }
  SRDFAST_INLINE static float value_of(unsigned bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
  }

  // gradient = D r, and its largest magnitude; the lowest atom on a tie.
  SRDFAST_INLINE Worst search_gradient() {
    if (lane_is_used()) {
      codes_[block_.lane()] = code_;
      indices_[block_.lane()] = index_;
    }
    block_.sync_warp();
    float largest = 0;
    int where = 0;
    for (int first = block_.lane(); first < atoms_; first += kTogether * kWarp) {
      float sums[kTogether];
      SRDFAST_UNROLL
      for (int j = 0; j < kTogether; ++j) {
        const int a = first + j * kWarp;
        sums[j] = a < atoms_ ? correlations_[a] : 0.0f;
      }
      for (int i = 0; i < count_; ++i) {
        const float* const row = gram_ + std::int64_t{indices_[i]} * atoms_;
        const float code = codes_[i];
        SRDFAST_UNROLL
        for (int j = 0; j < kTogether; ++j) {
          const int a = first + j * kWarp;
          if (a < atoms_) sums[j] -= code * row[a];
        }
      }
      SRDFAST_UNROLL
      for (int j = 0; j < kTogether; ++j) {
        const int a = first + j * kWarp;
        if (a < atoms_) gradient_[a] = sums[j];
        if (absolute(sums[j]) > largest) {
          largest = absolute(sums[j]);
          where = a;
        }
      }
    }
    const unsigned mine = number_of(largest), all = block_.largest(mine);
    const unsigned index = block_.smallest(mine == all ? static_cast<unsigned>(where) : kNone);
    block_.sync_warp();
    return {value_of(all), static_cast<int>(index)};
  }

  SRDFAST_INLINE bool is_active(int atom) const {
    return block_.largest(lane_is_used() && index_ == atom ? 1u : 0u) != 0;
  }

  // As active_set.hpp has it.
  SRDFAST_INLINE float duality_gap_of_support(float largest) const {
    const float penalty = settings_.penalty;
    const float scale = largest > penalty ? penalty / largest : 1.0f;
    const float gradient = lane_is_used() ? gradient_[index_] : 0.0f;
    const float correlation = lane_is_used() ? correlations_[index_] : 0.0f;
    const float explained = sum(lane_is_used() ? code_ * (correlation + gradient) : 0.0f);
    const float term = lane_is_used() ? penalty * absolute(code_) - scale * code_ * gradient : 0.0f;
    const float complementarity = sum(term > 0 ? term : 0.0f);
    const float rest = energy_ - explained, residual_energy = rest > 0 ? rest : 0.0f;
    return 0.5f * (1 - scale) * (1 - scale) * residual_energy + complementarity;
  }

  // Takes an atom into the support with code 0, by bordering the inverse; false if it depends on the others.
  SRDFAST_INLINE bool enter(int atom) {
    if (count_ == kCapacity) return false;
    const int lane = block_.lane(), last = count_;
    const float* const row = gram_ + std::int64_t{atom} * atoms_;
    const float column = lane_is_used() ? row[index_] : 0.0f, norm = row[atom];
    const float shares = multiply_inverse(column);
    const float outside = norm - sum(column * shares);
    if (!(outside > 64 * kEpsilon<float> * norm)) return false;
    if (lane <= last) inverse_[last * kCapacity + lane] = inverse_[lane * kCapacity + last] = 0;
    ++count_;
    add_outer(lane == last ? -1.0f : shares, 1 / outside);
    if (lane == last) {
      index_ = atom;
      code_ = 0;
      sign_ = gradient_[atom] > 0 ? 1.0f : -1.0f;
      residual_ = gradient_[atom] - settings_.penalty * sign_;
    }
    return true;
  }

  // Lets an atom out: eliminates its row and column of the inverse, and puts the last one in its place.
  SRDFAST_INLINE void leave(int out) {
    const int lane = block_.lane(), last = count_ - 1;
    add_outer(lane_is_used() ? inverse_[out * kCapacity + lane] : 0.0f, -1 / inverse_[out * kCapacity + out]);
    if (lane_is_used()) inverse_[lane * kCapacity + out] = inverse_[lane * kCapacity + last];
    block_.sync_warp();
    if (lane < last) inverse_[out * kCapacity + lane] = inverse_[last * kCapacity + lane];
    block_.sync_warp();
    const int index = block_.shuffle(index_, last);
    const float code = block_.shuffle(code_, last), sign = block_.shuffle(sign_, last),
                residual = block_.shuffle(residual_, last);
    if (lane == out) {
      index_ = index;
      code_ = code;
      sign_ = sign;
      residual_ = residual;
    }
    count_ = last;
  }

  // Moves the codes to where the equations of the support hold; atoms whose code changes sign on the way
  // leave.
  SRDFAST_INLINE bool move() {
    for (int tries = 0; tries <= 2 * kCapacity && count_ > 0; ++tries) {
      const float step = multiply_inverse(residual_);
      const bool crosses = lane_is_used() && !((code_ + step) * sign_ >= 0);
      const float until = crosses ? code_ / -step : 0.0f;  // the part of the step where the code is zero
      const unsigned mine = crosses ? number_of(until > 0 ? until : 0.0f) : kNone;
      const unsigned first = block_.smallest(mine);
      const float part = first == kNone ? 1.0f : value_of(first);
      code_ += part * step;
      if (first == kNone) return true;
      residual_ *= 1 - part;
      leave(static_cast<int>(block_.smallest(mine == first ? static_cast<unsigned>(block_.lane()) : kNone)));
    }
    return count_ == 0;
  }

  // This lane's element of inverse * vector, given the vector's; zero beyond the support.
  SRDFAST_INLINE float multiply_inverse(float element) {
    const int lane = block_.lane();
    vector_[lane] = element;
    block_.sync_warp();
    float product = 0;
    if (lane_is_used()) {
      for (int i = 0; i < count_; ++i) product += vector_[i] * inverse_[i * kCapacity + lane];
    }
    block_.sync_warp();
    return product;
  }

  // inverse += scale * vector vector', given this lane's element of the vector.
  SRDFAST_INLINE void add_outer(float element, float scale) {
    const int lane = block_.lane();
    vector_[lane] = element;
    block_.sync_warp();
    if (lane_is_used()) {
      const float scaled = scale * element;
      for (int i = 0; i < count_; ++i) inverse_[i * kCapacity + lane] += vector_[i] * scaled;
    }
    block_.sync_warp();
  }

  const Block& block_;
  const LassoSettings<float>& settings_;
  float *inverse_, *vector_, *codes_;  // [kCapacity, kCapacity], [kCapacity], [kCapacity]
  std::int32_t* indices_;              // [kCapacity]
  int atoms_ = 0;
  const float *gram_ = nullptr, *correlations_ = nullptr;
  float* gradient_ = nullptr;
  float energy_ = 0, gap_ = 0;
  int count_ = 0;
  // of this lane's atom of the support
  int index_ = 0;
  float code_ = 0, sign_ = 0;
  float residual_ = 0;  // of its equation: <d_i, r> - penalty s_i
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
