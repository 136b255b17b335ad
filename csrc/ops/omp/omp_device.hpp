// SPDX-License-Identifier: Apache-2.0
// Orthogonal matching pursuit on a device: correlations of a tile on tensor cores, then a warp a signal.
#pragma once

#include "device/code_batch.hpp"
#include "device/tables.hpp"
#include "ops/omp/omp.hpp"
#include "ops/omp/omp_warp.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct OmpDeviceArguments {
  DeviceGrams tables;
  OmpSettings<float> settings;
  int solvers;  // warps of a block that there is shared memory for to choose atoms

  SRDFAST_INLINE int features() const { return tables.features; }
};

struct OmpDeviceOutputs {
  std::int32_t* indices;  // [batch, max_atoms]
  float* values;          // [batch, max_atoms]
  std::int32_t* counts;   // [batch]
};

constexpr int kAnyAtoms = 0;

// For at most 32 kAtoms atoms, whose scores a warp keeps in registers; or for any number of them, with the
// loop that the CPU's reference shares.
template <int kAtoms>
struct OmpDevice {
  template <int kTileRows, class Block>
  class Coder {
   public:
    static constexpr int kRows = kTileRows;
    static constexpr int kResident = kAtoms > 8 ? 1 : 2;
    static constexpr bool kMaySpill = kAtoms == kAnyAtoms;
    using Arguments = OmpDeviceArguments;
    using Outputs = OmpDeviceOutputs;

    SRDFAST_INLINE static int row_width(const Arguments& args) { return args.features(); }
    static std::int64_t shared_bytes(const Arguments& args, int) {
      return SharedMemory::bytes<float>(kRows * args.tables.correlation_stride()) +
             2 * SharedMemory::bytes<float>(kRows * args.settings.max_atoms) +
             SharedMemory::bytes<std::int32_t>(kRows) +
             SharedMemory::bytes<float>(args.solvers * work_size(args));
    }

    SRDFAST_INLINE Coder(const Block& block, const Arguments& args, SharedMemory& memory)
        : block_(block), args_(args) {
      const int most = args.settings.max_atoms;
      correlations_ = memory.take<float>(kRows * args.tables.correlation_stride());
      values_ = memory.take<float>(kRows * most);
      indices_ = memory.take<std::int32_t>(kRows * most);
      counts_ = memory.take<std::int32_t>(kRows);
      work_ = memory.take<float>(args.solvers * work_size(args));
    }

    SRDFAST_INLINE void code(std::int64_t dictionary, int count, const float* rows, int row_stride) {
      const DeviceGrams& tables = args_.tables;
      dictionary_ = dictionary;
      tables.correlate<kRows>(block_, dictionary, rows, row_stride, correlations_);
      const int solvers = args_.solvers < block_.warps() ? args_.solvers : block_.warps();
      if (block_.warp() < solvers) {
        for (int r = block_.warp(); r < count; r += solvers) solve(r, rows + r * row_stride);
      }
      block_.sync();
    }

