// SPDX-License-Identifier: Apache-2.0
// The fused purification on the CPU: rows of patches, tile by tile, over all threads.
#include "ops/purify/purify.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

// Rebuilds one row of patches of one image.
template <class T, class Problem, class Rebuilder>
class RowFiller {
 public:
  RowFiller(const Problem& problem, const PatchGrid& grid, const Rebuilder& rebuilder)
      : problem_(problem),
        grid_(grid),
        worker_(rebuilder),
        patches_(static_cast<std::int64_t>(kTile) * grid.features()),
        rebuilt_(static_cast<std::int64_t>(kTile) * grid.features()) {
    std::memset(static_cast<void*>(patches_.data()), 0,
                sizeof(T) * static_cast<std::size_t>(kTile) * static_cast<std::size_t>(grid.features()));
  }

  void operator()(std::int64_t image, int row, T* strip) {
    const std::int64_t dictionary = problem_.index.data ? problem_.index.data[image] : 0;
    const int columns = grid_.columns.count(), features = grid_.features();
    for (int first = 0; first < columns; first += kTile) {
      const int count = columns - first < kTile ? columns - first : kTile;
      for (int r = 0; r < count; ++r) {
        cut_patch(grid_, problem_.images.slice(image), row, first + r,
                  patches_.data() + static_cast<long>(r) * features);
      }
      worker_.rebuild(dictionary, count, patches_.data(), rebuilt_.data());
      for (int r = 0; r < count; ++r) {
        add_to_strip(grid_, rebuilt_.data() + static_cast<long>(r) * features, first + r, strip);
      }
    }
  }

 private:
  const Problem& problem_;
  const PatchGrid& grid_;
  typename Rebuilder::Worker worker_;
  Scratch<T> patches_, rebuilt_;  // [kTile, features]
};

template <class T, class Rebuilder, class Problem>
void purify_cpu(const Problem& problem) {
  const Groups groups(problem.index.data, problem.images.extent(0), problem.dictionary.extent(0), 1);
  const Rebuilder rebuilder(problem, groups);
  const PatchGrid grid = PatchGrid::of(problem.images, problem.patch, problem.stride);
  average_by_strips(problem.purified, problem.patch, problem.stride,
                    [&] { return RowFiller<T, Problem, Rebuilder>(problem, grid, rebuilder); });
}

template <class T, template <class> class Coding, template <class> class Rebuilder>
void purify_with(const PurifyProblem<T, Coding<T>>& problem) {
  purify_cpu<T, Rebuilder<T>>(problem);
}

const Registration<PurifyProblem<float, OmpCoding<float>>> omp_float(
    purify_with<float, OmpCoding, OmpRebuilder>);
const Registration<PurifyProblem<double, OmpCoding<double>>> omp_double(
    purify_with<double, OmpCoding, OmpRebuilder>);
const Registration<PurifyProblem<float, LassoCoding<float>>> lasso_float(
    purify_with<float, LassoCoding, LassoRebuilder>);
const Registration<PurifyProblem<double, LassoCoding<double>>> lasso_double(
    purify_with<double, LassoCoding, LassoRebuilder>);
const Registration<PurifyProblem<float, ListaCoding<float>>> lista_float(
    purify_with<float, ListaCoding, ListaRebuilder>);
const Registration<PurifyProblem<double, ListaCoding<double>>> lista_double(
    purify_with<double, ListaCoding, ListaRebuilder>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
