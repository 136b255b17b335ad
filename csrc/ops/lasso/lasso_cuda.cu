// SPDX-License-Identifier: Apache-2.0
// The lasso on a GPU.
#include "cuda/queue.hpp"
#include "ops/lasso/lasso_device.hpp"

namespace srdfast {
namespace {

const auto registered = cuda::register_sequence<LassoProblem<float>>(
    [](auto& queue, const auto& problem) { lasso_device(queue, problem); });

}  // namespace
}  // namespace srdfast
