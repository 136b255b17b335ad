// SPDX-License-Identifier: Apache-2.0
// Stands in for the CUDA files in a build for tests (SRDFAST_CUDA=HOST): the operators' work on a device runs
// on threads of the CPU, in the memory that the caller of a GPU would give, so that all between Python and
// the kernels can be tested without one.
#include "core/registry.hpp"
#include "cuda/runtime.hpp"
#include "ops/assign/assign_device.hpp"
#include "ops/lista_gradient/lista_gradient_device.hpp"
#include "ops/patches/patches_device.hpp"
#include "ops/prepare/prepare_device.hpp"
#include "ops/purify/purify_device.hpp"
#include "ops/split/split_device.hpp"
#include "tests/host_queue.hpp"

namespace srdfast {
namespace {

constexpr std::int64_t kSharedLimit = 227 << 10;  // an H100's

template <class Problem, class Sequence>
CudaRegistration<Problem> register_sequence(Sequence) {
  return {[](const Problem& problem) {
            PlacingQueue queue;
            Sequence{}(queue, problem);
            return queue.bytes();
          },
          [](const Problem& problem, const CudaCall& call) {
            InPlaceQueue queue(call.workspace, kSharedLimit);
            Sequence{}(queue, problem);
          }};
}

const auto assign = register_sequence<AssignProblem<float>>(
    [](auto& queue, const auto& problem) { assign_device(queue, problem); });
const auto split = register_sequence<SplitProblem<float>>(
    [](auto& queue, const auto& problem) { split_device(queue, problem); });
const auto extract = register_sequence<ExtractProblem<float>>(
    [](auto& queue, const auto& problem) { extract_device(queue, problem); });
const auto average = register_sequence<AverageProblem<float>>(
    [](auto& queue, const auto& problem) { average_device(queue, problem); });
const auto omp = register_sequence<OmpProblem<float>>(
    [](auto& queue, const auto& problem) { omp_device(queue, problem); });
const auto lasso = register_sequence<LassoProblem<float>>(
    [](auto& queue, const auto& problem) { lasso_device(queue, problem); });
const auto lista = register_sequence<ListaProblem<float>>(
    [](auto& queue, const auto& problem) { lista_device(queue, problem); });
const auto lista_gradient = register_sequence<ListaGradientProblem<float>>(
    [](auto& queue, const auto& problem) { lista_gradient_device(queue, problem); });
const auto prepare = register_sequence<PrepareProblem<float>>(
    [](auto& queue, const auto& problem) { prepare_device(queue, problem); });
const auto purify_omp = register_sequence<PurifyProblem<float, OmpCoding<float>>>(
    [](auto& queue, const auto& problem) { purify_device(queue, problem); });
const auto purify_lasso = register_sequence<PurifyProblem<float, LassoCoding<float>>>(
    [](auto& queue, const auto& problem) { purify_device(queue, problem); });
const auto purify_lista = register_sequence<PurifyProblem<float, ListaCoding<float>>>(
    [](auto& queue, const auto& problem) { purify_device(queue, problem); });

}  // namespace

namespace cuda {

RuntimeInfo runtime_info() {
  RuntimeInfo info{};
  info.built = true;
  info.toolkit = "threads of the CPU";
  info.devices.push_back({"threads of the CPU", "0.0", 1, 0});
  return info;
}

bool built() { return true; }

int memory_type() { return 1; }

bool is_capturing(int, void*) { return false; }

}  // namespace cuda
}  // namespace srdfast
