// SPDX-License-Identifier: Apache-2.0
// Convolutions give what plain loops give, and a network the same bits for an image alone on several threads
// as among others on one.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "ops/encode/encoder.hpp"
#include "ops/encode/pack.hpp"

namespace {

using namespace srdfast;

constexpr int kThreads = 3;

int checks = 0, failures = 0;

void check(bool holds, const char* what, int inputs, int outputs, int height, int width) {
  ++checks;
  if (holds) return;
  ++failures;
  std::printf("failed: %s (%d to %d features, %d x %d)\n", what, inputs, outputs, height, width);
}

std::vector<float> random_numbers(std::int64_t count) {
  static std::mt19937 source(1);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& number : numbers) number = normal(source);
  return numbers;
}

// A convolution with memory of its own.
struct OwnConvolution {
  OwnConvolution(int inputs, int outputs, int kernel, int stride)
      : weights(random_numbers(std::int64_t{outputs} * inputs * kernel * kernel)),
        biases(random_numbers(panels_of(outputs) * kOutputPanel)) {
    conv.inputs = inputs;
    conv.outputs = outputs;
    conv.kernel = kernel;
    conv.stride = stride;
    packed = packed_weights(conv, weights.data());
    for (int o = outputs; o < panels_of(outputs) * kOutputPanel; ++o) biases[o] = 0;
    conv.weights = packed.data();
    conv.bias = biases.data();
  }
  OwnConvolution(const OwnConvolution&) = delete;
  OwnConvolution& operator=(const OwnConvolution&) = delete;

  // Output o at a place, and in `size` the sum of the magnitudes.
  double plain(const Maps& from, int image, int o, int y, int x, double* size) const {
    double sum = biases[o];
    *size = std::abs(sum);
    for (int i = 0; i < conv.inputs; ++i) {
      for (int t = 0; t < conv.kernel * conv.kernel; ++t) {
        const int row = y * conv.stride + t / conv.kernel - conv.kernel / 2;
        const int column = x * conv.stride + t % conv.kernel - conv.kernel / 2;
        if (row < 0 || row >= from.height || column < 0 || column >= from.width) continue;
        const double term = double{weights[(o * conv.inputs + i) * conv.kernel * conv.kernel + t]} *
                            from.at(image, row, column)[i];
        sum += term;
        *size += std::abs(term);
      }
    }
    return sum;
  }

  std::vector<float> weights, biases, packed;
  Convolution conv;
};

void fill(const Maps& maps, int images, int features) {
  for (int i = 0; i < images; ++i) {
    for (int y = 0; y < maps.height; ++y) {
      for (int x = 0; x < maps.width; ++x) {
        const std::vector<float> numbers = random_numbers(features);
        for (int f = 0; f < features; ++f) maps.at(i, y, x)[f] = numbers[static_cast<std::size_t>(f)];
      }
    }
  }
}

void test_convolution(int inputs, int outputs, int kernel, int stride, int height, int width, Ending ending) {
  constexpr int kImages = 3;
  const OwnConvolution own(inputs, outputs, kernel, stride);
  const Convolution& conv = own.conv;
  const OwnMaps from(kImages, height, width, padded_channels(inputs), kernel / 2);
  const OwnMaps to(kImages, conv.size_after(height), conv.size_after(width), padded_channels(outputs), 1);
  const OwnMaps before(kImages, conv.size_after(height), conv.size_after(width), padded_channels(outputs), 1);
  fill(*from, kImages, inputs);
  fill(*to, kImages, outputs);
  const std::int64_t all = kImages * (*to).image_size();
  std::memcpy((*before).data, (*to).data, sizeof(float) * static_cast<std::size_t>(all));
  if (conv.by_tiles()) {
    TileConvolution(padded_channels(inputs > outputs ? inputs : outputs), kThreads)(conv, *from, *to, kImages,
                                                                                    ending);
  } else {
    convolve_taps(conv, *from, *to, kImages, ending, kThreads);
  }
  bool right = true;
  double inside = 0, everywhere = 0;
  for (int i = 0; i < kImages; ++i) {
    for (int y = 0; y < (*to).height; ++y) {
      for (int x = 0; x < (*to).width; ++x) {
        for (int o = 0; o < outputs; ++o) {
          double size, expected = own.plain(*from, i, o, y, x, &size);
          if (ending.adds) expected += (*before).at(i, y, x)[o];
          if (ending.rectifies && expected < 0) expected = 0;
          const double found = (*to).at(i, y, x)[o];
          right &= std::abs(found - expected) <= 2e-5 * (size + 1);
          inside += std::abs(found);
        }
      }
    }
  }
  for (std::int64_t i = 0; i < all; ++i) everywhere += std::abs(double{(*to).data[i]});
  check(right, "convolution: that of plain loops", inputs, outputs, height, width);
  check(std::abs(inside - everywhere) <= 1e-9 * inside, "convolution: the border stays zero", inputs, outputs,
        height, width);
}

void test_network(int width, bool pools, int height, int columns) {
  const OwnConvolution stem(3, width, pools ? 7 : 3, pools ? 2 : 1);
  const OwnConvolution first(width, width, 3, 1), second(width, width, 3, 1);
  const OwnConvolution down(width, 2 * width, 3, 2), last(2 * width, 2 * width, 3, 1),
      shortcut(width, 2 * width, 1, 2);
  const ResidualBlock blocks[] = {{first.conv, second.conv, {}}, {down.conv, last.conv, shortcut.conv}};
  const float mean[] = {0.4f, 0.5f, 0.6f}, std[] = {0.2f, 0.25f, 0.3f};
  const ResidualNetwork network{mean, std, stem.conv, pools, blocks, 2};
  constexpr int kImages = 37;
  const std::vector<float> images = random_numbers(std::int64_t{kImages} * 3 * height * columns);
  std::vector<float> together(kImages * network.latent()), alone(together.size());
  Encoder(network, height, columns, kImages, 1).encode(images.data(), kImages, together.data());
  Encoder one(network, height, columns, 1, kThreads);
  bool finite = true;
  for (int i = 0; i < kImages; ++i) {
    one.encode(images.data() + std::int64_t{i} * 3 * height * columns, 1,
               alone.data() + i * network.latent());
  }
  for (const float value : together) finite &= std::isfinite(value);
  check(finite && together == alone, "network: an image has the same latent alone", 3, network.latent(),
        height, columns);
}

}  // namespace

int main() {
  set_num_threads(kThreads);
  for (const int inputs : {1, 3, 8, 16, 20, 33}) {
    for (const int outputs : {1, 16, 17, 40}) {
      for (const int size : {1, 4, 7, 9}) {
        for (const Ending ending : {Ending{false, false}, Ending{true, false}, Ending{true, true}}) {
          test_convolution(inputs, outputs, 3, 1, size, size + 2, ending);
          test_convolution(inputs, outputs, 3, 2, size, size + 2, ending);
          test_convolution(inputs, outputs, 1, 2, size, size + 1, ending);
          test_convolution(inputs, outputs, 7, 2, size, 3, ending);
        }
      }
    }
  }
  for (const int width : {3, 8, 16}) {
    for (const bool pools : {false, true}) {
      test_network(width, pools, 13, 18);
      test_network(width, pools, 1, 2);
    }
  }
  std::printf("%d passed, %d failed\n", checks - failures, failures);
  return failures == 0 ? 0 : 1;
}
