// SPDX-License-Identifier: Apache-2.0
// Products of matrices of any size: out(batch, row, column) = sum_k left(batch, row, k) right_batch[k,
// column].
#pragma once

#include <cstdint>

#include "device/fragments.hpp"
#include "device/pack.hpp"
#include "device/queue.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// The warps of a block stand kRowWarps deep and kColumnWarps wide; each works on 16 kRowTiles rows and 32
// columns. Left: float operator()(batch, row, k). Store: void operator()(batch, row, column, value). Both are
// plain data.
template <int kRowWarps, int kColumnWarps, int kRowTiles, class Left, class Store>
struct MatrixProductBody {
  static constexpr int kThreads = kRowWarps * kColumnWarps * kWarp;
  static constexpr bool kFewerWillDo = false;
  static constexpr int kResident = kRowTiles > 1 ? 1 : 2;
  static constexpr int kRows = kRowWarps * kRowTiles * kRowTile;  // of a block
  static constexpr int kInner = 64;                               // inner indices in shared memory at a time
  static constexpr int kStride = kInner + kChunk;                 // row_stride(kInner)

  struct Arguments {
    Left left;
    const float* packed;        // right factors
    std::int64_t packed_batch;  // elements from one to the next; 0: one for all
    PackedShape shape;
    std::int64_t batches, rows;  // of left
    Store store;
  };

  SRDFAST_INLINE static std::int64_t row_blocks(const Arguments& args) {
    return (args.rows + kRows - 1) / kRows;
  }
  SRDFAST_INLINE static std::int64_t column_blocks(const Arguments& args) {
    return (args.shape.groups() + kColumnWarps - 1) / kColumnWarps;
  }
  static std::int64_t blocks(const Arguments& args) {
    return args.batches * row_blocks(args) * column_blocks(args);
  }
  static std::int64_t shared_bytes(const Arguments&) { return SharedMemory::bytes<float>(kRows * kStride); }

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    float* const rows = static_cast<float*>(shared);
    std::int64_t place = block.index();
    const int first_group = static_cast<int>(place % column_blocks(args)) * kColumnWarps;
    place /= column_blocks(args);
    const std::int64_t first_row = place % row_blocks(args) * kRows, batch = place / row_blocks(args);
    const int group = first_group + block.warp() % kColumnWarps;
    const int warp_row = block.warp() / kColumnWarps * (kRowTiles * kRowTile);
    const bool works = group < args.shape.groups();
    const float* packed =
        args.packed + batch * args.packed_batch + (works ? group : 0) * args.shape.group_size();

    WarpProduct<kRowTiles> product;
    for (int inner = 0; inner < args.shape.inner; inner += kInner) {
      block.sync();  // the rows of before have been read
      for (int i = block.thread(); i < kRows * kInner; i += block.threads()) {
        const std::int64_t row = first_row + i / kInner;
        const int k = inner + i % kInner;
        const bool inside = row < args.rows && k < args.shape.inner;
        rows[i / kInner * kStride + i % kInner] = inside ? args.left(batch, row, k) : 0.0f;
      }
      block.sync();
      const int left = (args.shape.inner - inner + kChunk - 1) / kChunk;
      const int chunks = left < kInner / kChunk ? left : kInner / kChunk;
      if (works) product.add(block, rows + warp_row * kStride, kStride, packed, chunks);
      packed += std::int64_t{chunks} * (kGroup * kChunk);
    }
    if (!works) return;
    product.for_each(block, [&](int row, int column, float sum) {
      const std::int64_t out_row = first_row + warp_row + row;
      const int out_column = group * kGroup + column;
      if (out_row < args.rows && out_column < args.shape.columns) args.store(batch, out_row, out_column, sum);
    });
  }
};

// out = left * right for every batch; the shape of the blocks follows that of the right factor.
template <class Queue, class Left, class Store>
void matrix_product(Queue& queue, const Left& left, const float* packed, std::int64_t packed_batch,
                    PackedShape shape, std::int64_t batches, std::int64_t rows, const Store& store) {
  using Wide = MatrixProductBody<1, 8, 4, Left, Store>;
  using Tall = MatrixProductBody<8, 1, 1, Left, Store>;
  const auto launch = [&](auto body) {
    using Body = decltype(body);
    const typename Body::Arguments args{left, packed, packed_batch, shape, batches, rows, store};
    queue.template launch<Body>(Body::blocks(args), args);
  };
  if (shape.columns > 4 * kGroup) {
    launch(Wide{});
  } else {
    launch(Tall{});
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
