// SPDX-License-Identifier: Apache-2.0
// The fused purification on the CPU: rows of patches, tile by tile, over all threads.
#include "math/prepare.hpp"
#include "ops/lasso/lasso_tile.hpp"
#include "ops/lista/lista_tile.hpp"
#include "ops/omp/omp_tile.hpp"
#include "ops/patches/strips.hpp"
#include "ops/purify/purify.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

// Rebuilds rows of patches of one image; a tile may reach from one row into the next. A coder is one of
// OmpCoder, LassoCoder and ListaCoder.
template <class T, class Coder>
class RowFiller {
 public:
  template <class MakeCoder>
  RowFiller(const View<const T, 4>& images, const std::int64_t* index, const PatchGrid& grid,
            const MakeCoder& make_coder)
      : images_(images),
        index_(index),
        grid_(grid),
        coder_(make_coder()),
        rebuilt_width_(padded(grid.features())),
        patches_(kTile * grid.features()),
        rebuilt_(kTile * rebuilt_width_) {}

  void operator()(std::int64_t image, int row, int rows, T* strips) {
    const int columns = grid_.columns.count(), features = grid_.features();
    const std::int64_t total = std::int64_t{rows} * columns;
    const std::int64_t tiles = (total + kTile - 1) / kTile;  // as even as can be: one row costs as three
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const int first = static_cast<int>(total * tile / tiles);
      const int count = static_cast<int>(total * (tile + 1) / tiles) - first;
      for (int r = 0; r < count; ++r) {
        cut_patch(grid_, images_.slice(image), row + (first + r) / columns, (first + r) % columns,
                  patches_.data() + std::int64_t{r} * features);
      }
      coder_.code(index_ ? index_[image] : 0, count, patches_.data());
      coder_.reconstruct(count, rebuilt_.data(), rebuilt_width_);
      for (int r = 0; r < count; ++r) {
        add_to_strip(grid_, rebuilt_.data() + std::int64_t{r} * rebuilt_width_, (first + r) % columns,
                     strips + (first + r) / columns * grid_.strip_size());
      }
    }
  }

 private:
  View<const T, 4> images_;
  const std::int64_t* index_;  // [batch], or null when there is one dictionary
  const PatchGrid& grid_;
  Coder coder_;
  int rebuilt_width_;
  Scratch<T> patches_;  // [kTile, features]
  Scratch<T> rebuilt_;  // [kTile, padded features]
};

template <class T, class Problem, class MakeCoder>
void rebuild(const Problem& problem, const Groups& groups, const MakeCoder& make_coder) {
  const PatchGrid grid = PatchGrid::of(problem.images, problem.patch, problem.stride);
  const auto make_filler = [&] {
    return RowFiller<T, decltype(make_coder())>(problem.images, problem.index.data, grid, make_coder);
  };
  average_by_strips(problem.purified, groups, problem.patch, problem.stride, make_filler);
}

// The images in the order of their dictionaries, so that a dictionary's tables are fetched once.
template <class Problem>
Groups by_dictionary(const Problem& problem) {
  return Groups(problem.index.data, problem.images.extent(0), problem.dictionary.extent(0), 1);
}

template <class T>
void purify_omp(const PurifyProblem<T, OmpCoding<T>>& problem) {
  const Groups groups = by_dictionary(problem);
  with_gram_tables(problem, groups, [&](const GramTables<T>& tables) {
    rebuild<T>(problem, groups, [&] { return OmpCoder<T>(problem.coding.settings, tables); });
  });
}

template <class T>
void purify_lasso(const PurifyProblem<T, LassoCoding<T>>& problem) {
  const Groups groups = by_dictionary(problem);
  with_gram_tables(problem, groups, [&](const GramTables<T>& tables) {
    rebuild<T>(problem, groups, [&] { return LassoCoder<T>(problem.coding.settings, tables); });
  });
}

template <class T>
void purify_lista(const PurifyProblem<T, ListaCoding<T>>& problem) {
  const Groups groups = by_dictionary(problem);
  const ListaCoding<T>& coding = problem.coding;
  const auto make_tables = [&] {
    return ListaTables<T>(coding.analysis, problem.dictionary, coding.steps,
                          [&](std::int64_t d) { return groups.uses(d); });
  };
  with_tables<ListaTables<T>>(problem.prepared, make_tables, [&](const ListaTables<T>& tables) {
    rebuild<T>(problem, groups, [&] { return ListaCoder<T>(coding.steps, coding.thresholds, tables); });
  });
}

const Registration<PurifyProblem<float, OmpCoding<float>>> omp_float(purify_omp<float>);
const Registration<PurifyProblem<double, OmpCoding<double>>> omp_double(purify_omp<double>);
const Registration<PurifyProblem<float, LassoCoding<float>>> lasso_float(purify_lasso<float>);
const Registration<PurifyProblem<double, LassoCoding<double>>> lasso_double(purify_lasso<double>);
const Registration<PurifyProblem<float, ListaCoding<float>>> lista_float(purify_lista<float>);
const Registration<PurifyProblem<double, ListaCoding<double>>> lista_double(purify_lista<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
