// SPDX-License-Identifier: Apache-2.0
// Codes a batch of signals: a block takes a tile of them that share a dictionary.
//
// A coder for tiles of kRows signals is
//
//     struct Coder {
//       static constexpr int kRows;                                // a multiple of kRowTile
//       static constexpr int kResident;                            // see device/queue.hpp
//       struct Arguments { int features() const; ... };
//       struct Outputs;                                            // the results of the batch
//       static std::int64_t shared_bytes(const Arguments&, int threads);
//       Coder(const Block&, const Arguments&, SharedMemory&);
//       void code(dictionary, count, rows, stride);                // rows [kRows, stride] in shared memory
//       void reconstruct(count, take);                             // take(row, feature, value)
//       void write(count, signal_of, outputs);                     // signal_of(row) is its place in the
//       batch
//     };
//
// whose members all threads of the block call; what `code` wrote is seen by all when it returns.
#pragma once

#include <cstdint>

#include "device/fragments.hpp"
#include "device/queue.hpp"
#include "device/tile_table.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// rows [kRows, stride] = element(row, feature), zero beyond count and features. The block must sync after.
template <int kRows, class Block, class Element>
SRDFAST_INLINE void load_rows(const Block& block, int count, int features, float* rows, int stride,
                              const Element& element) {
  for (int r = block.warp(); r < kRows; r += block.warps()) {
    for (int f = block.lane(); f < stride; f += kWarp) {
      rows[r * stride + f] = r < count && f < features ? element(r, f) : 0.0f;
    }
  }
}

struct AnyBlock {};  // stands for the block where only the coder's types and sizes matter

template <template <int, class> class Coder, int kRows>
struct CodeBody {
  static constexpr int kThreads = 256;
  static constexpr bool kFewerWillDo = true;
  using Of = Coder<kRows, AnyBlock>;
  static constexpr int kResident = Of::kResident;

  struct Arguments {
    const float* signals;  // [batch, features]
    TileTable tiles;
    typename Of::Arguments coder;
    typename Of::Outputs outputs;
  };

  static std::int64_t shared_bytes(const Arguments& args) { return shared_bytes(args.coder); }
  static std::int64_t shared_bytes(const typename Of::Arguments& coder) {
    return SharedMemory::bytes<float>(kRows * row_stride(coder.features())) +
           Of::shared_bytes(coder, kThreads);
  }

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    const int features = args.coder.features(), stride = row_stride(features);
    SharedMemory memory(shared);
    float* const rows = memory.take<float>(kRows * stride);
    Coder<kRows, Block> coder(block, args.coder, memory);
    const DeviceTile tile = args.tiles.find(block, block.index(), kRows);
    if (tile.count == 0) return;
    const auto signal_of = [&](int row) { return args.tiles.signal(tile.first + row); };
    load_rows<kRows>(block, tile.count, features, rows, stride,
                     [&](int r, int f) { return args.signals[signal_of(r) * features + f]; });
    block.sync();
    coder.code(tile.dictionary, tile.count, rows, stride);
    coder.write(tile.count, signal_of, args.outputs);
  }
};

template <int kRows>
struct Rows {
  static constexpr int value = kRows;
};

// Calls function(Rows<..>{}) with 32 signals a block where a multiprocessor then has shared memory for two
// blocks, or else with 16.
template <class Queue, class SharedBytes, class Function>
void with_rows(const Queue& queue, const SharedBytes& shared_bytes, const Function& function) {
  if (2 * shared_bytes(Rows<32>{}) <= queue.shared_limit()) {
    function(Rows<32>{});
  } else {
    function(Rows<16>{});
  }
}

template <template <int, class> class Coder, class Queue, class CoderArguments, class Outputs>
void code_batch(Queue& queue, const float* signals, const TileTable& tiles, const CoderArguments& coder,
                const Outputs& outputs) {
  with_rows(
      queue, [&](auto rows) { return CodeBody<Coder, decltype(rows)::value>::shared_bytes(coder); },
      [&](auto rows) {
        using Body = CodeBody<Coder, decltype(rows)::value>;
        queue.template launch<Body>(tiles.most_tiles(decltype(rows)::value),
                                    {signals, tiles, coder, outputs});
      });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
