// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/omp/omp.hpp"

namespace srdfast {
namespace {

void omp(const py::object& signals, const py::object& dictionary, const py::object& index, int max_atoms,
         double tolerance, bool residual_selection, const py::object& indices, const py::object& values,
         const py::object& counts, const py::object& place) {
  const Call call(place);
  const TensorArg signals_arg(call, "signals", signals);
  const DictionaryArg dictionary_arg(call, "dictionary", dictionary);
  const TensorArg indices_arg(call, "indices", indices), values_arg(call, "values", values),
      counts_arg(call, "counts", counts);
  dispatch_float(signals_arg, [&](auto zero) {
    using T = decltype(zero);
    OmpProblem<T> problem;
    problem.signals = signals_arg.view<const T, 2>("[batch, features]");
    problem.dictionary = dictionary_arg.view<T>(problem.signals.extent(1));
    if (const auto* prepared = dictionary_arg.prepared<T>(false)) problem.prepared = prepared->tables.get();
    problem.settings = omp_settings<T>(max_atoms, tolerance, residual_selection);
    const std::int64_t batch = problem.signals.extent(0);
    const IndexArg index_arg(call, index, batch, problem.dictionary.extent(0));
    problem.index = index_arg.view();
    problem.indices = indices_arg.view<std::int32_t, 2>("[batch, max_atoms]");
    problem.values = values_arg.view<T, 2>("[batch, max_atoms]");
    problem.counts = counts_arg.view<std::int32_t, 1>("[batch]");
    for (const TensorArg* output : {&indices_arg, &values_arg}) {
      require_extent(*output, 0, batch, "one row per signal");
      require_extent(*output, 1, max_atoms, "max_atoms");
    }
    require_extent(counts_arg, 0, batch, "one count per signal");
    require_finite(signals_arg, problem.signals);
    call.run(problem);
  });
}

}  // namespace

void bind_omp(py::module_& module) {
  module.def("omp", &omp, py::arg("signals"), py::arg("dictionary"), py::arg("index"), py::arg("max_atoms"),
             py::arg("tolerance"), py::arg("residual_selection"), py::arg("indices"), py::arg("values"),
             py::arg("counts"), py::arg("place") = py::none());
}

}  // namespace srdfast
