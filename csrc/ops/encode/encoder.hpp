// SPDX-License-Identifier: Apache-2.0
// A residual network at work: one thread's feature maps, and the order in which they are filled.
//
// Early stages have large maps and few weights, late ones small maps and many weights. So a stage takes only
// so many images at once that their tiles keep its weights busy, and hands them on while they are near.
#pragma once

#include "core/owned.hpp"
#include "ops/encode/convolution.hpp"
#include "ops/encode/winograd.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

SRDFAST_INLINE int padded_channels(int channels) { return panels_of(channels) * kOutputPanel; }

// Blocks whose maps have one size. The first stage follows the stem; another begins with a block that has a
// shortcut. All blocks after that are identities and work in place.
struct Stage {
  Stage(const ResidualBlock* begin, const ResidualBlock* end, int height, int width, int channels,
        int together)
      : begin(begin),
        end(end),
        together(together),
        state(together, height, width, padded_channels(channels), 1),
        middle(together, height, width, padded_channels(channels), 1) {}

  const ResidualBlock *begin, *end;
  int together;    // images that pass at once
  OwnMaps state;   // what a block takes and leaves
  OwnMaps middle;  // between its convolutions
};

class Encoder {
 public:
  // For images of height x width, at most `together` at once, each convolution shared by so many threads.
  Encoder(const ResidualNetwork& network, int height, int width, int together, int threads)
      : network_(network),
        threads_(threads),
        image_size_(std::int64_t{network.stem.inputs} * height * width),
        pixels_(1, height, width, network.stem.inputs, network.stem.kernel / 2),
        stem_(network.pools ? 1 : 0, network.stem.size_after(height), network.stem.size_after(width),
              padded_channels(network.stem.outputs), 1),
        tiles_(padded_channels(network.latent()), threads) {
    height = pooled((*stem_).height);
    width = pooled((*stem_).width);
    const ResidualBlock* const end = network.blocks + network.block_count;
    const ResidualBlock* block = network.blocks;
    add_stage(block, end, height, width, network.stem.outputs, together);
    while (block != end) {
      height = block->first.size_after(height);
      width = block->first.size_after(width);
      add_stage(block, end, height, width, block->first.outputs, together);
    }
  }

  // Latents [count, latent] of images [count, channels, height, width].
  void encode(const float* images, int count, float* latents) {
    const Stage& last = stages_[stages_.size() - 1];
    for (int first = 0; first < count; first += last.together) {
      const int some = count - first < last.together ? count - first : last.together;
      run(stages_.size() - 1, images + first * image_size_, some);
      for (int i = 0; i < some; ++i)
        average(*last.state, i, latents + std::int64_t{first + i} * network_.latent());
    }
  }

 private:
  int pooled(int size) const { return network_.pools ? (size + 1) / 2 : size; }

  // A stage that begins with `block`, which moves on to the first one of the next.
  void add_stage(const ResidualBlock*& block, const ResidualBlock* end, int height, int width, int channels,
                 int together) {
    const ResidualBlock* const begin = block;
    if (stages_.size() > 0) ++block;
    while (block != end && block->is_identity()) ++block;
    const int tiles = Maps::whole_tiles(height) * Maps::whole_tiles(width);
    const int busy = (2 * kTilesTogether + tiles - 1) / tiles;
    if (busy < together) together = busy;
    stages_.add(new Stage(begin, block, height, width, channels, together));
  }

  // Takes images through all stages up to this one, into its state.
  void run(int s, const float* images, int count) {
    Stage& stage = stages_[s];
    const ResidualBlock* block = stage.begin;
    if (s == 0) {
      for (int i = 0; i < count; ++i) enter(images + i * image_size_, (*stage.state).from(i));
    } else {
      const Stage& before = stages_[s - 1];
      for (int first = 0; first < count; first += before.together) {
        const int some = count - first < before.together ? count - first : before.together;
        run(s - 1, images + first * image_size_, some);
        convolve(block->first, *before.state, (*stage.middle).from(first), some, {false, true});
        convolve(block->shortcut, *before.state, (*stage.state).from(first), some, {false, false});
      }
      convolve(block->second, *stage.middle, *stage.state, count, {true, true});
      ++block;
    }
    for (; block != stage.end; ++block) {
      convolve(block->first, *stage.state, *stage.middle, count, {false, true});
      convolve(block->second, *stage.middle, *stage.state, count, {true, true});
    }
  }

  void convolve(const Convolution& conv, const Maps& from, const Maps& to, int images, Ending ending) {
    if (conv.by_tiles()) return tiles_(conv, from, to, images, ending);
    convolve_taps(conv, from, to, images, ending, threads_);
  }

  // The stem's features of an image [channels, height, width].
  void enter(const float* image, const Maps& state) {
    const Maps& pixels = *pixels_;
    for (int c = 0; c < pixels.channels; ++c) {
      for (int y = 0; y < pixels.height; ++y) {
        float* to = pixels.at(0, y, 0) + c;
        for (int x = 0; x < pixels.width; ++x)
          to[x * pixels.channels] = (*image++ - network_.mean[c]) / network_.std[c];
      }
    }
    const Maps& features = network_.pools ? *stem_ : state;
    convolve_taps(network_.stem, pixels, features, 1, {false, true}, threads_);
    if (network_.pools) pool(features, state);
  }

  // The largest of 3 x 3 features, in steps of 2. None is below zero, so the border is never the only
  // largest.
  static void pool(const Maps& from, const Maps& to) {
    for (int y = 0; y < to.height; ++y) {
      for (int x = 0; x < to.width; ++x) {
        const float* corner = from.at(0, 2 * y - 1, 2 * x - 1);
        float* place = to.at(0, y, x);
        for (int c = 0; c < to.channels; c += kVectorLength<float>) {
          Vector<float> largest{};
          for (int i = 0; i < 9; ++i) {
            const auto value =
                load(corner + (std::int64_t{i / 3} * from.columns() + i % 3) * from.channels + c);
            largest = value > largest ? value : largest;
          }
          store(largest, place + c);
        }
      }
    }
  }

  void average(const Maps& maps, int image, float* latent) const {
    const float share = 1.0f / static_cast<float>(maps.height * maps.width);
    for (int c = 0; c < network_.latent(); ++c) {
      float sum = 0;
      for (int y = 0; y < maps.height; ++y) {
        for (int x = 0; x < maps.width; ++x) sum += maps.at(image, y, x)[c];
      }
      latent[c] = sum * share;
    }
  }

  const ResidualNetwork& network_;
  int threads_;
  std::int64_t image_size_;
  OwnMaps pixels_, stem_;
  TileConvolution tiles_;
  Owned<Stage, kMostStages> stages_;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
