// SPDX-License-Identifier: Apache-2.0
// Stands in for cuda/queue.hpp in a build for tests (SRDFAST_CUDA=HOST): the operators' work on a device runs
// on threads of the CPU, in the memory that the caller of a GPU would give, so that all between Python and
// the kernels can be tested without one.
#pragma once

#include <cstdlib>

#include "core/registry.hpp"
#include "tests/host_queue.hpp"

namespace srdfast::cuda {

// Bytes of shared memory that a block may have: an H100's, or what SRDFAST_EMULATED_SHARED says.
inline std::int64_t shared_limit() {
  const char* const told = std::getenv("SRDFAST_EMULATED_SHARED");
  return told == nullptr ? 227 << 10 : std::atoll(told);
}

// Registers sequence(queue, problem), an operator's work on a device.
template <class Problem, class Sequence>
CudaRegistration<Problem> register_sequence(Sequence) {
  return {[](const Problem& problem, int) {
            PlacingQueue queue(shared_limit());
            Sequence{}(queue, problem);
            return queue.bytes();
          },
          [](const Problem& problem, const CudaCall& call) {
            InPlaceQueue queue(call.workspace, shared_limit());
            Sequence{}(queue, problem);
          }};
}

}  // namespace srdfast::cuda
