// SPDX-License-Identifier: Apache-2.0
// The weights of a convolution as the kernel reads them, made once.
#pragma once

#include <cstddef>
#include <vector>

#include "ops/encode/encode.hpp"

namespace srdfast {

// The transform of a filter's rows or columns, of F(4, 3) at the points 0, 1, -1, 2, -2 and infinity (Lavin
// and Gray 2016, arXiv 1509.09308).
constexpr double kFilterTransform[6][3] = {{1.0 / 4, 0, 0},
                                           {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                           {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                           {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                           {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                           {0, 0, 1}};

// What a filter is to a tile: its 36 transformed taps, or its own kernel * kernel.
inline std::vector<float> taps_of(const Convolution& conv, const float* filter) {
  if (!conv.by_tiles()) return {filter, filter + conv.kernel * conv.kernel};
  std::vector<float> taps(36);
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 6; ++j) {
      double sum = 0;
      for (int y = 0; y < 3; ++y) {
        for (int x = 0; x < 3; ++x)
          sum += kFilterTransform[i][y] * double{filter[3 * y + x]} * kFilterTransform[j][x];
      }
      taps[static_cast<std::size_t>(6 * i + j)] = static_cast<float>(sum);
    }
  }
  return taps;
}

// weights [outputs, inputs, kernel, kernel] as [taps, panels, inputs, kOutputPanel] where the convolution
// goes by tiles, whose taps are products of their own, else as [panels, taps, inputs, kOutputPanel]; zeros
// for the outputs that fill the last panel.
inline std::vector<float> packed_weights(const Convolution& conv, const float* weights) {
  const int taps = conv.by_tiles() ? 36 : conv.kernel * conv.kernel, panels = panels_of(conv.outputs);
  std::vector<float> packed(static_cast<std::size_t>(taps) * panels * conv.inputs * kOutputPanel);
  for (int o = 0; o < conv.outputs; ++o) {
    for (int i = 0; i < conv.inputs; ++i) {
      const auto filter = (static_cast<std::size_t>(o) * conv.inputs + i) * conv.kernel * conv.kernel;
      const std::vector<float> values = taps_of(conv, weights + filter);
      for (int t = 0; t < taps; ++t) {
        const int panel = o / kOutputPanel;
        const auto place = static_cast<std::size_t>(conv.by_tiles() ? t * panels + panel : panel * taps + t);
        packed[(place * conv.inputs + i) * kOutputPanel + o % kOutputPanel] =
            values[static_cast<std::size_t>(t)];
      }
    }
  }
  return packed;
}

}  // namespace srdfast
