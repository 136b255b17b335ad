// SPDX-License-Identifier: Apache-2.0
// A convolution of any kernel and stride, as the products of every tap.
#pragma once

#include "ops/encode/maps.hpp"
#include "ops/encode/products.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// Neighbouring outputs of a row of one image, in some panels; `inputs` is what the first tap of the first
// one sees.
template <int Rows, int Panels>
SRDFAST_INLINE void convolve_pixels(const Convolution& conv, const float* inputs, const Maps& from, int panel,
                                    Ending ending, float* outputs, int output_stride) {
  const int taps = conv.kernel * conv.kernel, tap_size = conv.inputs * kOutputPanel;
  const float* weights = conv.weights + std::int64_t{panel} * taps * tap_size;
  Sums<Rows, Panels> sums;
  for (int v = 0; v < sums.kVectors; ++v) {
    const Vector<float> bias = load(conv.bias + panel * kOutputPanel + v * kVectorLength<float>);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) sums.values[r][v] = bias;
  }
  for (int y = 0; y < conv.kernel; ++y) {
    for (int x = 0; x < conv.kernel; ++x, weights += tap_size) {
      const float* tap = inputs + (std::int64_t{y} * from.columns() + x) * from.channels;
      sums.add(conv.inputs, tap, std::int64_t{conv.stride} * from.channels, weights,
               std::int64_t{taps} * tap_size);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < sums.kVectors; ++v)
      finish(ending, sums.values[r][v], outputs + r * output_stride + v * kVectorLength<float>);
  }
}

// The convolution of `from`, into `to`, by so many threads. Images lie between the panels and the rows, so
// that the weights of some panels stay near while all images pass.
inline void convolve_taps(const Convolution& conv, const Maps& from, const Maps& to, int images,
                          Ending ending, int threads) {
  const int reach = conv.kernel / 2;
  for_parts(threads, images * to.height, panels_of(conv.outputs), [&](int, Range rows, Range panels) {
    for_panels(panels, [&](auto panels_together, int panel) {
      constexpr int kPanels = decltype(panels_together)::value;
      for (int row = rows.begin; row < rows.end; ++row) {
        const int image = row / to.height, y = row % to.height;
        for_rows<kRowsTogether<kPanels>>(to.width, 0, [&](auto pixels, int x) {
          convolve_pixels<decltype(pixels)::value, kPanels>(
              conv, from.at(image, y * conv.stride - reach, x * conv.stride - reach), from, panel, ending,
              to.at(image, y, x) + panel * kOutputPanel, to.channels);
        });
      }
    });
  });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
