// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/split/split.hpp"

namespace srdfast {
namespace {

// Every channel of every image is a plane of its own.
template <class T>
View<T, 3> planes(const View<T, 4>& images) {
  return {images.data, {images.extent(0) * images.extent(1), images.extent(2), images.extent(3)}};
}

void split(const py::object& images, double strength, const py::object& low, const py::object& high,
           const py::object& place) {
  const Call call(place);
  const TensorArg images_arg(call, "images", images), low_arg(call, "low", low), high_arg(call, "high", high);
  require_setting(strength >= 0 && strength <= 1e9, "strength", "a number from 0 to 1e9", strength);
  dispatch_float(images_arg, [&](auto zero) {
    using T = decltype(zero);
    SplitProblem<T> problem;
    const auto in = images_arg.view<const T, 4>("[batch, channels, height, width]");
    problem.images = planes(in);
    problem.low = planes(low_arg.view<T, 4>("[batch, channels, height, width]"));
    problem.high = planes(high_arg.view<T, 4>("[batch, channels, height, width]"));
    problem.strength = strength;
    for (int axis = 0; axis < 4; ++axis) {
      require_extent(low_arg, axis, in.extent(axis), "as images");
      require_extent(high_arg, axis, in.extent(axis), "as images");
    }
    if (in.extent(2) > (1 << 14) || in.extent(3) > (1 << 14)) {
      expected("images", "at most 16384 pixels a side", "shape " + images_arg.shape());
    }
    require_finite(images_arg, in);
    if (problem.images.size() == 0) return;
    call.run(problem);
  });
}

}  // namespace

void bind_split(py::module_& module) {
  module.def("split", &split, py::arg("images"), py::arg("strength"), py::arg("low"), py::arg("high"),
             py::arg("place") = py::none());
}

}  // namespace srdfast
