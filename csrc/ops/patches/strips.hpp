// SPDX-License-Identifier: Apache-2.0
// Averages patches into images strip by strip, over all threads, in bounded memory.
#pragma once

#include "core/groups.hpp"
#include "core/parallel.hpp"
#include "ops/patches/patches.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// Writes `images` [batch, channels, height, width] as averages of patches, in the order of `groups`.
//   make_filler()            called once per range of work; returns the filler with its own scratch memory
//   filler(image, row, strip)  adds the patches of one row of one image to the zeroed strip [channels, patch,
//   width]
template <class T, class MakeFiller>
SRDFAST_INLINE void average_by_strips(const View<T, 4>& images, const Groups& groups, int patch, int stride,
                                      const MakeFiller& make_filler) {
  constexpr std::int64_t kStripBytes = 4 << 20;  // strips in flight: enough to keep threads busy, and in cache
  constexpr std::int64_t kRanges = 64;           // enough to balance the threads
  const PatchGrid grid = PatchGrid::of(images, patch, stride);
  const std::int64_t batch = images.extent(0);
  const std::int64_t rows = grid.rows.count();
  const int height = grid.rows.length;
  const std::int64_t image_bytes = rows * grid.strip_size() * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t fitting = kStripBytes / image_bytes > 0 ? kStripBytes / image_bytes : 1;
  const std::int64_t group = fitting < batch ? fitting : batch;

  Scratch<T> strips(group * rows * grid.strip_size());
  Scratch<T> row_weights(height), column_weights(grid.columns.length);
  coverage_weights(grid.rows, row_weights.data());
  coverage_weights(grid.columns, column_weights.data());
  for (std::int64_t first = 0; first < batch; first += group) {
    const std::int64_t count = batch - first < group ? batch - first : group;
    parallel_for(count * rows, count * rows / kRanges + 1, [&](std::int64_t begin, std::int64_t end) {
      auto filler = make_filler();
      for (std::int64_t i = begin; i < end; ++i) {
        T* strip = strips.data() + i * grid.strip_size();
        std::memset(static_cast<void*>(strip), 0, sizeof(T) * static_cast<std::size_t>(grid.strip_size()));
        filler(groups.signal(first + i / rows), static_cast<int>(i % rows), strip);
      }
    });
    parallel_for(count * height, count * height / kRanges + 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        average_strips(grid, strips.data() + i / height * rows * grid.strip_size(),
                       static_cast<int>(i % height), row_weights.data(), column_weights.data(),
                       images.slice(groups.signal(first + i / height)));
      }
    });
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
