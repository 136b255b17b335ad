// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/lista_gradient/lista_gradient.hpp"

namespace srdfast {
namespace {

// Analysis, thresholds and synthesis: three arrays, or dictionaries prepared both ways round and None.
template <class T>
void take_dictionaries(const Call& call, const DictionaryArg& analysis, const py::object& thresholds,
                       const DictionaryArg& synthesis, ListaGradientProblem<T>& problem) {
  const std::int64_t features = problem.signals.extent(1);
  problem.analysis = analysis.view<T>(features);
  problem.synthesis = synthesis.view<T>(features);
  const PreparedArrays<T>* const forward = synthesis.prepared<T>(true);
  const PreparedArrays<T>* const backward = analysis.prepared<T>(true);
  if ((forward == nullptr) != (backward == nullptr)) {
    expected("analysis, synthesis", "both prepared or both arrays", "one of each");
  }
  if (forward == nullptr) {
    require_same_shape(*synthesis.array(), problem.analysis, "as analysis");
    const TensorArg thresholds_arg(call, "thresholds", thresholds);
    problem.thresholds = thresholds_view(thresholds_arg, problem.analysis);
    return;
  }
  if (!thresholds.is_none()) expected("thresholds", "None, since they were prepared", "an array");
  for (int axis = 0; axis < 3; ++axis) {
    if (problem.synthesis.extent(axis) == problem.analysis.extent(axis)) continue;
    expected("analysis, synthesis", "dictionaries prepared from the same arrays", "some of other shapes");
  }
  problem.thresholds = forward->thresholds;
  problem.forward = forward->tables.get();
  problem.backward = backward->tables.get();
}

void lista_gradient(const py::object& grad, const py::object& signals, const py::object& analysis,
                    const py::object& thresholds, const py::object& synthesis, const py::object& index,
                    int steps, bool rebuilt, const py::object& of_signals, const py::object& place) {
  const Call call(place);
  const TensorArg grad_arg(call, "grad", grad), signals_arg(call, "signals", signals);
  const DictionaryArg analysis_arg(call, "analysis", analysis), synthesis_arg(call, "synthesis", synthesis);
  const TensorArg of_signals_arg(call, "of_signals", of_signals);
  dispatch_float(grad_arg, [&](auto zero) {
    using T = decltype(zero);
    ListaGradientProblem<T> problem;
    problem.grad = grad_arg.view<const T, 2>(rebuilt ? "[batch, features]" : "[batch, atoms]");
    problem.signals = signals_arg.view<const T, 2>("[batch, features]");
    take_dictionaries(call, analysis_arg, thresholds, synthesis_arg, problem);
    require_steps(steps);
    problem.steps = steps;
    problem.rebuilt = rebuilt;
    const std::int64_t batch = problem.signals.extent(0), features = problem.signals.extent(1);
    require_extent(grad_arg, 0, batch, "one row per signal");
    require_extent(grad_arg, 1, rebuilt ? features : problem.analysis.extent(1),
                   rebuilt ? "one value per feature" : "one value per atom");
    const IndexArg index_arg(call, index, batch, problem.analysis.extent(0));
    problem.index = index_arg.view();
    problem.of_signals = of_signals_arg.view<T, 2>("[batch, features]");
    require_extent(of_signals_arg, 0, batch, "one row per signal");
    require_extent(of_signals_arg, 1, features, "one value per feature");
    require_finite(signals_arg, problem.signals);
    call.run(problem);
  });
}

}  // namespace

void bind_lista_gradient(py::module_& module) {
  module.def("lista_gradient", &lista_gradient, py::arg("grad"), py::arg("signals"), py::arg("analysis"),
             py::arg("thresholds"), py::arg("synthesis"), py::arg("index"), py::arg("steps"),
             py::arg("rebuilt"), py::arg("of_signals"), py::arg("place") = py::none());
}

}  // namespace srdfast
