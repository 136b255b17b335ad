// SPDX-License-Identifier: Apache-2.0
// The queue of device/queue.hpp on a GPU: launches on the caller's stream, in the caller's memory.
#pragma once

#include <cuda_runtime.h>

#include "core/registry.hpp"
#include "cuda/block.hpp"
#include "cuda/check.hpp"
#include "cuda/guard.hpp"
#include "device/queue.hpp"

namespace srdfast::cuda {

template <class Body>
__global__ void __launch_bounds__(Body::kThreads, Body::kResident)
    run_body(const __grid_constant__ typename Body::Arguments arguments) {
  extern __shared__ __align__(16) unsigned char shared[];
  Body::run(Block{}, arguments, shared);
}

// Bytes of shared memory that a block may have.
inline std::int64_t shared_limit_of(int device) {
  int limit = 0;
  check(cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        "cudaDeviceGetAttribute");
  return limit;
}

class Queue {
 public:
  explicit Queue(const CudaCall& call)
      : guard_(call.device),
        stream_(static_cast<cudaStream_t>(call.stream)),
        workspace_(call.workspace),
        shared_limit_(shared_limit_of(call.device)) {}

  template <class T>
  T* take(std::int64_t count) {
    return workspace_.template take<T>(count);
  }

  template <class Body>
  void launch(std::int64_t blocks, const typename Body::Arguments& arguments) {
    if (blocks == 0) return;
    require_launchable(blocks);
    const std::int64_t bytes = Body::shared_bytes(arguments);
    constexpr int kWithoutAsking = 48 << 10;
    if (bytes > kWithoutAsking) {
      check(cudaFuncSetAttribute(run_body<Body>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(bytes)),
            "cudaFuncSetAttribute");
    }
    run_body<Body>
        <<<static_cast<unsigned>(blocks), Body::kThreads, static_cast<std::size_t>(bytes), stream_>>>(
            arguments);
    check(cudaGetLastError(), "kernel launch");
  }

  std::int64_t shared_limit() const { return shared_limit_; }

 private:
  DeviceGuard guard_;
  cudaStream_t stream_;
  PlacingQueue workspace_;
  std::int64_t shared_limit_;
};

// Registers sequence(queue, problem), an operator's work on a device.
template <class Problem, class Sequence>
CudaRegistration<Problem> register_sequence(Sequence) {
  return {[](const Problem& problem, int device) {
            PlacingQueue queue(shared_limit_of(device));
            Sequence{}(queue, problem);
            return queue.bytes();
          },
          [](const Problem& problem, const CudaCall& call) {
            Queue queue(call);
            Sequence{}(queue, problem);
          }};
}

}  // namespace srdfast::cuda
