// SPDX-License-Identifier: Apache-2.0
// The Tikhonov split on a GPU.
#include "cuda/queue.hpp"
#include "ops/split/split_device.hpp"

namespace srdfast {
namespace {

const auto registered = cuda::register_sequence<SplitProblem<float>>(
    [](auto& queue, const auto& problem) { split_device(queue, problem); });

}  // namespace
}  // namespace srdfast
