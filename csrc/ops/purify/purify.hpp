// SPDX-License-Identifier: Apache-2.0
// Rebuilding an image by sparse coding: extract -> code -> reconstruct -> average, fused, so that neither the
// patches nor their codes exist in memory beyond one tile.
#pragma once

#include <cstdint>

#include "core/prepared.hpp"
#include "core/registry.hpp"
#include "core/view.hpp"
#include "ops/lasso/lasso.hpp"
#include "ops/lista/lista.hpp"
#include "ops/omp/omp.hpp"

namespace srdfast {

// How a purification codes its patches: one of these three.
template <class T>
struct OmpCoding {
  static constexpr const char* purify_name = "purify_omp";
  OmpSettings<T> settings;
};

template <class T>
struct LassoCoding {
  static constexpr const char* purify_name = "purify_lasso";
  LassoSettings<T> settings;
};

template <class T>
struct ListaCoding {
  static constexpr const char* purify_name = "purify_lista";
  View<const T, 3> analysis;    // [dictionaries, atoms, features]
  View<const T, 2> thresholds;  // [dictionaries, atoms]
  int steps;
};

template <class T, class Coding>
struct PurifyProblem {
  static constexpr const char* name = Coding::purify_name;
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 4> images;            // [batch, channels, height, width]
  View<const T, 3> dictionary;        // [dictionaries, atoms, channels * patch * patch], synthesis atoms
  View<const std::int64_t, 1> index;  // [batch], or no data when there is one dictionary
  Coding coding;
  int patch, stride;
  const Prepared* prepared = nullptr;  // the coder's tables, or null: the call makes its own

  // outputs
  View<T, 4> purified;  // [batch, channels, height, width]
};

}  // namespace srdfast
