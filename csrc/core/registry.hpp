// SPDX-License-Identifier: Apache-2.0
// Operators find their kernel here: one function per (problem type, CPU level).
//
// A problem is a plain struct with the arrays and settings of one call; its static member `name` names the
// operator and `dtype` the element type. A kernel is `void(const Problem&)`.
#pragma once

#include "core/level.hpp"

namespace srdfast {

using AnyKernel = void (*)();

template <class Problem>
using Kernel = void (*)(const Problem&);

template <class T>
struct DTypeName;
template <>
struct DTypeName<float> {
  static constexpr const char* value = "float32";
};
template <>
struct DTypeName<double> {
  static constexpr const char* value = "float64";
};

// Throws std::logic_error when the same kernel is registered twice.
void register_kernel(const char* name, const char* dtype, const char* level, AnyKernel kernel);

// Throws std::logic_error when there is no such kernel: nothing falls back silently.
AnyKernel find_kernel(const char* name, const char* dtype);

// Registers a kernel of the CPU level that the including file is compiled for.
template <class Problem>
struct Registration {
  SRDFAST_INLINE explicit Registration(Kernel<Problem> kernel) {
    register_kernel(Problem::name, Problem::dtype, SRDFAST_STRINGIFY(SRDFAST_LEVEL),
                    reinterpret_cast<AnyKernel>(kernel));
  }
};

// Runs the kernel for this problem at the CPU level in use.
template <class Problem>
void run_kernel(const Problem& problem) {
  static const auto kernel = reinterpret_cast<Kernel<Problem>>(find_kernel(Problem::name, Problem::dtype));
  kernel(problem);
}

}  // namespace srdfast
