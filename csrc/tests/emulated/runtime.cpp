// SPDX-License-Identifier: Apache-2.0
// Stands in for cuda/runtime.cu in a build for tests: one device, threads of the CPU.
#include "cuda/runtime.hpp"

namespace srdfast::cuda {

RuntimeInfo runtime_info() {
  RuntimeInfo info{};
  info.built = true;
  info.toolkit = "threads of the CPU";
  info.devices.push_back({"threads of the CPU", "0.0", 1, 0});
  return info;
}

bool built() { return true; }

int memory_type() { return 1; }

bool is_capturing(int, void*) { return false; }

}  // namespace srdfast::cuda
