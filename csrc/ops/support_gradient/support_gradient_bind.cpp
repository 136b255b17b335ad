// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/support_gradient/support_gradient.hpp"

namespace srdfast {
namespace {

// Padded atoms [batch, most], from -1 up to the last atom.
View<const std::int32_t, 2> indices_view(const TensorArg& arg, std::int64_t atoms) {
  const auto view = arg.view<const std::int32_t, 2>("[batch, most]");
  if (arg.on_cuda()) return view;
  for (std::int64_t i = 0; i < view.size(); ++i) {
    if (view.data[i] >= -1 && view.data[i] < atoms) continue;
    expected(arg.name(), "atoms from 0 to " + std::to_string(atoms - 1) + ", or -1",
             std::to_string(view.data[i]) + " in entry " + std::to_string(i / view.extent(1)) +
                 " of the first axis");
  }
  return view;
}

template <class T>
void take_support(const TensorArg& arg, SupportGradientProblem<T>& problem) {
  const std::int64_t atoms = problem.dictionary.extent(1);
  problem.dense = arg.dtype() != "int32";
  if (!problem.dense) {
    problem.indices = indices_view(arg, atoms);
  } else {
    problem.codes = arg.view<const T, 2>("[batch, atoms]");
    require_extent(arg, 1, atoms, "one code per atom");
  }
  require_extent(arg, 0, problem.given.extent(0), "one row per signal");
}

// task: 0 gradients of codes, 1 gradients of reconstructions, 2 codes; `name` is what Python calls `given`.
void support_gradient(int task, const char* name, const py::object& given, const py::object& support,
                      const py::object& dictionary, const py::object& index, const py::object& result,
                      const py::object& place) {
  const Call call(place);
  const TensorArg given_arg(call, name, given), support_arg(call, "support", support);
  const DictionaryArg dictionary_arg(call, "dictionary", dictionary);
  const TensorArg result_arg(call, "result", result);
  dispatch_float(given_arg, [&](auto zero) {
    using T = decltype(zero);
    SupportGradientProblem<T> problem;
    problem.task = static_cast<SupportTask>(task);
    const bool of_codes = problem.task == SupportTask::of_codes, codes = problem.task == SupportTask::codes;
    problem.given = given_arg.view<const T, 2>(of_codes ? "that of support" : "[batch, features]");
    problem.result = result_arg.view<T, 2>(codes ? "that of support" : "[batch, features]");
    problem.dictionary = dictionary_arg.view<T>((codes ? given_arg : result_arg).extent(1));
    if (const auto* prepared = dictionary_arg.prepared<T>(false)) problem.prepared = prepared->tables.get();
    take_support(support_arg, problem);
    const std::int64_t batch = problem.given.extent(0), features = problem.dictionary.extent(2);
    const auto require_columns = [&](const TensorArg& arg, bool of_support) {
      require_extent(arg, 1, of_support ? problem.width() : features,
                     of_support ? "one value per entry of support" : "one value per feature");
    };
    require_columns(given_arg, of_codes);
    require_columns(result_arg, codes);
    const IndexArg index_arg(call, index, batch, problem.dictionary.extent(0));
    problem.index = index_arg.view();
    require_extent(result_arg, 0, batch, "one row per signal");
    call.run(problem);
  });
}

}  // namespace

void bind_support_gradient(py::module_& module) {
  module.def("support_gradient", &support_gradient, py::arg("task"), py::arg("name"), py::arg("given"),
             py::arg("support"), py::arg("dictionary"), py::arg("index"), py::arg("result"),
             py::arg("place") = py::none());
}

}  // namespace srdfast
