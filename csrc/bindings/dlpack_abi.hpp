// SPDX-License-Identifier: Apache-2.0
// The part of the DLPack 1.x binary interface that is read here (https://dmlc.github.io/dlpack).
#pragma once

#include <cstdint>

namespace srdfast::dlpack {

enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
enum TypeCode : std::uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };
constexpr std::uint64_t kReadOnly = 1;
constexpr std::uint32_t kMajorVersion = 1;

struct Tensor {
  void* data;
  struct {
    std::int32_t type;
    std::int32_t id;
  } device;
  std::int32_t rank;
  struct {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
  } dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // null: contiguous
  std::uint64_t byte_offset;
};

// What a capsule named "dltensor" holds.
struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

// What a capsule named "dltensor_versioned" holds.
struct ManagedTensorVersioned {
  struct {
    std::uint32_t major;
    std::uint32_t minor;
  } version;
  void* context;
  void (*deleter)(ManagedTensorVersioned*);
  std::uint64_t flags;
  Tensor tensor;
};

// What a type's attribute `__dlpack_c_exchange_api__` holds, a capsule named "dlpack_exchange_api".
struct ExchangeApi {
  struct {
    std::uint32_t major;
    std::uint32_t minor;
  } version;
  ExchangeApi* previous;
  void* make_tensor;
  int (*managed_from_object)(void* object, ManagedTensorVersioned** managed);
  void* managed_to_object;
  int (*tensor_from_object)(void* object, Tensor* tensor);  // borrows what it points to; may be null
  int (*current_stream)(DeviceType device, std::int32_t id, void** stream);
};

}  // namespace srdfast::dlpack
