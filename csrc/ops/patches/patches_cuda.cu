// SPDX-License-Identifier: Apache-2.0
// Patches on a GPU.
#include "cuda/queue.hpp"
#include "ops/patches/patches_device.hpp"

namespace srdfast {
namespace {

const auto registered_extract = cuda::register_sequence<ExtractProblem<float>>(
    [](auto& queue, const auto& problem) { extract_device(queue, problem); });
const auto registered_average = cuda::register_sequence<AverageProblem<float>>(
    [](auto& queue, const auto& problem) { average_device(queue, problem); });

}  // namespace
}  // namespace srdfast
