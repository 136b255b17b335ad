// SPDX-License-Identifier: Apache-2.0
// LISTA on a GPU.
#include "cuda/queue.hpp"
#include "ops/lista/lista_device.hpp"

namespace srdfast {
namespace {

const auto registered = cuda::register_sequence<ListaProblem<float>>(
    [](auto& queue, const auto& problem) { lista_device(queue, problem); });

}  // namespace
}  // namespace srdfast
