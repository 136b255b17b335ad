// SPDX-License-Identifier: Apache-2.0
// Sorts the signals of a batch by dictionary and cuts them into tiles that share one dictionary.
#pragma once

#include <cstdint>

#include "core/scratch.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct Tile {
  std::int64_t dictionary;
  std::int64_t first;  // position of its first signal in the sorted order
  int count;
};

class Groups {
 public:
  // index [batch] holds the dictionary of each signal; null means dictionary 0 for all.
  Groups(const std::int64_t* index, std::int64_t batch, std::int64_t dictionaries, int tile_size)
      : sizes_(dictionaries), order_(batch), tiles_(batch / tile_size + dictionaries) {
    for (std::int64_t d = 0; d < dictionaries; ++d) sizes_[d] = 0;
    for (std::int64_t i = 0; i < batch; ++i) ++sizes_[index ? index[i] : 0];
    Scratch<std::int64_t> next(dictionaries);
    std::int64_t first = 0;
    for (std::int64_t d = 0; d < dictionaries; ++d) {
      next[d] = first;
      for (std::int64_t i = 0; i < sizes_[d]; i += tile_size) {
        const std::int64_t left = sizes_[d] - i;
        tiles_[tile_count_++] = {d, first + i, static_cast<int>(left < tile_size ? left : tile_size)};
      }
      first += sizes_[d];
    }
    for (std::int64_t i = 0; i < batch; ++i) order_[next[index ? index[i] : 0]++] = i;
  }

  bool uses(std::int64_t dictionary) const { return sizes_[dictionary] > 0; }
  std::int64_t tile_count() const { return tile_count_; }
  const Tile& tile(std::int64_t i) const { return tiles_[i]; }

  // The signal at this position of the sorted order.
  std::int64_t signal(std::int64_t position) const { return order_[position]; }

  // Whether the signals of a tile follow one another in the batch. Those of a dictionary are in ascending
  // order.
  bool is_run(const Tile& tile) const {
    return signal(tile.first + tile.count - 1) - signal(tile.first) == tile.count - 1;
  }

 private:
  Scratch<std::int64_t> sizes_;  // [dictionaries]
  Scratch<std::int64_t> order_;  // [batch]
  Scratch<Tile> tiles_;
  std::int64_t tile_count_ = 0;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