    template <class Take>
    SRDFAST_INLINE void reconstruct(int count, const Take& take) const {
      const int most = args_.settings.max_atoms, features = args_.tables.features;
      const float* const dictionary = args_.tables.dictionary_at(dictionary_);
      for (int r = block_.warp(); r < count; r += block_.warps()) {
        for (int f = block_.lane(); f < features; f += kWarp) {
          float sum = 0;
          for (int k = 0; k < counts_[r]; ++k) {
            sum += values_[r * most + k] * dictionary[std::int64_t{indices_[r * most + k]} * features + f];
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
    // Floats that a warp works on: coordinates [max_atoms, atoms], and what registers do not hold: what
    // remains of the atoms [atoms] and the projections [max_atoms].
    SRDFAST_INLINE static std::int64_t work_size(const Arguments& args) {
      const std::int64_t most = args.settings.max_atoms, atoms = args.tables.atoms;
      return kAtoms == kAnyAtoms ? most * atoms + atoms + most : most * atoms;
    }

    SRDFAST_INLINE void solve(int row, const float* signal) {
      const DeviceGrams& tables = args_.tables;
      const int most = args_.settings.max_atoms;
      const float energy = WarpTeam<Block>(block_).template sum<float>(
          tables.features, [=](int f) { return signal[f] * signal[f]; });
      float* const correlations = correlations_ + row * tables.correlation_stride();
      const int chosen = choose(correlations, energy, indices_ + row * most, values_ + row * most);
      if (block_.lane() == 0) counts_[row] = chosen;
    }

    SRDFAST_INLINE int choose(float* correlations, float energy, std::int32_t* indices, float* values) {
      const DeviceGrams& tables = args_.tables;
      const float* const gram = tables.gram_at(dictionary_);
      const float* const norms = tables.norms_at(dictionary_);
      float* const work = work_ + block_.warp() * work_size(args_);
      if constexpr (kAtoms == kAnyAtoms) {
        float* const remaining = work + std::int64_t{args_.settings.max_atoms} * tables.atoms;
        return omp_solve(WarpTeam<Block>(block_), args_.settings, tables.atoms, tables.atoms, gram, norms, 1,
                         correlations, energy, OmpWorkspace<float>{work, remaining, remaining + tables.atoms},
                         indices, values);
      } else {
        OmpWarp<kAtoms, Block> warp(block_, args_.settings, {tables.atoms, gram, norms}, correlations, energy,
                                    work);
        return warp.solve(indices, values);
      }
    }

    const Block& block_;
    const Arguments& args_;
    std::int64_t dictionary_ = 0;
    float *correlations_, *values_, *work_;
    std::int32_t *indices_, *counts_;
  };
};

// As many solvers as there is shared memory for; 0 where there is not enough for one.
template <class Device, class Queue>
OmpDeviceArguments omp_arguments(const Queue& queue, const OmpSettings<float>& settings,
                                 const DeviceGrams& tables) {
  using Tile = TileCoder<Device::template Coder, 16>;
  for (int solvers = Tile::kThreads / kWarp; solvers > 0; solvers /= 2) {
    const OmpDeviceArguments args{tables, settings, solvers};
    if (Tile::shared_bytes(args) <= queue.shared_limit()) return args;
  }
  return {tables, settings, 0};
}

// Calls function(OmpDevice<..>{}, arguments): with scores in registers where these dictionaries have few
// enough atoms and shared memory is enough for the rest, else with the loop for any number of them, in shared
// memory or in the workspace.
template <class Queue, class Function>
void with_omp_device(const Queue& queue, const OmpSettings<float>& settings, const DeviceGrams& tables,
                     const Function& function) {
  const auto fits = [&](auto device) {
    const OmpDeviceArguments args = omp_arguments<decltype(device)>(queue, settings, tables);
    if (args.solvers > 0) function(device, args);
    return args.solvers > 0;
  };
  if (tables.atoms <= 8 * kWarp) {
    if (fits(OmpDevice<8>{})) return;
  } else if (tables.atoms <= 16 * kWarp) {
    if (fits(OmpDevice<16>{})) return;
  } else if (tables.atoms <= 32 * kWarp) {
    if (fits(OmpDevice<32>{})) return;
  }
  using Any = OmpDevice<kAnyAtoms>;
  OmpDeviceArguments args = omp_arguments<Any>(queue, settings, tables);
  if (args.solvers == 0) args.solvers = TileCoder<Any::Coder, 16>::kThreads / kWarp;  // there is room for all
  function(Any{}, args);
}

template <class Queue>
void omp_device(Queue& queue, const OmpProblem<float>& problem) {
  const DeviceGrams tables = problem_grams(queue, problem);
  const TileTable tiles =
      tile_table(queue, problem.index.data, problem.signals.extent(0), problem.dictionary.extent(0));
  with_omp_device(queue, problem.settings, tables, [&](auto device, const OmpDeviceArguments& args) {
    code_batch<decltype(device)::template Coder>(
        queue, problem.signals.data, tiles, args,
        OmpDeviceOutputs{problem.indices.data, problem.values.data, problem.counts.data});
  });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
