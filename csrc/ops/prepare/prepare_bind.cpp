// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/dictionary_arg.hpp"
#include "bindings/ops.hpp"
#include "ops/prepare/prepare.hpp"

namespace srdfast {
namespace {

// The view of what is kept of an array: a copy on the CPU; on a GPU the array, of which the caller made a
// copy.
template <class T, int Rank>
View<const T, Rank> kept(const View<const T, Rank>& view, const py::object& array, const Call& call,
                         std::vector<T>& storage, std::vector<py::object>& memory) {
  if (call.on_cuda()) {
    memory.push_back(array);
    return view;
  }
  storage.assign(view.data, view.data + view.size());
  View<const T, Rank> copy = view;
  copy.data = storage.data();
  return copy;
}

// On a GPU the tables are the workspace of the call that makes them.
template <class T>
void make_tables(const Call& call, PreparedArrays<T>& arrays) {
  const PrepareProblem<T> problem{arrays.dictionary, arrays.analysis, &arrays.tables};
  if (!call.on_cuda()) return call.run(problem);
  const py::object tables = call.allocate(cuda_workspace(problem, call.device()));
  call.run_in(tables, problem);
  arrays.tables = std::make_unique<CudaTables>(call.address(tables));
  arrays.memory.push_back(tables);
}

std::unique_ptr<PreparedDictionary> prepare(const py::object& dictionary, const py::object& analysis,
                                            const py::object& thresholds, const py::object& place) {
  const Call call(place);
  const TensorArg dictionary_arg(call, "dictionary", dictionary);
  auto result = std::make_unique<PreparedDictionary>();
  result->memory_type = dictionary_arg.memory_type();
  result->memory_id = dictionary_arg.memory_id();
  dispatch_float(dictionary_arg, [&](auto zero) {
    using T = decltype(zero);
    const auto view = dictionary_arg.view<const T, 3>("[dictionaries, atoms, features]");
    auto& arrays = result->arrays.emplace<PreparedArrays<T>>();
    const auto keep = [&](const auto& part, const py::object& array, int place_of) {
      return kept(part, array, call, arrays.storage[place_of], arrays.memory);
    };
    arrays.dictionary = keep(dictionary_view<T>(dictionary_arg, view.extent(2)), dictionary, 0);
    if (!analysis.is_none()) {
      const TensorArg analysis_arg(call, "analysis", analysis),
          thresholds_arg(call, "thresholds", thresholds);
      const auto analysis_view = dictionary_view<T>(analysis_arg, view.extent(2));
      require_same_shape(analysis_arg, view, "as dictionary");
      arrays.analysis = keep(analysis_view, analysis, 1);
      arrays.thresholds = keep(thresholds_view(thresholds_arg, view), thresholds, 2);
    }
    make_tables(call, arrays);
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
  module.def("prepare", &prepare, py::arg("dictionary"), py::arg("analysis"), py::arg("thresholds"),
             py::arg("place") = py::none());
}

}  // namespace srdfast
