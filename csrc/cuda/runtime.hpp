// SPDX-License-Identifier: Apache-2.0
// What the CUDA runtime says of this machine and of a stream. A build without CUDA answers as well.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace srdfast::cuda {

struct DeviceInfo {
  std::string name;
  std::string capability;  // "9.0"
  int multiprocessors;
  std::int64_t memory;  // bytes
};

struct RuntimeInfo {
  bool built;                 // this build has CUDA kernels
  std::string toolkit;        // the CUDA version they were compiled with: "13.0"
  std::string architectures;  // what they were compiled for: "75-real 80-real 90"
  std::string driver;         // the newest CUDA version that the driver runs; empty without a driver
  std::string why_none;       // why there is no device, in words; empty where there is one
  std::vector<DeviceInfo> devices;
};

RuntimeInfo runtime_info();

// Whether this build has CUDA kernels. Asks no driver.
bool built();

// The memory that the kernels work in, as DLPack numbers it (bindings/dlpack_abi.hpp).
int memory_type();

// Whether work put on the stream goes into a CUDA graph: then nobody may wait for it.
bool is_capturing(int device, void* stream);

}  // namespace srdfast::cuda
