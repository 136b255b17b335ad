// SPDX-License-Identifier: Apache-2.0
#include "bindings/tensor_arg.hpp"

#include <atomic>
#include <cstring>

#include "core/parallel.hpp"

namespace srdfast {
namespace {

constexpr const char* kVersioned = "dltensor_versioned";
constexpr const char* kLegacy = "dltensor";

// The capsule of an array: the versioned one, which can carry read-only arrays, where its maker knows it. On
// a GPU the kernels run on the stream that the array's library works on, so there is nothing to wait for.
py::object export_dlpack(const Call& call, const py::object& object) {
  const py::object method = object.attr("__dlpack__");
  py::dict options;
  if (call.on_cuda()) options["stream"] = -1;
  try {
    return method(py::arg("max_version") = py::make_tuple(1, 0), **options);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;
  }
  return method(**options);
}

// The C functions by which a library shows its arrays, or null; it is the types that have them.
const dlpack::ExchangeApi* exchange_api(const py::object& object) {
  const py::handle type = py::type::handle_of(object);
  const py::object capsule = py::getattr(type, "__dlpack_c_exchange_api__", py::none());
  if (!PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) return nullptr;
  const auto* api =
      static_cast<const dlpack::ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  return api->version.major == dlpack::kMajorVersion ? api : nullptr;
}

template <class Integer>
std::string bracketed(int rank, const Integer* extents) {
  std::string text = "[";
  for (int axis = 0; axis < rank; ++axis) text += (axis ? ", " : "") + std::to_string(extents[axis]);
  return text + "]";
}

// Whether any of the values is NaN or infinite: their exponent bits are all ones.
template <class Bits, class T>
bool any_nonfinite_among(const T* values, std::int64_t count, Bits exponent) {
  Bits found = 0;  // as wide as the values, so that the compiler can vectorise
  for (std::int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    found |= (bits & exponent) == exponent ? ~Bits{0} : Bits{0};
  }
  return found != 0;
}

bool any_nonfinite_among(const float* values, std::int64_t count) {
  return any_nonfinite_among(values, count, std::uint32_t{0x7f800000});
}

bool any_nonfinite_among(const double* values, std::int64_t count) {
  return any_nonfinite_among(values, count, std::uint64_t{0x7ff0000000000000});
}

template <class T>
bool any_nonfinite(const T* values, std::int64_t count) {
  constexpr std::int64_t kTogether = 1 << 17;  // fewer are not worth a second thread
  std::atomic<bool> found{false};
  parallel_for(count, kTogether, [&](std::int64_t begin, std::int64_t end) {
    if (any_nonfinite_among(values + begin, end - begin)) found.store(true, std::memory_order_relaxed);
  });
  return found.load();
}

}  // namespace

void expected(const std::string& name, const std::string& wanted, const std::string& got) {
  throw py::value_error(name + ": expected " + wanted + ", got " + got);
}

TensorArg::TensorArg(const Call& call, const char* name, const py::object& object)
    : name_(name), on_cuda_(call.on_cuda()), object_(object) {
  if (!borrow()) take_capsule(call);
  call.require_here(name, tensor_.device.type, tensor_.device.id);
}

// Looks at the array through its library's C functions, which is far quicker than a capsule.
bool TensorArg::borrow() {
  const dlpack::ExchangeApi* api = exchange_api(object_);
  if (api == nullptr || api->tensor_from_object == nullptr) return false;
  if (api->tensor_from_object(object_.ptr(), &tensor_) == 0) return true;
  throw py::error_already_set();
}

void TensorArg::take_capsule(const Call& call) {
  if (!py::hasattr(object_, "__dlpack__")) {
    throw py::type_error(std::string(name_) + ": expected a numpy, torch or cupy array, got " +
                         py::str(py::type::of(object_).attr("__name__")).cast<std::string>());
  }
  const py::object capsule = export_dlpack(call, object_);
  const char* kind = PyCapsule_GetName(capsule.ptr());
  if (kind == nullptr) throw py::error_already_set();
  void* pointer = PyCapsule_GetPointer(capsule.ptr(), kind);
  if (pointer == nullptr) throw py::error_already_set();
  managed_ = pointer;
  if (std::strcmp(kind, kVersioned) == 0) {
    auto* managed = static_cast<dlpack::ManagedTensorVersioned*>(pointer);
    if (managed->version.major != dlpack::kMajorVersion) {
      throw py::type_error(std::string(name_) + ": its DLPack version is " +
                           std::to_string(managed->version.major) + ", this build reads version 1");
    }
    tensor_ = managed->tensor;
    read_only_ = (managed->flags & dlpack::kReadOnly) != 0;
    release_ = [](void* held) {
      auto* tensor = static_cast<dlpack::ManagedTensorVersioned*>(held);
      if (tensor->deleter) tensor->deleter(tensor);
    };
    PyCapsule_SetName(capsule.ptr(), "used_dltensor_versioned");
  } else if (std::strcmp(kind, kLegacy) == 0) {
    auto* managed = static_cast<dlpack::ManagedTensor*>(pointer);
    tensor_ = managed->tensor;
    release_ = [](void* held) {
      auto* tensor = static_cast<dlpack::ManagedTensor*>(held);
      if (tensor->deleter) tensor->deleter(tensor);
    };
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
  } else {
    throw py::type_error(std::string(name_) + ": __dlpack__ returned an unknown capsule '" + kind + "'");
  }
}

TensorArg::~TensorArg() {
  if (release_) release_(managed_);
}

std::string TensorArg::dtype() const {
  const auto& type = tensor_.dtype;
  std::string base = "type code " + std::to_string(type.code) + " of bits ";
  if (type.code == dlpack::kInt) base = "int";
  if (type.code == dlpack::kUInt) base = "uint";
  if (type.code == dlpack::kFloat) base = "float";
  if (type.code == dlpack::kBfloat) base = "bfloat";
  if (type.code == dlpack::kComplex) base = "complex";
  if (type.code == dlpack::kBool) return "bool";
  return base + std::to_string(type.bits);
}

std::string TensorArg::shape() const { return bracketed(tensor_.rank, tensor_.shape); }

bool TensorArg::is_contiguous() const {
  if (tensor_.strides == nullptr) return true;
  for (int axis = 0; axis < tensor_.rank; ++axis) {
    if (extent(axis) == 0) return true;
  }
  std::int64_t stride = 1;
  for (int axis = tensor_.rank - 1; axis >= 0; --axis) {
    if (extent(axis) != 1 && tensor_.strides[axis] != stride) return false;
    stride *= extent(axis);
  }
  return true;
}

void TensorArg::check(const char* dtype_wanted, int rank, const char* shape_words, bool written) const {
  if (dtype() != dtype_wanted || tensor_.dtype.lanes != 1) {
    throw py::type_error(std::string(name_) + ": expected " + dtype_wanted + ", got " + dtype());
  }
  if (tensor_.rank != rank) expected(name_, std::string("shape ") + shape_words, "shape " + shape());
  if (!is_contiguous()) expected(name_, "a contiguous array", "strides " + bracketed(rank, tensor_.strides));
  if (written && read_only_) expected(name_, "a writable array", "a read-only one");
}

namespace {

// What nonfinite= covers: the data to be coded, and not the dictionaries.
std::string advice(const std::string& name) {
  return name == "signals" || name == "images" ? "; clean it, or pass nonfinite=\"zero\"" : "";
}

}  // namespace

template <class T, int Rank>
void require_finite(const TensorArg& arg, const View<T, Rank>& view) {
  if (arg.on_cuda() || !any_nonfinite(view.data, view.size())) return;
  for (std::int64_t i = 0; i < view.extent(0); ++i) {
    if (!any_nonfinite(view.slice(i), view.slice_size())) continue;
    expected(arg.name(), "finite values",
             "NaN or infinity in entry " + std::to_string(i) + " of the first axis" + advice(arg.name()));
  }
}

template void require_finite(const TensorArg&, const View<const float, 2>&);
template void require_finite(const TensorArg&, const View<const float, 3>&);
template void require_finite(const TensorArg&, const View<const float, 4>&);
template void require_finite(const TensorArg&, const View<const double, 2>&);
template void require_finite(const TensorArg&, const View<const double, 3>&);
template void require_finite(const TensorArg&, const View<const double, 4>&);

void require_extent(const TensorArg& arg, int axis, std::int64_t size, const char* why) {
  if (arg.extent(axis) == size) return;
  expected(arg.name(), std::to_string(size) + " along axis " + std::to_string(axis) + " (" + why + ")",
           "shape " + arg.shape());
}

IndexArg::IndexArg(const Call& call, const py::object& object, std::int64_t batch,
                   std::int64_t dictionaries) {
  if (object.is_none()) {
    if (dictionaries == 1) return;
    expected(
        "index",
        "the dictionary of each signal, since there are " + std::to_string(dictionaries) + " dictionaries",
        "None");
  }
  arg_.emplace(call, "index", object);
  view_ = arg_->view<const std::int64_t, 1>("[batch]");
  require_extent(*arg_, 0, batch, "one entry per signal");
  if (arg_->on_cuda()) return;
  for (std::int64_t i = 0; i < batch; ++i) {
    if (view_.data[i] >= 0 && view_.data[i] < dictionaries) continue;
    expected("index", "values from 0 to " + std::to_string(dictionaries - 1),
             std::to_string(view_.data[i]) + " at position " + std::to_string(i));
  }
}

}  // namespace srdfast
