// SPDX-License-Identifier: Apache-2.0
// Batched lasso on the CPU.
#include "math/prepare.hpp"
#include "math/tiles.hpp"
#include "ops/lasso/lasso_tile.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

// Where the rows of dense codes to start from have entries.
template <class T>
class DenseStart {
 public:
  explicit DenseStart(int atoms) : indices_(atoms), values_(atoms) {}

  LassoStart<T> of(const View<const T, 2>& start, std::int64_t signal) {
    if (start.data == nullptr) return {};
    const T* const codes = start.slice(signal);
    int count = 0;
    for (int a = 0; a < static_cast<int>(start.extent(1)); ++a) {
      if (codes[a] == 0) continue;
      indices_[count] = a;
      values_[count++] = codes[a];
    }
    return {count, indices_.data(), values_.data()};
  }

 private:
  Scratch<std::int32_t> indices_;  // [atoms]
  Scratch<T> values_;              // [atoms]
};

template <class T>
void lasso_cpu(const LassoProblem<T>& problem) {
  const Groups groups(problem.index.data, problem.signals.extent(0), problem.dictionary.extent(0), kTile);
  with_gram_tables(problem, groups, [&](const GramTables<T>& tables) {
    parallel_for(groups.tile_count(), tiles_at_a_time(groups), [&](std::int64_t begin, std::int64_t end) {
      LassoCoder<T> coder(problem.settings, tables);
      const TileRows<T> rows(problem.signals);
      DenseStart<T> start(tables.atoms);
      for (std::int64_t t = begin; t < end; ++t) {
        const Tile& tile = groups.tile(t);
        coder.code(tile.dictionary, tile.count, rows.of(groups, tile),
                   [&](int row) { return start.of(problem.start, groups.signal(tile.first + row)); });
        for (int row = 0; row < tile.count; ++row) {
          const std::int64_t i = groups.signal(tile.first + row);
          coder.write(row, problem.values.slice(i));
          problem.gap.data[i] = coder.gap(row);
          if (problem.rounds.data != nullptr) problem.rounds.data[i] = coder.rounds(row);
        }
      }
    });
  });
}

const Registration<LassoProblem<float>> registered_float(lasso_cpu<float>);
const Registration<LassoProblem<double>> registered_double(lasso_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
