// SPDX-License-Identifier: Apache-2.0
// Products of float32 matrices on tensor cores.
//
// `block.multiply(sums, left, right)` adds to a 16 x 8 matrix the product of a 16 x 8 and an 8 x 8 matrix of
// TF32 numbers (10 bits of mantissa), spread over the lanes of a warp as the PTX instruction
// mma.m16n8k8.tf32 wants them. With place = lane / 4 and part = lane % 4 a lane holds
//
//     left  [16, 8]  rows place, place + 8 and inner indices part, part + 4:
//                    0 (place, part)  1 (place + 8, part)  2 (place, part + 4)  3 (place + 8, part + 4)
//     right [8, 8]   column place:  0 inner index part  1 inner index part + 4
//     sums  [16, 8]  0 (place, 2 part)  1 (place, 2 part + 1)  2 and 3 the same of row place + 8
//
// A float32 product is three of these (Markidis et al. 2018): each factor is split into the nearest TF32
// number and the rest, and rest x rest, below the rounding of float32, is left out. Tensor cores cut off what
// does not fit their sums; so no sum on them is longer than kChunk products, and those are added up in
// ordinary float32.
#pragma once

#include <cstdint>

#include "core/level.hpp"
#include "device/warp_team.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr int kChunk = 16;       // inner indices that travel together: two products of 8
constexpr int kRowTile = 16;     // rows of one product
constexpr int kColumnTile = 8;   // columns of one product
constexpr int kColumnTiles = 4;  // column tiles that a warp works on at a time
constexpr int kGroup = kColumnTile * kColumnTiles;

// Four neighbours in memory, read in one access.
struct alignas(16) Four {
  float values[4];
};

// The TF32 number nearest to a float, halves away from zero.
SRDFAST_INLINE float nearest_tf32(float value) {
  unsigned bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  bits = (bits + 0x1000u) & 0xffffe000u;
  __builtin_memcpy(&value, &bits, sizeof(bits));
  return value;
}

// Which inner index of a chunk stands in for index `part` (half 0) or `part + 4` (half 1) of its product
// `step`. The products' inner indices may be permuted as long as both factors agree; so each lane's four are
// neighbours.
SRDFAST_INLINE constexpr int inner_place(int step, int half, int part) { return 4 * part + 2 * step + half; }

// A matrix [inner, columns], ordered so that a lane finds what it needs of a chunk side by side:
// [groups, chunks, kColumnTiles, 32 lanes, 4], zeros beyond the matrix.
struct PackedShape {
  int inner, columns;

  SRDFAST_INLINE int chunks() const { return (inner + kChunk - 1) / kChunk; }
  SRDFAST_INLINE int groups() const { return (columns + kGroup - 1) / kGroup; }
  SRDFAST_INLINE std::int64_t size() const { return std::int64_t{groups()} * chunks() * (kGroup * kChunk); }
  // Where an element is.
  SRDFAST_INLINE std::int64_t place(int row, int column) const {
    const std::int64_t panel = std::int64_t{column / kGroup} * chunks() + row / kChunk;
    const int tile = column % kGroup / kColumnTile, lane = column % kColumnTile * 4 + row % kChunk / 4;
    return ((panel * kColumnTiles + tile) * kWarp + lane) * 4 + row % 4;
  }
  // The part of a group of 32 columns.
  SRDFAST_INLINE std::int64_t group_size() const { return std::int64_t{chunks()} * (kGroup * kChunk); }
};

// Elements between rows of a left factor in shared memory: a warp then reads 16 bytes a lane without
// conflicts, eight rows apart.
SRDFAST_INLINE int row_stride(int inner) { return (inner + 31) / 32 * 32 + kChunk; }

