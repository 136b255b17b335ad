// SPDX-License-Identifier: Apache-2.0
// Orthogonal matching pursuit on a device: correlations of a tile on tensor cores, then a warp a signal.
#pragma once

#include "device/code_batch.hpp"
#include "device/tables.hpp"
#include "ops/omp/omp.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr std::int64_t kOmpBlocks = 512;  // that have memory for coordinates

struct OmpDeviceArguments {
  DeviceGrams tables;
  OmpSettings<float> settings;
  float* coordinates;  // [kOmpBlocks, warps, max_atoms, atoms]

  SRDFAST_INLINE int features() const { return tables.features; }
};

struct OmpDeviceOutputs {
  std::int32_t* indices;  // [batch, max_atoms]
  float* values;          // [batch, max_atoms]
  std::int32_t* counts;   // [batch]
};

template <int kTileRows, class Block>
class OmpDeviceCoder {
 public:
  static constexpr int kRows = kTileRows;
  using Arguments = OmpDeviceArguments;
  using Outputs = OmpDeviceOutputs;

  static std::int64_t shared_bytes(const Arguments& args, int threads) {
    const std::int64_t warps = threads / kWarp, most = args.settings.max_atoms;
    return SharedMemory::bytes<float>(kRows * stride(args)) + SharedMemory::bytes<float>(warps * args.tables.atoms) +
           SharedMemory::bytes<float>(warps * most) + 2 * SharedMemory::bytes<float>(kRows * most) +
           SharedMemory::bytes<std::int32_t>(kRows);
  }

  SRDFAST_INLINE OmpDeviceCoder(const Block& block, const Arguments& args, SharedMemory& memory)
      : block_(block), args_(args) {
    const int most = args.settings.max_atoms, atoms = args.tables.atoms;
    correlations_ = memory.take<float>(kRows * stride(args));
    work_.remaining = memory.take<float>(block.warps() * atoms) + block.warp() * atoms;
    work_.projections = memory.take<float>(block.warps() * most) + block.warp() * most;
    values_ = memory.take<float>(kRows * most);
    indices_ = memory.take<std::int32_t>(kRows * most);
    counts_ = memory.take<std::int32_t>(kRows);
    const std::int64_t warp = std::int64_t{block.index()} * block.warps() + block.warp();
    work_.coordinates = args.coordinates + warp * most * atoms;
  }

  SRDFAST_INLINE void code(std::int64_t dictionary, int count, const float* rows, int row_stride) {
    const DeviceGrams& tables = args_.tables;
    const int most = args_.settings.max_atoms, correlation_stride = stride(args_);
    dictionary_ = dictionary;
    block_product<kRows / kRowTile>(
        block_, rows, row_stride, tables.transposed_at(dictionary), tables.shape(),
        [&](int row, int column, float sum) { correlations_[row * correlation_stride + column] = sum; });
    block_.sync();
    const WarpTeam<Block> team(block_);
    for (int r = block_.warp(); r < count; r += block_.warps()) {
      const float* signal = rows + r * row_stride;
      const float energy =
          team.template sum<float>(tables.features, [=](int f) { return signal[f] * signal[f]; });
      const int chosen = omp_solve(team, args_.settings, tables.atoms, tables.atoms, tables.gram_at(dictionary),
                                   correlations_ + r * correlation_stride, energy, work_, indices_ + r * most,
                                   values_ + r * most);
      if (block_.lane() == 0) counts_[r] = chosen;
    }
    block_.sync();
  }

  template <class Take>
  SRDFAST_INLINE void reconstruct(int count, const Take& take) const {
    const int most = args_.settings.max_atoms, features = args_.tables.features;
    for (int r = block_.warp(); r < count; r += block_.warps()) {
      for (int f = block_.lane(); f < features; f += kWarp) {
        float sum = 0;
        for (int k = 0; k < counts_[r]; ++k) {
          const float* atom =
              args_.tables.dictionary_at(dictionary_) + std::int64_t{indices_[r * most + k]} * features;
          sum += values_[r * most + k] * atom[f];
        }
        take(r, f, sum);
      }
    }
  }

  template <class SignalOf>
  SRDFAST_INLINE void write(int count, const SignalOf& signal_of, const Outputs& outputs) const {
    const int most = args_.settings.max_atoms;
    for (int r = block_.warp(); r < count; r += block_.warps()) {
      const std::int64_t signal = signal_of(r);
      for (int k = block_.lane(); k < most; k += kWarp) {
        outputs.indices[signal * most + k] = indices_[r * most + k];
        outputs.values[signal * most + k] = values_[r * most + k];
      }
      if (block_.lane() == 0) outputs.counts[signal] = counts_[r];
    }
  }

 private:
  // Elements between rows of correlations; the 8 apart spread a warp's stores over the banks.
  SRDFAST_INLINE static int stride(const Arguments& args) { return (args.tables.atoms + 31) / 32 * 32 + 8; }

  const Block& block_;
  const Arguments& args_;
  std::int64_t dictionary_ = 0;
  OmpWorkspace<float> work_;
  float *correlations_, *values_;
  std::int32_t *indices_, *counts_;
};

template <class Queue>
OmpDeviceArguments omp_arguments(Queue& queue, const OmpSettings<float>& settings, const DeviceGrams& tables) {
  constexpr std::int64_t kWarps = CodeBody<OmpDeviceCoder, 32>::kThreads / kWarp;
  return {tables, settings,
          queue.template take<float>(kOmpBlocks * kWarps * settings.max_atoms * tables.atoms)};
}

template <class Queue>
void omp_device(Queue& queue, const OmpProblem<float>& problem) {
  const DeviceGrams tables = made_or_found(
      queue, problem.prepared, [&](auto& place) { return device_grams(place, problem.dictionary); });
  const TileTable tiles =
      tile_table(queue, problem.index.data, problem.signals.extent(0), problem.dictionary.extent(0));
  code_batch<OmpDeviceCoder>(queue, problem.signals.data, tiles, omp_arguments(queue, problem.settings, tables),
                             OmpDeviceOutputs{problem.indices.data, problem.values.data, problem.counts.data},
                             kOmpBlocks);
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
