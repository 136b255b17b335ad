// SPDX-License-Identifier: Apache-2.0
// The gradient of a code on its support on a GPU.
#include "cuda/queue.hpp"
#include "ops/support_gradient/support_gradient_device.hpp"

namespace srdfast {
namespace {

const auto registered = cuda::register_sequence<SupportGradientProblem<float>>(
    [](auto& queue, const auto& problem) { support_gradient_device(queue, problem); });

}  // namespace
}  // namespace srdfast
