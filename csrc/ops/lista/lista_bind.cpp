// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/lista/lista.hpp"

namespace srdfast {
namespace {

void lista(const py::object& signals, const py::object& analysis, const py::object& thresholds,
           const py::object& synthesis, const py::object& index, int steps, const py::object& values,
           const py::object& place) {
  const Call call(place);
  const TensorArg signals_arg(call, "signals", signals), analysis_arg(call, "analysis", analysis);
  const TensorArg thresholds_arg(call, "thresholds", thresholds), synthesis_arg(call, "synthesis", synthesis);
  const TensorArg values_arg(call, "values", values);
  dispatch_float(signals_arg, [&](auto zero) {
    using T = decltype(zero);
    ListaProblem<T> problem;
    problem.signals = signals_arg.view<const T, 2>("[batch, features]");
    problem.analysis = dictionary_view<T>(analysis_arg, problem.signals.extent(1));
    problem.thresholds = thresholds_view(thresholds_arg, problem.analysis);
    problem.synthesis = dictionary_view<T>(synthesis_arg, problem.signals.extent(1));
    require_same_shape(synthesis_arg, problem.analysis, "as analysis");
    require_steps(steps);
    problem.steps = steps;
    const std::int64_t batch = problem.signals.extent(0);
    const IndexArg index_arg(call, index, batch, problem.analysis.extent(0));
    problem.index = index_arg.view();
    problem.values = values_arg.view<T, 2>("[batch, atoms]");
    require_extent(values_arg, 0, batch, "one row per signal");
    require_extent(values_arg, 1, problem.analysis.extent(1), "one value per atom");
    require_finite(signals_arg, problem.signals);
    call.run(problem);
  });
}

}  // namespace

void bind_lista(py::module_& module) {
  module.def("lista", &lista, py::arg("signals"), py::arg("analysis"), py::arg("thresholds"),
             py::arg("synthesis"), py::arg("index"), py::arg("steps"), py::arg("values"),
             py::arg("place") = py::none());
}

}  // namespace srdfast
