// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/lasso/lasso.hpp"

namespace srdfast {
namespace {

void lasso(const py::object& signals, const py::object& dictionary, const py::object& index, double penalty,
           double gap_tolerance, int max_sweeps, const py::object& values, const py::object& gap,
           const py::object& place) {
  const Call call(place);
  const TensorArg signals_arg(call, "signals", signals);
  const DictionaryArg dictionary_arg(call, "dictionary", dictionary);
  const TensorArg values_arg(call, "values", values), gap_arg(call, "gap", gap);
  dispatch_float(signals_arg, [&](auto zero) {
    using T = decltype(zero);
    LassoProblem<T> problem;
    problem.signals = signals_arg.view<const T, 2>("[batch, features]");
    problem.dictionary = dictionary_arg.view<T>(problem.signals.extent(1));
    if (const auto* prepared = dictionary_arg.prepared<T>(false)) problem.prepared = prepared->tables.get();
    problem.settings = lasso_settings<T>(penalty, gap_tolerance, max_sweeps);
    const std::int64_t batch = problem.signals.extent(0);
    const IndexArg index_arg(call, index, batch, problem.dictionary.extent(0));
    problem.index = index_arg.view();
    problem.values = values_arg.view<T, 2>("[batch, atoms]");
    problem.gap = gap_arg.view<T, 1>("[batch]");
    require_extent(values_arg, 0, batch, "one row per signal");
    require_extent(values_arg, 1, problem.dictionary.extent(1), "one value per atom");
    require_extent(gap_arg, 0, batch, "one gap per signal");
    require_finite(signals_arg, problem.signals);
    call.run(problem);
  });
}

}  // namespace

void bind_lasso(py::module_& module) {
  module.def("lasso", &lasso, py::arg("signals"), py::arg("dictionary"), py::arg("index"), py::arg("penalty"),
             py::arg("gap_tolerance"), py::arg("max_sweeps"), py::arg("values"), py::arg("gap"),
             py::arg("place") = py::none());
}

}  // namespace srdfast
