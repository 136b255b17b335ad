// SPDX-License-Identifier: Apache-2.0
// Batched lasso on the CPU.
#include "math/prepare.hpp"
#include "math/tiles.hpp"
#include "ops/lasso/lasso_tile.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void lasso_cpu(const LassoProblem<T>& problem) {
  const Groups groups(problem.index.data, problem.signals.extent(0), problem.dictionary.extent(0), kTile);
  with_gram_tables(problem, groups, [&](const GramTables<T>& tables) {
    code_batch(
        problem.signals, groups, [&] { return LassoCoder<T>(problem.settings, tables); },
        [&](const LassoCoder<T>& coder, int row, std::int64_t i) {
          coder.write(row, problem.values.slice(i));
          problem.gap.data[i] = coder.gap(row);
        });
  });
}

const Registration<LassoProblem<float>> registered_float(lasso_cpu<float>);
const Registration<LassoProblem<double>> registered_double(lasso_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
