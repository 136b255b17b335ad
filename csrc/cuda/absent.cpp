// SPDX-License-Identifier: Apache-2.0
// Stands in for the CUDA files in a build without them.
#include "cuda/runtime.hpp"

namespace srdfast::cuda {

RuntimeInfo runtime_info() {
  RuntimeInfo info{};
  info.why_none = "this build of srdfast has no CUDA kernels";
  return info;
}

bool built() { return false; }

int memory_type() { return 2; }

bool is_capturing(int, void*) { return false; }

}  // namespace srdfast::cuda
