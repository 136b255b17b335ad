// SPDX-License-Identifier: Apache-2.0
// The gradient of LISTA on a GPU.
#include "cuda/queue.hpp"
#include "ops/lista_gradient/lista_gradient_device.hpp"

namespace srdfast {
namespace {

const auto registered = cuda::register_sequence<ListaGradientProblem<float>>(
    [](auto& queue, const auto& problem) { lista_gradient_device(queue, problem); });

}  // namespace
}  // namespace srdfast
