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
#include "ops/lista/lista.hpp"
#include "ops/lista/lista_block.hpp"
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

template <bool kByGram>
struct ListaGradientDevice {
  template <int kTileRows, class Block>
  class Coder {
   public:
    static constexpr int kRows = kTileRows;
    static constexpr int kResident = 2;
    static constexpr bool kMaySpill = true;
    using Arguments = ListaGradientDeviceArguments;
    using Outputs = ListaGradientDeviceOutputs;
    using Tile = ListaBlock<kByGram, kRows, Block>;

    SRDFAST_INLINE static int row_width(const Arguments& args) { return Tile::row_width(args.forward); }
    static std::int64_t shared_bytes(const Arguments& args, int) {
      return Tile::shared_bytes(args.forward, true) +
             SharedMemory::bytes<unsigned>(std::int64_t{args.steps} * mask_size(args));
    }

    SRDFAST_INLINE Coder(const Block& block, const Arguments& args, SharedMemory& memory)
        : block_(block),
          args_(args),
          tile_(block, args.forward, true, memory),
          masks_(memory.take<unsigned>(std::int64_t{args.steps} * mask_size(args))) {}

    // Takes the steps from codes of zero, and keeps their masks.
    SRDFAST_INLINE void code(std::int64_t dictionary, int, float* rows, int stride) {
      tile_.take(dictionary, rows, stride);
      thresholds_ = args_.forward.thresholds + dictionary * args_.atoms();
      if constexpr (kByGram) {
        BlockRows now = analyse();
        for (int step = 1; step < args_.steps; ++step) now = step_by_gram(step, now);
      } else {
        clear(tile_.codes);
        block_.sync();
        for (int step = 0; step < args_.steps; ++step) step_by_residuals(step);
      }
    }

    // Goes back through the steps, from the gradients to those by the signals.
    template <class SignalOf>
    SRDFAST_INLINE void write(int count, const SignalOf& signal_of, const Outputs& outputs) const {
      if constexpr (kByGram) {
        back_by_gram(count, signal_of);
      } else {
        back_by_residuals(count, signal_of);
      }
      for (int r = block_.warp(); r < count; r += block_.warps()) {
        float* const out = outputs.of_signals + signal_of(r) * args_.features();
        for (int f = block_.lane(); f < args_.features(); f += kWarp) out[f] = tile_.signals.at(r, f);
      }
    }

   private:
    static_assert(Tile::kRowTiles * kColumnTiles * 4 <= 32, "a word has a bit for each element of a lane");
    using Product = typename Tile::Product;

    // Words of one step: a lane's for each group of its columns.
    SRDFAST_INLINE static int mask_size(const Arguments& args) {
      return args.forward.atoms_shape().groups() * kWarp;
    }
    SRDFAST_INLINE unsigned& mask(int step, int group) const {
      return masks_[step * mask_size(args_) + group * kWarp + block_.lane()];
    }
    SRDFAST_INLINE float threshold(int atom) const { return atom < args_.atoms() ? thresholds_[atom] : 0.0f; }

    // The mask of a group from code(row, atom, sum): where it is not zero.
    template <class Code>
    SRDFAST_INLINE void keep_mask(int step, int group, const Product& product, const Code& code) const {
      unsigned moves = 0;
      tile_.for_each(group, product, [&](int bit, int row, int atom, float sum) {
        moves |= static_cast<unsigned>(code(row, atom, sum) != 0) << bit;
      });
      mask(step, group) = moves;
    }

    // take(moves, row, atom, sum) with what the step's mask says of each element.
    template <class Take>
    SRDFAST_INLINE void pass_mask(int step, int group, const Product& product, const Take& take) const {
      const unsigned moves = mask(step, group);
      tile_.for_each(group, product, [&](int bit, int row, int atom, float sum) {
        take((moves >> bit & 1) != 0, row, atom, sum);
      });
    }

    // The first step, whose x E^T those after it need too.
    SRDFAST_INLINE BlockRows analyse() const {
      tile_.to_atoms(args_.forward, tile_.signals, [&](int group, const Product& product) {
        keep_mask(0, group, product, [&](int row, int atom, float sum) -> float {
          tile_.rests.at(row, atom) = sum;
          return tile_.codes.at(row, atom) = shrink(sum, threshold(atom));
        });
      });
      return tile_.codes;
    }

    SRDFAST_INLINE BlockRows step_by_gram(int step, const BlockRows& now) const {
      const BlockRows next = tile_.other(now);
      tile_.recur(args_.forward, now, [&](int group, const Product& product) {
        keep_mask(step, group, product, [&](int row, int atom, float sum) -> float {
          return next.at(row, atom) = shrink(tile_.rests.at(row, atom) + sum, threshold(atom));
        });
      });
      return next;
    }

    SRDFAST_INLINE void step_by_residuals(int step) const {
      if (step > 0) {
        tile_.to_features(args_.forward, tile_.codes, [&](int group, const Product& product) {
          tile_.for_each(group, product, [&](int, int row, int f, float sum) {
            const int at = tile_.rests.place(row, f);
            tile_.rests.data[at] = tile_.signals.data[at] - sum;
          });
        });
      }
      tile_.to_atoms(args_.forward, step > 0 ? tile_.rests : tile_.signals,
                     [&](int group, const Product& product) {
                       keep_mask(step, group, product, [&](int row, int atom, float sum) -> float {
                         float& code = tile_.codes.at(row, atom);
                         return code = shrink(code + sum, threshold(atom));
                       });
                     });
    }

