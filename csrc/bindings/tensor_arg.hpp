// SPDX-License-Identifier: Apache-2.0
// One array argument of a Python call, seen through DLPack without a copy, and the checks that name it.
// Values are looked at in CPU memory only; those on a GPU have been looked at by their own library
// (srdfast/arrays.py).
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "bindings/call.hpp"
#include "bindings/dlpack_abi.hpp"
#include "core/errors.hpp"
#include "core/view.hpp"

namespace srdfast {

namespace py = pybind11;

// Raises ValueError "name: expected ..., got ...".
[[noreturn]] void expected(const std::string& name, const std::string& wanted, const std::string& got);

class TensorArg {
 public:
  // Takes any object with __dlpack__. Throws TypeError when it has none, DeviceError when it does not lie
  // where the call runs.
  TensorArg(const Call& call, const char* name, const py::object& object);
  ~TensorArg();
  TensorArg(const TensorArg&) = delete;
  TensorArg& operator=(const TensorArg&) = delete;

  const char* name() const { return name_; }
  bool on_cuda() const { return on_cuda_; }
  std::int32_t memory_type() const { return tensor_.device.type; }  // as DLPack numbers them
  std::int32_t memory_id() const { return tensor_.device.id; }
  std::int64_t extent(int axis) const { return tensor_.shape[axis]; }
  std::string dtype() const;
  std::string shape() const;

  // A contiguous view. `shape_words` names the dimensions for the error: "[batch, features]".
  template <class T, int Rank>
  View<T, Rank> view(const char* shape_words) const {
    check(dtype_name<T>(), Rank, shape_words, !std::is_const_v<T>);
    View<T, Rank> result;
    result.data = reinterpret_cast<T*>(static_cast<char*>(tensor_.data) + tensor_.byte_offset);
    for (int axis = 0; axis < Rank; ++axis) result.extents[axis] = extent(axis);
    return result;
  }

 private:
  template <class T>
  static const char* dtype_name() {
    using Value = std::remove_const_t<T>;
    if constexpr (std::is_same_v<Value, float>) return "float32";
    if constexpr (std::is_same_v<Value, double>) return "float64";
    if constexpr (std::is_same_v<Value, std::int32_t>) return "int32";
    if constexpr (std::is_same_v<Value, std::int64_t>) return "int64";
    if constexpr (std::is_same_v<Value, std::uint8_t>) return "uint8";
  }
  void check(const char* dtype, int rank, const char* shape_words, bool written) const;
  bool is_contiguous() const;
  bool borrow();
  void take_capsule(const Call& call);

  const char* name_;
  bool on_cuda_;
  py::object object_;  // keeps what `tensor_` points to
  dlpack::Tensor tensor_{};
  bool read_only_ = false;
  void (*release_)(void*) = nullptr;
  void* managed_ = nullptr;
};

// Raises ValueError unless every entry is finite: "name: ... row 3 ...".
template <class T, int Rank>
void require_finite(const TensorArg& arg, const View<T, Rank>& view);

// Raises ValueError unless extent `axis` of `arg` is `size`.
void require_extent(const TensorArg& arg, int axis, std::int64_t size, const char* why);

// The optional dictionary index of each signal: int64 [batch] in [0, dictionaries).
class IndexArg {
 public:
  IndexArg(const Call& call, const py::object& object, std::int64_t batch, std::int64_t dictionaries);
  View<const std::int64_t, 1> view() const { return view_; }

 private:
  std::optional<TensorArg> arg_;
  View<const std::int64_t, 1> view_;
};

// Calls function(float{}) or function(double{}) by the dtype of `arg`.
template <class Function>
void dispatch_float(const TensorArg& arg, const Function& function) {
  if (arg.dtype() == "float32") return function(float{});
  if (arg.dtype() == "float64") return function(double{});
  throw py::type_error(std::string(arg.name()) + ": expected float32 or float64, got " + arg.dtype());
}

}  // namespace srdfast
