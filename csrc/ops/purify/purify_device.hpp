// SPDX-License-Identifier: Apache-2.0
// The fused purification on a device. A block cuts a tile of patches of one image into shared memory, codes
// it and leaves the rebuilt patches; a second pass averages them. Images go through in groups whose patches
// stay in the second-level cache.
#pragma once

#include "device/code_batch.hpp"
#include "ops/lasso/lasso_device.hpp"
#include "ops/lista/lista_device.hpp"
#include "ops/omp/omp_device.hpp"
#include "ops/patches/patches_device.hpp"
#include "ops/purify/purify.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// Of the patches of a group, where an image has fewer.
constexpr std::int64_t kPatchBytes = std::int64_t{32} << 20;

template <template <int, class> class Coder, int kRows>
struct RebuildBody {
  using Tile = TileCoder<Coder, kRows>;
  static constexpr int kThreads = Tile::kThreads;
  static constexpr bool kFewerWillDo = Tile::kFewerWillDo;
  static constexpr int kResident = Tile::kResident;
  static constexpr bool kMaySpill = Tile::kMaySpill;

  struct Arguments {
    const float* images;        // [batch, channels, height, width]
    const std::int64_t* index;  // [batch], or null
    std::int64_t dictionaries, batch;
    PatchGrid grid;
    typename Tile::Of::Arguments coder;
    float* patches;  // [batch, patches, features]
  };

  static std::int64_t shared_bytes(const Arguments& args) { return Tile::shared_bytes(args.coder); }
  SRDFAST_INLINE static std::int64_t tiles(const PatchGrid& grid) {
    return (patch_count(grid) + kRows - 1) / kRows;
  }

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    const int features = args.coder.features();
    TileCoder<Coder, kRows, Block> coder(block, args.coder, shared);
    const std::int64_t image = block.index() / tiles(args.grid);
    const std::int64_t first = block.index() % tiles(args.grid) * kRows;
    const std::int64_t left = patch_count(args.grid) - first;
    const int count = static_cast<int>(left < kRows ? left : kRows);
    const float* const pixels = args.images + image * args.grid.channels * args.grid.plane();
    coder.code(dictionary_of(args.index, image, args.dictionaries), count,
               [&](int row, int f) { return pixels[pixel_of(args.grid, first + row, f)]; });
    float* const out = args.patches + (image * patch_count(args.grid) + first) * features;
    coder.codes().reconstruct(
        count, [&](int row, int f, float value) { out[std::int64_t{row} * features + f] = value; });
  }
};

template <template <int, class> class Coder, class Queue, class Problem, class CoderArguments>
void rebuild_images(Queue& queue, const Problem& problem, const CoderArguments& coder) {
  const PatchGrid grid = PatchGrid::of(problem.images, problem.patch, problem.stride);
  const std::int64_t batch = problem.images.extent(0), size = problem.images.slice_size();
  const std::int64_t image_patches = patch_count(grid) * grid.features();
  const std::int64_t fitting = kPatchBytes / (image_patches * static_cast<std::int64_t>(sizeof(float)));
  const std::int64_t together = fitting < 1 ? 1 : fitting < batch ? fitting : batch;
  float* const patches = queue.template take<float>(together * image_patches);
  with_rows<Coder>(queue, coder, [&](auto rows) {
    using Body = RebuildBody<Coder, decltype(rows)::value>;
    typename Body::Arguments args{problem.images.data,
                                  problem.index.data,
                                  problem.dictionary.extent(0),
                                  together,
                                  grid,
                                  coder,
                                  patches};
    SpillingLaunches<Body, Queue> rebuild(queue, together * Body::tiles(grid), args);
    for (std::int64_t first = 0; first < batch; first += together) {
      args.batch = batch - first < together ? batch - first : together;
      args.images = problem.images.data + first * size;
      args.index = problem.index.data == nullptr ? nullptr : problem.index.data + first;
      rebuild.launch(args.batch * Body::tiles(grid), args);
      launch_items<AverageBody>(queue, args.batch * size,
                                {patches, problem.purified.data + first * size, grid, args.batch});
    }
  });
}

template <class Queue>
void purify_device(Queue& queue, const PurifyProblem<float, OmpCoding<float>>& problem) {
  const DeviceGrams tables = problem_grams(queue, problem);
  with_omp_device(queue, problem.coding.settings, tables, [&](auto device, const OmpDeviceArguments& args) {
    rebuild_images<decltype(device)::template Coder>(queue, problem, args);
  });
}

template <class Queue>
void purify_device(Queue& queue, const PurifyProblem<float, LassoCoding<float>>& problem) {
  const DeviceGrams tables = problem_grams(queue, problem);
  rebuild_images<LassoDeviceCoder>(queue, problem, LassoDeviceArguments{tables, problem.coding.settings});
}

template <class Queue>
void purify_device(Queue& queue, const PurifyProblem<float, ListaCoding<float>>& problem) {
  const DeviceLista tables = made_or_found(queue, problem.prepared, [&](auto& place) {
    return device_lista(place, problem.coding.analysis, problem.coding.thresholds, problem.dictionary,
                        lista_by_gram(problem.coding.steps, problem.dictionary));
  });
  with_lista_form(tables, [&](auto form) {
    rebuild_images<ListaDevice<decltype(form)::value>::template Coder>(
        queue, problem, ListaDeviceArguments{tables, problem.coding.steps});
  });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
