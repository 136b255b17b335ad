// SPDX-License-Identifier: Apache-2.0
// The gradient of LISTA by its signals on a device: a block takes a tile of signals forward and back, all in
// shared memory.
//
// Products of one shape give a lane the same elements every time. So a lane keeps for itself which of its
// codes a step left at zero, a bit each, and what it adds up of a gradient it adds up alone.
#pragma once

#include "device/code_batch.hpp"
#include "device/tables.hpp"
#include "math/shrink.hpp"
#include "ops/lista_gradient/lista_gradient.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct ListaGradientDeviceArguments {
  DeviceLista forward, backward;  // backward: with analysis and synthesis exchanged
  int steps;
  bool rebuilt;
  const float* grad;  // [batch, atoms], or where `rebuilt` [batch, features]

  SRDFAST_INLINE int atoms() const { return forward.atoms; }
  SRDFAST_INLINE int features() const { return forward.features; }
};

struct ListaGradientDeviceOutputs {
  float* of_signals;  // [batch, features]
};

template <int kTileRows, class Block>
class ListaGradientDeviceCoder {
 public:
  static constexpr int kRows = kTileRows;
  static constexpr int kResident = 2;
  static constexpr bool kMaySpill = true;
  using Arguments = ListaGradientDeviceArguments;
  using Outputs = ListaGradientDeviceOutputs;

  static std::int64_t shared_bytes(const Arguments& args, int) {
    return SharedMemory::bytes<float>(kRows * row_stride(args.atoms())) +
           SharedMemory::bytes<float>(kRows * row_stride(args.features())) +
           SharedMemory::bytes<unsigned>(std::int64_t{args.steps} * mask_size(args));
  }

  SRDFAST_INLINE ListaGradientDeviceCoder(const Block& block, const Arguments& args, SharedMemory& memory)
      : block_(block), args_(args), stride_(row_stride(args.features())) {
    codes_ = memory.take<float>(kRows * codes_stride());
    rests_ = memory.take<float>(kRows * stride_);
    masks_ = memory.take<unsigned>(std::int64_t{args.steps} * mask_size(args));
    // Products read rows to the end of a chunk: what lies beyond atoms and features is zero, and stays so.
    for (int i = block.thread(); i < kRows * codes_stride(); i += block.threads()) codes_[i] = 0;
    for (int i = block.thread(); i < kRows * stride_; i += block.threads()) rests_[i] = 0;
  }

  // Takes the steps from codes of zero, and keeps their masks.
  SRDFAST_INLINE void code(std::int64_t dictionary, int, float* rows, int) {
    dictionary_ = dictionary;
    signals_ = rows;
    for (int step = 0; step < args_.steps; ++step) {
      if (step > 0) to_features(args_.forward, [&](int at, float sum) { rests_[at] = signals_[at] - sum; });
      step_forward(step, step > 0 ? rests_ : signals_);
    }
  }

  // Goes back through the steps, with codes_ for the gradient by what moved, rests_ for that by the rest of
  // the signal, and signals_ for the sum of these.
  template <class SignalOf>
  SRDFAST_INLINE void write(int count, const SignalOf& signal_of, const Outputs& outputs) const {
    const int last = args_.steps - 1;
    for (int i = block_.thread(); i < kRows * stride_; i += block_.threads()) signals_[i] = 0;
    if (args_.rebuilt) {
      // As if from a step after the last: of_moved = 0, rests = -grad.
      for (int i = block_.thread(); i < kRows * codes_stride(); i += block_.threads()) codes_[i] = 0;
      load_grad(count, signal_of, args_.features(), -1, rests_, stride_);
    } else {
      load_grad(count, signal_of, args_.atoms(), 1, codes_, codes_stride());
    }
    block_.sync();
    for (int step = last; step >= 0; --step) {
      if (step < last || args_.rebuilt) {
        step_back(step);
      } else {
        mask_codes(step);
      }
      to_features(args_.backward, [&](int at, float sum) {
        rests_[at] = sum;
        signals_[at] += sum;
      });
    }
    for (int r = block_.warp(); r < count; r += block_.warps()) {
      float* const out = outputs.of_signals + signal_of(r) * args_.features();
      for (int f = block_.lane(); f < args_.features(); f += kWarp) out[f] = signals_[r * stride_ + f];
    }
  }

 private:
  static constexpr int kRowTiles = kRows / kRowTile;
  static_assert(kRowTiles * kColumnTiles * 4 <= 32, "a word has a bit for each element of a lane");
  using Product = WarpProduct<kRowTiles>;

  // Words of one step: a lane's for each group of its columns.
  SRDFAST_INLINE static int mask_size(const Arguments& args) {
    return args.forward.atoms_shape().groups() * kWarp;
  }
  SRDFAST_INLINE unsigned& mask(int step, int group) const {
    return masks_[step * mask_size(args_) + group * kWarp + block_.lane()];
  }
  SRDFAST_INLINE int codes_stride() const { return row_stride(args_.atoms()); }

