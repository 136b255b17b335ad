// SPDX-License-Identifier: Apache-2.0
#include "bindings/ops.hpp"
#include "bindings/tensor_arg.hpp"
#include "ops/blocks/blocks.hpp"

namespace srdfast {
namespace {

// Raises ValueError unless squares of height x width at these places lie in the plane.
template <class Code>
void require_inside(const TensorArg& arg, const View<const std::int64_t, 2>& places,
                    const View<Code, 2>& plane, std::int64_t height, std::int64_t width) {
  for (std::int64_t i = 0; i < places.extent(0); ++i) {
    const std::int64_t row = places.slice(i)[0], column = places.slice(i)[1];
    if (row < 0 || column < 0 || row > plane.extent(0) - height || column > plane.extent(1) - width) {
      expected(arg.name(), "rows and columns whose blocks lie in the plane",
               std::to_string(row) + ", " + std::to_string(column) + " in row " + std::to_string(i));
    }
  }
}

// Calls function(uint8_t{}) or function(uint16_t{}) by the dtype of `arg`.
template <class Function>
void dispatch_codes(const TensorArg& arg, const Function& function) {
  if (arg.dtype() == "uint8") return function(std::uint8_t{});
  if (arg.dtype() == "uint16") return function(std::uint16_t{});
  throw py::type_error(std::string(arg.name()) + ": expected uint8 or uint16, got " + arg.dtype());
}

void refresh_windows(const py::object& plane, const py::object& places, std::int32_t tolerance,
                     const py::object& references, const py::object& changed) {
  const Call call{py::none()};  // frames lie in CPU memory
  const TensorArg plane_arg(call, "plane", plane), places_arg(call, "places", places),
      references_arg(call, "references", references), changed_arg(call, "changed", changed);
  dispatch_codes(plane_arg, [&](auto zero) {
    using Code = decltype(zero);
    RefreshProblem<Code> problem;
    problem.plane = plane_arg.view<const Code, 2>("[height, width]");
    problem.places = places_arg.view<const std::int64_t, 2>("[windows, 2]");
    problem.references = references_arg.view<Code, 3>("[windows, height, width]");
    problem.changed = changed_arg.view<std::uint8_t, 1>("[windows]");
    problem.tolerance = tolerance;
    require_extent(places_arg, 0, problem.references.extent(0), "as references");
    require_extent(places_arg, 1, 2, "row and column");
    require_extent(changed_arg, 0, problem.references.extent(0), "as references");
    require_inside(places_arg, problem.places, problem.plane, problem.references.extent(1),
                   problem.references.extent(2));
    call.run(problem);
  });
}

}  // namespace

void bind_blocks(py::module_& module) {
  module.def("refresh_windows", &refresh_windows, py::arg("plane"), py::arg("places"), py::arg("tolerance"),
             py::arg("references"), py::arg("changed"));
}

}  // namespace srdfast
