// SPDX-License-Identifier: Apache-2.0
// The tables of all dictionaries, on the CPU.
#include "ops/lista/lista_tile.hpp"
#include "ops/prepare/prepare.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void prepare_cpu(const PrepareProblem<T>& problem) {
  const auto all = [](std::int64_t) { return true; };
  if (problem.analysis.data != nullptr) {
    problem.tables->reset(new ListaTables<T>(problem.analysis, problem.dictionary, kAnySteps, all));
  } else {
    problem.tables->reset(new GramTables<T>(problem.dictionary, all));
  }
}

const Registration<PrepareProblem<float>> registered_float(prepare_cpu<float>);
const Registration<PrepareProblem<double>> registered_double(prepare_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
