// SPDX-License-Identifier: Apache-2.0
// Orders matrices for device/fragments.hpp.
#pragma once

#include <cstdint>

#include "device/fragments.hpp"
#include "device/queue.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// Element (inner, column) of matrix m is source[m * matrix_stride + inner * inner_stride + column *
// column_stride].
struct PackBody : ItemBody {
  struct Arguments {
    const float* source;
    std::int64_t matrix_stride, inner_stride, column_stride;
    PackedShape shape;
    std::int64_t matrices;
    float* packed;  // [matrices, shape.size()]
  };

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    const std::int64_t size = args.shape.size();
    for_each_item(block, args.matrices * size,
                  [&](std::int64_t i) { args.packed[i] = element(args, i / size, i % size); });
  }

 private:
  SRDFAST_INLINE static float element(const Arguments& args, std::int64_t matrix, std::int64_t place) {
    const int within = static_cast<int>(place % 4), lane = static_cast<int>(place / 4 % kWarp);
    const int tile = static_cast<int>(place / (4 * kWarp) % kColumnTiles);
    const std::int64_t panel = place / (kGroup * kChunk);
    const int chunk = static_cast<int>(panel % args.shape.chunks());
    const int group = static_cast<int>(panel / args.shape.chunks());
    const int inner = chunk * kChunk + 4 * (lane % 4) + within;
    const int column = group * kGroup + tile * kColumnTile + lane / 4;
    if (inner >= args.shape.inner || column >= args.shape.columns) return 0;
    return args.source[matrix * args.matrix_stride + inner * args.inner_stride + column * args.column_stride];
  }
};

// values [count] = 0
struct ZeroBody : ItemBody {
  struct Arguments {
    float* values;
    std::int64_t count;
  };

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    for_each_item(block, args.count, [&](std::int64_t i) { args.values[i] = 0; });
  }
};

// Packs `matrices` matrices [inner, columns]; see PackBody for the strides.
template <class Queue>
float* packed_matrices(Queue& queue, const float* source, std::int64_t matrix_stride,
                       std::int64_t inner_stride, std::int64_t column_stride, PackedShape shape,
                       std::int64_t matrices) {
  const std::int64_t count = matrices * shape.size();
  float* const packed = queue.template take<float>(count);
  launch_items<PackBody>(queue, count,
                         {source, matrix_stride, inner_stride, column_stride, shape, matrices, packed});
  return packed;
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
