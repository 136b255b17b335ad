// SPDX-License-Identifier: Apache-2.0
// Patches on a device: a thread a number.
#pragma once

#include "device/queue.hpp"
#include "ops/patches/patches.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// Where one feature of one patch lies in its image [channels, height, width].
SRDFAST_INLINE std::int64_t pixel_of(const PatchGrid& grid, std::int64_t patch, int feature) {
  const int size = grid.patch(), columns = grid.columns.count();
  const int x = feature % size, y = feature / size % size, channel = feature / (size * size);
  const int row = grid.rows.position(static_cast<int>(patch / columns)) + y;
  const int column = grid.columns.position(static_cast<int>(patch % columns)) + x;
  return channel * grid.plane() + std::int64_t{row} * grid.columns.length + column;
}

SRDFAST_INLINE std::int64_t patch_count(const PatchGrid& grid) {
  return std::int64_t{grid.rows.count()} * grid.columns.count();
}

struct PatchesArguments {
  const float* from;
  float* to;
  PatchGrid grid;
  std::int64_t batch;  // images
};

// from [batch, channels, height, width] -> to [batch, patches, features]
struct ExtractBody : ItemBody {
  using Arguments = PatchesArguments;

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    const std::int64_t patches = patch_count(args.grid), features = args.grid.features();
    const std::int64_t image_size = args.grid.channels * args.grid.plane();
    for_each_item(block, args.batch * patches * features, [&](std::int64_t i) {
      const std::int64_t image = i / (patches * features), patch = i / features % patches;
      args.to[i] = args.from[image * image_size + pixel_of(args.grid, patch, static_cast<int>(i % features))];
    });
  }
};

// from [batch, patches, features] -> to [batch, channels, height, width], the mean over the patches at each
// pixel, added up in the order of the CPU: along a row of patches, then from row to row.
struct AverageBody : ItemBody {
  using Arguments = PatchesArguments;

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    const PatchGrid& grid = args.grid;
    const std::int64_t size = grid.channels * grid.plane();
    for_each_item(block, args.batch * size, [&](std::int64_t i) {
      args.to[i] = mean(grid, args.from + i / size * patch_count(grid) * grid.features(), i % size);
    });
  }

 private:
  SRDFAST_INLINE static float mean(const PatchGrid& grid, const float* patches, std::int64_t pixel) {
    const int x = static_cast<int>(pixel % grid.columns.length);
    const int y = static_cast<int>(pixel / grid.columns.length % grid.rows.length);
    const int channel = static_cast<int>(pixel / grid.plane()), width = grid.patch();
    float total = 0;
    int rows = 0, columns = 0;
    for (int r = grid.rows.first_reaching(y); covers(grid.rows, r, y); ++r, ++rows) {
      float strip = 0;
      columns = 0;
      for (int c = grid.columns.first_reaching(x); covers(grid.columns, c, x); ++c, ++columns) {
        const int feature =
            (channel * width + y - grid.rows.position(r)) * width + x - grid.columns.position(c);
        strip += patches[(std::int64_t{r} * grid.columns.count() + c) * grid.features() + feature];
      }
      total += strip;
    }
    return total * ((1 / static_cast<float>(rows)) * (1 / static_cast<float>(columns)));
  }

  // For a patch not before the first that reaches the pixel.
  SRDFAST_INLINE static bool covers(const PatchAxis& axis, int patch, int pixel) {
    return patch < axis.count() && axis.position(patch) <= pixel;
  }
};

template <class Queue>
void extract_device(Queue& queue, const ExtractProblem<float>& problem) {
  const PatchGrid grid = PatchGrid::of(problem.images, problem.patch, problem.stride);
  launch_items<ExtractBody>(queue, problem.patches.size(),
                            {problem.images.data, problem.patches.data, grid, problem.images.extent(0)});
}

template <class Queue>
void average_device(Queue& queue, const AverageProblem<float>& problem) {
  const PatchGrid grid = PatchGrid::of(problem.images, problem.patch, problem.stride);
  launch_items<AverageBody>(queue, problem.images.size(),
                            {problem.patches.data, problem.images.data, grid, problem.images.extent(0)});
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
