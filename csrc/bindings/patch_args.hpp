// SPDX-License-Identifier: Apache-2.0
// Checks of the patch geometry.
#pragma once

#include "bindings/tensor_arg.hpp"
#include "ops/patches/patches.hpp"

namespace srdfast {

// Raises unless patches of this size and stride cover images of this shape.
template <class T>
void require_patches_fit(const View<T, 4>& images, int patch, int stride) {
  const auto text = [](std::int64_t number) { return std::to_string(number); };
  if (patch < 1) expected("patch", "a whole number of at least 1", text(patch));
  if (stride < 1 || stride > patch)
    expected("stride", "from 1 to the patch size " + text(patch), text(stride));
  const std::int64_t channels = images.extent(1), height = images.extent(2), width = images.extent(3);
  if (channels < 1 || height < patch || width < patch || height > (1 << 20) || width > (1 << 20)) {
    expected("images",
             "at least one channel and " + text(patch) + " x " + text(patch) + " pixels (the patch size)",
             text(channels) + " channels of " + text(height) + " x " + text(width));
  }
}

}  // namespace srdfast
