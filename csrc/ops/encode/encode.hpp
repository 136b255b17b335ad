// SPDX-License-Identifier: Apache-2.0
// Latents of images by a residual network of basic blocks (He et al. 2016, arXiv 1512.03385) whose
// normalisations are folded into its convolutions.
#pragma once

#include <cstdint>

#include "core/registry.hpp"
#include "core/view.hpp"

namespace srdfast {

// Weights lie in panels of so many outputs; feature maps and biases are padded with zeros to whole panels.
constexpr int kOutputPanel = 16;

constexpr int panels_of(int channels) { return (channels + kOutputPanel - 1) / kOutputPanel; }

// How many stages, and so sizes of feature maps, a network may have.
constexpr int kMostStages = 16;

// A square convolution with kernel / 2 zeros on every side, so that stride 1 keeps the size.
struct Convolution {
  int inputs = 0, outputs = 0, kernel = 0, stride = 1;
  const float* weights = nullptr;  // packed, see pack.hpp
  const float* bias = nullptr;     // [panels, kOutputPanel]

  // Whether its outputs are computed in tiles of 4 x 4: with few inputs the transforms cost more than they
  // save.
  bool by_tiles() const { return kernel == 3 && stride == 1 && inputs >= kOutputPanel / 2; }

  int size_after(int size) const { return (size + stride - 1) / stride; }
};

// relu(second(relu(first(x))) + shortcut(x)); without a shortcut, x itself.
struct ResidualBlock {
  Convolution first, second, shortcut;

  bool is_identity() const { return shortcut.weights == nullptr; }
};

struct ResidualNetwork {
  const float *mean, *std;  // [channels], of pixels
  Convolution stem;
  bool pools;  // largest of 3 x 3 in steps of 2 after the stem
  const ResidualBlock* blocks;
  int block_count;

  int latent() const { return blocks[block_count - 1].second.outputs; }
};

template <class T>
struct EncodeProblem {
  static constexpr const char* name = "encode";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 4> images;  // [batch, channels, height, width]
  ResidualNetwork network;

  // outputs
  View<T, 2> latents;  // [batch, latent], means over the last block's features
};

}  // namespace srdfast
