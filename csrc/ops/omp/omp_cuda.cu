// SPDX-License-Identifier: Apache-2.0
// Orthogonal matching pursuit on a GPU.
#include "cuda/queue.hpp"
#include "ops/omp/omp_device.hpp"

namespace srdfast {
namespace {

const auto registered = cuda::register_sequence<OmpProblem<float>>(
    [](auto& queue, const auto& problem) { omp_device(queue, problem); });

}  // namespace
}  // namespace srdfast
