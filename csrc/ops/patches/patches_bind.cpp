// SPDX-License-Identifier: Apache-2.0
#include "bindings/ops.hpp"
#include "bindings/patch_args.hpp"

namespace srdfast {
namespace {

template <class Image>
void require_patch_shape(const TensorArg& patches_arg, const View<Image, 4>& images, int patch, int stride) {
  const PatchGrid grid = PatchGrid::of(images, patch, stride);
  require_extent(patches_arg, 0, images.extent(0), "one image each");
  require_extent(patches_arg, 1, static_cast<std::int64_t>(grid.rows.count()) * grid.columns.count(),
                 "patches of an image");
  require_extent(patches_arg, 2, grid.features(), "channels * patch * patch");
}

void extract_patches(const py::object& images, int patch, int stride, const py::object& patches,
                     const py::object& place) {
  const Call call(place);
  const TensorArg images_arg(call, "images", images), patches_arg(call, "patches", patches);
  dispatch_float(images_arg, [&](auto zero) {
    using T = decltype(zero);
    ExtractProblem<T> problem;
    problem.images = images_arg.view<const T, 4>("[batch, channels, height, width]");
    problem.patches = patches_arg.view<T, 3>("[batch, rows * columns, features]");
    problem.patch = patch;
    problem.stride = stride;
    require_patches_fit(problem.images, patch, stride);
    require_patch_shape(patches_arg, problem.images, patch, stride);
    call.run(problem);
  });
}

void average_patches(const py::object& patches, int patch, int stride, const py::object& images,
                     const py::object& place) {
  const Call call(place);
  const TensorArg patches_arg(call, "patches", patches), images_arg(call, "images", images);
  dispatch_float(patches_arg, [&](auto zero) {
    using T = decltype(zero);
    AverageProblem<T> problem;
    problem.patches = patches_arg.view<const T, 3>("[batch, rows * columns, features]");
    problem.images = images_arg.view<T, 4>("[batch, channels, height, width]");
    problem.patch = patch;
    problem.stride = stride;
    require_patches_fit(problem.images, patch, stride);
    require_patch_shape(patches_arg, problem.images, patch, stride);
    call.run(problem);
  });
}

}  // namespace

void bind_patches(py::module_& module) {
  module.def("extract_patches", &extract_patches, py::arg("images"), py::arg("patch"), py::arg("stride"),
             py::arg("patches"), py::arg("place") = py::none());
  module.def("average_patches", &average_patches, py::arg("patches"), py::arg("patch"), py::arg("stride"),
             py::arg("images"), py::arg("place") = py::none());
}

}  // namespace srdfast
