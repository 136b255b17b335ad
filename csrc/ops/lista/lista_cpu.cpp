// SPDX-License-Identifier: Apache-2.0
// Batched LISTA on the CPU.
#include "math/tiles.hpp"
#include "ops/lista/lista_tile.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void lista_cpu(const ListaProblem<T>& problem) {
  const Groups groups(problem.index.data, problem.signals.extent(0), problem.synthesis.extent(0), kTile);
  const std::size_t atoms = static_cast<std::size_t>(problem.synthesis.extent(1));
  const ListaTables<T> tables(problem.analysis, problem.synthesis, problem.steps,
                              [&](std::int64_t d) { return groups.uses(d); });
  code_batch(
      problem.signals, groups, [&] { return ListaCoder<T>(problem.steps, problem.thresholds, tables); },
      [&](const ListaCoder<T>& coder, int row, std::int64_t i) {
        std::memcpy(problem.values.slice(i), coder.codes(row), sizeof(T) * atoms);
      });
}

const Registration<ListaProblem<float>> registered_float(lista_cpu<float>);
const Registration<ListaProblem<double>> registered_double(lista_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
