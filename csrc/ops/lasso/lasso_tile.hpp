// SPDX-License-Identifier: Apache-2.0
// The lasso for a tile of signals: by the active set, and by coordinate descent what that declines.
#pragma once

#include "math/tables.hpp"
#include "ops/lasso/active_set.hpp"
#include "ops/lasso/lasso.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
class LassoCoder {
 public:
  LassoCoder(const LassoSettings<T>& settings, const GramTables<T>& tables)
      : settings_(settings),
        tables_(tables),
        width_(tables.width),
        active_set_(settings, width_),
        correlations_(kTile * width_),
        residual_(tables.features),
        codes_(width_),
        indices_(kTile * width_),
        values_(kTile * width_) {}

  static constexpr int kMostKept = ActiveSet<T>::kCapacity;  // atoms of a code that `keep` can hand out

  // Codes signals [count, features].
  void code(std::int64_t dictionary, int count, const T* signals) {
    code(dictionary, count, signals, [](int) { return LassoStart<T>{}; });
  }

  // The same; start(row) is the LassoStart of a row.
  template <class Start>
  void code(std::int64_t dictionary, int count, const T* signals, const Start& start) {
    dictionary_ = dictionary;
    tables_.correlate(dictionary, count, signals, correlations_.data());
    for (int row = 0; row < count; ++row) {
      const T* signal = signals + std::int64_t{row} * tables_.features;
      const T energy = SerialTeam{}.sum<T>(tables_.features, [=](int f) { return signal[f] * signal[f]; });
      const LassoStart<T> from = start(row);
      const bool solved = active_set_.solve(tables_.gram(dictionary), correlations(row), energy, from);
      rounds_[row] = active_set_.rounds();
      repeats_[row] = solved && active_set_.certified();
      if (solved) {
        keep_active_set(row);
      } else {
        descend(row, signal, from);
      }
    }
  }

  T gap(int row) const { return gaps_[row]; }

  // Rounds of the active set, and sweeps of coordinate descent.
  int rounds(int row) const { return rounds_[row]; }

  // The code of a row to start from another time, if it is one from which the same signal comes to the same
  // bits; else a code without atoms.
  LassoStart<T> repeatable(int row) const {
    if (!repeats_[row]) return {};
    return {counts_[row], indices(row), values(row)};
  }

  // codes [atoms] of one row.
  void write(int row, T* codes) const {
    std::memset(static_cast<void*>(codes), 0, sizeof(T) * static_cast<std::size_t>(tables_.atoms));
    for (int k = 0; k < counts_[row]; ++k) codes[indices(row)[k]] = values(row)[k];
  }

  // out [count, features] = codes * dictionary, with out_stride elements between rows.
  void reconstruct(int count, T* out, int out_stride) const {
    for (int r = 0; r < count; ++r, out += out_stride) {
      std::memset(static_cast<void*>(out), 0, sizeof(T) * static_cast<std::size_t>(tables_.features));
      for (int k = 0; k < counts_[r]; ++k) {
        add_atom(tables_.features, values(r)[k], tables_.atom(dictionary_, indices(r)[k]), out);
      }
    }
  }

 private:
  std::int32_t* indices(int row) const { return indices_.data() + std::int64_t{row} * width_; }
  T* values(int row) const { return values_.data() + std::int64_t{row} * width_; }

  T* correlations(int row) const { return correlations_.data() + std::int64_t{row} * width_; }

  void keep_active_set(int row) {
    counts_[row] = active_set_.count();
    gaps_[row] = active_set_.gap();
    std::memcpy(indices(row), active_set_.indices(),
                sizeof(std::int32_t) * static_cast<std::size_t>(counts_[row]));
    std::memcpy(values(row), active_set_.values(), sizeof(T) * static_cast<std::size_t>(counts_[row]));
  }

  // Coordinate descent, the reference.
  void descend(int row, const T* signal, const LassoStart<T>& start) {
    const LassoInput<T, TransposedPanels<T>> in{tables_.atoms,
                                                tables_.features,
                                                width_,
                                                signal,
                                                tables_.dictionary(dictionary_),
                                                tables_.transposed(dictionary_),
                                                tables_.gram(dictionary_)};
    for (int a = 0; a < tables_.atoms; ++a) codes_[a] = 0;
    for (int i = 0; i < start.count; ++i) {
      if (start.atoms[i] >= 0 && start.atoms[i] < tables_.atoms) codes_[start.atoms[i]] = start.values[i];
    }
    const LassoEnd<T> end = lasso_solve(SerialTeam{}, settings_, in, correlations(row), residual_.data(),
                                        codes_.data(), start.count > 0);
    gaps_[row] = end.gap;
    rounds_[row] += end.sweeps;
    int count = 0;
    for (int a = 0; a < tables_.atoms; ++a) {
      if (codes_[a] == 0) continue;
      indices(row)[count] = a;
      values(row)[count++] = codes_[a];
    }
    counts_[row] = count;
  }

  LassoSettings<T> settings_;
  const GramTables<T>& tables_;
  int width_;
  std::int64_t dictionary_ = 0;
  ActiveSet<T> active_set_;
  Scratch<T> correlations_;        // [kTile, width]
  Scratch<T> residual_, codes_;    // of the signal in work
  Scratch<std::int32_t> indices_;  // [kTile, width], the supports
  Scratch<T> values_;              // [kTile, width]
  int counts_[kTile] = {}, rounds_[kTile] = {};
  bool repeats_[kTile] = {};
  T gaps_[kTile] = {};
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
