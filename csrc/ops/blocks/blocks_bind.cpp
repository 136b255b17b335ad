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

void require_room(const char* name, std::int64_t first, std::int64_t side,
                  const View<const float, 3>& images) {
  if (first < 0 || side < 0 || first > images.extent(1) - side || first > images.extent(2) - side) {
    expected(name, "an offset at which a block lies in the images", std::to_string(first));
  }
}

void cut_windows(const py::object& plane, const py::object& places, double scale, const py::object& windows) {
  const Call call{py::none()};  // frames lie in CPU memory
  const TensorArg plane_arg(call, "plane", plane), places_arg(call, "places", places),
      windows_arg(call, "windows", windows);
  dispatch_codes(plane_arg, [&](auto zero) {
    using Code = decltype(zero);
    CutProblem<Code> problem;
    problem.plane = plane_arg.view<const Code, 2>("[height, width]");
    problem.places = places_arg.view<const std::int64_t, 2>("[windows, 2]");
    problem.windows = windows_arg.view<float, 3>("[windows, height, width]");
    problem.scale = static_cast<float>(scale);
    require_extent(places_arg, 0, problem.windows.extent(0), "as windows");
    require_extent(places_arg, 1, 2, "row and column");
    require_inside(places_arg, problem.places, problem.plane, problem.windows.extent(1),
                   problem.windows.extent(2));
    call.run(problem);
  });
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

void cut_centres(const py::object& images, std::int64_t first, const py::object& centres) {
  const Call call{py::none()};  // frames lie in CPU memory
  const TensorArg images_arg(call, "images", images), centres_arg(call, "centres", centres);
  CentresProblem problem;
  problem.images = images_arg.view<const float, 3>("[batch, height, width]");
  problem.centres = centres_arg.view<float, 3>("[batch, height, width]");
  problem.first = first;
  require_extent(centres_arg, 0, problem.images.extent(0), "as images");
  require_extent(centres_arg, 2, problem.centres.extent(1), "as high as wide");
  require_room("first", first, problem.centres.extent(1), problem.images);
  const py::gil_scoped_release release;
  run_kernel(problem);
}

void join_blocks(const py::object& low, std::int64_t in_low, const py::object& rebuilt,
                 std::int64_t in_rebuilt, const py::object& places, std::int64_t side, double span,
                 double most, const py::object& plane) {
  const Call call{py::none()};  // frames lie in CPU memory
  const TensorArg low_arg(call, "low", low), rebuilt_arg(call, "rebuilt", rebuilt),
      places_arg(call, "places", places), plane_arg(call, "plane", plane);
  dispatch_codes(plane_arg, [&](auto zero) {
    using Code = decltype(zero);
    JoinProblem<Code> problem;
    problem.low = low_arg.view<const float, 3>("[blocks, height, width]");
    problem.rebuilt = rebuilt_arg.view<const float, 3>("[blocks, height, width]");
    problem.places = places_arg.view<const std::int64_t, 2>("[blocks, 2]");
    problem.plane = plane_arg.view<Code, 2>("[height, width]");
    problem.side = side;
    problem.in_low = in_low;
    problem.in_rebuilt = in_rebuilt;
    problem.span = static_cast<float>(span);
    problem.most = static_cast<float>(most);
    require_extent(rebuilt_arg, 0, problem.low.extent(0), "as low");
    require_extent(places_arg, 0, problem.low.extent(0), "as low");
    require_extent(places_arg, 1, 2, "row and column");
    require_room("in_low", in_low, side, problem.low);
    require_room("in_rebuilt", in_rebuilt, side, problem.rebuilt);
    require_inside(places_arg, problem.places, problem.plane, side, side);
    if (!(most >= 0 && most <= static_cast<double>(static_cast<Code>(-1)))) {
      expected("most", "a code of the plane", std::to_string(most));
    }
    call.run(problem);
  });
}

}  // namespace

void bind_blocks(py::module_& module) {
  module.def("cut_windows", &cut_windows, py::arg("plane"), py::arg("places"), py::arg("scale"),
             py::arg("windows"));
  module.def("refresh_windows", &refresh_windows, py::arg("plane"), py::arg("places"), py::arg("tolerance"),
             py::arg("references"), py::arg("changed"));
  module.def("cut_centres", &cut_centres, py::arg("images"), py::arg("first"), py::arg("centres"));
  module.def("join_blocks", &join_blocks, py::arg("low"), py::arg("in_low"), py::arg("rebuilt"),
             py::arg("in_rebuilt"), py::arg("places"), py::arg("side"), py::arg("span"), py::arg("most"),
             py::arg("plane"));
}

}  // namespace srdfast
