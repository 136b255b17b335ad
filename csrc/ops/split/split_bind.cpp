// SPDX-License-Identifier: Apache-2.0
#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/split/split.hpp"

namespace srdfast {
namespace {

void split(const py::object& images, double strength, const py::object& low, const py::object& high) {
    const TensorArg images_arg("images", images), low_arg("low", low), high_arg("high", high);
    require_setting(std::isfinite(strength) && strength >= 0, "strength", "a finite number of at least 0", strength);
    dispatch_float(images_arg, [&](auto zero) {
        using T = decltype(zero);
        SplitProblem<T> problem;
        problem.images = images_arg.view<const T, 3>("[planes, height, width]");
        problem.low = low_arg.view<T, 3>("[planes, height, width]");
        problem.high = high_arg.view<T, 3>("[planes, height, width]");
        problem.strength = strength;
        for (int axis = 0; axis < 3; ++axis) {
            require_extent(low_arg, axis, problem.images.extent(axis), "as images");
            require_extent(high_arg, axis, problem.images.extent(axis), "as images");
        }
        if (problem.images.extent(1) > (1 << 14) || problem.images.extent(2) > (1 << 14)) {
            expected("images", "at most 16384 pixels a side", "shape " + images_arg.shape());
        }
        require_finite(images_arg, problem.images);
        if (problem.images.size() == 0) return;
        const py::gil_scoped_release release;
        run_kernel(problem);
    });
}

}  // namespace

void bind_split(py::module_& module) {
    module.def("split", &split, py::arg("images"), py::arg("strength"), py::arg("low"), py::arg("high"));
}

}  // namespace srdfast
