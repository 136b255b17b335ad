// SPDX-License-Identifier: Apache-2.0
// Tables of the dictionaries: matrices packed for the tile product, and Gram matrices.
#pragma once

#include <cstdint>

#include "core/parallel.hpp"
#include "core/prepared.hpp"
#include "core/view.hpp"
#include "math/product.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// One packed matrix [inner, columns] a dictionary.
template <class T>
class PackedMatrices {
 public:
  PackedMatrices(std::int64_t dictionaries, int inner, int columns)
      : inner_(inner),
        columns_(columns),
        size_(packed_size<T>(inner, columns)),
        data_(dictionaries * size_) {}

  T* operator[](std::int64_t dictionary) const { return data_.data() + dictionary * size_; }

  // take(row, column, sums) takes rows [count, inner] * matrix; see tile_product.
  template <class Take>
  SRDFAST_INLINE void multiply(std::int64_t dictionary, int count, const T* rows, int row_stride,
                               const Take& take) const {
    tile_product(count, inner_, columns_, rows, row_stride, (*this)[dictionary], take);
  }

  // out [count, columns] = rows [count, inner] * matrix; out_stride leaves room for whole panels.
  SRDFAST_INLINE void multiply(std::int64_t dictionary, int count, const T* rows, int row_stride, T* out,
                               int out_stride) const {
    multiply(dictionary, count, rows, row_stride, [=](int row, int column, const Vector<T>& sums) {
      store(sums, out + static_cast<long>(row) * out_stride + column);
    });
  }

 private:
  int inner_, columns_;
  std::int64_t size_;
  Scratch<T> data_;
};

// out [features] += value * atom
template <class T>
SRDFAST_INLINE void add_atom(int features, T value, const T* SRDFAST_RESTRICT atom, T* SRDFAST_RESTRICT out) {
  for (int f = 0; f < features; ++f) out[f] += value * atom[f];
}

// A matrix [features, atoms], packed: gradient = D residual by panels of atoms.
template <class T>
struct TransposedPanels {
  const T* panels;

  template <class Team>
  SRDFAST_INLINE void correlate(const Team& team, int features, int atoms, const T* residual,
                                T* gradient) const {
    const T* const first = panels;
    team.for_each(panel_count<T>(atoms), [=](int p) {
      product_panel<1>(
          features, residual, features, first + std::int64_t{p} * features * kPanel<T>,
          [=](int, int offset, const Vector<T>& sums) { store(sums, gradient + p * kPanel<T> + offset); });
    });
  }
};

// What pursuit and lasso need of the dictionaries [dictionaries, atoms, features].
template <class T>
class GramTables final : public Prepared {
 public:
  // uses(d) tells which dictionaries are wanted; the tables of the others stay empty.
  template <class Uses>
  GramTables(const View<const T, 3>& dictionary, const Uses& uses)
      : atoms(static_cast<int>(dictionary.extent(1))),
        features(static_cast<int>(dictionary.extent(2))),
        width(padded(atoms)),
        dictionary_(dictionary),
        transposes_(dictionary.extent(0), features, atoms),
        grams_(dictionary.extent(0) * atoms * width) {
    const std::int64_t tiles = (atoms + kTile - 1) / kTile;
    parallel_for(dictionary.extent(0), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t d = begin; d < end; ++d) {
        if (uses(d)) pack_transposed(features, atoms, dictionary.slice(d), transposes_[d]);
      }
    });
    parallel_for(dictionary.extent(0) * tiles, 4, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        if (uses(i / tiles)) fill_gram(i / tiles, static_cast<int>(i % tiles) * kTile);
      }
    });
  }

  const T* dictionary(std::int64_t d) const { return dictionary_.slice(d); }  // [atoms, features]

  const T* atom(std::int64_t d, int a) const {
    return dictionary(d) + static_cast<std::int64_t>(a) * features;
  }

  // [atoms, width], zero beyond the atoms.
  const T* gram(std::int64_t d) const { return grams_.data() + d * atoms * width; }

  // The matrix [features, atoms], packed.
  TransposedPanels<T> transposed(std::int64_t d) const { return {transposes_[d]}; }

  // correlations [count, width] = signals [count, features] * transposed dictionary, zero beyond the atoms.
  SRDFAST_INLINE void correlate(std::int64_t d, int count, const T* signals, T* correlations) const {
    transposes_.multiply(d, count, signals, features, correlations, width);
    clear_padding(count, correlations);
  }

  const int atoms, features, width;

 private:
  void fill_gram(std::int64_t d, int first) {
    const int count = atoms - first < kTile ? atoms - first : kTile;
    T* rows = grams_.data() + (d * atoms + first) * width;
    correlate(d, count, dictionary(d) + static_cast<std::int64_t>(first) * features, rows);
  }

  SRDFAST_INLINE void clear_padding(int count, T* rows) const {
    const int end = panel_count<T>(atoms) * kPanel<T>;
    if (end == width) return;
    for (int r = 0; r < count; ++r) {
      std::memset(static_cast<void*>(rows + static_cast<long>(r) * width + end), 0,
                  sizeof(T) * static_cast<std::size_t>(width - end));
    }
  }

  View<const T, 3> dictionary_;
  PackedMatrices<T> transposes_;
  Scratch<T> grams_;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
