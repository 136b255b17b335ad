// SPDX-License-Identifier: Apache-2.0
// Operators find their kernel here: one function per (problem type, CPU level), and one pair of functions per
// problem type for CUDA.
//
// A problem is a plain struct with the arrays and settings of one call; its static member `name` names the
// operator and `dtype` the element type. A CPU kernel is `void(const Problem&)`.
#pragma once

#include <cstdint>

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

// Where a CUDA kernel runs, and the device memory that it may write to besides its results.
struct CudaCall {
  int device;
  void* stream;     // a cudaStream_t; null is the legacy default stream
  void* workspace;  // as many bytes as `cuda_workspace` says
};

template <class Problem>
using CudaWorkspace = std::int64_t (*)(const Problem&, int device);

template <class Problem>
using CudaKernel = void (*)(const Problem&, const CudaCall&);

// Throws DeviceError when this build has no CUDA kernel for the problem.
AnyKernel find_cuda_kernel(const char* name, const char* dtype, const char* part);

template <class Problem>
struct CudaRegistration {
  CudaRegistration(CudaWorkspace<Problem> workspace, CudaKernel<Problem> kernel) {
    register_kernel(Problem::name, Problem::dtype, "cuda workspace", reinterpret_cast<AnyKernel>(workspace));
    register_kernel(Problem::name, Problem::dtype, "cuda", reinterpret_cast<AnyKernel>(kernel));
  }
};

// Bytes of device memory that `run_cuda_kernel` needs for this problem on this device.
template <class Problem>
std::int64_t cuda_workspace(const Problem& problem, int device) {
  const AnyKernel found = find_cuda_kernel(Problem::name, Problem::dtype, "cuda workspace");
  return reinterpret_cast<CudaWorkspace<Problem>>(found)(problem, device);
}

// Puts the problem's kernels, all of whose arrays lie on call.device, on the stream. Neither allocates nor
// waits.
template <class Problem>
void run_cuda_kernel(const Problem& problem, const CudaCall& call) {
  const AnyKernel found = find_cuda_kernel(Problem::name, Problem::dtype, "cuda");
  reinterpret_cast<CudaKernel<Problem>>(found)(problem, call);
}

}  // namespace srdfast
