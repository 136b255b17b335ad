// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <array>

#include "bindings/ops.hpp"
#include "bindings/tensor_arg.hpp"
#include "ops/colour/colour.hpp"

namespace srdfast {
namespace {

using Weights = std::array<std::array<float, 3>, 3>;
using Offsets = std::array<float, 3>;

ColourMap map_of(const Weights& weights, const Offsets& offsets) {
  ColourMap map;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) map.weights[i][j] = weights[i][j];
    map.offsets[i] = offsets[i];
  }
  return map;
}

// Raises ValueError unless three planes have the size of the pixels.
template <class Pixel>
void require_sizes(const TensorArg& pixels, const View<Pixel, 3>& view, const TensorArg* const (&planes)[3]) {
  require_extent(pixels, 2, 3, "channels");
  for (const TensorArg* plane : planes) {
    require_extent(*plane, 0, view.extent(0), "as pixels");
    require_extent(*plane, 1, view.extent(1), "as pixels");
  }
}

void pixels_to_planes(const py::object& pixels, const Weights& weights, const Offsets& offsets,
                      const std::array<py::object, 3>& planes) {
  const Call call{py::none()};  // frames lie in CPU memory
  const TensorArg pixels_arg(call, "pixels", pixels), first(call, "first", planes[0]),
      second(call, "second", planes[1]), third(call, "third", planes[2]);
  const TensorArg* const args[3] = {&first, &second, &third};
  PixelsToPlanesProblem problem;
  problem.pixels = pixels_arg.view<const std::uint8_t, 3>("[height, width, 3]");
  problem.map = map_of(weights, offsets);
  for (int i = 0; i < 3; ++i) problem.planes[i] = args[i]->view<std::uint8_t, 2>("[height, width]");
  require_sizes(pixels_arg, problem.pixels, args);
  call.run(problem);
}

void planes_to_pixels(const std::array<py::object, 3>& planes, const Weights& weights, const Offsets& offsets,
                      const py::object& pixels) {
  const Call call{py::none()};  // frames lie in CPU memory
  const TensorArg pixels_arg(call, "pixels", pixels), first(call, "first", planes[0]),
      second(call, "second", planes[1]), third(call, "third", planes[2]);
  const TensorArg* const args[3] = {&first, &second, &third};
  PlanesToPixelsProblem problem;
  problem.pixels = pixels_arg.view<std::uint8_t, 3>("[height, width, 3]");
  problem.map = map_of(weights, offsets);
  for (int i = 0; i < 3; ++i) problem.planes[i] = args[i]->view<const std::uint8_t, 2>("[height, width]");
  require_sizes(pixels_arg, problem.pixels, args);
  call.run(problem);
}

}  // namespace

void bind_colour(py::module_& module) {
  module.def("pixels_to_planes", &pixels_to_planes, py::arg("pixels"), py::arg("weights"), py::arg("offsets"),
             py::arg("planes"));
  module.def("planes_to_pixels", &planes_to_pixels, py::arg("planes"), py::arg("weights"), py::arg("offsets"),
             py::arg("pixels"));
}

}  // namespace srdfast
