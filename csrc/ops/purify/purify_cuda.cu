// SPDX-License-Identifier: Apache-2.0
// The fused purification on a GPU.
#include "cuda/queue.hpp"
#include "ops/purify/purify_device.hpp"

namespace srdfast {
namespace {

const auto registered_omp = cuda::register_sequence<PurifyProblem<float, OmpCoding<float>>>(
    [](auto& queue, const auto& problem) { purify_device(queue, problem); });
const auto registered_lasso = cuda::register_sequence<PurifyProblem<float, LassoCoding<float>>>(
    [](auto& queue, const auto& problem) { purify_device(queue, problem); });
const auto registered_lista = cuda::register_sequence<PurifyProblem<float, ListaCoding<float>>>(
    [](auto& queue, const auto& problem) { purify_device(queue, problem); });

}  // namespace
}  // namespace srdfast
