// SPDX-License-Identifier: Apache-2.0
// Batched orthogonal matching pursuit on the CPU.
#include "math/prepare.hpp"
#include "math/tiles.hpp"
#include "ops/omp/omp_tile.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void omp_cpu(const OmpProblem<T>& problem) {
  const Groups groups(problem.index.data, problem.signals.extent(0), problem.dictionary.extent(0), kTile);
  const std::size_t most = static_cast<std::size_t>(problem.settings.max_atoms);
  with_gram_tables(problem, groups, [&](const GramTables<T>& tables) {
    code_batch(
        problem.signals, groups, [&] { return OmpCoder<T>(problem.settings, tables); },
        [&](const OmpCoder<T>& coder, int row, std::int64_t i) {
          problem.counts.data[i] = coder.count(row);
          std::memcpy(problem.indices.slice(i), coder.indices(row), sizeof(std::int32_t) * most);
          std::memcpy(problem.values.slice(i), coder.values(row), sizeof(T) * most);
        });
  });
}

const Registration<OmpProblem<float>> registered_float(omp_cpu<float>);
const Registration<OmpProblem<double>> registered_double(omp_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
