// SPDX-License-Identifier: Apache-2.0
// The lasso on a device: first gradients of a tile on tensor cores, then coordinate descent, a warp a signal.
#pragma once

#include "device/code_batch.hpp"
#include "device/tables.hpp"
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

  static std::int64_t shared_bytes(const Arguments& args, int threads) {
    return 2 * SharedMemory::bytes<float>(kRows * args.tables.correlation_stride()) +
           SharedMemory::bytes<float>(threads / kWarp * args.tables.features) +
           SharedMemory::bytes<float>(kRows);
  }

  SRDFAST_INLINE LassoDeviceCoder(const Block& block, const Arguments& args, SharedMemory& memory)
      : block_(block), args_(args) {
    gradients_ = memory.take<float>(kRows * args.tables.correlation_stride());
    codes_ = memory.take<float>(kRows * args.tables.correlation_stride());
    residual_ =
        memory.take<float>(block.warps() * args.tables.features) + block.warp() * args.tables.features;
    gaps_ = memory.take<float>(kRows);
  }

  SRDFAST_INLINE void code(std::int64_t dictionary, int count, const float* rows, int row_stride) {
    const DeviceGrams& tables = args_.tables;
    const int gradient_stride = args_.tables.correlation_stride();
    dictionary_ = dictionary;
    tables.correlate<kRows>(block_, dictionary, rows, row_stride, gradients_);
    const WarpTeam<Block> team(block_);
    for (int r = block_.warp(); r < count; r += block_.warps()) {
      const LassoInput<float, TransposedChunks> in{tables.atoms,
                                                   tables.features,
                                                   tables.atoms,
                                                   rows + r * row_stride,
                                                   tables.dictionary_at(dictionary),
                                                   {tables.transposed_at(dictionary)},
                                                   tables.gram_at(dictionary)};
      const float gap = lasso_solve(team, args_.settings, in, gradients_ + r * gradient_stride, residual_,
                                    codes_ + r * gradient_stride);
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
  const Block& block_;
  const Arguments& args_;
  std::int64_t dictionary_ = 0;
  float *gradients_, *codes_, *residual_, *gaps_;
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
