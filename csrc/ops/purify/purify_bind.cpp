// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "bindings/patch_args.hpp"
#include "ops/purify/purify.hpp"

namespace srdfast {
namespace {

// The arguments that do not depend on the coder.
struct PurifyArgs {
  PurifyArgs(const py::object& images, const py::object& dictionary, const py::object& index, int patch,
             int stride, const py::object& purified)
      : images("images", images),
        dictionary("dictionary", dictionary),
        purified("purified", purified),
        index(index),
        patch(patch),
        stride(stride) {}

  // make_coding(zero, problem) returns the coding of an image batch in this dtype.
  template <class MakeCoding>
  void run(const MakeCoding& make_coding) const {
    dispatch_float(images, [&](auto zero) {
      using T = decltype(zero);
      const auto image_view = images.view<const T, 4>("[batch, channels, height, width]");
      require_patches_fit(image_view, patch, stride);
      const auto dictionary_of_patches = dictionary_view<T>(dictionary, image_view.extent(1) * patch * patch);
      const auto coding = make_coding(zero, dictionary_of_patches);
      PurifyProblem<T, std::remove_const_t<decltype(coding)>> problem;
      problem.images = image_view;
      problem.dictionary = dictionary_of_patches;
      problem.coding = coding;
      problem.patch = patch;
      problem.stride = stride;
      const IndexArg index_arg(index, image_view.extent(0), problem.dictionary.extent(0));
      problem.index = index_arg.view();
      problem.purified = purified.view<T, 4>("[batch, channels, height, width]");
      for (int axis = 0; axis < 4; ++axis)
        require_extent(purified, axis, image_view.extent(axis), "as images");
      require_finite(images, image_view);
      if (image_view.size() == 0) return;
      const py::gil_scoped_release release;
      run_kernel(problem);
    });
  }

  TensorArg images, dictionary, purified;
  py::object index;
  int patch, stride;
};

void purify_omp(const py::object& images, const py::object& dictionary, const py::object& index, int patch,
                int stride, int max_atoms, double tolerance, bool residual_selection,
                const py::object& purified) {
  PurifyArgs(images, dictionary, index, patch, stride, purified).run([&](auto zero, const auto&) {
    using T = decltype(zero);
    return OmpCoding<T>{omp_settings<T>(max_atoms, tolerance, residual_selection)};
  });
}

void purify_lasso(const py::object& images, const py::object& dictionary, const py::object& index, int patch,
                  int stride, double penalty, double gap_tolerance, int max_sweeps,
                  const py::object& purified) {
  PurifyArgs(images, dictionary, index, patch, stride, purified).run([&](auto zero, const auto&) {
    using T = decltype(zero);
    return LassoCoding<T>{lasso_settings<T>(penalty, gap_tolerance, max_sweeps)};
  });
}

void purify_lista(const py::object& images, const py::object& dictionary, const py::object& index, int patch,
                  int stride, const py::object& analysis, const py::object& thresholds, int steps,
                  const py::object& purified) {
  const TensorArg analysis_arg("analysis", analysis), thresholds_arg("thresholds", thresholds);
  PurifyArgs(images, dictionary, index, patch, stride, purified).run([&](auto zero, const auto& synthesis) {
    using T = decltype(zero);
    ListaCoding<T> coding;
    coding.analysis = dictionary_view<T>(analysis_arg, synthesis.extent(2));
    require_same_shape(analysis_arg, synthesis, "as dictionary");
    coding.thresholds = thresholds_view(thresholds_arg, synthesis);
    require_steps(steps);
    coding.steps = steps;
    return coding;
  });
}

}  // namespace

void bind_purify(py::module_& module) {
  module.def("purify_omp", &purify_omp, py::arg("images"), py::arg("dictionary"), py::arg("index"),
             py::arg("patch"), py::arg("stride"), py::arg("max_atoms"), py::arg("tolerance"),
             py::arg("residual_selection"), py::arg("purified"));
  module.def("purify_lasso", &purify_lasso, py::arg("images"), py::arg("dictionary"), py::arg("index"),
             py::arg("patch"), py::arg("stride"), py::arg("penalty"), py::arg("gap_tolerance"),
             py::arg("max_sweeps"), py::arg("purified"));
  module.def("purify_lista", &purify_lista, py::arg("images"), py::arg("dictionary"), py::arg("index"),
             py::arg("patch"), py::arg("stride"), py::arg("analysis"), py::arg("thresholds"),
             py::arg("steps"), py::arg("purified"));
}

}  // namespace srdfast
