// SPDX-License-Identifier: Apache-2.0
// Interleaved pixels of three channels and three planes: an affine map of each pixel's values, both ways.
#pragma once

#include <cstdint>

#include "core/view.hpp"

namespace srdfast {

// out_i = clip(round(sum_j weights[i][j] in_j + offsets[i]), 0, 255); a half rounds up.
struct ColourMap {
  float weights[3][3];
  float offsets[3];
};

struct PixelsToPlanesProblem {
  static constexpr const char* name = "pixels_to_planes";
  static constexpr const char* dtype = "uint8";

  View<const std::uint8_t, 3> pixels;  // [height, width, 3]
  ColourMap map;                       // from channels to planes

  // outputs
  View<std::uint8_t, 2> planes[3];  // [height, width]
};

struct PlanesToPixelsProblem {
  static constexpr const char* name = "planes_to_pixels";
  static constexpr const char* dtype = "uint8";

  View<const std::uint8_t, 2> planes[3];  // [height, width]
  ColourMap map;                          // from planes to channels

  // outputs
  View<std::uint8_t, 3> pixels;  // [height, width, 3]
};

}  // namespace srdfast
