// SPDX-License-Identifier: Apache-2.0
// out = rows * matrix for a tile of a few rows: the product that every operator spends its time in.
//
// Each element of `out` is summed over the inner index in ascending order, with the same instructions
// whatever the other rows hold, so a row has the same bits in every tile.
#pragma once

#include <cstring>

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr int kTile = 8;  // signals that travel together; more would not fit the registers beside the matrix

template <class T>
using Vector __attribute__((vector_size(SRDFAST_VECTOR_BYTES))) = T;

template <class T>
constexpr int kVectorLength = SRDFAST_VECTOR_BYTES / static_cast<int>(sizeof(T));

// A strip of Columns vectors, for Rows rows: Rows x Columns accumulators stay in registers.
template <int Rows, int Columns, class T>
SRDFAST_INLINE void product_strip(int inner, const T* SRDFAST_RESTRICT rows, int row_stride,
                                  const T* SRDFAST_RESTRICT matrix, int columns, T* SRDFAST_RESTRICT out) {
  constexpr int kLength = kVectorLength<T>;
  Vector<T> sums[Rows][Columns] = {};
  for (int k = 0; k < inner; ++k) {
    Vector<T> entries[Columns];
    std::memcpy(entries, matrix + static_cast<long>(k) * columns, sizeof(entries));
    for (int r = 0; r < Rows; ++r) {
      const T factor = rows[r * row_stride + k];
      for (int c = 0; c < Columns; ++c) sums[r][c] += factor * entries[c];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    std::memcpy(out + static_cast<long>(r) * columns, sums[r], Columns * kLength * sizeof(T));
  }
}

// The last columns, fewer than a vector: the same instructions on a vector that is not full.
template <int Rows, class T>
SRDFAST_INLINE void product_tail(int inner, const T* rows, int row_stride, const T* matrix, int columns,
                                 int count, T* out) {
  Vector<T> sums[Rows] = {};
  for (int k = 0; k < inner; ++k) {
    Vector<T> entries = {};
    std::memcpy(&entries, matrix + static_cast<long>(k) * columns, count * sizeof(T));
    for (int r = 0; r < Rows; ++r) sums[r] += rows[r * row_stride + k] * entries;
  }
  for (int r = 0; r < Rows; ++r)
    std::memcpy(out + static_cast<long>(r) * columns, &sums[r], count * sizeof(T));
}

// rows [Rows, inner] with row_stride elements between rows; matrix [inner, columns]; out [Rows, columns].
template <int Rows, class T>
SRDFAST_INLINE void product(int inner, int columns, const T* rows, int row_stride, const T* matrix, T* out) {
  constexpr int kLength = kVectorLength<T>;
  int c = 0;
  for (; c + 2 * kLength <= columns; c += 2 * kLength) {
    product_strip<Rows, 2>(inner, rows, row_stride, matrix + c, columns, out + c);
  }
  for (; c + kLength <= columns; c += kLength) {
    product_strip<Rows, 1>(inner, rows, row_stride, matrix + c, columns, out + c);
  }
  if (c < columns) product_tail<Rows>(inner, rows, row_stride, matrix + c, columns, columns - c, out + c);
}

// The product for a whole tile, in two halves where a whole one would not fit the register file.
template <class T>
SRDFAST_INLINE void tile_product(int inner, int columns, const T* rows, int row_stride, const T* matrix,
                                 T* out) {
  constexpr int kRows = SRDFAST_VECTOR_BYTES >= 64 ? kTile : kTile / 2;
  for (int r = 0; r < kTile; r += kRows) {
    product<kRows>(inner, columns, rows + static_cast<long>(r) * row_stride, row_stride, matrix,
                   out + static_cast<long>(r) * columns);
  }
}

// out [columns, rows] = transpose of matrix [rows, columns].
template <class T>
SRDFAST_INLINE void transpose(int rows, int columns, const T* matrix, T* out) {
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c)
      out[static_cast<long>(c) * rows + r] = matrix[static_cast<long>(r) * columns + c];
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
