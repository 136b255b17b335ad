// SPDX-License-Identifier: Apache-2.0
// The lasso on a device: first gradients of a tile on tensor cores, then a warp a signal, by the active set
// and by coordinate descent what that declines.
#pragma once

#include "device/code_batch.hpp"
#include "device/tables.hpp"
#include "ops/lasso/active_set_warp.hpp"
#include "ops/lasso/lasso.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct LassoDeviceArguments {
  DeviceGrams tables;
  LassoSettings<float> settings;

  SRDFAST_INLINE int features() const { return tables.features; }
};

struct LassoDeviceOutputs {
  float* values;  // [batch, atoms]
  float* gap;     // [batch]
};

// gradient = D residual from a matrix [features, atoms] that is packed for the tensor cores.
struct TransposedChunks {
  const float* packed;

  template <class Team>
  SRDFAST_INLINE void correlate(const Team& team, int features, int atoms, const float* residual,
                                float* gradient) const {
    const float* const matrix = packed;
    team.for_each(atoms, [=](int atom) {
      const int chunks = PackedShape{features, atoms}.chunks();
      const Four* part =
          reinterpret_cast<const Four*>(matrix) +
          (std::int64_t{atom / kGroup} * chunks * kColumnTiles + atom % kGroup / kColumnTile) * kWarp +
          atom % kColumnTile * 4;
      float sum = 0;
      for (int f = 0; f < features; f += 4) {
        const Four four = part[f / kChunk * kColumnTiles * kWarp + f % kChunk / 4];
        for (int i = 0; i < 4 && f + i < features; ++i) sum += four.values[i] * residual[f + i];
      }
      gradient[atom] = sum;
    });
  }
};

template <int kTileRows, class Block>
class LassoDeviceCoder {
 public:
  static constexpr int kRows = kTileRows;
  static constexpr int kResident = 2;
  static constexpr bool kMaySpill = true;
  using Arguments = LassoDeviceArguments;
  using Outputs = LassoDeviceOutputs;

  SRDFAST_INLINE static int row_width(const Arguments& args) { return args.features(); }
  static std::int64_t shared_bytes(const Arguments& args, int threads) {
    return 2 * SharedMemory::bytes<float>(kRows * args.tables.correlation_stride()) +
           SharedMemory::bytes<float>(threads / kWarp * work_size(args)) + SharedMemory::bytes<float>(kRows);
  }

  SRDFAST_INLINE LassoDeviceCoder(const Block& block, const Arguments& args, SharedMemory& memory)
      : block_(block), args_(args) {
    gradients_ = memory.take<float>(kRows * args.tables.correlation_stride());
    codes_ = memory.take<float>(kRows * args.tables.correlation_stride());
    work_ = memory.take<float>(block.warps() * work_size(args)) + block.warp() * work_size(args);
    gaps_ = memory.take<float>(kRows);
  }

  SRDFAST_INLINE void code(std::int64_t dictionary, int count, const float* rows, int row_stride) {
    dictionary_ = dictionary;
    args_.tables.template correlate<kRows>(block_, dictionary, rows, row_stride, gradients_);
    for (int r = block_.warp(); r < count; r += block_.warps()) {
      const float gap = solve(r, rows + r * row_stride);
      if (block_.lane() == 0) gaps_[r] = gap;
    }
    block_.sync();
  }

  template <class Take>
  SRDFAST_INLINE void reconstruct(int count, const Take& take) const {
    const int features = args_.tables.features;
    const float* const dictionary = args_.tables.dictionary_at(dictionary_);
    for (int r = block_.warp(); r < count; r += block_.warps()) {
      const float* const codes = codes_ + r * args_.tables.correlation_stride();
      for (int f = block_.lane(); f < features; f += kWarp) {
        float sum = 0;
        for (int a = 0; a < args_.tables.atoms; ++a) {
          if (codes[a] != 0) sum += codes[a] * dictionary[std::int64_t{a} * features + f];
        }
        take(r, f, sum);
      }
    }
  }

  template <class SignalOf>
  SRDFAST_INLINE void write(int count, const SignalOf& signal_of, const Outputs& outputs) const {
    const int atoms = args_.tables.atoms;
    for (int r = block_.warp(); r < count; r += block_.warps()) {
      const std::int64_t signal = signal_of(r);
      for (int a = block_.lane(); a < atoms; a += kWarp) {
        outputs.values[signal * atoms + a] = codes_[r * args_.tables.correlation_stride() + a];
      }
      if (block_.lane() == 0) outputs.gap[signal] = gaps_[r];
    }
  }

 private:
  using Active = ActiveSetWarp<Block>;

  // Floats that a warp works on: what the active set needs, or the residual of coordinate descent.
  SRDFAST_INLINE static int work_size(const Arguments& args) {
    return args.tables.features > Active::kFloats ? args.tables.features : Active::kFloats;
  }

  // Codes one signal; returns its duality gap.
  SRDFAST_INLINE float solve(int row, const float* signal) {
    const DeviceGrams& tables = args_.tables;
    const WarpTeam<Block> team(block_);
    float* const gradient = gradients_ + row * tables.correlation_stride();
    float* const codes = codes_ + row * tables.correlation_stride();
    const float* const gram = tables.gram_at(dictionary_);
    const float energy =
        team.template sum<float>(tables.features, [=](int f) { return signal[f] * signal[f]; });
    Active active(block_, args_.settings, work_);
    if (active.solve(tables.atoms, gram, gradient, energy, codes)) {
      active.write(codes);
      return active.gap();
    }
    block_.sync_warp();  // the active set's memory becomes the residual's
    const LassoInput<float, TransposedChunks> in{tables.atoms,
                                                 tables.features,
                                                 tables.atoms,
                                                 signal,
                                                 tables.dictionary_at(dictionary_),
                                                 {tables.transposed_at(dictionary_)},
                                                 gram};
    return lasso_solve(team, args_.settings, in, gradient, work_, codes).gap;
  }

  const Block& block_;
  const Arguments& args_;
  std::int64_t dictionary_ = 0;
  float *gradients_, *codes_, *gaps_;
  float* work_;  // of this warp
};

template <class Queue>
void lasso_device(Queue& queue, const LassoProblem<float>& problem) {
  const DeviceGrams tables = problem_grams(queue, problem);
  const TileTable tiles =
      tile_table(queue, problem.index.data, problem.signals.extent(0), problem.dictionary.extent(0));
  code_batch<LassoDeviceCoder>(queue, problem.signals.data, tiles,
                               LassoDeviceArguments{tables, problem.settings},
                               LassoDeviceOutputs{problem.values.data, problem.gap.data});
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
