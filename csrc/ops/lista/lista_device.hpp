// SPDX-License-Identifier: Apache-2.0
// LISTA on a device: every step two products of a tile of signals on tensor cores.
#pragma once

#include "device/code_batch.hpp"
#include "device/tables.hpp"
#include "math/shrink.hpp"
#include "ops/lista/lista.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct ListaDeviceArguments {
  DeviceLista tables;
  int steps;

  SRDFAST_INLINE int features() const { return tables.features; }
};

struct ListaDeviceOutputs {
  float* values;  // [batch, atoms]
};

template <int kTileRows, class Block>
class ListaDeviceCoder {
 public:
  static constexpr int kRows = kTileRows;
  static constexpr int kResident = 2;
  static constexpr bool kMaySpill = true;
  using Arguments = ListaDeviceArguments;
  using Outputs = ListaDeviceOutputs;

  static std::int64_t shared_bytes(const Arguments& args, int) {
    return SharedMemory::bytes<float>(kRows * row_stride(args.tables.atoms)) +
           SharedMemory::bytes<float>(kRows * row_stride(args.tables.features));
  }

  SRDFAST_INLINE ListaDeviceCoder(const Block& block, const Arguments& args, SharedMemory& memory)
      : block_(block), args_(args) {
    codes_ = memory.take<float>(kRows * codes_stride());
    residuals_ = memory.take<float>(kRows * row_stride(args.tables.features));
    // Products read rows to the end of a chunk: what lies beyond atoms and features is zero, and stays so.
    for (int i = block.thread(); i < kRows * codes_stride(); i += block.threads()) codes_[i] = 0;
    for (int i = block.thread(); i < kRows * row_stride(args.tables.features); i += block.threads())
      residuals_[i] = 0;
  }

  SRDFAST_INLINE void code(std::int64_t dictionary, int, const float* rows, int stride) {
    dictionary_ = dictionary;
    const float* const thresholds = args_.tables.thresholds + dictionary * args_.tables.atoms;
    analyse(rows, stride, [&](float* code, int atom, float sum) { *code = shrink(sum, thresholds[atom]); });
    for (int step = 1; step < args_.steps; ++step) {
      synthesise(
          [&](int row, int f, float sum) { residuals_[row * stride + f] = rows[row * stride + f] - sum; });
      block_.sync();
      analyse(residuals_, stride,
              [&](float* code, int atom, float sum) { *code = shrink(*code + sum, thresholds[atom]); });
    }
  }

  template <class Take>
  SRDFAST_INLINE void reconstruct(int count, const Take& take) const {
    synthesise([&](int row, int f, float sum) {
      if (row < count) take(row, f, sum);
    });
  }

  template <class SignalOf>
  SRDFAST_INLINE void write(int count, const SignalOf& signal_of, const Outputs& outputs) const {
    const int atoms = args_.tables.atoms;
    for (int r = block_.warp(); r < count; r += block_.warps()) {
      float* const out = outputs.values + signal_of(r) * atoms;
      for (int a = block_.lane(); a < atoms; a += kWarp) out[a] = codes_[r * codes_stride() + a];
    }
  }

 private:
  SRDFAST_INLINE int codes_stride() const { return row_stride(args_.tables.atoms); }

  // move(code, atom, sum) for every element of rows * E^T.
  template <class Move>
  SRDFAST_INLINE void analyse(const float* rows, int stride, const Move& move) {
    const PackedShape shape = args_.tables.atoms_shape();
    block_product<kRows / kRowTile>(
        block_, rows, stride, args_.tables.to_atoms + dictionary_ * shape.size(), shape,
        [&](int row, int atom, float sum) { move(codes_ + row * codes_stride() + atom, atom, sum); });
    block_.sync();
  }

  // take(row, feature, sum) for every element of codes * D.
  template <class Take>
  SRDFAST_INLINE void synthesise(const Take& take) const {
    const PackedShape shape = args_.tables.features_shape();
    block_product<kRows / kRowTile>(block_, codes_, codes_stride(),
                                    args_.tables.to_features + dictionary_ * shape.size(), shape, take);
  }

  const Block& block_;
  const Arguments& args_;
  std::int64_t dictionary_ = 0;
  float *codes_, *residuals_;
};

template <class Queue>
void lista_device(Queue& queue, const ListaProblem<float>& problem) {
  const DeviceLista tables = device_lista(queue, problem.analysis, problem.thresholds, problem.synthesis);
  const TileTable tiles =
      tile_table(queue, problem.index.data, problem.signals.extent(0), problem.analysis.extent(0));
  code_batch<ListaDeviceCoder>(queue, problem.signals.data, tiles,
                               ListaDeviceArguments{tables, problem.steps},
                               ListaDeviceOutputs{problem.values.data});
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
