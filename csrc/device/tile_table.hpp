// SPDX-License-Identifier: Apache-2.0
// Sorts the signals of a batch by dictionary, on the device, and cuts them into tiles that share one
// dictionary.
//
// The order within a dictionary is that in which the blocks came by; a signal's code does not depend on it.
#pragma once

#include <cstdint>

#include "device/queue.hpp"
#include "device/warp_team.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct DeviceTile {
  std::int64_t dictionary, first;  // position of its first signal in the sorted order
  int count;                       // 0: there is no such tile
};

// Which signals a tile has, for tiles of any size.
struct TileTable {
  std::int64_t batch, dictionaries;
  bool sorted;        // by dictionary; else the signals are as they come, in one dictionary
  const int* order;   // [batch], the signals where they are sorted
  const int* starts;  // [dictionaries + 1], position of the first signal of each dictionary

  // No more tiles than this.
  SRDFAST_INLINE std::int64_t most_tiles(int size) const {
    return sorted ? batch / size + dictionaries : (batch + size - 1) / size;
  }

  SRDFAST_INLINE std::int64_t signal(std::int64_t position) const {
    return sorted ? order[position] : position;
  }

  // Tile number `number` of tiles of `size`, for all threads of a block.
  template <class Block>
  SRDFAST_INLINE DeviceTile find(const Block& block, std::int64_t number, int size) const {
    if (!sorted) {
      const std::int64_t first = number * size, left = batch - first;
      return {0, first, static_cast<int>(left < size ? left : size)};
    }
    // Each lane counts the tiles of one dictionary; the warp goes on by 32 dictionaries until it has passed
    // them.
    for (std::int64_t d = 0; d < dictionaries; d += kWarp) {
      const std::int64_t mine = d + block.lane();
      const int start = mine < dictionaries ? starts[mine] : 0,
                end = mine < dictionaries ? starts[mine + 1] : 0;
      const int tiles = (end - start + size - 1) / size;
      int before = inclusive_sum(block, tiles);
      const int total = block.shuffle(before, kWarp - 1);
      if (number >= total) {
        number -= total;
        continue;
      }
      before -= tiles;
      const bool here = number >= before && number < before + tiles;
      const int lane = static_cast<int>(block.smallest(here ? static_cast<unsigned>(block.lane()) : kWarp));
      const std::int64_t within = number - block.shuffle(before, lane);
      const std::int64_t first = block.shuffle(start, lane) + within * size;
      const std::int64_t left = block.shuffle(end, lane) - first;
      return {d + lane, first, static_cast<int>(left < size ? left : size)};
    }
    return {0, 0, 0};
  }
};

// The dictionary of a signal. A number that names none is the caller's error, found before where that is
// possible without waiting for the device; here it must do no harm.
SRDFAST_INLINE std::int64_t dictionary_of(const std::int64_t* index, std::int64_t i,
                                          std::int64_t dictionaries) {
  const std::int64_t d = index == nullptr ? 0 : index[i];
  return d < 0 ? 0 : d < dictionaries ? d : dictionaries - 1;
}

struct TableArguments {
  const std::int64_t* index;  // [batch]
  std::int64_t batch, dictionaries;
  int* counters;  // [dictionaries]
  int* starts;    // [dictionaries + 1]
  int* order;     // [batch]
};

// counters = 0
struct ClearBody : ItemBody {
  using Arguments = TableArguments;

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    for_each_item(block, args.dictionaries, [&](std::int64_t d) { args.counters[d] = 0; });
  }
};

// counters = signals of each dictionary
struct CountBody : ItemBody {
  using Arguments = TableArguments;

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    for_each_item(block, args.batch, [&](std::int64_t i) {
      block.add(args.counters + dictionary_of(args.index, i, args.dictionaries), 1);
    });
  }
};

// starts = sums of the counters before each dictionary, by one block; the counters then hold them too.
struct StartsBody : ItemBody {
  using Arguments = TableArguments;
  static std::int64_t shared_bytes(const Arguments&) { return SharedMemory::bytes<int>(kThreads); }

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    int* const sums = static_cast<int*>(shared);
    const std::int64_t share = (args.dictionaries + block.threads() - 1) / block.threads();
    const std::int64_t first = block.thread() * share;
    const std::int64_t end = first + share < args.dictionaries ? first + share : args.dictionaries;
    int mine = 0;
    for (std::int64_t d = first; d < end; ++d) mine += args.counters[d];
    sums[block.thread()] = mine;
    block.sync();
    int before = 0;
    for (int t = 0; t < block.thread(); ++t) before += sums[t];
    for (std::int64_t d = first; d < end; ++d) {
      const int count = args.counters[d];
      args.starts[d] = args.counters[d] = before;
      before += count;
    }
    if (block.thread() == 0) args.starts[args.dictionaries] = static_cast<int>(args.batch);
  }
};

// order = the signals, each at a place of its dictionary
struct OrderBody : ItemBody {
  using Arguments = TableArguments;

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    for_each_item(block, args.batch, [&](std::int64_t i) {
      args.order[block.add(args.counters + dictionary_of(args.index, i, args.dictionaries), 1)] =
          static_cast<int>(i);
    });
  }
};

// index [batch], or null where there is one dictionary.
template <class Queue>
TileTable tile_table(Queue& queue, const std::int64_t* index, std::int64_t batch, std::int64_t dictionaries) {
  if (index == nullptr || dictionaries == 1) return {batch, dictionaries, false, nullptr, nullptr};
  const TableArguments args{index,
                            batch,
                            dictionaries,
                            queue.template take<int>(dictionaries),
                            queue.template take<int>(dictionaries + 1),
                            queue.template take<int>(batch)};
  launch_items<ClearBody>(queue, dictionaries, args);
  launch_items<CountBody>(queue, batch, args);
  queue.template launch<StartsBody>(1, args);
  launch_items<OrderBody>(queue, batch, args);
  return {batch, dictionaries, true, args.order, args.starts};
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
