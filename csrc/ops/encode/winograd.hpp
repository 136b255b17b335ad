// SPDX-License-Identifier: Apache-2.0
// A 3 x 3 convolution in tiles of 4 x 4 outputs: 36 products for each pair of channels where its taps want
// 144. Winograd's F(4 x 4, 3 x 3) at the points 0, 1, -1, 2, -2 and infinity (Lavin and Gray 2016, arXiv
// 1509.09308).
#pragma once

#include "ops/encode/maps.hpp"
#include "ops/encode/products.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr int kInputSide = kTileSide + 2;
constexpr int kPoints = kInputSide * kInputSide;
constexpr int kTilesTogether = 16;

// Six inputs of a row or column, transformed.
SRDFAST_INLINE void transform_inputs(const Vector<float> (&d)[6], Vector<float> (&to)[6]) {
  const Vector<float> even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1];
  const Vector<float> even2 = d[4] - d[2], odd2 = 2 * (d[3] - d[1]);
  to[0] = 4 * d[0] - 5 * d[2] + d[4];
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = even2 + odd2;
  to[4] = even2 - odd2;
  to[5] = 4 * d[1] - 5 * d[3] + d[5];
}

// Four outputs of a row or column from six products.
SRDFAST_INLINE void transform_products(const Vector<float> (&m)[6], Vector<float> (&to)[4]) {
  const Vector<float> sum = m[1] + m[2], difference = m[1] - m[2];
  const Vector<float> sum2 = m[3] + m[4], difference2 = m[3] - m[4];
  to[0] = m[0] + sum + sum2;
  to[1] = difference + 2 * difference2;
  to[2] = sum + 4 * sum2;
  to[3] = difference + 8 * difference2 + m[5];
}

// Transforms the columns of a square of kInputSide x kInputSide vectors, at(y, x), and then the rows: take(y,
// x, vector) takes the Side x Side results.
template <int Side, class At, class Transform, class Take>
SRDFAST_INLINE void transform_square(const At& at, const Transform& transform, const Take& take) {
  Vector<float> half[kInputSide][Side];  // [column, row]
#pragma GCC unroll 6
  for (int x = 0; x < kInputSide; ++x) {
    Vector<float> column[kInputSide];
#pragma GCC unroll 6
    for (int y = 0; y < kInputSide; ++y) column[y] = at(y, x);
    transform(column, half[x]);
  }
#pragma GCC unroll 6
  for (int y = 0; y < Side; ++y) {
    Vector<float> row[kInputSide], done[Side];
#pragma GCC unroll 6
    for (int x = 0; x < kInputSide; ++x) row[x] = half[x][y];
    transform(row, done);
#pragma GCC unroll 6
    for (int x = 0; x < Side; ++x) take(y, x, done[x]);
  }
}

// The inputs of a tile, a vector of channels: from [6 rows, 6 columns] to [points], so far apart.
SRDFAST_INLINE void transform_tile(const float* from, std::int64_t row_stride, int column_stride, float* to,
                                   int point_stride) {
  transform_square<kInputSide>([&](int y, int x) { return load(from + y * row_stride + x * column_stride); },
                               [](const auto& inputs, auto& done) { transform_inputs(inputs, done); },
                               [&](int y, int x, const Vector<float>& done) {
                                 store(done, to + (y * kInputSide + x) * point_stride);
                               });
}

// A tile of outputs, a vector of channels, without bias: take(y, x, sums) for each of the 4 x 4.
template <class Take>
SRDFAST_INLINE void tile_outputs(const float* products, int point_stride, const Take& take) {
  transform_square<kTileSide>(
      [&](int y, int x) { return load(products + (y * kInputSide + x) * point_stride); },
      [](const auto& sums, auto& done) { transform_products(sums, done); }, take);
}

// The working memory of some threads, for maps of at most so many channels.
class TileConvolution {
 public:
  SRDFAST_INLINE TileConvolution(int channels, int threads)
      : threads_(threads),
        size_(std::int64_t{kPoints} * kTilesTogether * channels),
        inputs_(threads * size_),
        products_(threads * size_) {}

