// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "bindings/patch_args.hpp"
#include "ops/purify/purify.hpp"

namespace srdfast {
namespace {

template <class DictionaryView>
using ElementOf = std::remove_const_t<std::remove_pointer_t<decltype(std::declval<DictionaryView>().data)>>;

// The arguments that do not depend on the coder.
struct PurifyArgs {
  PurifyArgs(const py::object& images, const py::object& dictionary, const py::object& index, int patch,
             int stride, const py::object& purified, const py::object& place)
      : call(place),
        images(call, "images", images),
        purified(call, "purified", purified),
        dictionary(call, "dictionary", dictionary),
        index(index),
        patch(patch),
        stride(stride) {}

  // make_coding(dictionary, prepared) returns the coding for dictionaries of this dtype; `prepared` is null
  // unless they were prepared. `learned` tells whether the coder is LISTA.
  template <class MakeCoding>
  void run(bool learned, const MakeCoding& make_coding) const {
    dispatch_float(images, [&](auto zero) {
      using T = decltype(zero);
      const auto image_view = images.view<const T, 4>("[batch, channels, height, width]");
      require_patches_fit(image_view, patch, stride);
      const auto dictionary_of_patches = dictionary.view<T>(image_view.extent(1) * patch * patch);
      const PreparedArrays<T>* prepared = dictionary.prepared<T>(learned);
      const auto coding = make_coding(dictionary_of_patches, prepared);
      PurifyProblem<T, std::remove_const_t<decltype(coding)>> problem;
      problem.images = image_view;
      problem.dictionary = dictionary_of_patches;
      problem.coding = coding;
      if (prepared != nullptr) problem.prepared = prepared->tables.get();
      problem.patch = patch;
      problem.stride = stride;
      const IndexArg index_arg(call, index, image_view.extent(0), problem.dictionary.extent(0));
      problem.index = index_arg.view();
      problem.purified = purified.view<T, 4>("[batch, channels, height, width]");
      for (int axis = 0; axis < 4; ++axis)
        require_extent(purified, axis, image_view.extent(axis), "as images");
      require_finite(images, image_view);
      if (image_view.size() == 0) return;
      call.run(problem);
    });
  }

  Call call;
  TensorArg images, purified;
  DictionaryArg dictionary;
  py::object index;
  int patch, stride;
};

void purify_omp(const py::object& images, const py::object& dictionary, const py::object& index, int patch,
                int stride, int max_atoms, double tolerance, bool residual_selection,
                const py::object& purified, const py::object& place) {
  const PurifyArgs args(images, dictionary, index, patch, stride, purified, place);
  args.run(false, [&](const auto& view, const auto*) {
    using T = ElementOf<decltype(view)>;
    return OmpCoding<T>{omp_settings<T>(max_atoms, tolerance, residual_selection)};
  });
}

void purify_lasso(const py::object& images, const py::object& dictionary, const py::object& index, int patch,
                  int stride, double penalty, double gap_tolerance, int max_sweeps,
                  const py::object& purified, const py::object& place) {
  const PurifyArgs args(images, dictionary, index, patch, stride, purified, place);
  args.run(false, [&](const auto& view, const auto*) {
    using T = ElementOf<decltype(view)>;
    return LassoCoding<T>{lasso_settings<T>(penalty, gap_tolerance, max_sweeps)};
  });
}

void purify_lista(const py::object& images, const py::object& dictionary, const py::object& index, int patch,
                  int stride, const py::object& analysis, const py::object& thresholds, int steps,
                  const py::object& purified, const py::object& place) {
  const PurifyArgs args(images, dictionary, index, patch, stride, purified, place);
  args.run(true, [&](const auto& view, const auto* prepared) {
    using T = ElementOf<decltype(view)>;
    require_steps(steps);
    if (prepared != nullptr) return ListaCoding<T>{prepared->analysis, prepared->thresholds, steps};
    const TensorArg analysis_arg(args.call, "analysis", analysis);
    const TensorArg thresholds_arg(args.call, "thresholds", thresholds);
    const auto analysis_view = dictionary_view<T>(analysis_arg, view.extent(2));
    require_same_shape(analysis_arg, view, "as dictionary");
    return ListaCoding<T>{analysis_view, thresholds_view(thresholds_arg, view), steps};
  });
}

}  // namespace

void bind_purify(py::module_& module) {
  module.def("purify_omp", &purify_omp, py::arg("images"), py::arg("dictionary"), py::arg("index"),
             py::arg("patch"), py::arg("stride"), py::arg("max_atoms"), py::arg("tolerance"),
             py::arg("residual_selection"), py::arg("purified"), py::arg("place") = py::none());
  module.def("purify_lasso", &purify_lasso, py::arg("images"), py::arg("dictionary"), py::arg("index"),
             py::arg("patch"), py::arg("stride"), py::arg("penalty"), py::arg("gap_tolerance"),
             py::arg("max_sweeps"), py::arg("purified"), py::arg("place") = py::none());
  module.def("purify_lista", &purify_lista, py::arg("images"), py::arg("dictionary"), py::arg("index"),
             py::arg("patch"), py::arg("stride"), py::arg("analysis"), py::arg("thresholds"),
             py::arg("steps"), py::arg("purified"), py::arg("place") = py::none());
}

}  // namespace srdfast
