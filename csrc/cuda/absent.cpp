// SPDX-License-Identifier: Apache-2.0
// Stands in for the CUDA files in a build without them.
#include "cuda/runtime.hpp"

namespace srdfast::cuda {

RuntimeInfo runtime_info() {
  RuntimeInfo info{};
  info.why_none = "this build of srdfast has no CUDA kernels";
  return info;
}

}  // namespace srdfast::cuda
