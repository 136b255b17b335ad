// SPDX-License-Identifier: Apache-2.0
// The device that CUDA's calls mean.
#pragma once

#include <cuda_runtime.h>

#include "cuda/check.hpp"

namespace srdfast::cuda {

// Makes a device the current one for a scope.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    check(cudaSetDevice(device), "cudaSetDevice");
  }
  ~DeviceGuard() { cudaSetDevice(before_); }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = 0;
};

}  // namespace srdfast::cuda
