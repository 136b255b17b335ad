// SPDX-License-Identifier: Apache-2.0
// Averages patches into images strip by strip, over all threads, in bounded memory.
#pragma once

#include "core/groups.hpp"
#include "core/parallel.hpp"
#include "ops/patches/patches.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// How the rows of patches of a batch are taken: several small images whole, or one large one in bands.
struct StripPlan {
  static constexpr std::int64_t kBytes =
      4 << 20;  // strips in flight: enough to keep threads busy, and in cache

  StripPlan(const PatchGrid& grid, std::int64_t batch, std::int64_t strip_bytes)
      : rows(grid.rows.count()), overlap((grid.patch() + grid.rows.stride - 1) / grid.rows.stride) {
    const std::int64_t fitting = kBytes / strip_bytes;
    if (fitting >= rows) {
      images = fitting / rows < batch ? fitting / rows : batch;
      band = rows;
    } else {
      images = 1;
      band = fitting > overlap ? fitting : overlap;
    }
  }

  std::int64_t rows;
  std::int64_t overlap;  // strips before a band that reach into its pixels
  std::int64_t images;   // taken together
  std::int64_t band;     // rows of patches taken together
};

// Writes `images` [batch, channels, height, width] as averages of patches, in the order of `groups`.
//   make_filler()                     called once per range of work; returns the filler with its own scratch
//                                     memory
//   filler(image, row, rows, strips)  adds the patches of `rows` rows of one image, from `row` on, to the
//                                     zeroed strips [rows, channels, patch, width]
template <class T, class MakeFiller>
SRDFAST_INLINE void average_by_strips(const View<T, 4>& images, const Groups& groups, int patch, int stride,
                                      const MakeFiller& make_filler) {
  constexpr std::int64_t kRanges = 64;  // enough to balance the threads
  const PatchGrid grid = PatchGrid::of(images, patch, stride);
  const std::int64_t batch = images.extent(0), size = grid.strip_size();
  const std::size_t strip_bytes = sizeof(T) * static_cast<std::size_t>(size);
  const StripPlan plan(grid, batch, static_cast<std::int64_t>(strip_bytes));

  const std::int64_t held =
      plan.band < plan.rows ? plan.overlap + plan.band : plan.rows;  // strips of an image
  Scratch<T> strips(plan.images * held * size);
  Scratch<T> row_weights(grid.rows.length), column_weights(grid.columns.length);
  coverage_weights(grid.rows, row_weights.data());
  coverage_weights(grid.columns, column_weights.data());

  for (std::int64_t image = 0; image < batch; image += plan.images) {
    const std::int64_t together = batch - image < plan.images ? batch - image : plan.images;
    std::int64_t kept = 0;  // strips before the band that are still there
    for (std::int64_t row = 0; row < plan.rows; row += plan.band) {
      const std::int64_t count = plan.rows - row < plan.band ? plan.rows - row : plan.band;
      parallel_for(
          together * count, together * count / kRanges + 1, [&](std::int64_t begin, std::int64_t end) {
            auto filler = make_filler();
            for (std::int64_t i = begin; i < end;) {
              const std::int64_t rest = count - i % count;  // of the rows of this image
              const std::int64_t rows = rest < end - i ? rest : end - i;
              T* first = strips.data() + (i / count * held + kept + i % count) * size;
              std::memset(static_cast<void*>(first), 0, static_cast<std::size_t>(rows) * strip_bytes);
              filler(groups.signal(image + i / count), static_cast<int>(row + i % count),
                     static_cast<int>(rows), first);
              i += rows;
            }
          });
      const bool last = row + count == plan.rows;
      const int top = grid.rows.position(static_cast<int>(row));
      const int bottom = last ? grid.rows.length : grid.rows.position(static_cast<int>(row + count));
      const std::int64_t lines = bottom - top;
      parallel_for(together * lines, together * lines / kRanges + 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t i = begin; i < end; ++i) {
                       const T* first =
                           strips.data() + (i / lines * held + kept - row) * size;  // where strip 0 would lie
                       average_strips(grid, first, top + static_cast<int>(i % lines), row_weights.data(),
                                      column_weights.data(), images.slice(groups.signal(image + i / lines)));
                     }
                   });
      if (last) break;
      const std::int64_t next = row + count < plan.overlap ? row + count : plan.overlap;
      std::memmove(strips.data(), strips.data() + (kept + count - next) * size,
                   static_cast<std::size_t>(next) * strip_bytes);
      kept = next;
    }
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
