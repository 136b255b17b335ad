// SPDX-License-Identifier: Apache-2.0
// Where the arrays of one Python call lie and its kernels run: the CPU, or one GPU and the caller's stream on
// it.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "bindings/dlpack_abi.hpp"
#include "core/registry.hpp"

namespace srdfast {

namespace py = pybind11;

// Throws DeviceError in a process that was forked from one that had come here before: it inherits the memory
// of a GPU's context, but not the context.
void require_not_forked();

class Call {
 public:
  // `place` is None for the CPU, else a srdfast.arrays.CudaPlace; a forked process is refused.
  explicit Call(const py::object& place);

  bool on_cuda() const { return !place_.is_none(); }

  // Throws DeviceError "name: ..." unless memory of that kind and number is where the kernels run.
  void require_here(const char* name, std::int32_t memory_type, std::int32_t memory_id) const;

  int device() const { return device_; }

  // Bytes of the GPU's memory from the caller's library, which keeps them as long as the object lives.
  py::object allocate(std::int64_t bytes) const;

  // Runs the problem's kernel. On a GPU it is put on the stream, and the call returns before it has run.
  template <class Problem>
  void run(const Problem& problem) const {
    if (on_cuda()) {
      run_in(allocate(cuda_workspace(problem, device_)), problem);
    } else {
      const py::gil_scoped_release release;
      run_kernel(problem);
    }
  }

  // The same with a workspace that the caller keeps.
  template <class Problem>
  void run_in(const py::object& workspace, const Problem& problem) const {
    const CudaCall call{device_, stream_, address(workspace)};
    const py::gil_scoped_release release;
    run_cuda_kernel(problem, call);
  }

  // Where an object that `allocate` returned begins.
  void* address(const py::object& memory) const;

 private:
  py::object place_;
  int device_ = 0;
  void* stream_ = nullptr;
};

}  // namespace srdfast