  // visit(bit, row, atom, sum) for the elements of a product that this lane holds. Beyond the atoms, to the
  // end of the group, sums are zero and rows of codes have room: to leave these out would cost registers.
  template <class Visit>
  SRDFAST_INLINE void for_each_code(int group, const Product& product, const Visit& visit) const {
    int bit = 0;
    product.for_each(
        block_, [&](int row, int column, float sum) { visit(bit++, row, group * kGroup + column, sum); });
  }

  // take(group, product) for rows [kRows, features] times the tables' matrices [features, atoms].
  template <class Take>
  SRDFAST_INLINE void to_atoms(const DeviceLista& tables, const float* rows, const Take& take) const {
    const PackedShape shape = tables.atoms_shape();
    block_groups<kRowTiles>(block_, rows, stride_, tables.to_atoms + dictionary_ * shape.size(), shape, take);
    block_.sync();
  }

  // take(at, sum) for codes_ times the tables' matrix [atoms, features].
  template <class Take>
  SRDFAST_INLINE void to_features(const DeviceLista& tables, const Take& take) const {
    const PackedShape shape = tables.features_shape();
    block_product<kRowTiles>(block_, codes_, codes_stride(), tables.to_features + dictionary_ * shape.size(),
                             shape, [&](int row, int f, float sum) { take(row * stride_ + f, sum); });
    block_.sync();
  }

  // codes = shrink(codes + rows E^T, thresholds), and the step's mask: where they are not zero.
  SRDFAST_INLINE void step_forward(int step, const float* rows) const {
    const float* const thresholds = args_.forward.thresholds + dictionary_ * args_.atoms();
    to_atoms(args_.forward, rows, [&](int group, const Product& product) {
      unsigned moves = 0;
      for_each_code(group, product, [&](int bit, int row, int atom, float sum) {
        float& code = codes_[row * codes_stride() + atom];
        code = shrink(code + sum, atom < args_.atoms() ? thresholds[atom] : 0.0f);
        moves |= static_cast<unsigned>(code != 0) << bit;
      });
      mask(step, group) = moves;
    });
  }

  // of_moved = of_moved of the step after - rests D^T where the step's mask is set, else 0.
  SRDFAST_INLINE void step_back(int step) const {
    to_atoms(args_.backward, rests_, [&](int group, const Product& product) {
      const unsigned moves = mask(step, group);
      for_each_code(group, product, [&](int bit, int row, int atom, float sum) {
        float& of_moved = codes_[row * codes_stride() + atom];
        of_moved = moves >> bit & 1 ? of_moved - sum : 0.0f;
      });
    });
  }

  // codes = 0 where the step's mask is not set.
  SRDFAST_INLINE void mask_codes(int step) const {
    const int groups = args_.forward.atoms_shape().groups();
    for (int group = block_.warp(); group < groups; group += block_.warps()) {
      const unsigned moves = mask(step, group);
      for_each_code(group, Product(), [&](int bit, int row, int atom, float) {
        if ((moves >> bit & 1) == 0) codes_[row * codes_stride() + atom] = 0;
      });
    }
    block_.sync();
  }

  // to = sign * gradients [count, width] of the tile, and zero for the rows beyond.
  template <class SignalOf>
  SRDFAST_INLINE void load_grad(int count, const SignalOf& signal_of, int width, float sign, float* to,
                                int apart) const {
    for (int r = block_.warp(); r < kRows; r += block_.warps()) {
      const float* const grad = r < count ? args_.grad + signal_of(r) * width : nullptr;
      for (int i = block_.lane(); i < width; i += kWarp)
        to[r * apart + i] = r < count ? sign * grad[i] : 0.0f;
    }
  }

  const Block& block_;
  const Arguments& args_;
  int stride_;  // of rests_ and signals_
  std::int64_t dictionary_ = 0;
  float *codes_, *rests_;
  float* signals_ = nullptr;
  unsigned* masks_;  // [steps, groups, kWarp]
};

template <class Queue>
void lista_gradient_device(Queue& queue, const ListaGradientProblem<float>& problem) {
  const DeviceLista forward = made_or_found(queue, problem.forward, [&](auto& place) {
    return device_lista(place, problem.analysis, problem.thresholds, problem.synthesis);
  });
  const DeviceLista backward = made_or_found(queue, problem.backward, [&](auto& place) {
    return device_lista(place, problem.synthesis, {}, problem.analysis);
  });
  const TileTable tiles =
      tile_table(queue, problem.index.data, problem.signals.extent(0), problem.analysis.extent(0));
  code_batch<ListaGradientDeviceCoder>(
      queue, problem.signals.data, tiles,
      ListaGradientDeviceArguments{forward, backward, problem.steps, problem.rebuilt, problem.grad.data},
      ListaGradientDeviceOutputs{problem.of_signals.data});
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
