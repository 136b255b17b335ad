// SPDX-License-Identifier: Apache-2.0
// LISTA (Gregor and LeCun 2010): a fixed number of learned shrinkage steps from z = 0,
//
//     z <- shrink(z + (x - zD) E^T, thresholds).
//
// The first step needs no reconstruction, so `steps` steps cost 2 * steps - 1 products of atoms x features.
#pragma once

#include <cstdint>

#include "core/registry.hpp"
#include "core/scratch.hpp"
#include "core/view.hpp"
#include "math/product.hpp"
#include "math/shrink.hpp"
#include "math/tables.hpp"

namespace srdfast {

template <class T>
struct ListaProblem {
  static constexpr const char* name = "lista";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 2> signals;           // [batch, features]
  View<const T, 3> analysis;          // [dictionaries, atoms, features], E
  View<const T, 2> thresholds;        // [dictionaries, atoms]
  View<const T, 3> synthesis;         // [dictionaries, atoms, features], D
  View<const std::int64_t, 1> index;  // [batch], or no data when there is one dictionary
  int steps;

  // outputs
  View<T, 2> values;  // [batch, atoms]
};

inline namespace SRDFAST_LEVEL {

// Codes tiles of signals, one tile at a time, on the calling thread.
template <class T>
class ListaCoder {
 public:
  ListaCoder(int steps, int atoms, int features)
      : steps_(steps),
        atoms_(atoms),
        features_(features),
        residuals_(static_cast<std::int64_t>(kTile) * features),
        corrections_(static_cast<std::int64_t>(kTile) * atoms) {}

  // signals [kTile, features]; analysis_transposed [features, atoms]; codes [kTile, atoms] is the answer
  SRDFAST_INLINE void code_tile(const T* signals, const T* analysis_transposed, const T* thresholds,
                                const T* synthesis, T* codes) {
    std::memset(static_cast<void*>(codes), 0, sizeof(T) * static_cast<std::size_t>(kTile) * atoms_);
    const T* residuals = signals;
    for (int step = 0; step < steps_; ++step) {
      if (step > 0) {
        reconstruct_tile(codes, synthesis, residuals_.data());
        for (int i = 0; i < kTile * features_; ++i) residuals_[i] = signals[i] - residuals_[i];
        residuals = residuals_.data();
      }
      tile_product(features_, atoms_, residuals, features_, analysis_transposed, corrections_.data());
      shrink_tile(thresholds, codes);
    }
  }

  // signals [kTile, features] = codes [kTile, atoms] * synthesis [atoms, features]
  SRDFAST_INLINE void reconstruct_tile(const T* codes, const T* synthesis, T* signals) const {
    tile_product(atoms_, features_, codes, atoms_, synthesis, signals);
  }

 private:
  SRDFAST_INLINE void shrink_tile(const T* thresholds, T* codes) const {
    for (int r = 0; r < kTile; ++r) {
      T* SRDFAST_RESTRICT code = codes + static_cast<long>(r) * atoms_;
      const T* SRDFAST_RESTRICT correction = corrections_.data() + static_cast<long>(r) * atoms_;
      for (int a = 0; a < atoms_; ++a) code[a] = shrink(code[a] + correction[a], thresholds[a]);
    }
  }

  int steps_, atoms_, features_;
  Scratch<T> residuals_, corrections_;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
