// SPDX-License-Identifier: Apache-2.0
#include "bindings/ops.hpp"
#include "bindings/tensor_arg.hpp"
#include "ops/assign/assign.hpp"

namespace srdfast {
namespace {

// A row of numbers, [1, length] to the check for NaN and infinity.
template <class T>
void require_finite_row(const TensorArg& arg, const View<const T, 1>& row) {
  require_finite(arg, View<const T, 2>{row.data, {1, row.extent(0)}});
}

// The Gaussians, which the latents must fit.
template <class T>
void take_clusters(const TensorArg& centre_arg, const TensorArg& scales_arg, const TensorArg& shifts_arg,
                   const TensorArg& offsets_arg, AssignProblem<T>& problem) {
  const std::int64_t latent = problem.latents.extent(1);
  problem.centre = centre_arg.view<const T, 1>("[latent]");
  problem.scales = scales_arg.view<const T, 2>("[latent, clusters]");
  problem.shifts = shifts_arg.view<const T, 2>("[latent, clusters]");
  problem.offsets = offsets_arg.view<const T, 1>("[clusters]");
  const std::int64_t clusters = problem.offsets.extent(0);
  if (clusters < 1 || clusters > (1 << 24)) {
    expected("offsets", "from 1 to 2^24 clusters", "shape " + offsets_arg.shape());
  }
  require_extent(centre_arg, 0, latent, "features of the latents");
  for (const TensorArg* arg : {&scales_arg, &shifts_arg}) {
    require_extent(*arg, 0, latent, "features of the latents");
    require_extent(*arg, 1, clusters, "clusters, as offsets");
  }
  require_finite_row(centre_arg, problem.centre);
  require_finite(scales_arg, problem.scales);
  require_finite(shifts_arg, problem.shifts);
  require_finite_row(offsets_arg, problem.offsets);
}

void assign(const py::object& latents, const py::object& centre, const py::object& scales,
            const py::object& shifts, const py::object& offsets, const py::object& index,
            const py::object& log_likelihood, const py::object& margin, const py::object& place) {
  const Call call(place);
  const TensorArg latents_arg(call, "latents", latents), centre_arg(call, "centre", centre);
  const TensorArg scales_arg(call, "scales", scales), shifts_arg(call, "shifts", shifts),
      offsets_arg(call, "offsets", offsets);
  const TensorArg index_arg(call, "index", index), margin_arg(call, "margin", margin);
  const TensorArg likelihood_arg(call, "log_likelihood", log_likelihood);
  dispatch_float(latents_arg, [&](auto zero) {
    using T = decltype(zero);
    AssignProblem<T> problem;
    problem.latents = latents_arg.view<const T, 2>("[batch, latent]");
    take_clusters(centre_arg, scales_arg, shifts_arg, offsets_arg, problem);
    problem.index = index_arg.view<std::int32_t, 1>("[batch]");
    problem.log_likelihood = likelihood_arg.view<T, 1>("[batch]");
    problem.margin = margin_arg.view<T, 1>("[batch]");
    for (const TensorArg* output : {&index_arg, &likelihood_arg, &margin_arg}) {
      require_extent(*output, 0, problem.latents.extent(0), "one a latent");
    }
    require_finite(latents_arg, problem.latents);
    call.run(problem);
  });
}

}  // namespace

void bind_assign(py::module_& module) {
  module.def("assign", &assign, py::arg("latents"), py::arg("centre"), py::arg("scales"), py::arg("shifts"),
             py::arg("offsets"), py::arg("index"), py::arg("log_likelihood"), py::arg("margin"),
             py::arg("place") = py::none());
}

}  // namespace srdfast
