// SPDX-License-Identifier: Apache-2.0
// The cosine transforms of the split along one axis of planes, as products with dense matrices.
//
// With C_n the orthonormal cosine transform of length n, which diagonalises the second difference with
// reflecting boundary (eigenvalues 2 - 2 cos(pi k / n)),
//
//     low = C_h^T ((C_h x C_w^T) / (1 + strength (e_k + e_l))) C_w.
#pragma once

#include <cmath>
#include <numbers>

#include "device/matrix_product.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// cosine [length, length], row k of C; eigenvalues [length]
struct CosineBody : ItemBody {
  struct Arguments {
    float* cosine;
    float* eigenvalues;
    int length;
  };

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    const std::int64_t length = args.length;
    const double full = static_cast<double>(length);
    for_each_item(block, length * length, [&](std::int64_t i) {
      const std::int64_t k = i / length, x = i % length;
      // cos(pi k (2x + 1) / 2n) has the period 4n in k (2x + 1): reduced exactly, before it is rounded.
      const double phase = static_cast<double>(k * (2 * x + 1) % (4 * length));
      args.cosine[i] =
          static_cast<float>(sqrt((k == 0 ? 1.0 : 2.0) / full) * cos(std::numbers::pi * phase / (2 * full)));
      if (x == 0) {
        const double half = sin(std::numbers::pi * static_cast<double>(k) / (2 * full));
        args.eigenvalues[k] = static_cast<float>(4 * half * half);
      }
    });
  }
};

// The transform of one axis, ordered for products.
struct CosineTables {
  PackedShape shape;
  const float* forward;      // C^T [pixel, frequency]
  const float* backward;     // C [frequency, pixel]
  const float* eigenvalues;  // [length]
};

template <class Queue>
CosineTables cosine_tables(Queue& queue, int length) {
  const std::int64_t size = std::int64_t{length} * length;
  float* const cosine = queue.template take<float>(size);
  float* const eigenvalues = queue.template take<float>(length);
  launch_items<CosineBody>(queue, size, {cosine, eigenvalues, length});
  const PackedShape shape{length, length};
  return {shape, packed_matrices(queue, cosine, 0, 1, length, shape, 1),
          packed_matrices(queue, cosine, 0, length, 1, shape, 1), eigenvalues};
}

// Element k of row `row` of planes [planes, height, width], whose rows are the planes' rows.
struct RowsOf {
  const float* planes;
  int width;

  SRDFAST_INLINE float operator()(std::int64_t, std::int64_t row, int k) const {
    return planes[row * width + k];
  }
};

// The same where the rows are the planes' columns.
struct ColumnsOf {
  const float* planes;
  int height, width;

  SRDFAST_INLINE float operator()(std::int64_t, std::int64_t row, int k) const {
    return planes[(row / width * height + k) * width + row % width];
  }
};

struct IntoRows {
  float* planes;
  int width;

  SRDFAST_INLINE void operator()(std::int64_t, std::int64_t row, int column, float value) const {
    planes[row * width + column] = value;
  }
};

struct IntoColumns {
  float* planes;
  int height, width;

  SRDFAST_INLINE void operator()(std::int64_t, std::int64_t row, int column, float value) const {
    planes[(row / width * height + column) * width + row % width] = value;
  }
};

// Both axes are transformed: damps each frequency on the way.
struct DampedIntoColumns {
  IntoColumns into;
  const float *of_rows, *of_columns;  // eigenvalues
  float strength;

  SRDFAST_INLINE void operator()(std::int64_t batch, std::int64_t row, int column, float value) const {
    const float eigenvalue = of_rows[column] + of_columns[row % into.width];
    into(batch, row, column, value / (1 + strength * eigenvalue));
  }
};

struct BandsInto {
  const float* images;
  float *low, *high;
  int width;

  SRDFAST_INLINE void operator()(std::int64_t, std::int64_t row, int column, float value) const {
    const std::int64_t i = row * width + column;
    low[i] = value;
    high[i] = images[i] - value;
  }
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
