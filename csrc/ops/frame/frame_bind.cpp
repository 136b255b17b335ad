// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <array>
#include <optional>

#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/frame/frame.hpp"

namespace srdfast {
namespace {

void require(bool holds, const char* name, const char* wanted, std::int64_t got) {
  if (!holds) expected(name, wanted, std::to_string(got));
}

// A plane as Python gives it: (pixels, places, purified, (rows, columns, window rows, window columns, halo),
// span, most, (counts, atoms, values) or None).
class PlaneArg {
 public:
  PlaneArg(const Call& call, const py::tuple& parts)
      : pixels_(call, "pixels", part(parts, 0)),
        places_(call, "places", parts[1]),
        purified_(call, "purified", parts[2]),
        shape_(parts[3].cast<std::array<std::int64_t, 5>>()),
        span_(parts[4].cast<float>()),
        most_(parts[5].cast<float>()) {
    if (parts[6].is_none()) return;
    const auto kept = parts[6].cast<py::tuple>();
    counts_.emplace(call, "counts", part(kept, 0, 3));
    atoms_.emplace(call, "atoms", kept[1]);
    values_.emplace(call, "values", kept[2]);
  }

  std::string dtype() const { return pixels_.dtype(); }

  template <class Code>
  FramePlane<Code> plane(int patch, int stride) const {
    FramePlane<Code> plane;
    plane.pixels = pixels_.view<const Code, 2>("[height, width]");
    plane.places = places_.view<const std::int64_t, 2>("[blocks, 2]");
    plane.purified = purified_.view<Code, 2>("[height, width]");
    plane.shape = {shape_[0], shape_[1], shape_[2], shape_[3], shape_[4]};
    plane.span = span_;
    plane.most = most_;
    require_setting(span_ > 0, "span", "a number above 0", span_);
    require_setting(most_ >= 0 && most_ <= static_cast<float>(static_cast<Code>(-1)), "most",
                    "a code of the plane", most_);
    require_shape(plane.shape, patch, stride);
    require_extent(places_, 1, 2, "row and column");
    require_places(plane);
    if (counts_) plane.kept = kept(plane, patch, stride);
    return plane;
  }

 private:
  static py::object part(const py::tuple& parts, std::size_t at, std::size_t count = 7) {
    if (parts.size() != count) {
      expected("planes", "tuples of " + std::to_string(count) + " parts", std::to_string(parts.size()));
    }
    return parts[at];
  }

  static void require_shape(const BlockShape& shape, int patch, int stride) {
    constexpr std::int64_t kMost = 1 << 16;
    require(shape.rows > 0 && shape.rows < kMost && shape.rows % stride == 0, "rows",
            "a multiple of the stride", shape.rows);
    require(shape.columns > 0 && shape.columns < kMost && shape.columns % stride == 0, "columns",
            "a multiple of the stride", shape.columns);
    require(shape.halo >= (patch - 1) / stride * stride && shape.halo < kMost, "halo",
            "room for the patches before a block", shape.halo);
    const std::int64_t around = shape.halo + patch - stride;
    require(shape.window_rows >= shape.rows + around && shape.window_rows < kMost, "window_rows",
            "room for a block and the patches over it", shape.window_rows);
    require(shape.window_columns >= shape.columns + around && shape.window_columns < kMost, "window_columns",
            "room for a block and the patches over it", shape.window_columns);
  }

  template <class Code>
  void require_places(const FramePlane<Code>& plane) const {
    const BlockShape& shape = plane.shape;
    for (std::int64_t i = 0; i < plane.places.extent(0); ++i) {
      const std::int64_t row = plane.places.slice(i)[0], column = plane.places.slice(i)[1];
      if (row < 0 || column < 0 || row % shape.rows != 0 || column % shape.columns != 0 ||
          row > plane.pixels.extent(0) - shape.window_rows ||
          column > plane.pixels.extent(1) - shape.window_columns ||
          row > plane.purified.extent(0) - shape.rows || column > plane.purified.extent(1) - shape.columns) {
        expected("places", "rows and columns of whole blocks in the plane",
                 std::to_string(row) + ", " + std::to_string(column) + " in row " + std::to_string(i));
      }
    }
  }

  template <class Code>
  KeptCodes kept(const FramePlane<Code>& plane, int patch, int stride) const {
    const KeptCodes kept{counts_->view<std::uint8_t, 2>("[blocks, patches]"),
                         atoms_->view<std::uint16_t, 3>("[blocks, patches, most]"),
                         values_->view<float, 3>("[blocks, patches, most]")};
    const BlockShape& shape = plane.shape;
    const std::int64_t blocks =
        plane.purified.extent(0) / shape.rows * (plane.purified.extent(1) / shape.columns);
    const auto along = [&](std::int64_t side) { return side / stride + (patch - 1) / stride; };
    require_extent(*counts_, 0, blocks, "one row per block");
    require_extent(*counts_, 1, along(shape.rows) * along(shape.columns), "one count per patch of a block");
    for (int axis = 0; axis < 2; ++axis) {
      require_extent(*atoms_, axis, kept.counts.extent(axis), "as counts");
      require_extent(*values_, axis, kept.counts.extent(axis), "as counts");
    }
    require_extent(*values_, 2, kept.atoms.extent(2), "as atoms");
    require(kept.atoms.extent(2) <= 255, "atoms", "at most 255 a patch", kept.atoms.extent(2));
    for (std::int64_t i = 0; i < kept.counts.size(); ++i) {
      require(kept.counts.data[i] <= kept.atoms.extent(2), "counts", "no more than there is room for",
              kept.counts.data[i]);
    }
    return kept;
  }

