// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/lasso/lasso.hpp"

namespace srdfast {
namespace {

void lasso(const py::object& signals, const py::object& dictionary, const py::object& index, double penalty,
           double gap_tolerance, int max_sweeps, const py::object& values, const py::object& gap,
           const py::object& place, const py::object& start, const py::object& rounds) {
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
    if (call.on_cuda() && !(start.is_none() && rounds.is_none())) {
      throw DeviceError(
          "start, rounds: expected None on a GPU, whose kernel starts from zero; code on the CPU");
    }
    std::optional<TensorArg> start_arg, rounds_arg;
    if (!start.is_none()) {
      start_arg.emplace(call, "start", start);
      problem.start = start_arg->view<const T, 2>("[batch, atoms]");
      require_extent(*start_arg, 0, batch, "one row per signal");
      require_extent(*start_arg, 1, problem.dictionary.extent(1), "one code per atom");
      require_finite(*start_arg, problem.start);
    }
    if (!rounds.is_none()) {
      rounds_arg.emplace(call, "rounds", rounds);
      problem.rounds = rounds_arg->view<std::int32_t, 1>("[batch]");
      require_extent(*rounds_arg, 0, batch, "one count per signal");
    }
    call.run(problem);
  });
}

}  // namespace

void bind_lasso(py::module_& module) {
  module.def("lasso", &lasso, py::arg("signals"), py::arg("dictionary"), py::arg("index"), py::arg("penalty"),
             py::arg("gap_tolerance"), py::arg("max_sweeps"), py::arg("values"), py::arg("gap"),
             py::arg("place") = py::none(), py::arg("start") = py::none(), py::arg("rounds") = py::none());
}

}  // namespace srdfast
