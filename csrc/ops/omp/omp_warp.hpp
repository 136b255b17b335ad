// SPDX-License-Identifier: Apache-2.0
// The greedy loop of omp.hpp for a warp: the same steps, with what changes at every step in registers. Lane l
// has the atoms l, l + 32, l + 64, ...; only the coordinates go through memory, which for them is shared
// memory.
#pragma once

#include "device/warp_team.hpp"
#include "ops/omp/omp.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// A non-negative float as a number of the same order.
SRDFAST_INLINE unsigned ordered(float value) {
  unsigned bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// A dictionary as pursuit sees it.
struct OmpDictionary {
  int atoms;
  const float* gram;   // [atoms, atoms]
  const float* norms;  // [atoms], the diagonal of gram
};

// kAtoms: how many atoms a lane has room for.
template <int kAtoms, class Block>
class OmpWarp {
 public:
  // correlations [atoms] = D x, energy = |x|^2, coordinates [max_atoms, atoms].
  SRDFAST_INLINE OmpWarp(const Block& block, const OmpSettings<float>& settings,
                         const OmpDictionary& dictionary, const float* correlations, float energy,
                         float* coordinates)
      : block_(block),
        settings_(settings),
        dictionary_(dictionary),
        energy_(energy),
        coordinates_(coordinates) {
    SRDFAST_UNROLL
    for (int j = 0; j < kAtoms; ++j) {
      const int atom = block.lane() + kWarp * j;
      correlations_[j] = atom < dictionary.atoms ? correlations[atom] : 0.0f;
      remaining_[j] = atom < dictionary.atoms ? dictionary.norms[atom] : 0.0f;
    }
  }

  // Chooses atoms and solves for their values: indices and values [max_atoms] in shared memory. Returns how
  // many were chosen, to every lane.
  SRDFAST_INLINE int solve(std::int32_t* indices, float* values) {
    float residual_energy = energy_;
    int count = 0;
    while (count < settings_.max_atoms &&
           (settings_.tolerance == 0 || residual_energy > settings_.tolerance)) {
      const Choice choice = choose();
      if (choice.atom < 0) break;
      const float noise = kNoise<float> * kNoise<float> * energy_ * dictionary_.norms[choice.atom];
      if (choice.correlation * choice.correlation <= noise) break;
      const float length = root(choice.remaining), projection = choice.correlation / length;
      update(count, choice.atom, length, projection);
      if (block_.lane() == 0) {
        indices[count] = choice.atom;
        values[count] = projection;
      }
      residual_energy -= projection * projection;
      ++count;
      block_.sync_warp();
    }
    if (block_.lane() == 0) solve_triangle(count, indices, values);
    return count;
  }

 private:
  struct Choice {
    int atom;  // -1: there is none
    float correlation, remaining;
  };

  SRDFAST_INLINE Choice choose() const {
    const bool by_residual = settings_.selection == Selection::residual;
    unsigned best = 0;  // a score, as a number of the same order
    Choice mine{-1, 0, 0};
    SRDFAST_UNROLL
    for (int j = 0; j < kAtoms; ++j) {
      const float correlation = correlations_[j], remaining = remaining_[j];
      const float score = by_residual ? correlation * correlation / remaining : absolute(correlation);
      const unsigned number = remaining > 0 && score > 0 ? ordered(score) : 0u;
      if (number > best) {
        best = number;
        mine = {block_.lane() + kWarp * j, correlation, remaining};
      }
    }
    const unsigned largest = block_.largest(best);
    if (largest == 0) return {-1, 0, 0};
    constexpr unsigned kNone = 0xffffffffu;
    const unsigned atom = block_.smallest(best == largest ? static_cast<unsigned>(mine.atom) : kNone);
    const int owner = static_cast<int>(atom) % kWarp;
    return {static_cast<int>(atom), block_.shuffle(mine.correlation, owner),
            block_.shuffle(mine.remaining, owner)};
  }

  // Adds the basis vector of the chosen atom. After the last one nobody asks for correlations.
  SRDFAST_INLINE void update(int step, int chosen, float length, float projection) {
    const int atoms = dictionary_.atoms;
    const float* const gram_row = dictionary_.gram + std::int64_t{chosen} * atoms;
    float* const row = coordinates_ + std::int64_t{step} * atoms;
    const bool last = step + 1 == settings_.max_atoms;
    if (last) {
      if (block_.lane() == 0) row[chosen] = length;
      return;
    }
    const float scale = 1 / length;
    float coordinate[kAtoms];
    SRDFAST_UNROLL
    for (int j = 0; j < kAtoms; ++j) {
      const int atom = block_.lane() + kWarp * j;
      coordinate[j] = atom < atoms ? gram_row[atom] : 0.0f;
    }
    for (int k = 0; k < step; ++k) {
      const float* const earlier = coordinates_ + std::int64_t{k} * atoms;
      const float share = earlier[chosen];
      SRDFAST_UNROLL
      for (int j = 0; j < kAtoms; ++j) {
        const int atom = block_.lane() + kWarp * j;
        if (atom < atoms) coordinate[j] -= share * earlier[atom];
      }
    }
    SRDFAST_UNROLL
    for (int j = 0; j < kAtoms; ++j) {
      const int atom = block_.lane() + kWarp * j;
      if (atom >= atoms) continue;
      const float scaled = coordinate[j] * scale;
      correlations_[j] -= projection * scaled;
      const float remaining = remaining_[j] - scaled * scaled;
      const bool dependent = atom == chosen || !(remaining > kDependent<float> * dictionary_.norms[atom]);
      remaining_[j] = dependent ? 0.0f : remaining;
      row[atom] = atom == chosen ? length : scaled;
    }
  }

  // Back substitution: the projections in values = sum_m values[m] <d_m, u_k>.
  SRDFAST_INLINE void solve_triangle(int count, std::int32_t* indices, float* values) const {
    for (int k = count - 1; k >= 0; --k) {
      const float* const row = coordinates_ + std::int64_t{k} * dictionary_.atoms;
      float value = values[k];
      for (int m = k + 1; m < count; ++m) value -= values[m] * row[indices[m]];
      values[k] = value / row[indices[k]];
    }
    for (int k = count; k < settings_.max_atoms; ++k) {
      indices[k] = -1;
      values[k] = 0;
    }
  }

  const Block& block_;
  const OmpSettings<float>& settings_;
  const OmpDictionary dictionary_;
  float energy_;
  float* coordinates_;
  float correlations_[kAtoms];
  float remaining_[kAtoms];  // 0 for an atom that lies in the span of the chosen ones
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
