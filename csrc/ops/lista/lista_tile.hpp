// SPDX-License-Identifier: Apache-2.0
// LISTA for a tile of signals, on packed tables.
#pragma once

#include "core/groups.hpp"
#include "math/shrink.hpp"
#include "math/tables.hpp"
#include "ops/lista/lista.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
class ListaTables final : public Prepared {
 public:
  // analysis and synthesis [dictionaries, atoms, features]; uses(d) tells which dictionaries are wanted;
  // `steps` is the most that will be taken.
  template <class Uses>
  ListaTables(const View<const T, 3>& analysis, const View<const T, 3>& synthesis, int steps,
              const Uses& uses)
      : atoms(static_cast<int>(analysis.extent(1))),
        features(static_cast<int>(analysis.extent(2))),
        by_gram(lista_by_gram(steps, atoms, features)),
        to_atoms(analysis.extent(0), features, atoms),
        to_features(analysis.extent(0), atoms, features),
        recurrence(by_gram ? analysis.extent(0) : 0, atoms, atoms) {
    const std::int64_t dictionaries = analysis.extent(0);
    parallel_for(dictionaries, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t d = begin; d < end; ++d) {
        if (!uses(d)) continue;
        pack_transposed(features, atoms, analysis.slice(d), to_atoms[d]);
        pack(atoms, features, synthesis.slice(d), features, to_features[d]);
      }
    });
    if (!by_gram) return;
    parallel_for(dictionaries, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t d = begin; d < end; ++d) {
        if (uses(d)) fill_recurrence(d, synthesis.slice(d));
      }
    });
  }

  const int atoms, features;
  const bool by_gram;
  PackedMatrices<T> to_atoms;     // E^T [features, atoms]
  PackedMatrices<T> to_features;  // D [atoms, features]
  PackedMatrices<T> recurrence;   // I - D E^T [atoms, atoms]

 private:
  void fill_recurrence(std::int64_t d, const T* synthesis) {
    const int width = padded(atoms);
    Scratch<T> matrix(std::int64_t{atoms} * width);
    for (int a = 0; a < atoms; a += kTile) {
      const int count = atoms - a < kTile ? atoms - a : kTile;
      to_atoms.multiply(d, count, synthesis + std::int64_t{a} * features, features,
                        matrix.data() + std::int64_t{a} * width, width);
    }
    for (int a = 0; a < atoms; ++a) {
      T* row = matrix.data() + std::int64_t{a} * width;
      for (int b = 0; b < atoms; ++b) row[b] = T(a == b) - row[b];
    }
    pack(atoms, atoms, matrix.data(), width, recurrence[d]);
  }
};

// A step's shrinkage is done on the sums of its last product while they are in registers.
template <class T>
class ListaCoder {
 public:
  ListaCoder(int steps, const View<const T, 2>& thresholds, const ListaTables<T>& tables)
      : steps_(steps),
        thresholds_view_(thresholds),
        tables_(tables),
        width_(padded(tables.atoms)),
        rebuilt_width_(padded(tables.features)),
        thresholds_(width_),
        analysed_(kTile * width_),
        codes_(kTile * width_),
        former_codes_(kTile * width_),
        residuals_(kTile * rebuilt_width_),
        now_(codes_.data()),
        former_(former_codes_.data()) {}

  // Codes signals [count, features].
  void code(std::int64_t dictionary, int count, const T* signals) {
    code(dictionary, count, signals, [](int) {});
  }

  // The same; after(step) is called when the codes of a step are there.
  template <class After>
  void code(std::int64_t dictionary, int count, const T* signals, const After& after) {
    choose(dictionary);
    tables_.to_atoms.multiply(dictionary, count, signals, tables_.features,
                              [this](int row, int atom, const Vector<T>& analysed) {
                                const std::int64_t at = std::int64_t{row} * width_ + atom;
                                if (steps_ > 1) store(analysed, analysed_.data() + at);
                                keep(at, atom, analysed);
                              });
    after(0);
    for (int step = 1; step < steps_; ++step) {
      if (tables_.by_gram) {
        correct_by_gram(count);
      } else {
        correct_by_residuals(count, signals);
      }
      after(step);
    }
  }

  const T* codes(int row) const { return now_ + std::int64_t{row} * width_; }

  // out [count, features] = codes * synthesis, with out_stride >= padded(features) elements between rows.
  void reconstruct(int count, T* out, int out_stride) const {
    tables_.to_features.multiply(dictionary_, count, now_, width_, out, out_stride);
  }

 private:
  // Keeps the thresholds of the dictionary in a row that reaches as far as the panels.
  void choose(std::int64_t dictionary) {
    if (dictionary == dictionary_) return;
    dictionary_ = dictionary;
    const T* thresholds = thresholds_view_.slice(dictionary);
    for (int a = 0; a < width_; ++a) thresholds_[a] = a < tables_.atoms ? thresholds[a] : T(0);
  }

  void correct_by_gram(int count) {
    T* const former = now_;
    now_ = former_, former_ = former;
    tables_.recurrence.multiply(dictionary_, count, former, width_,
                                [this](int row, int atom, const Vector<T>& correction) {
                                  const std::int64_t at = std::int64_t{row} * width_ + atom;
                                  keep(at, atom, load(analysed_.data() + at) + correction);
                                });
  }

  void correct_by_residuals(int count, const T* signals) {
    reconstruct(count, residuals_.data(), rebuilt_width_);
    for (int r = 0; r < count; ++r) {
      T* SRDFAST_RESTRICT residual = residuals_.data() + std::int64_t{r} * rebuilt_width_;
      const T* SRDFAST_RESTRICT signal = signals + std::int64_t{r} * tables_.features;
      for (int f = 0; f < tables_.features; ++f) residual[f] = signal[f] - residual[f];
    }
    tables_.to_atoms.multiply(dictionary_, count, residuals_.data(), rebuilt_width_,
                              [this](int row, int atom, const Vector<T>& correction) {
                                const std::int64_t at = std::int64_t{row} * width_ + atom;
                                keep(at, atom, load(now_ + at) + correction);
                              });
  }

  // codes[at...] = shrink(moved, thresholds)
  SRDFAST_INLINE void keep(std::int64_t at, int atom, const Vector<T>& moved) {
    store(shrink(moved, load(thresholds_.data() + atom)), now_ + at);
  }

  int steps_;
  View<const T, 2> thresholds_view_;  // [dictionaries, atoms]
  const ListaTables<T>& tables_;
  int width_, rebuilt_width_;
  std::int64_t dictionary_ = -1;
  Scratch<T> thresholds_;            // [width], of the dictionary in use
  Scratch<T> analysed_;              // [kTile, width], x E^T
  Scratch<T> codes_, former_codes_;  // [kTile, width]
  Scratch<T> residuals_;             // [kTile, padded features]
  T *now_, *former_;                 // the codes of this step, and room for those of the next
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
