// SPDX-License-Identifier: Apache-2.0
// Codes a batch of signals: a block takes a tile of them that share a dictionary.
//
// A coder for tiles of kRows signals is
//
//     struct Coder {
//       static constexpr int kRows;                                // a multiple of kRowTile
//       static constexpr int kResident;                            // see device/queue.hpp
//       static constexpr bool kMaySpill;                           // see device/spill.hpp
//       struct Arguments { int features() const; ... };
//       static int row_width(const Arguments&);                    // at least features; see `code`
//       struct Outputs;                                            // the results of the batch
//       static std::int64_t shared_bytes(const Arguments&, int threads);
//       Coder(const Block&, const Arguments&, SharedMemory&);
//       void code(dictionary, count, rows, stride);                // rows [kRows, row_stride(row_width)] in
//                                                                  // shared memory, the coder's from there
//                                                                  on
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
#include "device/spill.hpp"
#include "device/tile_table.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct AnyBlock {};  // stands for the block where only the coder's types and sizes matter

// A coder with the rows of a tile before it, in the shared memory of a block.
template <template <int, class> class Coder, int kRows, class Block = AnyBlock>
class TileCoder {
 public:
  using Of = Coder<kRows, Block>;
  static constexpr int kThreads = 256;
  static constexpr bool kFewerWillDo = true;
  static constexpr int kResident = Of::kResident;
  static constexpr bool kMaySpill =
      Of::kMaySpill && kRows == kRowTile;  // larger tiles fit, where they are taken

  static std::int64_t shared_bytes(const typename Of::Arguments& coder) {
    return SharedMemory::bytes<float>(kRows * row_stride(Of::row_width(coder))) +
           Of::shared_bytes(coder, kThreads);
  }

  SRDFAST_INLINE TileCoder(const Block& block, const typename Of::Arguments& coder, void* shared)
      : block_(block),
        memory_(shared),
        features_(coder.features()),
        stride_(row_stride(Of::row_width(coder))),
        rows_(memory_.take<float>(kRows * stride_)),
        coder_(block, coder, memory_) {}

  // Codes `count` signals element(row, feature).
  template <class Element>
  SRDFAST_INLINE void code(std::int64_t dictionary, int count, const Element& element) {
    for (int r = block_.warp(); r < kRows; r += block_.warps()) {
      for (int f = block_.lane(); f < stride_; f += kWarp) {
        rows_[r * stride_ + f] = r < count && f < features_ ? element(r, f) : 0.0f;
      }
    }
    block_.sync();
    coder_.code(dictionary, count, rows_, stride_);
  }

  SRDFAST_INLINE const Of& codes() const { return coder_; }

 private:
  const Block& block_;
  SharedMemory memory_;
  int features_, stride_;
  float* rows_;  // [kRows, stride], zero beyond the signals and their features
  Of coder_;
};

template <template <int, class> class Coder, int kRows>
struct CodeBody {
  using Tile = TileCoder<Coder, kRows>;
  static constexpr int kThreads = Tile::kThreads;
  static constexpr bool kFewerWillDo = Tile::kFewerWillDo;
  static constexpr int kResident = Tile::kResident;
  static constexpr bool kMaySpill = Tile::kMaySpill;

  struct Arguments {
    const float* signals;  // [batch, features]
    TileTable tiles;
    typename Tile::Of::Arguments coder;
    typename Tile::Of::Outputs outputs;
  };

  static std::int64_t shared_bytes(const Arguments& args) { return Tile::shared_bytes(args.coder); }

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    const int features = args.coder.features();
    TileCoder<Coder, kRows, Block> coder(block, args.coder, shared);
    const DeviceTile tile = args.tiles.find(block, block.index(), kRows);
    if (tile.count == 0) return;
    const auto signal_of = [&](int row) { return args.tiles.signal(tile.first + row); };
    coder.code(tile.dictionary, tile.count,
               [&](int row, int f) { return args.signals[signal_of(row) * features + f]; });
    coder.codes().write(tile.count, signal_of, args.outputs);
  }
};

template <int kRows>
struct Rows {
  static constexpr int value = kRows;
};

// Calls function(Rows<..>{}) with 32 signals a block where a multiprocessor then has shared memory for two
// blocks, or else with 16; theirs lies in the workspace where even they need more than there is
// (device/spill.hpp).
template <template <int, class> class Coder, class Queue, class CoderArguments, class Function>
void with_rows(const Queue& queue, const CoderArguments& coder, const Function& function) {
  constexpr std::int64_t kReserved = 1 << 10;  // of each block; a multiprocessor has that for one more
  if (2 * TileCoder<Coder, 32>::shared_bytes(coder) + kReserved <= queue.shared_limit()) {
    function(Rows<32>{});
  } else {
    function(Rows<16>{});
  }
}

template <template <int, class> class Coder, class Queue, class CoderArguments, class Outputs>
void code_batch(Queue& queue, const float* signals, const TileTable& tiles, const CoderArguments& coder,
                const Outputs& outputs) {
  with_rows<Coder>(queue, coder, [&](auto rows) {
    using Body = CodeBody<Coder, decltype(rows)::value>;
    const typename Body::Arguments args{signals, tiles, coder, outputs};
    const std::int64_t blocks = tiles.most_tiles(decltype(rows)::value);
    SpillingLaunches<Body, Queue>(queue, blocks, args).launch(blocks, args);
  });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
