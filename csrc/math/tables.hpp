// SPDX-License-Identifier: Apache-2.0
// What coders precompute of the dictionaries that a batch uses: transposes, and Gram matrices.
#pragma once

#include <cstdint>

#include "core/groups.hpp"
#include "core/parallel.hpp"
#include "core/view.hpp"
#include "math/product.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// Copies up to kTile rows of `matrix` into `tile` and fills the rest with zeros, so that a tile that is not
// full runs through the same instructions as a full one.
template <class T, class RowOf>
SRDFAST_INLINE void load_tile(int count, int columns, const RowOf& row_of, T* tile) {
  for (int r = 0; r < kTile; ++r) {
    T* out = tile + static_cast<long>(r) * columns;
    if (r < count) {
      std::memcpy(out, row_of(r), sizeof(T) * static_cast<std::size_t>(columns));
    } else {
      std::memset(static_cast<void*>(out), 0, sizeof(T) * static_cast<std::size_t>(columns));
    }
  }
}

// The transposes [features, atoms] of the dictionaries [dictionaries, atoms, features] in use.
template <class T>
class Transposes {
 public:
  Transposes(const View<const T, 3>& dictionary, const Groups& groups)
      : size_(dictionary.slice_size()), data_(dictionary.size()) {
    const int atoms = static_cast<int>(dictionary.extent(1));
    const int features = static_cast<int>(dictionary.extent(2));
    parallel_for(dictionary.extent(0), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t d = begin; d < end; ++d) {
        if (groups.uses(d)) transpose(atoms, features, dictionary.slice(d), data_.data() + d * size_);
      }
    });
  }
  const T* operator[](std::int64_t dictionary) const { return data_.data() + dictionary * size_; }

 private:
  std::int64_t size_;
  Scratch<T> data_;
};

// The Gram matrices [atoms, atoms] of the dictionaries in use.
template <class T>
class Grams {
 public:
  Grams(const View<const T, 3>& dictionary, const Transposes<T>& transposes, const Groups& groups)
      : size_(dictionary.extent(1) * dictionary.extent(1)), data_(size_ * dictionary.extent(0)) {
    const int atoms = static_cast<int>(dictionary.extent(1));
    const int features = static_cast<int>(dictionary.extent(2));
    const std::int64_t tiles = (atoms + kTile - 1) / kTile;
    parallel_for(dictionary.extent(0) * tiles, 4, [&](std::int64_t begin, std::int64_t end) {
      Scratch<T> rows(kTile * features), products(kTile * atoms);
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t d = i / tiles;
        if (!groups.uses(d)) continue;
        const int first = static_cast<int>(i % tiles) * kTile;
        const int count = atoms - first < kTile ? atoms - first : kTile;
        const T* dictionary_rows = dictionary.slice(d) + static_cast<std::int64_t>(first) * features;
        load_tile(
            count, features, [=](int r) { return dictionary_rows + static_cast<long>(r) * features; },
            rows.data());
        tile_product(features, atoms, rows.data(), features, transposes[d], products.data());
        std::memcpy(data_.data() + d * size_ + static_cast<std::int64_t>(first) * atoms, products.data(),
                    sizeof(T) * static_cast<std::size_t>(count) * static_cast<std::size_t>(atoms));
      }
    });
  }
  const T* operator[](std::int64_t dictionary) const { return data_.data() + dictionary * size_; }

 private:
  std::int64_t size_;
  Scratch<T> data_;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
