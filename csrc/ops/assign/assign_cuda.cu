// SPDX-License-Identifier: Apache-2.0
// The most likely clusters on a GPU.
#include "cuda/queue.hpp"
#include "ops/assign/assign_device.hpp"

namespace srdfast {
namespace {

const auto registered = cuda::register_sequence<AssignProblem<float>>(
    [](auto& queue, const auto& problem) { assign_device(queue, problem); });

}  // namespace
}  // namespace srdfast
