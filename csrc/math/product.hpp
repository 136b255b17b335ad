// SPDX-License-Identifier: Apache-2.0
// out = rows * matrix for a tile of a few rows: the product that every operator spends its time in.
//
// The matrix is packed into panels of kPanel columns, so that a panel is read front to back. A block of
// kTile x kPanel sums stays in registers while the inner index runs. Each element of `out` is summed over the
// inner index in ascending order, with the same instructions whatever the other rows hold, so a row has the
// same bits in every tile.
#pragma once

#include "core/scratch.hpp"
#include "math/vector.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr int kTile = 8;  // signals that travel together

template <int Value>
struct Constant {
  static constexpr int value = Value;
};

template <class T>
constexpr int kPanel = 2 * kVectorLength<T>;

// Rows of codes, correlations and Gram matrices are padded with zeros to a multiple of this many elements, so
// that loops over atoms have no remainder.
constexpr int kPadding = 64;

SRDFAST_INLINE int padded(int columns) { return (columns + kPadding - 1) / kPadding * kPadding; }

template <class T>
SRDFAST_INLINE int panel_count(int columns) {
  return (columns + kPanel<T> - 1) / kPanel<T>;
}

// Elements of a packed matrix [inner, columns].
template <class T>
SRDFAST_INLINE std::int64_t packed_size(int inner, int columns) {
  return static_cast<std::int64_t>(panel_count<T>(columns)) * inner * kPanel<T>;
}

// packed [panels, inner, kPanel] of a matrix [inner, columns] with row_stride elements between rows; zeros in
// the columns that fill the last panel.
template <class T>
SRDFAST_INLINE void pack(int inner, int columns, const T* matrix, int row_stride, T* packed) {
  for (int first = 0; first < columns; first += kPanel<T>) {
    const int count = columns - first < kPanel<T> ? columns - first : kPanel<T>;
    for (int k = 0; k < inner; ++k, packed += kPanel<T>) {
      const T* row = matrix + std::int64_t{k} * row_stride + first;
      for (int c = 0; c < count; ++c) packed[c] = row[c];
      for (int c = count; c < kPanel<T>; ++c) packed[c] = 0;
    }
  }
}

// The same of the transpose of a matrix [columns, inner].
template <class T>
SRDFAST_INLINE void pack_transposed(int inner, int columns, const T* SRDFAST_RESTRICT matrix,
                                    T* SRDFAST_RESTRICT packed) {
  for (int first = 0; first < columns; first += kPanel<T>, packed += std::int64_t{inner} * kPanel<T>) {
    for (int c = 0; c < kPanel<T>; ++c) {
      const T* row = matrix + std::int64_t{first + c} * inner;
      const bool filled = first + c < columns;
      for (int k = 0; k < inner; ++k) packed[std::int64_t{k} * kPanel<T> + c] = filled ? row[k] : T(0);
    }
  }
}

// One panel for Rows rows: Rows x 2 vectors of sums. take(row, offset, sums) takes each vector, whose first
// sum is that of column `offset` of the panel.
template <int Rows, class T, class Take>
SRDFAST_INLINE void product_panel(int inner, const T* SRDFAST_RESTRICT rows, int row_stride,
                                  const T* SRDFAST_RESTRICT panel, const Take& take) {
  constexpr int kLength = kVectorLength<T>;
  constexpr int kAhead = 12;  // entries: about what the second-level cache takes to answer
  Vector<T> left[Rows] = {}, right[Rows] = {};
  for (int k = 0; k < inner; ++k, panel += kPanel<T>) {
    prefetch(panel + kAhead * kPanel<T>, kPanel<T>);
    const Vector<T> left_entries = load(panel), right_entries = load(panel + kLength);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const T factor = rows[static_cast<long>(r) * row_stride + k];
      left[r] += factor * left_entries;
      right[r] += factor * right_entries;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    take(r, 0, left[r]);
    take(r, kLength, right[r]);
  }
}

// rows [count, inner] times the packed matrix [inner, columns], for count up to kTile: take(row, column,
// sums) takes the products a vector at a time, from `column` on. The last vectors of a row may reach beyond
// `columns`, to the end of the last panel; what is there is zero. `take` must not write to `rows`.
template <class T, class Take>
void tile_product(int count, int inner, int columns, const T* rows, int row_stride, const T* packed,
                  const Take& take) {
  constexpr int kRows = SRDFAST_VECTOR_BYTES >= 64 ? kTile : kTile / 2;  // what fits the register file
  const int panels = panel_count<T>(columns);
  const auto rows_from = [&](auto rows_together, int first) {
    for (int p = 0; p < panels; ++p) {
      product_panel<decltype(rows_together)::value>(
          inner, rows + static_cast<long>(first) * row_stride, row_stride,
          packed + static_cast<std::int64_t>(p) * inner * kPanel<T>,
          [&](int r, int offset, const Vector<T>& sums) { take(first + r, p * kPanel<T> + offset, sums); });
    }
  };
  int first = 0;
  for (; count - first >= kRows; first += kRows) rows_from(Constant<kRows>{}, first);
  switch (count - first) {
    case 7:
      return rows_from(Constant<7>{}, first);
    case 6:
      return rows_from(Constant<6>{}, first);
    case 5:
      return rows_from(Constant<5>{}, first);
    case 4:
      return rows_from(Constant<4>{}, first);
    case 3:
      return rows_from(Constant<3>{}, first);
    case 2:
      return rows_from(Constant<2>{}, first);
    case 1:
      return rows_from(Constant<1>{}, first);
    default:
      return;
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