  // The convolution of `from`, into `to`.
  void operator()(const Convolution& conv, const Maps& from, const Maps& to, int images, Ending ending) {
    const int tiles = images * Maps::whole_tiles(to.height) * Maps::whole_tiles(to.width);
    const int blocks = (tiles + kTilesTogether - 1) / kTilesTogether;
    for_parts(threads_, blocks, panels_of(conv.outputs), [&](int thread, Range some, Range panels) {
      for (int block = some.begin; block < some.end; ++block) {
        const int first = block * kTilesTogether, left = tiles - first;
        const int count = left < kTilesTogether ? left : kTilesTogether;
        float *const inputs = inputs_.data() + thread * size_, *const products =
                                                                   products_.data() + thread * size_;
        for (int t = 0; t < count; ++t) transform(from, first + t, inputs + t * from.channels);
        multiply(conv, inputs, from.channels, count, panels, products, to.channels);
        for (int t = 0; t < count; ++t) put(conv, products + t * to.channels, panels, to, first + t, ending);
      }
    });
  }

 private:
  struct Place {
    int image, y, x;  // of a tile's first output
  };

  static SRDFAST_INLINE Place place_of(const Maps& maps, int tile) {
    const int across = Maps::whole_tiles(maps.width), each = Maps::whole_tiles(maps.height) * across;
    return {tile / each, tile % each / across * kTileSide, tile % across * kTileSide};
  }

  // A tile's inputs [points, ...], one tile of kTilesTogether.
  static SRDFAST_INLINE void transform(const Maps& from, int tile, float* inputs) {
    const Place place = place_of(from, tile);
    const float* corner = from.at(place.image, place.y - 1, place.x - 1);
    for (int c = 0; c < from.channels; c += kVectorLength<float>) {
      transform_tile(corner + c, std::int64_t{from.columns()} * from.channels, from.channels, inputs + c,
                     kTilesTogether * from.channels);
    }
  }

  // The products [points, tiles, channels] of the first `count` tiles, for some panels.
  static SRDFAST_INLINE void multiply(const Convolution& conv, const float* inputs, int in_channels,
                                      int count, Range panels, float* products, int out_channels) {
    const std::int64_t panel_size = std::int64_t{conv.inputs} * kOutputPanel;
    for (int point = 0; point < kPoints; ++point) {
      const float* rows = inputs + std::int64_t{point} * kTilesTogether * in_channels;
      float* sums = products + std::int64_t{point} * kTilesTogether * out_channels;
      for_panels(panels, [&](auto panels_together, int panel) {
        constexpr int kPanels = decltype(panels_together)::value;
        const float* weights =
            conv.weights + (std::int64_t{point} * panels_of(conv.outputs) + panel) * panel_size;
        for_rows<kRowsTogether<kPanels>>(count, 0, [&](auto rows_together, int row) {
          constexpr int kRows = decltype(rows_together)::value;
          Sums<kRows, kPanels> block = {};
          block.add(conv.inputs, rows + row * in_channels, in_channels, weights, panel_size);
          float* to = sums + row * out_channels + panel * kOutputPanel;
#pragma GCC unroll 16
          for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
            for (int v = 0; v < block.kVectors; ++v)
              store(block.values[r][v], to + r * out_channels + v * kVectorLength<float>);
          }
        });
      });
    }
  }

  // Ends a tile whose products are there for some panels.
  static SRDFAST_INLINE void put(const Convolution& conv, const float* products, Range panels, const Maps& to,
                                 int tile, Ending ending) {
    const Place place = place_of(to, tile);
    const int rows = to.height - place.y, columns = to.width - place.x;  // those that are there
    float* const corner = to.at(place.image, place.y, place.x);
    const std::int64_t row_stride = std::int64_t{to.columns()} * to.channels;
    for (int c = panels.begin * kOutputPanel; c < panels.end * kOutputPanel; c += kVectorLength<float>) {
      const Vector<float> bias = load(conv.bias + c);
      tile_outputs(products + c, kTilesTogether * to.channels, [&](int y, int x, const Vector<float>& sums) {
        if (y >= rows || x >= columns) return;
        finish(ending, sums + bias, corner + y * row_stride + x * to.channels + c);
      });
    }
  }

  int threads_;
  std::int64_t size_;                 // of a thread
  Scratch<float> inputs_, products_;  // [threads, points, tiles, channels]
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
