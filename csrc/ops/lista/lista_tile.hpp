// SPDX-License-Identifier: Apache-2.0
// LISTA for a tile of signals, on packed tables.
//
// A step after the first can be written in two ways,
//
//     z <- shrink(z + (x - zD) E^T, thresholds)          two products of atoms x features
//     z <- shrink(x E^T + z (I - D E^T), thresholds)     one product of atoms x atoms
//
// and the tables are made for the cheaper one, by the shape of the dictionaries alone.
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
        by_gram(steps > 1 && atoms < 2 * features),
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

template <class T>
class ListaCoder {
 public:
  ListaCoder(int steps, const View<const T, 2>& thresholds, const ListaTables<T>& tables)
      : steps_(steps),
        thresholds_(thresholds),
        tables_(tables),
        width_(padded(tables.atoms)),
        rebuilt_width_(padded(tables.features)),
        analysed_(kTile * width_),
        corrections_(kTile * width_),
        codes_(kTile * width_),
        residuals_(kTile * rebuilt_width_) {}

  // Codes signals [count, features].
  void code(std::int64_t dictionary, int count, const T* signals) {
    dictionary_ = dictionary;
    tables_.to_atoms.multiply(dictionary, count, signals, tables_.features, analysed_.data(), width_);
    shrink_rows(count, [](T analysed, T, T) { return analysed; });
    for (int step = 1; step < steps_; ++step) {
      if (tables_.by_gram) {
        tables_.recurrence.multiply(dictionary, count, codes_.data(), width_, corrections_.data(), width_);
        shrink_rows(count, [](T analysed, T correction, T) { return analysed + correction; });
      } else {
        correct_by_residuals(count, signals);
        shrink_rows(count, [](T, T correction, T code) { return code + correction; });
      }
    }
  }

  const T* codes(int row) const { return codes_.data() + std::int64_t{row} * width_; }

  // out [count, features] = codes * synthesis, with out_stride >= padded(features) elements between rows.
  void reconstruct(int count, T* out, int out_stride) const {
    tables_.to_features.multiply(dictionary_, count, codes_.data(), width_, out, out_stride);
  }

 private:
  void correct_by_residuals(int count, const T* signals) {
    reconstruct(count, residuals_.data(), rebuilt_width_);
    for (int r = 0; r < count; ++r) {
      T* SRDFAST_RESTRICT residual = residuals_.data() + std::int64_t{r} * rebuilt_width_;
      const T* SRDFAST_RESTRICT signal = signals + std::int64_t{r} * tables_.features;
      for (int f = 0; f < tables_.features; ++f) residual[f] = signal[f] - residual[f];
    }
    tables_.to_atoms.multiply(dictionary_, count, residuals_.data(), rebuilt_width_, corrections_.data(),
                              width_);
  }

  // codes = shrink(moved(analysed, correction, code), thresholds)
  template <class Moved>
  SRDFAST_INLINE void shrink_rows(int count, const Moved& moved) {
    const T* SRDFAST_RESTRICT thresholds = thresholds_.slice(dictionary_);
    for (int r = 0; r < count; ++r) {
      T* SRDFAST_RESTRICT codes = codes_.data() + std::int64_t{r} * width_;
      const T* SRDFAST_RESTRICT analysed = analysed_.data() + std::int64_t{r} * width_;
      const T* SRDFAST_RESTRICT corrections = corrections_.data() + std::int64_t{r} * width_;
      for (int a = 0; a < tables_.atoms; ++a) {
        codes[a] = shrink(moved(analysed[a], corrections[a], codes[a]), thresholds[a]);
      }
    }
  }

  int steps_;
  View<const T, 2> thresholds_;  // [dictionaries, atoms]
  const ListaTables<T>& tables_;
  int width_, rebuilt_width_;
  std::int64_t dictionary_ = 0;
  Scratch<T> analysed_;     // [kTile, width], x E^T
  Scratch<T> corrections_;  // [kTile, width]
  Scratch<T> codes_;        // [kTile, width]
  Scratch<T> residuals_;    // [kTile, padded features]
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
