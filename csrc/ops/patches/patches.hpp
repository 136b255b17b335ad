// SPDX-License-Identifier: Apache-2.0
// Overlapping patches of an image: cut out, and averaged back.
//
// A patch is a vector of features in the order channel, row, column. Averaging works strip by strip: a strip
// is the sum of one row of patches, and an output row is the sum of the strips that reach it, top to bottom,
// divided by how many patches cover each pixel. The order of the sums never depends on the batch or the
// threads.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/registry.hpp"
#include "core/scratch.hpp"
#include "core/view.hpp"
#include "math/patch_grid.hpp"

namespace srdfast {

template <class T>
struct ExtractProblem {
  static constexpr const char* name = "extract_patches";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 4> images;  // [batch, channels, height, width]
  int patch, stride;

  // outputs
  View<T, 3> patches;  // [batch, rows * columns, channels * patch * patch]
};

template <class T>
struct AverageProblem {
  static constexpr const char* name = "average_patches";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 3> patches;  // [batch, rows * columns, channels * patch * patch]
  int patch, stride;

  // outputs
  View<T, 4> images;  // [batch, channels, height, width]
};

inline namespace SRDFAST_LEVEL {

// The patches of images of one size.
struct PatchGrid {
  int channels;
  PatchAxis rows, columns;

  SRDFAST_INLINE int patch() const { return rows.patch; }
  SRDFAST_INLINE int features() const { return channels * patch() * patch(); }
  SRDFAST_INLINE std::int64_t plane() const {
    return static_cast<std::int64_t>(rows.length) * columns.length;
  }
  SRDFAST_INLINE std::int64_t strip_size() const {
    return static_cast<std::int64_t>(channels) * patch() * columns.length;
  }

  template <class T>
  SRDFAST_INLINE static PatchGrid of(const View<T, 4>& images, int patch, int stride) {
    return {static_cast<int>(images.extent(1)),
            {static_cast<int>(images.extent(2)), patch, stride},
            {static_cast<int>(images.extent(3)), patch, stride}};
  }
};

// body(patch), with the patch side as a constant where it is the usual one: a line of it is then one vector.
template <class Body>
SRDFAST_INLINE void with_patch_side(const PatchGrid& grid, const Body& body) {
  grid.patch() == 8 ? body(8) : body(grid.patch());
}

// image [channels, height, width] -> out [features], the patch at grid place (row, column).
template <class T>
SRDFAST_INLINE void cut_patch(const PatchGrid& grid, const T* image, int row, int column, T* out) {
  const T* corner = image + static_cast<std::int64_t>(grid.rows.position(row)) * grid.columns.length +
                    grid.columns.position(column);
  with_patch_side(grid, [&](int patch) __attribute__((always_inline)) {
    for (int c = 0; c < grid.channels; ++c) {
      const T* in = corner + c * grid.plane();
      for (int y = 0; y < patch; ++y, in += grid.columns.length, out += patch) {
        std::memcpy(out, in, sizeof(T) * static_cast<std::size_t>(patch));
      }
    }
  });
}

// Adds one patch to its strip [channels, patch, width].
template <class T>
SRDFAST_INLINE void add_to_strip(const PatchGrid& grid, const T* patch, int column, T* strip) {
  T* const corner = strip + grid.columns.position(column);
  with_patch_side(grid, [&](int side) __attribute__((always_inline)) {
    for (int line = 0; line < grid.channels * side; ++line) {
      T* SRDFAST_RESTRICT out = corner + static_cast<std::int64_t>(line) * grid.columns.length;
      const T* SRDFAST_RESTRICT in = patch + static_cast<std::int64_t>(line) * side;
      for (int x = 0; x < side; ++x) out[x] += in[x];
    }
  });
}

// One over the number of patches that cover each pixel of an axis: weights [axis.length].
template <class T>
SRDFAST_INLINE void coverage_weights(const PatchAxis& axis, T* weights) {
  for (int pixel = 0; pixel < axis.length; ++pixel) weights[pixel] = T(0);
  for (int i = 0; i < axis.count(); ++i) {
    for (int k = 0; k < axis.patch; ++k) weights[axis.position(i) + k] += T(1);
  }
  for (int pixel = 0; pixel < axis.length; ++pixel) weights[pixel] = 1 / weights[pixel];
}

// Averages the strips [rows, channels, patch, width] of one image into its pixel row y, in every channel.
template <class T>
SRDFAST_INLINE void average_strips(const PatchGrid& grid, const T* strips, int y, const T* row_weights,
                                   const T* column_weights, T* image) {
  const int width = grid.columns.length;
  for (int c = 0; c < grid.channels; ++c) {
    T* SRDFAST_RESTRICT out = image + c * grid.plane() + static_cast<std::int64_t>(y) * width;
    for (int x = 0; x < width; ++x) out[x] = T(0);
    for (int i = grid.rows.first_reaching(y); i < grid.rows.count() && grid.rows.position(i) <= y; ++i) {
      const int line = y - grid.rows.position(i);
      const T* SRDFAST_RESTRICT in =
          strips + i * grid.strip_size() + static_cast<std::int64_t>(c * grid.patch() + line) * width;
      for (int x = 0; x < width; ++x) out[x] += in[x];
    }
    for (int x = 0; x < width; ++x) out[x] *= row_weights[y] * column_weights[x];
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
