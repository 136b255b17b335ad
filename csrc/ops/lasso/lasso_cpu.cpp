// SPDX-License-Identifier: Apache-2.0
// Batched lasso on the CPU: tiles of signals that share a dictionary, over all threads.
#include "ops/lasso/lasso.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void lasso_cpu(const LassoProblem<T>& problem) {
  const int atoms = static_cast<int>(problem.dictionary.extent(1));
  const int features = static_cast<int>(problem.dictionary.extent(2));
  const Groups groups(problem.index.data, problem.signals.extent(0), problem.dictionary.extent(0), kTile);
  const Transposes<T> transposes(problem.dictionary, groups);
  const Grams<T> grams(problem.dictionary, transposes, groups);
  parallel_for(groups.tile_count(), 4, [&](std::int64_t begin, std::int64_t end) {
    LassoCoder<T> coder(problem.settings, atoms, features);
    Scratch<T> signals(static_cast<std::int64_t>(kTile) * features);
    for (std::int64_t t = begin; t < end; ++t) {
      const Tile& tile = groups.tile(t);
      load_tile(
          tile.count, features, [&](int r) { return problem.signals.slice(groups.signal(tile.first + r)); },
          signals.data());
      coder.begin_tile(signals.data(), transposes[tile.dictionary]);
      for (int r = 0; r < tile.count; ++r) {
        const std::int64_t i = groups.signal(tile.first + r);
        problem.gap.data[i] = coder.solve(r, problem.dictionary.slice(tile.dictionary),
                                          grams[tile.dictionary], problem.values.slice(i));
      }
    }
  });
}

const Registration<LassoProblem<float>> registered_float(lasso_cpu<float>);
const Registration<LassoProblem<double>> registered_double(lasso_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
