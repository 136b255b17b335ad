// SPDX-License-Identifier: Apache-2.0
#include "bindings/call.hpp"

#include <unistd.h>

#include "bindings/tensor_arg.hpp"
#include "core/errors.hpp"
#include "cuda/runtime.hpp"

namespace srdfast {
namespace {

std::string memory_name(std::int32_t type, std::int32_t id) {
  if (type == dlpack::kCpu || type == dlpack::kCudaHost) return "CPU memory";
  if (type == dlpack::kCuda || type == dlpack::kCudaManaged) return "cuda:" + std::to_string(id);
  return "DLPack device type " + std::to_string(type);
}

}  // namespace

void require_not_forked() {
  static const pid_t first_user = getpid();
  if (getpid() == first_user) return;
  throw DeviceError(
      "this process was forked from one that had computed on a GPU, and cannot use it; start it with "
      "multiprocessing's \"spawn\" or \"forkserver\"");
}

Call::Call(const py::object& place) : place_(place) {
  if (!on_cuda()) return;
  require_not_forked();
  device_ = place_.attr("device").cast<int>();
  stream_ = reinterpret_cast<void*>(place_.attr("stream").cast<std::uintptr_t>());
}

void Call::require_here(const char* name, std::int32_t type, std::int32_t id) const {
  if (on_cuda()) {
    const bool here = type == cuda::memory_type() && (type != dlpack::kCuda || id == device_);
    if (here || type == dlpack::kCudaManaged) return;
  } else if (type == dlpack::kCpu || type == dlpack::kCudaHost) {
    return;
  }
  throw DeviceError(std::string(name) + ": expected an array in " +
                    (on_cuda() ? memory_name(dlpack::kCuda, device_) : memory_name(dlpack::kCpu, 0)) +
                    " like the first argument, got one in " + memory_name(type, id));
}

py::object Call::allocate(std::int64_t bytes) const {
  return bytes == 0 ? py::object(py::none()) : place_.attr("allocate")(bytes);
}

void* Call::address(const py::object& memory) const {
  if (memory.is_none()) return nullptr;
  return TensorArg(*this, "workspace", memory).view<std::uint8_t, 1>("[bytes]").data;
}

}  // namespace srdfast
