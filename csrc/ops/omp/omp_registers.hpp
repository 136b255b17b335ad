// SPDX-License-Identifier: Apache-2.0
// The greedy loop of omp.hpp for a warp that keeps everything it knows of the atoms in registers: lane l has
// the atoms l, l + 32, l + 64, ... The same steps in the same order, for dictionaries and numbers of atoms
// that fit.
#pragma once

#include "device/warp_team.hpp"
#include "ops/omp/omp.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// kAtoms: atoms a lane has room for; kMost: atoms that may be chosen.
template <int kAtoms, int kMost, class Block>
class OmpRegisters {
 public:
  // gram [atoms, atoms], norms [atoms] its diagonal, correlations [atoms] = D x, energy = |x|^2.
  SRDFAST_INLINE OmpRegisters(const Block& block, const OmpSettings<float>& settings, int atoms,
                              const float* gram, const float* norms, const float* correlations, float energy)
      : block_(block), settings_(settings), atoms_(atoms), gram_(gram), norms_(norms), energy_(energy) {
    SRDFAST_UNROLL
    for (int j = 0; j < kAtoms; ++j) {
      const int atom = block.lane() + kWarp * j;
      correlations_[j] = atom < atoms ? correlations[atom] : 0.0f;
      remaining_[j] = atom < atoms ? norms[atom] : 0.0f;
    }
  }

  // Chooses atoms and solves for their values, which lane 0 writes; returns how many were chosen, to every
  // lane.
  SRDFAST_INLINE int solve(std::int32_t* indices, float* values) {
    residual_energy_ = energy_;
    take_steps<0>();
    write(indices, values);
    return count_;
  }

 private:
  struct Choice {
    int atom;  // -1: there is none
    float correlation, remaining;
  };

  SRDFAST_INLINE Choice choose() const {
    const bool by_residual = settings_.selection == Selection::residual;
    unsigned best = 0;  // of a score, as a number of the same order
    Choice mine{-1, 0, 0};
    SRDFAST_UNROLL
    for (int j = 0; j < kAtoms; ++j) {
      const float correlation = correlations_[j];
      const float score = by_residual ? correlation * correlation / remaining_[j] : absolute(correlation);
      const unsigned number = remaining_[j] > 0 && score > 0 ? ordered(score) : 0u;
      if (number > best) {
        best = number;
        mine = {block_.lane() + kWarp * j, correlation, remaining_[j]};
      }
    }
    const unsigned largest = block_.largest(best);
    if (largest == 0) return {-1, 0, 0};
    const unsigned none = 0xffffffffu;
    const int atom =
        static_cast<int>(block_.smallest(best == largest ? static_cast<unsigned>(mine.atom) : none));
    const int owner = atom % kWarp;
    return {atom, block_.shuffle(mine.correlation, owner), block_.shuffle(mine.remaining, owner)};
  }

  // The steps from kStep on. A number of the program, because registers have no index at run time.
  template <int kStep>
  SRDFAST_INLINE void take_steps() {
    if constexpr (kStep < kMost) {
      const bool done = settings_.tolerance != 0 && !(residual_energy_ > settings_.tolerance);
      if (kStep >= settings_.max_atoms || done) return;
      const Choice choice = choose();
      if (choice.atom < 0) return;
      const float noise = kNoise<float> * kNoise<float> * energy_ * norms_[choice.atom];
      if (choice.correlation * choice.correlation <= noise) return;
      lengths_[kStep] = root(choice.remaining);
      projections_[kStep] = choice.correlation / lengths_[kStep];
      chosen_[kStep] = choice.atom;
      count_ = kStep + 1;
      residual_energy_ -= projections_[kStep] * projections_[kStep];
      take_shares<kStep>(choice.atom);
      if (kStep + 1 < settings_.max_atoms) update<kStep>(choice.atom);
      take_steps<kStep + 1>();
    }
  }

  // shares[k][kStep] = <d_chosen, u_k>, from the lane that has the atom.
  template <int kStep>
  SRDFAST_INLINE void take_shares(int atom) {
    SRDFAST_UNROLL
    for (int k = 0; k < kStep; ++k) {
      float share = 0;
      SRDFAST_UNROLL
      for (int j = 0; j < kAtoms; ++j) {
        share = atom == block_.lane() + kWarp * j ? coordinates_[k][j] : share;
      }
      shares_[k][kStep] = block_.shuffle(share, atom % kWarp);
    }
  }

  template <int kStep>
  SRDFAST_INLINE void update(int chosen) {
    const float scale = 1 / lengths_[kStep], projection = projections_[kStep];
    const float* const row = gram_ + std::int64_t{chosen} * atoms_;
    SRDFAST_UNROLL
    for (int j = 0; j < kAtoms; ++j) {
      const int atom = block_.lane() + kWarp * j;
      float coordinate = atom < atoms_ ? row[atom] : 0.0f;
      SRDFAST_UNROLL
      for (int k = 0; k < kStep; ++k) coordinate -= shares_[k][kStep] * coordinates_[k][j];
      coordinate *= scale;
      correlations_[j] -= projection * coordinate;
      const float remaining = remaining_[j] - coordinate * coordinate;
      const bool dependent =
          atom >= atoms_ || atom == chosen || !(remaining > kDependent<float> * norms_[atom]);
      remaining_[j] = dependent ? 0.0f : remaining;
      coordinates_[kStep][j] = atom == chosen ? lengths_[kStep] : coordinate;
    }
  }

  // Back substitution in the triangular system: projections_k = sum_m values_m <d_m, u_k>.
  SRDFAST_INLINE void write(std::int32_t* indices, float* values) {
    float solved[kMost];
    SRDFAST_UNROLL
    for (int back = 0; back < kMost; ++back) {
      const int k = kMost - 1 - back;
      float value = projections_[k];
      SRDFAST_UNROLL
      for (int m = k + 1; m < kMost; ++m) value -= m < count_ ? solved[m] * shares_[k][m] : 0.0f;
      solved[k] = k < count_ ? value / lengths_[k] : 0.0f;
    }
    if (block_.lane() != 0) return;
    SRDFAST_UNROLL
    for (int k = 0; k < kMost; ++k) {
      if (k < settings_.max_atoms) {
        indices[k] = k < count_ ? chosen_[k] : -1;
        values[k] = solved[k];
      }
    }
  }

  const Block& block_;
  const OmpSettings<float>& settings_;
  int atoms_;
  const float *gram_, *norms_;
  float energy_, residual_energy_ = 0;
  int count_ = 0;
  float correlations_[kAtoms];
  float remaining_[kAtoms];           // 0 for an atom that lies in the span of the chosen ones
  float coordinates_[kMost][kAtoms];  // <d_a, u_k>
  float shares_[kMost][kMost];        // <d_m, u_k> of the chosen atoms m
  float lengths_[kMost], projections_[kMost];
  int chosen_[kMost];
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
