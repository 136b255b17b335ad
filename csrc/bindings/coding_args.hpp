// SPDX-License-Identifier: Apache-2.0
// Arguments that the sparse coders and the fused purification have in common.
#pragma once

#include <cmath>

#include "bindings/dictionary_arg.hpp"
#include "bindings/tensor_arg.hpp"
#include "ops/lasso/lasso.hpp"
#include "ops/omp/omp.hpp"

namespace srdfast {

inline void require_setting(bool holds, const char* name, const char* wanted, double got) {
  if (!holds) expected(name, wanted, py::str(py::float_(got)).cast<std::string>());
}

template <class T>
OmpSettings<T> omp_settings(int max_atoms, double tolerance, bool residual_selection) {
  if (max_atoms < 1) expected("max_atoms", "a whole number of at least 1", std::to_string(max_atoms));
  require_setting(std::isfinite(tolerance) && tolerance >= 0, "tolerance", "a finite number of at least 0",
                  tolerance);
  return {max_atoms, static_cast<T>(tolerance),
          residual_selection ? Selection::residual : Selection::correlation};
}

template <class T>
LassoSettings<T> lasso_settings(double penalty, double gap_tolerance, int max_sweeps) {
  require_setting(std::isfinite(penalty) && penalty > 0, "penalty", "a finite number above 0", penalty);
  require_setting(std::isfinite(gap_tolerance) && gap_tolerance >= 0, "gap_tolerance",
                  "a finite number of at least 0", gap_tolerance);
  if (max_sweeps < 1) expected("max_sweeps", "a whole number of at least 1", std::to_string(max_sweeps));
  return {static_cast<T>(penalty), static_cast<T>(gap_tolerance), max_sweeps};
}

template <class T>
View<const T, 2> thresholds_view(const TensorArg& arg, const View<const T, 3>& dictionary) {
  const auto view = arg.view<const T, 2>("[dictionaries, atoms]");
  require_extent(arg, 0, dictionary.extent(0), "one row per dictionary");
  require_extent(arg, 1, dictionary.extent(1), "one threshold per atom");
  require_finite(arg, view);
  if (arg.on_cuda()) return view;
  for (std::int64_t i = 0; i < view.size(); ++i) {
    require_setting(view.data[i] >= 0, arg.name(), "values of at least 0", static_cast<double>(view.data[i]));
  }
  return view;
}

template <class T>
void require_same_shape(const TensorArg& arg, const View<const T, 3>& dictionary, const char* of) {
  for (int axis = 0; axis < 3; ++axis) require_extent(arg, axis, dictionary.extent(axis), of);
}

inline void require_steps(int steps) {
  if (steps < 1) expected("steps", "a whole number of at least 1", std::to_string(steps));
}

}  // namespace srdfast
