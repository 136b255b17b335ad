// SPDX-License-Identifier: Apache-2.0
// Pixels to planes and back on the CPU, some rows at a time over all threads.
#include "core/parallel.hpp"
#include "core/registry.hpp"
#include "ops/colour/colour.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

constexpr int kChunk = 256;  // pixels whose values are at hand as floats at a time
constexpr std::int64_t kRows = 8;

SRDFAST_INLINE std::uint8_t code_of(float value) {
  value = value > 0 ? value : 0;
  value = value < 255 ? value : 255;
  return static_cast<std::uint8_t>(static_cast<std::int32_t>(value));
}

// out [count] = one result of the map.
SRDFAST_INLINE void combine(const ColourMap& map, int i, const float (&in)[3][kChunk], int count,
                            std::uint8_t* SRDFAST_RESTRICT out) {
  const float first = map.weights[i][0], second = map.weights[i][1], third = map.weights[i][2];
  const float offset = map.offsets[i] + 0.5f;
  for (int x = 0; x < count; ++x) {
    out[x] = code_of(first * in[0][x] + (second * in[1][x] + (third * in[2][x] + offset)));
  }
}

// body(row, first, count) for pieces of the rows of a picture.
template <class Body>
void for_chunks(std::int64_t height, std::int64_t width, const Body& body) {
  parallel_for(height, kRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y) {
      for (std::int64_t x = 0; x < width; x += kChunk) {
        body(y, x, static_cast<int>(width - x < kChunk ? width - x : kChunk));
      }
    }
  });
}

void pixels_to_planes(const PixelsToPlanesProblem& problem) {
  const std::int64_t width = problem.pixels.extent(1);
  for_chunks(problem.pixels.extent(0), width, [&](std::int64_t y, std::int64_t first, int count) {
    const std::uint8_t* SRDFAST_RESTRICT in = problem.pixels.data + (y * width + first) * 3;
    float values[3][kChunk];
    for (int x = 0; x < count; ++x) {
      for (int c = 0; c < 3; ++c) values[c][x] = static_cast<float>(in[3 * x + c]);
    }
    for (int i = 0; i < 3; ++i) {
      combine(problem.map, i, values, count, problem.planes[i].data + y * width + first);
    }
  });
}

void planes_to_pixels(const PlanesToPixelsProblem& problem) {
  const std::int64_t width = problem.pixels.extent(1);
  for_chunks(problem.pixels.extent(0), width, [&](std::int64_t y, std::int64_t first, int count) {
    float values[3][kChunk];
    for (int i = 0; i < 3; ++i) {
      const std::uint8_t* SRDFAST_RESTRICT in = problem.planes[i].data + y * width + first;
      for (int x = 0; x < count; ++x) values[i][x] = static_cast<float>(in[x]);
    }
    std::uint8_t channels[3][kChunk];
    for (int c = 0; c < 3; ++c) combine(problem.map, c, values, count, channels[c]);
    std::uint8_t* SRDFAST_RESTRICT out = problem.pixels.data + (y * width + first) * 3;
    for (int x = 0; x < count; ++x) {
      for (int c = 0; c < 3; ++c) out[3 * x + c] = channels[c][x];
    }
  });
}

const Registration<PixelsToPlanesProblem> to_planes(pixels_to_planes);
const Registration<PlanesToPixelsProblem> to_pixels(planes_to_pixels);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
