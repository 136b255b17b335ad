// SPDX-License-Identifier: Apache-2.0
// LISTA on a device: every step one or two products of a tile of signals on tensor cores.
#pragma once

#include "device/code_batch.hpp"
#include "device/tables.hpp"
#include "math/shrink.hpp"
#include "ops/lista/lista.hpp"
#include "ops/lista/lista_block.hpp"

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

template <bool kByGram>
struct ListaDevice {
  template <int kTileRows, class Block>
  class Coder {
   public:
    static constexpr int kRows = kTileRows;
    static constexpr int kResident = 2;
    static constexpr bool kMaySpill = true;
    using Arguments = ListaDeviceArguments;
    using Outputs = ListaDeviceOutputs;
    using Tile = ListaBlock<kByGram, kRows, Block>;

    SRDFAST_INLINE static int row_width(const Arguments& args) { return Tile::row_width(args.tables); }
    static std::int64_t shared_bytes(const Arguments& args, int) {
      return Tile::shared_bytes(args.tables, args.steps > 1);
    }

    SRDFAST_INLINE Coder(const Block& block, const Arguments& args, SharedMemory& memory)
        : block_(block), args_(args), tile_(block, args.tables, args.steps > 1, memory), now_(tile_.codes) {}

    SRDFAST_INLINE void code(std::int64_t dictionary, int, float* rows, int stride) {
      tile_.take(dictionary, rows, stride);
      now_ = tile_.codes;
      thresholds_ = args_.tables.thresholds + dictionary * args_.tables.atoms;
      analyse(tile_.signals, [&](int row, int atom, float sum) {
        if (kByGram) tile_.rests.at(row, atom) = sum;
        tile_.codes.at(row, atom) = shrink(sum, threshold(atom));
      });
      for (int step = 1; step < args_.steps; ++step) {
        if constexpr (kByGram) {
          correct_by_gram();
        } else {
          correct_by_residuals();
        }
      }
    }

    template <class Take>
    SRDFAST_INLINE void reconstruct(int count, const Take& take) const {
      const int features = args_.tables.features;
      synthesise([&](int row, int f, float sum) {
        if (row < count && f < features) take(row, f, sum);
      });
    }

    template <class SignalOf>
    SRDFAST_INLINE void write(int count, const SignalOf& signal_of, const Outputs& outputs) const {
      const int atoms = args_.tables.atoms;
      for (int r = block_.warp(); r < count; r += block_.warps()) {
        float* const out = outputs.values + signal_of(r) * atoms;
        for (int a = block_.lane(); a < atoms; a += kWarp) out[a] = now_.at(r, a);
      }
    }

   private:
    using Product = typename Tile::Product;

    // codes = shrink(x E^T + codes (I - D E^T), thresholds), in the other rows.
    SRDFAST_INLINE void correct_by_gram() {
      const BlockRows next = tile_.other(now_);
      tile_.recur(args_.tables, now_, [&](int group, const Product& product) {
        tile_.for_each(group, product, [&](int, int row, int atom, float sum) {
          const int at = next.place(row, atom);
          next.data[at] = shrink(tile_.rests.data[at] + sum, threshold(atom));
        });
      });
      now_ = next;
    }

    // codes = shrink(codes + (x - codes D) E^T, thresholds)
    SRDFAST_INLINE void correct_by_residuals() {
      synthesise([&](int row, int f, float sum) {
        const int at = tile_.rests.place(row, f);
        tile_.rests.data[at] = tile_.signals.data[at] - sum;
      });
      analyse(tile_.rests, [&](int row, int atom, float sum) {
        float& code = tile_.codes.at(row, atom);
        code = shrink(code + sum, threshold(atom));
      });
    }

    SRDFAST_INLINE float threshold(int atom) const {
      return atom < args_.tables.atoms ? thresholds_[atom] : 0.0f;
    }

    // take(row, atom, sum) for every element of rows * E^T.
    template <class Take>
    SRDFAST_INLINE void analyse(const BlockRows& rows, const Take& take) const {
      tile_.to_atoms(args_.tables, rows, [&](int group, const Product& product) {
        tile_.for_each(group, product, [&](int, int row, int atom, float sum) { take(row, atom, sum); });
      });
    }

    // take(row, feature, sum) for every element of codes * D.
    template <class Take>
    SRDFAST_INLINE void synthesise(const Take& take) const {
      tile_.to_features(args_.tables, now_, [&](int group, const Product& product) {
        tile_.for_each(group, product, [&](int, int row, int f, float sum) { take(row, f, sum); });
      });
    }

    const Block& block_;
    const Arguments& args_;
    Tile tile_;
    BlockRows now_;  // of the codes
    const float* thresholds_ = nullptr;
  };
};

template <class Queue>
void lista_device(Queue& queue, const ListaProblem<float>& problem) {
  const DeviceLista tables = device_lista(queue, problem.analysis, problem.thresholds, problem.synthesis,
                                          lista_by_gram(problem.steps, problem.synthesis));
  const TileTable tiles =
      tile_table(queue, problem.index.data, problem.signals.extent(0), problem.analysis.extent(0));
  with_lista_form(tables, [&](auto form) {
    code_batch<ListaDevice<decltype(form)::value>::template Coder>(
        queue, problem.signals.data, tiles, ListaDeviceArguments{tables, problem.steps},
        ListaDeviceOutputs{problem.values.data});
  });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
