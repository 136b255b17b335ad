// SPDX-License-Identifier: Apache-2.0
// Feature maps of images that travel together: channels last, inside a border of zeros, so that a convolution
// looks over the edge without asking.
#pragma once

#include <cstring>

#include "core/scratch.hpp"
#include "ops/encode/encode.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr int kTileSide = 4;  // outputs of a tile, a side

// Memory of the maps [images, rows, columns, channels] is somebody else's.
struct Maps {
  float* data;
  int height, width, channels, border;

  // Whole tiles of outputs have their inputs within the border.
  static SRDFAST_INLINE int whole_tiles(int size) { return (size + kTileSide - 1) / kTileSide; }
  SRDFAST_INLINE int rows() const { return whole_tiles(height) * kTileSide + 2 * border; }
  SRDFAST_INLINE int columns() const { return whole_tiles(width) * kTileSide + 2 * border; }
  SRDFAST_INLINE std::int64_t image_size() const { return std::int64_t{rows()} * columns() * channels; }

  // The features at a place; y and x may reach `border` over the edge.
  SRDFAST_INLINE float* at(int image, int y, int x) const {
    return data + image * image_size() + (std::int64_t{y + border} * columns() + x + border) * channels;
  }

  // The same maps from this image on.
  SRDFAST_INLINE Maps from(int image) const {
    return {data + image * image_size(), height, width, channels, border};
  }
};

// Maps with memory of their own, all zero.
class OwnMaps {
 public:
  SRDFAST_INLINE OwnMaps(int images, int height, int width, int channels, int border)
      : maps_{nullptr, height, width, channels, border}, data_(images * maps_.image_size()) {
    maps_.data = data_.data();
    std::memset(maps_.data, 0, sizeof(float) * static_cast<std::size_t>(images * maps_.image_size()));
  }
  OwnMaps(const OwnMaps&) = delete;
  OwnMaps& operator=(const OwnMaps&) = delete;

  const Maps& operator*() const { return maps_; }

 private:
  Maps maps_;
  Scratch<float> data_;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
