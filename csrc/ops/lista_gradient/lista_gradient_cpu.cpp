// SPDX-License-Identifier: Apache-2.0
// The gradients of a batch on the CPU.
#include "math/prepare.hpp"
#include "math/tiles.hpp"
#include "ops/lista_gradient/lista_gradient.hpp"
#include "ops/lista_gradient/lista_gradient_tile.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void differentiate(const ListaGradientProblem<T>& problem, const Groups& groups,
                   const ListaTables<T>& forward, const ListaTables<T>& backward) {
  const std::size_t row_bytes = sizeof(T) * static_cast<std::size_t>(problem.signals.extent(1));
  parallel_for(groups.tile_count(), tiles_at_a_time(groups), [&](std::int64_t begin, std::int64_t end) {
    ListaGradient<T> gradient(problem.steps, problem.rebuilt, problem.thresholds, forward, backward);
    const TileRows<T> signals(problem.signals), grads(problem.grad);
    for (std::int64_t t = begin; t < end; ++t) {
      const Tile& tile = groups.tile(t);
      gradient.differentiate(tile.dictionary, tile.count, signals.of(groups, tile), grads.of(groups, tile));
      for (int r = 0; r < tile.count; ++r) {
        std::memcpy(problem.of_signals.slice(groups.signal(tile.first + r)), gradient.of_signal(r),
                    row_bytes);
      }
    }
  });
}

template <class T>
void lista_gradient_cpu(const ListaGradientProblem<T>& problem) {
  const Groups groups(problem.index.data, problem.signals.extent(0), problem.synthesis.extent(0), kTile);
  const auto uses = [&](std::int64_t d) { return groups.uses(d); };
  const auto make_forward = [&] {
    return ListaTables<T>(problem.analysis, problem.synthesis, problem.steps, uses);
  };
  const auto make_backward = [&] {
    return ListaTables<T>(problem.synthesis, problem.analysis, problem.steps, uses);
  };
  with_tables<ListaTables<T>>(problem.forward, make_forward, [&](const ListaTables<T>& forward) {
    with_tables<ListaTables<T>>(problem.backward, make_backward, [&](const ListaTables<T>& backward) {
      differentiate(problem, groups, forward, backward);
    });
  });
}

const Registration<ListaGradientProblem<float>> registered_float(lista_gradient_cpu<float>);
const Registration<ListaGradientProblem<double>> registered_double(lista_gradient_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
