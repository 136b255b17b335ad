// SPDX-License-Identifier: Apache-2.0
// CUDA errors as exceptions.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "core/errors.hpp"

namespace srdfast::cuda {

// Throws DeviceError "what: ..." unless `status` is success.
inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next call would report this one's error
  throw DeviceError(std::string(what) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) +
                    ")");
}

}  // namespace srdfast::cuda
