// SPDX-License-Identifier: Apache-2.0
// The gradient of LISTA by a tile of signals, on packed tables: forward by the coder of LISTA, and back on
// its tables with analysis and synthesis exchanged, whose recurrence is I - E D^T.
#pragma once

#include <cstdint>

#include "ops/lista/lista_tile.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
class ListaGradient {
 public:
  // rebuilt: the gradients that come in are those by the reconstructions.
  ListaGradient(int steps, bool rebuilt, const View<const T, 2>& thresholds, const ListaTables<T>& forward,
                const ListaTables<T>& backward)
      : steps_(steps),
        rebuilt_(rebuilt),
        backward_(backward),
        coder_(steps, thresholds, forward),
        atoms_(forward.atoms),
        width_(padded(forward.atoms)),
        features_width_(padded(forward.features)),
        masks_(std::int64_t{steps} * kTile * atoms_),
        of_codes_(kTile * width_),
        of_moved_(kTile * width_),
        total_(kTile * width_),
        of_features_(kTile * features_width_) {}

  // Differentiates by signals [count, features], from gradients [count, atoms] or [count, features].
  void differentiate(std::int64_t dictionary, int count, const T* signals, const T* grad) {
    coder_.code(dictionary, count, signals, [&](int step) { keep_mask(step, count); });
    take_in(dictionary, count, grad);
    for (int r = 0; r < count; ++r) {
      for (int a = 0; a < atoms_; ++a) total_[std::int64_t{r} * width_ + a] = 0;
    }
    for (int step = steps_ - 1;; --step) {
      pass_mask(step, count);
      if (step == 0) break;
      step_back(dictionary, count);
    }
    backward_.to_features.multiply(dictionary, count, total_.data(), width_, of_features_.data(),
                                   features_width_);
  }

  // [features], by the signal of this row.
  const T* of_signal(int row) const { return of_features_.data() + std::int64_t{row} * features_width_; }

 private:
  std::uint8_t* mask(int step, int row) const {
    return masks_.data() + (std::int64_t{step} * kTile + row) * atoms_;
  }

  void keep_mask(int step, int count) {
    for (int r = 0; r < count; ++r) {
      const T* SRDFAST_RESTRICT codes = coder_.codes(r);
      std::uint8_t* SRDFAST_RESTRICT kept = mask(step, r);
      for (int a = 0; a < atoms_; ++a) kept[a] = codes[a] != 0;
    }
  }

  // of_codes = grad, or grad D^T
  void take_in(std::int64_t dictionary, int count, const T* grad) {
    if (rebuilt_) {
      backward_.to_atoms.multiply(dictionary, count, grad, backward_.features, of_codes_.data(), width_);
      return;
    }
    for (int r = 0; r < count; ++r) {
      for (int a = 0; a < atoms_; ++a) {
        of_codes_[std::int64_t{r} * width_ + a] = grad[std::int64_t{r} * atoms_ + a];
      }
    }
  }

  // of_moved = of_codes where the step's codes are not zero; total += of_moved
  void pass_mask(int step, int count) {
    for (int r = 0; r < count; ++r) {
      const std::uint8_t* SRDFAST_RESTRICT passes = mask(step, r);
      const T* SRDFAST_RESTRICT of_codes = of_codes_.data() + std::int64_t{r} * width_;
      T* SRDFAST_RESTRICT of_moved = of_moved_.data() + std::int64_t{r} * width_;
      T* SRDFAST_RESTRICT total = total_.data() + std::int64_t{r} * width_;
      for (int a = 0; a < atoms_; ++a) {
        of_moved[a] = passes[a] ? of_codes[a] : T(0);
        total[a] += of_moved[a];
      }
    }
  }

  // of_codes = of_moved (I - E D^T)
  void step_back(std::int64_t dictionary, int count) {
    if (backward_.by_gram) {
      backward_.recurrence.multiply(dictionary, count, of_moved_.data(), width_, of_codes_.data(), width_);
      return;
    }
    backward_.to_features.multiply(dictionary, count, of_moved_.data(), width_, of_features_.data(),
                                   features_width_);
    backward_.to_atoms.multiply(dictionary, count, of_features_.data(), features_width_,
                                [this](int row, int atom, const Vector<T>& sums) {
                                  const std::int64_t at = std::int64_t{row} * width_ + atom;
                                  store(load(of_moved_.data() + at) - sums, of_codes_.data() + at);
                                });
  }

  int steps_;
  bool rebuilt_;
  const ListaTables<T>& backward_;
  ListaCoder<T> coder_;
  int atoms_, width_, features_width_;
  Scratch<std::uint8_t> masks_;     // [steps, kTile, atoms], 1 where the step's codes are not zero
  Scratch<T> of_codes_, of_moved_;  // [kTile, width]
  Scratch<T> total_;                // [kTile, width], of_moved of all steps
  Scratch<T> of_features_;          // [kTile, padded features], of a step's rest, and in the end of signals
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
