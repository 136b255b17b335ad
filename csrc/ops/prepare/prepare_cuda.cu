// SPDX-License-Identifier: Apache-2.0
// The tables of dictionaries on a GPU.
#include "cuda/queue.hpp"
#include "ops/prepare/prepare_device.hpp"

namespace srdfast {
namespace {

const auto registered = cuda::register_sequence<PrepareProblem<float>>(
    [](auto& queue, const auto& problem) { prepare_device(queue, problem); });

}  // namespace
}  // namespace srdfast
