// SPDX-License-Identifier: Apache-2.0
// Codes a batch: tiles of signals that share a dictionary, over all threads.
#pragma once

#include "core/groups.hpp"
#include "core/parallel.hpp"
#include "core/view.hpp"
#include "math/product.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// Tiles that a thread takes at once.
SRDFAST_INLINE std::int64_t tiles_at_a_time(const Groups& groups) {
  constexpr std::int64_t kRanges = 64;  // enough to balance the threads, few enough that coders cost nothing
  return groups.tile_count() / kRanges + 1;
}

// The rows of a tile side by side, copied where they do not follow one another in the batch.
template <class T>
class TileRows {
 public:
  explicit TileRows(const View<const T, 2>& rows) : rows_(rows), gathered_(kTile * rows.slice_size()) {}

  const T* of(const Groups& groups, const Tile& tile) const {
    if (groups.is_run(tile)) return rows_.slice(groups.signal(tile.first));
    const std::int64_t size = rows_.slice_size();
    for (int r = 0; r < tile.count; ++r) {
      std::memcpy(gathered_.data() + r * size, rows_.slice(groups.signal(tile.first + r)),
                  sizeof(T) * static_cast<std::size_t>(size));
    }
    return gathered_.data();
  }

 private:
  View<const T, 2> rows_;  // [batch, size]
  Scratch<T> gathered_;    // [kTile, size]
};

// make_coder() gives a thread its coder; coder.code(dictionary, count, signals [count, features]) codes a
// tile, and take(coder, row, i) stores the code of its row `row`, which is signal i of the batch.
template <class T, class MakeCoder, class Take>
SRDFAST_INLINE void code_batch(const View<const T, 2>& signals, const Groups& groups,
                               const MakeCoder& make_coder, const Take& take) {
  parallel_for(groups.tile_count(), tiles_at_a_time(groups), [&](std::int64_t begin, std::int64_t end) {
    auto coder = make_coder();
    const TileRows<T> rows(signals);
    for (std::int64_t t = begin; t < end; ++t) {
      const Tile& tile = groups.tile(t);
      coder.code(tile.dictionary, tile.count, rows.of(groups, tile));
      for (int r = 0; r < tile.count; ++r) take(coder, r, groups.signal(tile.first + r));
    }
  });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
