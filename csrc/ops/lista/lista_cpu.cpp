// SPDX-License-Identifier: Apache-2.0
// Batched LISTA on the CPU: tiles of signals that share a dictionary, over all threads.
#include "ops/lista/lista.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void lista_cpu(const ListaProblem<T>& problem) {
  const int atoms = static_cast<int>(problem.analysis.extent(1));
  const int features = static_cast<int>(problem.analysis.extent(2));
  const Groups groups(problem.index.data, problem.signals.extent(0), problem.analysis.extent(0), kTile);
  const Transposes<T> transposes(problem.analysis, groups);
  parallel_for(groups.tile_count(), 4, [&](std::int64_t begin, std::int64_t end) {
    ListaCoder<T> coder(problem.steps, atoms, features);
    Scratch<T> signals(static_cast<std::int64_t>(kTile) * features);
    Scratch<T> codes(static_cast<std::int64_t>(kTile) * atoms);
    for (std::int64_t t = begin; t < end; ++t) {
      const Tile& tile = groups.tile(t);
      load_tile(
          tile.count, features, [&](int r) { return problem.signals.slice(groups.signal(tile.first + r)); },
          signals.data());
      coder.code_tile(signals.data(), transposes[tile.dictionary], problem.thresholds.slice(tile.dictionary),
                      problem.synthesis.slice(tile.dictionary), codes.data());
      for (int r = 0; r < tile.count; ++r) {
        std::memcpy(problem.values.slice(groups.signal(tile.first + r)),
                    codes.data() + static_cast<long>(r) * atoms, sizeof(T) * static_cast<std::size_t>(atoms));
      }
    }
  });
}

const Registration<ListaProblem<float>> registered_float(lista_cpu<float>);
const Registration<ListaProblem<double>> registered_double(lista_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
