// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/dictionary_arg.hpp"
#include "bindings/ops.hpp"
#include "ops/prepare/prepare.hpp"

namespace srdfast {
namespace {

template <class T, int Rank>
View<const T, Rank> kept(const View<const T, Rank>& view, std::vector<T>& storage) {
  storage.assign(view.data, view.data + view.size());
  View<const T, Rank> copy = view;
  copy.data = storage.data();
  return copy;
}

std::unique_ptr<PreparedDictionary> prepare(const py::object& dictionary, const py::object& analysis,
                                            const py::object& thresholds) {
  const TensorArg dictionary_arg("dictionary", dictionary);
  auto result = std::make_unique<PreparedDictionary>();
  dispatch_float(dictionary_arg, [&](auto zero) {
    using T = decltype(zero);
    const auto view = dictionary_arg.view<const T, 3>("[dictionaries, atoms, features]");
    auto& arrays = result->arrays.emplace<PreparedArrays<T>>();
    arrays.dictionary = kept(dictionary_view<T>(dictionary_arg, view.extent(2)), arrays.storage[0]);
    if (!analysis.is_none()) {
      const TensorArg analysis_arg("analysis", analysis), thresholds_arg("thresholds", thresholds);
      const auto analysis_view = dictionary_view<T>(analysis_arg, view.extent(2));
      require_same_shape(analysis_arg, view, "as dictionary");
      arrays.analysis = kept(analysis_view, arrays.storage[1]);
      arrays.thresholds = kept(thresholds_view(thresholds_arg, view), arrays.storage[2]);
    }
    PrepareProblem<T> problem{arrays.dictionary, arrays.analysis, &arrays.tables};
    const py::gil_scoped_release release;
    run_kernel(problem);
  });
  return result;
}

py::tuple shape(const PreparedDictionary& prepared) {
  return std::visit(
      [](const auto& arrays) {
        return py::make_tuple(arrays.dictionary.extent(0), arrays.dictionary.extent(1),
                              arrays.dictionary.extent(2));
      },
      prepared.arrays);
}

std::string dtype(const PreparedDictionary& prepared) {
  return prepared.arrays.index() == 0 ? DTypeName<float>::value : DTypeName<double>::value;
}

}  // namespace

void bind_prepare(py::module_& module) {
  py::class_<PreparedDictionary>(
      module, "Prepared", "Dictionaries with what the coders compute of them once; see srdfast.prepare.")
      .def_property_readonly("shape", &shape, "(dictionaries, atoms, features)")
      .def_property_readonly("dtype", &dtype, "float32 or float64")
      .def_property_readonly("ndim", [](const PreparedDictionary&) { return 3; });
  module.def("prepare", &prepare, py::arg("dictionary"), py::arg("analysis"), py::arg("thresholds"));
}

}  // namespace srdfast