    // The gradient by what moved goes between two rows; their sum over the steps is in rests.
    template <class SignalOf>
    SRDFAST_INLINE void back_by_gram(int count, const SignalOf& signal_of) const {
      const auto start = [&](bool moves, int row, int atom, float of_code) {
        tile_.codes.at(row, atom) = tile_.rests.at(row, atom) = moves ? of_code : 0.0f;
      };
      int step = args_.steps - 1;
      if (args_.rebuilt) {
        load_grad(count, signal_of, args_.features(), 1, tile_.signals);
        tile_.to_atoms(args_.backward, tile_.signals,
                       [&](int group, const Product& product) { pass_mask(step, group, product, start); });
      } else {
        load_grad(count, signal_of, args_.atoms(), 1, tile_.codes);
        for_each_group([&](int group) {
          pass_mask(step, group, Product(), [&](bool moves, int row, int atom, float) {
            start(moves, row, atom, tile_.codes.at(row, atom));
          });
        });
      }
      BlockRows now = tile_.codes;
      while (--step >= 0) {
        const BlockRows next = tile_.other(now);
        tile_.recur(args_.backward, now, [&](int group, const Product& product) {
          pass_mask(step, group, product, [&](bool moves, int row, int atom, float of_code) {
            const float of_moved = moves ? of_code : 0.0f;
            next.at(row, atom) = of_moved;
            tile_.rests.at(row, atom) += of_moved;
          });
        });
        now = next;
      }
      tile_.to_features(args_.backward, tile_.rests, [&](int group, const Product& product) {
        tile_.for_each(group, product,
                       [&](int, int row, int f, float sum) { tile_.signals.at(row, f) = sum; });
      });
    }

    // codes hold the gradient by what moved, rests that by the rest of the signal, signals the sum of these.
    template <class SignalOf>
    SRDFAST_INLINE void back_by_residuals(int count, const SignalOf& signal_of) const {
      const int last = args_.steps - 1;
      clear(tile_.signals);
      if (args_.rebuilt) {
        // As if from a step after the last: of_moved = 0, rests = -grad.
        clear(tile_.codes);
        load_grad(count, signal_of, args_.features(), -1, tile_.rests);
      } else {
        load_grad(count, signal_of, args_.atoms(), 1, tile_.codes);
        for_each_group([&](int group) {
          pass_mask(last, group, Product(), [&](bool moves, int row, int atom, float) {
            if (!moves) tile_.codes.at(row, atom) = 0;
          });
        });
      }
      for (int step = last; step >= 0; --step) {
        if (step < last || args_.rebuilt) {
          // of_moved = of_moved of the step after - rests D^T where the step's mask is set, else 0
          tile_.to_atoms(args_.backward, tile_.rests, [&](int group, const Product& product) {
            pass_mask(step, group, product, [&](bool moves, int row, int atom, float sum) {
              float& of_moved = tile_.codes.at(row, atom);
              of_moved = moves ? of_moved - sum : 0.0f;
            });
          });
        }
        tile_.to_features(args_.backward, tile_.codes, [&](int group, const Product& product) {
          tile_.for_each(group, product, [&](int, int row, int f, float sum) {
            if (f >= args_.features()) return;  // else it would not fit its registers
            const int at = tile_.rests.place(row, f);
            tile_.rests.data[at] = sum;
            tile_.signals.data[at] += sum;
          });
        });
      }
    }

    // visit(group) for every group of atoms, on the warp that has it in products.
    template <class Visit>
    SRDFAST_INLINE void for_each_group(const Visit& visit) const {
      const int groups = args_.forward.atoms_shape().groups();
      for (int group = block_.warp(); group < groups; group += block_.warps()) visit(group);
      block_.sync();
    }

    SRDFAST_INLINE void clear(const BlockRows& rows) const {
      for (int i = block_.thread(); i < kRows * rows.stride; i += block_.threads()) rows.data[i] = 0;
    }

    // rows = sign * gradients [count, width] of the tile, and zero beyond.
    template <class SignalOf>
    SRDFAST_INLINE void load_grad(int count, const SignalOf& signal_of, int width, float sign,
                                  const BlockRows& rows) const {
      for (int r = block_.warp(); r < kRows; r += block_.warps()) {
        const float* const grad = r < count ? args_.grad + signal_of(r) * width : nullptr;
        for (int i = block_.lane(); i < rows.stride; i += kWarp)
          rows.at(r, i) = r < count && i < width ? sign * grad[i] : 0.0f;
      }
      block_.sync();
    }

    const Block& block_;
    const Arguments& args_;
    Tile tile_;
    unsigned* masks_;  // [steps, groups, kWarp]
    const float* thresholds_ = nullptr;
  };
};

template <class Queue>
void lista_gradient_device(Queue& queue, const ListaGradientProblem<float>& problem) {
  const bool by_gram = lista_by_gram(problem.steps, problem.synthesis);
  const DeviceLista forward = made_or_found(queue, problem.forward, [&](auto& place) {
    return device_lista(place, problem.analysis, problem.thresholds, problem.synthesis, by_gram);
  });
  const DeviceLista backward = made_or_found(queue, problem.backward, [&](auto& place) {
    return device_lista(place, problem.synthesis, {}, problem.analysis, by_gram);
  });
  const TileTable tiles =
      tile_table(queue, problem.index.data, problem.signals.extent(0), problem.analysis.extent(0));
  with_lista_form(forward, [&](auto form) {
    code_batch<ListaGradientDevice<decltype(form)::value>::template Coder>(
        queue, problem.signals.data, tiles,
        ListaGradientDeviceArguments{forward, backward, problem.steps, problem.rebuilt, problem.grad.data},
        ListaGradientDeviceOutputs{problem.of_signals.data});
  });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
