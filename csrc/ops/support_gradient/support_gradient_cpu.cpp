// SPDX-License-Identifier: Apache-2.0
// The gradients of a batch on the CPU.
#include "math/prepare.hpp"
#include "math/tiles.hpp"
#include "ops/support_gradient/support_gradient_tile.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void run_signal(const SupportGradientProblem<T>& problem, std::int64_t dictionary, std::int64_t signal,
                SupportGradient<T>& support) {
  const T* const given = problem.given.slice(signal);
  const T* const values = problem.task == SupportTask::of_codes ? given : nullptr;
  const int width = static_cast<int>(problem.width());
  if (problem.dense) {
    support.take_codes(problem.codes.slice(signal), values);
  } else {
    support.take_indices(width, problem.indices.slice(signal), values);
  }
  if (values == nullptr) support.correlate(dictionary, given);
  support.solve(dictionary);
  if (problem.task == SupportTask::codes) {
    support.scatter(width, problem.result.slice(signal));
  } else {
    support.combine(dictionary, problem.result.slice(signal));
  }
}

template <class T>
void support_gradient_cpu(const SupportGradientProblem<T>& problem) {
  const Groups groups(problem.index.data, problem.given.extent(0), problem.dictionary.extent(0), kTile);
  with_gram_tables(problem, groups, [&](const GramTables<T>& tables) {
    parallel_for(groups.tile_count(), tiles_at_a_time(groups), [&](std::int64_t begin, std::int64_t end) {
      SupportGradient<T> support(problem.most_atoms(), tables);
      for (std::int64_t t = begin; t < end; ++t) {
        const Tile& tile = groups.tile(t);
        for (int r = 0; r < tile.count; ++r) {
          run_signal(problem, tile.dictionary, groups.signal(tile.first + r), support);
        }
      }
    });
  });
}

const Registration<SupportGradientProblem<float>> registered_float(support_gradient_cpu<float>);
const Registration<SupportGradientProblem<double>> registered_double(support_gradient_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
