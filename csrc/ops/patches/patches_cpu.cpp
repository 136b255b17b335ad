// SPDX-License-Identifier: Apache-2.0
// Cutting images into patches and averaging patches into images on the CPU.
#include "ops/patches/strips.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void extract_cpu(const ExtractProblem<T>& problem) {
  const PatchGrid grid = PatchGrid::of(problem.images, problem.patch, problem.stride);
  const int rows = grid.rows.count(), columns = grid.columns.count();
  parallel_for(problem.images.extent(0) * rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const int row = static_cast<int>(i % rows);
      T* out = problem.patches.slice(i / rows) + static_cast<std::int64_t>(row) * columns * grid.features();
      for (int column = 0; column < columns; ++column, out += grid.features()) {
        cut_patch(grid, problem.images.slice(i / rows), row, column, out);
      }
    }
  });
}

template <class T>
void average_cpu(const AverageProblem<T>& problem) {
  const PatchGrid grid = PatchGrid::of(problem.images, problem.patch, problem.stride);
  const int columns = grid.columns.count();
  const Groups in_order(nullptr, problem.images.extent(0), 1, 1);
  average_by_strips(problem.images, in_order, problem.patch, problem.stride, [&] {
    return [&](std::int64_t image, int row, int rows, T* strips) {
      const T* patch =
          problem.patches.slice(image) + static_cast<std::int64_t>(row) * columns * grid.features();
      for (int i = 0; i < rows * columns; ++i, patch += grid.features()) {
        add_to_strip(grid, patch, i % columns, strips + i / columns * grid.strip_size());
      }
    };
  });
}

const Registration<ExtractProblem<float>> extract_float(extract_cpu<float>);
const Registration<ExtractProblem<double>> extract_double(extract_cpu<double>);
const Registration<AverageProblem<float>> average_float(average_cpu<float>);
const Registration<AverageProblem<double>> average_double(average_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