// kRowTiles x kColumnTiles products of one warp: 16 kRowTiles rows by 32 columns.
template <int kRowTiles>
class WarpProduct {
 public:
  SRDFAST_INLINE WarpProduct() {
    SRDFAST_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      SRDFAST_UNROLL
      for (int c = 0; c < kColumnTiles; ++c) {
        SRDFAST_UNROLL
        for (int i = 0; i < 4; ++i) sums_[r][c][i] = 0;
      }
    }
  }

  // Adds rows [16 kRowTiles, 16 chunks] times the packed chunks of a group of columns.
  template <class Block>
  SRDFAST_INLINE void add(const Block& block, const float* rows, int stride, const float* packed,
                          int chunks) {
    const int place = block.lane() / 4, part = block.lane() % 4;
    const float* left = rows + place * stride + 4 * part;
    const Four* right = reinterpret_cast<const Four*>(packed) + block.lane();
    for (int chunk = 0; chunk < chunks; ++chunk, left += kChunk, right += kColumnTiles * kWarp) {
      Split columns[kColumnTiles];
      SRDFAST_UNROLL
      for (int c = 0; c < kColumnTiles; ++c) columns[c] = Split(right[c * kWarp]);
      SRDFAST_UNROLL
      for (int r = 0; r < kRowTiles; ++r) {
        const float* row = left + r * kRowTile * stride;
        const Split upper(*reinterpret_cast<const Four*>(row));
        const Split lower(*reinterpret_cast<const Four*>(row + 8 * stride));
        SRDFAST_UNROLL
        for (int c = 0; c < kColumnTiles; ++c) add_chunk(block, upper, lower, columns[c], sums_[r][c]);
      }
    }
  }

  // take(row, column, sum) for all that this lane holds.
  template <class Block, class Take>
  SRDFAST_INLINE void for_each(const Block& block, const Take& take) const {
    const int place = block.lane() / 4, part = block.lane() % 4;
    SRDFAST_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      SRDFAST_UNROLL
      for (int c = 0; c < kColumnTiles; ++c) {
        SRDFAST_UNROLL
        for (int i = 0; i < 4; ++i) {
          take(r * kRowTile + place + i / 2 * 8, c * kColumnTile + 2 * part + i % 2, sums_[r][c][i]);
        }
      }
    }
  }

 private:
  // The four numbers that a lane holds of a row or a column, as TF32 number and rest.
  struct Split {
    SRDFAST_INLINE Split() {}
    SRDFAST_INLINE explicit Split(const Four& four) {
      SRDFAST_UNROLL
      for (int i = 0; i < 4; ++i) {
        nearest[i] = nearest_tf32(four.values[i]);
        rest[i] = nearest_tf32(four.values[i] - nearest[i]);
      }
    }
    float nearest[4], rest[4];
  };

  template <class Block>
  SRDFAST_INLINE static void add_chunk(const Block& block, const Split& upper, const Split& lower,
                                       const Split& column, float (&sums)[4]) {
    float partial[4] = {0, 0, 0, 0};
    SRDFAST_UNROLL
    for (int step = 0; step < 2; ++step) {
      multiply(block, upper.rest, lower.rest, column.nearest, step, partial);
      multiply(block, upper.nearest, lower.nearest, column.rest, step, partial);
    }
    SRDFAST_UNROLL
    for (int step = 0; step < 2; ++step) {
      multiply(block, upper.nearest, lower.nearest, column.nearest, step, partial);
    }
    SRDFAST_UNROLL
    for (int i = 0; i < 4; ++i) sums[i] += partial[i];
  }

  template <class Block>
  SRDFAST_INLINE static void multiply(const Block& block, const float (&upper)[4], const float (&lower)[4],
                                      const float (&column)[4], int step, float (&sums)[4]) {
    const int first = inner_place(step, 0, 0), second = inner_place(step, 1, 0);
    const float left[4] = {upper[first], lower[first], upper[second], lower[second]};
    const float right[2] = {column[first], column[second]};
    block.multiply(sums, left, right);
  }

  float sums_[kRowTiles][kColumnTiles][4];
};

// rows [16 kRowTiles, inner] in shared memory times a packed matrix [inner, columns], by all warps of a
// block: take(group, product) for every group of 32 columns, on the lanes of some warp.
template <int kRowTiles, class Block, class Take>
SRDFAST_INLINE void block_groups(const Block& block, const float* rows, int stride, const float* packed,
                                 const PackedShape& shape, const Take& take) {
  for (int group = block.warp(); group < shape.groups(); group += block.warps()) {
    WarpProduct<kRowTiles> product;
    product.add(block, rows, stride, packed + group * shape.group_size(), shape.chunks());
    take(group, product);
  }
}

// The same, element by element: take(row, column, sum), on some lane.
template <int kRowTiles, class Block, class Take>
SRDFAST_INLINE void block_product(const Block& block, const float* rows, int stride, const float* packed,
                                  const PackedShape& shape, const Take& take) {
  block_groups<kRowTiles>(block, rows, stride, packed, shape,
                          [&](int group, const WarpProduct<kRowTiles>& product) {
                            product.for_each(block, [&](int row, int column, float sum) {
                              if (group * kGroup + column < shape.columns) {
                                take(row, group * kGroup + column, sum);
                              }
                            });
                          });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
