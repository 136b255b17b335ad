// SPDX-License-Identifier: Apache-2.0
// The most likely clusters of a batch on the CPU.
#include "core/parallel.hpp"
#include "ops/assign/assign_tile.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void assign_cpu(const AssignProblem<T>& problem) {
  constexpr int kRows = ClusterAssigner<T>::kRows;
  constexpr std::int64_t kWorthAThread = 1 << 20;  // pairs of multiply-adds
  const std::int64_t batch = problem.latents.extent(0);
  if (batch == 0) return;
  const PackedClusters<T> clusters(problem);
  const std::int64_t of_tile = std::int64_t{kRows} * clusters.latent * clusters.panels * kPanel<T>;
  parallel_for((batch + kRows - 1) / kRows, kWorthAThread / of_tile + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 ClusterAssigner<T> assigner(clusters);
                 for (std::int64_t i = begin * kRows; i < end * kRows && i < batch; i += kRows) {
                   const int count = static_cast<int>(batch - i < kRows ? batch - i : kRows);
                   assigner.assign(count, problem.latents.slice(i), problem.centre.data,
                                   [&](int row, const Assigned<T>& assigned) {
                                     problem.index.data[i + row] = assigned.index;
                                     problem.log_likelihood.data[i + row] = assigned.log_likelihood;
                                     problem.margin.data[i + row] = assigned.margin;
                                   });
                 }
               });
}

const Registration<AssignProblem<float>> registered_float(assign_cpu<float>);
const Registration<AssignProblem<double>> registered_double(assign_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
