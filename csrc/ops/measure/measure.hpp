// SPDX-License-Identifier: Apache-2.0
// What the machine can do at most: the floors that the kernels are measured against.
#pragma once

#include <cstdint>

#include "core/registry.hpp"
#include "core/view.hpp"

namespace srdfast {

template <class T>
struct PeakProblem {
  static constexpr const char* name = "measure_peak";
  static constexpr const char* dtype = DTypeName<T>::value;

  std::int64_t repeats;  // of the loop of multiply-adds, on every thread
  const T* starts;       // [12], where the chains begin

  // outputs
  double* operations;  // multiplications and additions done, over all threads
};

template <class T>
struct StreamProblem {
  static constexpr const char* name = "measure_stream";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<T, 1> first, second;  // of one length: second = 2 first
};

}  // namespace srdfast
