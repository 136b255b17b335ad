// SPDX-License-Identifier: Apache-2.0
// Orthogonal matching pursuit on a device: correlations of a tile on tensor cores, then a warp a signal.
#pragma once

#include "device/code_batch.hpp"
#include "device/tables.hpp"
#include "ops/omp/omp.hpp"
#include "ops/omp/omp_registers.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct OmpDeviceArguments {
  DeviceGrams tables;
  OmpSettings<float> settings;
  float* coordinates;  // what TeamSolver asks for

  SRDFAST_INLINE int features() const { return tables.features; }
};

struct OmpDeviceOutputs {
  std::int32_t* indices;  // [batch, max_atoms]
  float* values;          // [batch, max_atoms]
  std::int32_t* counts;   // [batch]
};

// The loop of omp.hpp on the lanes of a warp, for dictionaries of any size.
struct TeamSolver {
  static constexpr int kResident = 2;
  static constexpr std::int64_t kBlocks = 512;  // that there are coordinates for

  // Elements of OmpDeviceArguments::coordinates.
  static std::int64_t coordinates(const OmpSettings<float>& settings, int atoms, int threads) {
    return kBlocks * (threads / kWarp) * settings.max_atoms * atoms;
  }

  static std::int64_t shared_bytes(const OmpDeviceArguments& args, int threads) {
    const std::int64_t warps = threads / kWarp;
    return SharedMemory::bytes<float>(warps * args.tables.atoms) +
           SharedMemory::bytes<float>(warps * args.settings.max_atoms);
  }

  template <class Block>
  SRDFAST_INLINE TeamSolver(const Block& block, const OmpDeviceArguments& args, SharedMemory& memory) {
    const int most = args.settings.max_atoms, atoms = args.tables.atoms;
    const std::int64_t warp = std::int64_t{block.index()} * block.warps() + block.warp();
    work_.coordinates = args.coordinates + warp * most * atoms;
    work_.remaining = memory.take<float>(block.warps() * atoms) + block.warp() * atoms;
    work_.projections = memory.take<float>(block.warps() * most) + block.warp() * most;
  }

  template <class Block>
  SRDFAST_INLINE int solve(const Block& block, const OmpDeviceArguments& args, std::int64_t dictionary,
                           float* correlations, float energy, std::int32_t* indices, float* values) const {
    const int atoms = args.tables.atoms;
    return omp_solve(WarpTeam<Block>(block), args.settings, atoms, atoms, args.tables.gram_at(dictionary),
                     correlations, energy, work_, indices, values);
  }

 private:
  OmpWorkspace<float> work_;
};

// For at most 32 kAtoms atoms, kMost of which may be chosen.
template <int kAtoms, int kMost>
struct RegisterSolver {
  static constexpr int kResident = kAtoms * kMost <= 32 ? 2 : 1;
  static constexpr std::int64_t kBlocks = 0;
  static std::int64_t coordinates(const OmpSettings<float>&, int, int) { return 0; }
  static std::int64_t shared_bytes(const OmpDeviceArguments&, int) { return 0; }

  template <class Block>
  SRDFAST_INLINE RegisterSolver(const Block&, const OmpDeviceArguments&, SharedMemory&) {}

  template <class Block>
  SRDFAST_INLINE int solve(const Block& block, const OmpDeviceArguments& args, std::int64_t dictionary,
                           const float* correlations, float energy, std::int32_t* indices,
                           float* values) const {
    const DeviceGrams& tables = args.tables;
    OmpRegisters<kAtoms, kMost, Block> registers(block, args.settings, tables.atoms,
                                                 tables.gram_at(dictionary), tables.norms_at(dictionary),
                                                 correlations, energy);
    return registers.solve(indices, values);
  }
};

template <class Solver>
struct OmpWith {
  using SolverType = Solver;

  template <int kTileRows, class Block>
  class Coder {
   public:
    static constexpr int kRows = kTileRows;
    static constexpr int kResident = Solver::kResident;
    using Arguments = OmpDeviceArguments;
    using Outputs = OmpDeviceOutputs;

    static std::int64_t shared_bytes(const Arguments& args, int threads) {
      return SharedMemory::bytes<float>(kRows * stride(args)) +
             2 * SharedMemory::bytes<float>(kRows * args.settings.max_atoms) +
             SharedMemory::bytes<std::int32_t>(kRows) + Solver::shared_bytes(args, threads);
    }

    SRDFAST_INLINE Coder(const Block& block, const Arguments& args, SharedMemory& memory)
        : block_(block), args_(args), solver_(block, args, memory) {
      const int most = args.settings.max_atoms;
      correlations_ = memory.take<float>(kRows * stride(args));
      values_ = memory.take<float>(kRows * most);
      indices_ = memory.take<std::int32_t>(kRows * most);
      counts_ = memory.take<std::int32_t>(kRows);
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
        const int chosen = solver_.solve(block_, args_, dictionary, correlations_ + r * correlation_stride,
                                         energy, indices_ + r * most, values_ + r * most);
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
    Solver solver_;
    float *correlations_, *values_;
    std::int32_t *indices_, *counts_;
  };
};

// Calls function(OmpWith<Solver>) with the solver for these settings.
template <class Function>
void with_solver(const OmpSettings<float>& settings, int atoms, const Function& function) {
  const int most = settings.max_atoms;
  if (atoms <= 256 && most <= 4) {
    function(OmpWith<RegisterSolver<8, 4>>{});
  } else if (atoms <= 256 && most <= 8) {
    function(OmpWith<RegisterSolver<8, 8>>{});
  } else if (atoms <= 512 && most <= 4) {
    function(OmpWith<RegisterSolver<16, 4>>{});
  } else if (atoms <= 512 && most <= 8) {
    function(OmpWith<RegisterSolver<16, 8>>{});
  } else {
    function(OmpWith<TeamSolver>{});
  }
}

template <class Solver, class Queue>
OmpDeviceArguments omp_arguments(Queue& queue, const OmpSettings<float>& settings,
                                 const DeviceGrams& tables) {
  constexpr int kThreads = CodeBody<OmpWith<Solver>::template Coder, 32>::kThreads;
  return {tables, settings,
          queue.template take<float>(Solver::coordinates(settings, tables.atoms, kThreads))};
}

template <class Queue>
void omp_device(Queue& queue, const OmpProblem<float>& problem) {
  const DeviceGrams tables = made_or_found(
      queue, problem.prepared, [&](auto& place) { return device_grams(place, problem.dictionary); });
  const TileTable tiles =
      tile_table(queue, problem.index.data, problem.signals.extent(0), problem.dictionary.extent(0));
  with_solver(problem.settings, tables.atoms, [&](auto of) {
    using Solver = typename decltype(of)::SolverType;
    code_batch<OmpWith<Solver>::template Coder>(
        queue, problem.signals.data, tiles, omp_arguments<Solver>(queue, problem.settings, tables),
        OmpDeviceOutputs{problem.indices.data, problem.values.data, problem.counts.data}, Solver::kBlocks);
  });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