  TensorArg pixels_, places_, purified_;
  std::array<std::int64_t, 5> shape_;
  float span_, most_;
  std::optional<TensorArg> counts_, atoms_, values_;
};

// make_coding(prepared) gives the coding; `learned` tells whether the coder is LISTA.
template <class MakeCoding>
void purify_frame(const py::list& planes, const py::object& dictionary, std::int64_t cluster, int patch,
                  int stride, double strength, bool learned, const MakeCoding& make_coding) {
  const Call call{py::none()};  // frames lie in CPU memory
  if (patch < 1 || patch > (1 << 10)) expected("patch", "from 1 to 1024", std::to_string(patch));
  if (stride < 1 || stride > patch) expected("stride", "from 1 to the patch size", std::to_string(stride));
  if (planes.empty() || planes.size() > kMostPlanes) {
    expected("planes", "1 to 3 planes", std::to_string(planes.size()));
  }
  const DictionaryArg dictionary_arg(call, "dictionary", dictionary);
  const PreparedArrays<float>* prepared = dictionary_arg.prepared<float>(learned);
  if (prepared == nullptr)
    throw py::type_error("dictionary: expected what srdfast.prepare made, got an array");
  std::optional<PlaneArg> args[kMostPlanes];
  for (std::size_t p = 0; p < planes.size(); ++p) args[p].emplace(call, planes[p].cast<py::tuple>());
  const auto run = [&](auto zero) {
    using Code = decltype(zero);
    const auto coding = make_coding(*prepared);
    FrameProblem<Code, std::remove_const_t<decltype(coding)>> problem{};
    problem.dictionary = dictionary_arg.view<float>(std::int64_t{patch} * patch);
    problem.cluster = cluster;
    require(cluster >= 0 && cluster < problem.dictionary.extent(0), "cluster", "one of the dictionaries",
            cluster);
    problem.prepared = prepared->tables.get();
    problem.coding = coding;
    problem.patch = patch;
    problem.stride = stride;
    problem.strength = strength;
    require_setting(strength >= 0 && strength <= 1e9, "strength", "a number from 0 to 1e9", strength);
    problem.plane_count = static_cast<int>(planes.size());
    for (int p = 0; p < problem.plane_count; ++p) {
      problem.planes[p] = args[p]->plane<Code>(patch, stride);
      if (problem.planes[p].kept.counts.data != nullptr && problem.dictionary.extent(1) > (1 << 16)) {
        expected("atoms", "at most 65536 atoms where codes are kept",
                 std::to_string(problem.dictionary.extent(1)));
      }
    }
    call.run(problem);
  };
  if (args[0]->dtype() == "uint8") return run(std::uint8_t{});
  if (args[0]->dtype() == "uint16") return run(std::uint16_t{});
  throw py::type_error("pixels: expected uint8 or uint16, got " + args[0]->dtype());
}

void purify_frame_omp(const py::list& planes, const py::object& dictionary, std::int64_t cluster, int patch,
                      int stride, double strength, int max_atoms, double tolerance, bool residual_selection) {
  purify_frame(planes, dictionary, cluster, patch, stride, strength, false, [&](const auto&) {
    return OmpCoding<float>{omp_settings<float>(max_atoms, tolerance, residual_selection)};
  });
}

void purify_frame_lasso(const py::list& planes, const py::object& dictionary, std::int64_t cluster, int patch,
                        int stride, double strength, double penalty, double gap_tolerance, int max_sweeps) {
  purify_frame(planes, dictionary, cluster, patch, stride, strength, false, [&](const auto&) {
    return LassoCoding<float>{lasso_settings<float>(penalty, gap_tolerance, max_sweeps)};
  });
}

void purify_frame_lista(const py::list& planes, const py::object& dictionary, std::int64_t cluster, int patch,
                        int stride, double strength, int steps) {
  require_steps(steps);
  purify_frame(planes, dictionary, cluster, patch, stride, strength, true, [&](const auto& prepared) {
    return ListaCoding<float>{prepared.analysis, prepared.thresholds, steps};
  });
}

}  // namespace

void bind_frame(py::module_& module) {
  module.def("purify_frame_omp", &purify_frame_omp, py::arg("planes"), py::arg("dictionary"),
             py::arg("cluster"), py::arg("patch"), py::arg("stride"), py::arg("strength"),
             py::arg("max_atoms"), py::arg("tolerance"), py::arg("residual_selection"));
  module.def("purify_frame_lasso", &purify_frame_lasso, py::arg("planes"), py::arg("dictionary"),
             py::arg("cluster"), py::arg("patch"), py::arg("stride"), py::arg("strength"), py::arg("penalty"),
             py::arg("gap_tolerance"), py::arg("max_sweeps"));
  module.def("purify_frame_lista", &purify_frame_lista, py::arg("planes"), py::arg("dictionary"),
             py::arg("cluster"), py::arg("patch"), py::arg("stride"), py::arg("strength"), py::arg("steps"));
}

}  // namespace srdfast
