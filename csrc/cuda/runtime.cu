// SPDX-License-Identifier: Apache-2.0
#include "cuda/check.hpp"
#include "cuda/guard.hpp"
#include "cuda/runtime.hpp"

namespace srdfast::cuda {
namespace {

std::string version_text(int version) {  // 13000 is "13.0"
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

DeviceInfo device_info(int device) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return {properties.name, std::to_string(properties.major) + "." + std::to_string(properties.minor),
          properties.multiProcessorCount, static_cast<std::int64_t>(properties.totalGlobalMem)};
}

}  // namespace

RuntimeInfo runtime_info() {
  RuntimeInfo info{};
  info.built = true;
  info.toolkit = version_text(CUDART_VERSION);
  info.architectures = SRDFAST_ARCHITECTURES;
  int driver = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) info.driver = version_text(driver);
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    info.why_none = cudaGetErrorString(status);
    return info;
  }
  for (int device = 0; device < count; ++device) info.devices.push_back(device_info(device));
  return info;
}

bool built() { return true; }

int memory_type() { return 2; }

bool is_capturing(int device, void* stream) {
  const DeviceGuard guard(device);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  // The legacy default stream refuses to answer while another stream is captured, and is not captured itself.
  if (cudaStreamIsCapturing(static_cast<cudaStream_t>(stream), &status) != cudaSuccess) cudaGetLastError();
  return status != cudaStreamCaptureStatusNone;
}

}  // namespace srdfast::cuda
