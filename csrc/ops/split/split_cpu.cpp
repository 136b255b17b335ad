// SPDX-License-Identifier: Apache-2.0
// The Tikhonov split on the CPU: transform rows, eliminate columns, transform back, over all threads.
#include "ops/split/split.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

// Multiplies every row of `in` [rows, width] by a matrix [width, width]; take(i, row) gets each product.
template <class T, class Take>
void transform_rows(std::int64_t rows, int width, const T* in, const T* matrix, const Take& take) {
  const std::int64_t tiles = (rows + kTile - 1) / kTile;
  Scratch<T> packed(packed_size<T>(width, width));
  pack(width, width, matrix, width, packed.data());
  parallel_for(tiles, 8, [&](std::int64_t begin, std::int64_t end) {
    Scratch<T> product(static_cast<std::int64_t>(kTile) * padded(width));
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t first = t * kTile;
      const int count = static_cast<int>(rows - first < kTile ? rows - first : kTile);
      tile_product(count, width, width, in + first * width, width, packed.data(), product.data(),
                   padded(width));
      for (int r = 0; r < count; ++r) take(first + r, product.data() + static_cast<long>(r) * padded(width));
    }
  });
}

template <class T>
void split_cpu(const SplitProblem<T>& problem) {
  constexpr int kFrequenciesTogether = 64;  // columns of one elimination: long vectors, enough work to share
  const int height = static_cast<int>(problem.images.extent(1));
  const int width = static_cast<int>(problem.images.extent(2));
  const std::int64_t planes = problem.images.extent(0);
  const CosineTransform<T> cosine(width);
  const Elimination<T> elimination(height, width, problem.strength, cosine.eigenvalues.data());

  T* const low = problem.low.data;  // holds the frequencies until the last step
  transform_rows(planes * height, width, problem.images.data, cosine.to_frequency.data(),
                 [=](std::int64_t i, const T* row) {
                   std::memcpy(low + i * width, row, sizeof(T) * static_cast<std::size_t>(width));
                 });
  const int blocks = (width + kFrequenciesTogether - 1) / kFrequenciesTogether;
  parallel_for(planes * blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const int first = static_cast<int>(i % blocks) * kFrequenciesTogether;
      const int last = first + kFrequenciesTogether < width ? first + kFrequenciesTogether : width;
      elimination.solve(height, width, first, last, problem.low.slice(i / blocks));
    }
  });
  const T* images = problem.images.data;
  T* const high = problem.high.data;
  transform_rows(planes * height, width, low, cosine.to_pixel.data(), [=](std::int64_t i, const T* row) {
    for (int x = 0; x < width; ++x) {
      low[i * width + x] = row[x];
      high[i * width + x] = images[i * width + x] - row[x];
    }
  });
}

const Registration<SplitProblem<float>> registered_float(split_cpu<float>);
const Registration<SplitProblem<double>> registered_double(split_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
