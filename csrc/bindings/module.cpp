// SPDX-License-Identifier: Apache-2.0
// The extension module srdfast._core.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/call.hpp"
#include "bindings/ops.hpp"
#include "bindings/tensor_arg.hpp"
#include "core/cpu_level.hpp"
#include "core/errors.hpp"
#include "core/parallel.hpp"
#include "cuda/runtime.hpp"

namespace {

namespace py = pybind11;

void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const srdfast::DeviceError& device_error) {
    const py::object type = py::module_::import("srdfast.errors").attr("DeviceError");
    PyErr_SetString(type.ptr(), device_error.what());
  }
}

py::dict cuda_info() {
  const srdfast::cuda::RuntimeInfo info = srdfast::cuda::runtime_info();
  py::list devices;
  for (const auto& device : info.devices) {
    py::dict entry;
    entry["name"] = device.name;
    entry["capability"] = device.capability;
    entry["multiprocessors"] = device.multiprocessors;
    entry["memory"] = device.memory;
    devices.append(entry);
  }
  py::dict result;
  result["built"] = info.built;
  result["toolkit"] = info.toolkit;
  result["architectures"] = info.architectures;
  result["driver"] = info.driver;
  result["why_none"] = info.why_none;
  result["devices"] = devices;
  return result;
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "Native kernels of srdfast: arrays in by DLPack, results into arrays the caller owns.";
  py::register_exception_translator(translate);
  module.def("set_num_threads", &srdfast::set_num_threads, py::arg("count"));
  module.def("get_num_threads", &srdfast::num_threads);
  module.def("cpu_level", [] { return srdfast::cpu_level(); });
  module.def("available_cpu_levels", &srdfast::available_cpu_levels);
  module.def("cuda_info", &cuda_info);
  module.def("is_capturing", [](int device, std::uintptr_t stream) {
    return srdfast::cuda::is_capturing(device, reinterpret_cast<void*>(stream));
  });
  module.def("require_not_forked", &srdfast::require_not_forked);
  module.attr("cuda_built") = srdfast::cuda::built();
  module.attr("compiler") = SRDFAST_COMPILER;
  module.attr("version") = SRDFAST_VERSION;
  srdfast::bind_ops(module);
}
