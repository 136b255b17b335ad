// SPDX-License-Identifier: Apache-2.0
// Orthogonal matching pursuit on a device: correlations of a tile on tensor cores, then a warp a signal.
#pragma once

#include <string>

#include "core/errors.hpp"
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

// For at most 32 kAtoms atoms.
template <int kAtoms>
struct OmpDevice {
  template <int kTileRows, class Block>
  class Coder {
   public:
    static constexpr int kRows = kTileRows;
    static constexpr int kResident = kAtoms > 8 ? 1 : 2;
    using Arguments = OmpDeviceArguments;
    using Outputs = OmpDeviceOutputs;

    static std::int64_t shared_bytes(const Arguments& args, int) {
      return SharedMemory::bytes<float>(kRows * args.tables.correlation_stride()) +
             2 * SharedMemory::bytes<float>(kRows * args.settings.max_atoms) +
             SharedMemory::bytes<std::int32_t>(kRows) +
             SharedMemory::bytes<float>(args.solvers * coordinates_size(args));
    }

    SRDFAST_INLINE Coder(const Block& block, const Arguments& args, SharedMemory& memory)
        : block_(block), args_(args) {
      const int most = args.settings.max_atoms;
      correlations_ = memory.take<float>(kRows * args.tables.correlation_stride());
      values_ = memory.take<float>(kRows * most);
      indices_ = memory.take<std::int32_t>(kRows * most);
      counts_ = memory.take<std::int32_t>(kRows);
      coordinates_ = memory.take<float>(args.solvers * coordinates_size(args));
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
    SRDFAST_INLINE static std::int64_t coordinates_size(const Arguments& args) {
      return std::int64_t{args.settings.max_atoms} * args.tables.atoms;
    }

    SRDFAST_INLINE void solve(int row, const float* signal) {
      const DeviceGrams& tables = args_.tables;
      const int most = args_.settings.max_atoms;
      const float energy = WarpTeam<Block>(block_).template sum<float>(
          tables.features, [=](int f) { return signal[f] * signal[f]; });
      OmpWarp<kAtoms, Block> warp(block_, args_.settings,
                                  {tables.atoms, tables.gram_at(dictionary_), tables.norms_at(dictionary_)},
                                  correlations_ + row * args_.tables.correlation_stride(), energy,
                                  coordinates_ + block_.warp() * coordinates_size(args_));
      const int chosen = warp.solve(indices_ + row * most, values_ + row * most);
      if (block_.lane() == 0) counts_[row] = chosen;
    }

    const Block& block_;
    const Arguments& args_;
    std::int64_t dictionary_ = 0;
    float *correlations_, *values_, *coordinates_;
    std::int32_t *indices_, *counts_;
  };
};

// Calls function(OmpDevice<..>{}) for as many atoms a lane as these dictionaries need.
template <class Function>
void with_omp_device(int atoms, const Function& function) {
  if (atoms <= 8 * kWarp) {
    function(OmpDevice<8>{});
  } else if (atoms <= 16 * kWarp) {
    function(OmpDevice<16>{});
  } else if (atoms <= 32 * kWarp) {
    function(OmpDevice<32>{});
  } else {
    throw DeviceError("omp on a GPU: expected at most 1024 atoms a dictionary, got " + std::to_string(atoms) +
                      "; use the CPU");
  }
}

template <class Device, class Queue>
OmpDeviceArguments omp_arguments(const Queue& queue, const OmpSettings<float>& settings,
                                 const DeviceGrams& tables) {
  using Tile = TileCoder<Device::template Coder, 16>;
  OmpDeviceArguments args{tables, settings, Tile::kThreads / kWarp};
  while (args.solvers > 1 && Tile::shared_bytes(args) > queue.shared_limit()) args.solvers /= 2;
  return args;
}

template <class Queue>
void omp_device(Queue& queue, const OmpProblem<float>& problem) {
  const DeviceGrams tables = problem_grams(queue, problem);
  const TileTable tiles =
      tile_table(queue, problem.index.data, problem.signals.extent(0), problem.dictionary.extent(0));
  with_omp_device(tables.atoms, [&](auto device) {
    using Device = decltype(device);
    code_batch<Device::template Coder>(
        queue, problem.signals.data, tiles, omp_arguments<Device>(queue, problem.settings, tables),
        OmpDeviceOutputs{problem.indices.data, problem.values.data, problem.counts.data});
  });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
