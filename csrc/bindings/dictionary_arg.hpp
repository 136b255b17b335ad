// SPDX-License-Identifier: Apache-2.0
// A dictionary argument: an array, or dictionaries prepared before.
#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "bindings/tensor_arg.hpp"
#include "core/prepared.hpp"
#include "core/registry.hpp"

namespace srdfast {

// A dictionary [dictionaries, atoms, features] with finite entries, at least one atom and one dictionary.
template <class T>
View<const T, 3> dictionary_view(const TensorArg& arg, std::int64_t features) {
  const auto view = arg.view<const T, 3>("[dictionaries, atoms, features]");
  require_extent(arg, 2, features, "features of the signals");
  if (view.extent(0) < 1 || view.extent(1) < 1 || features < 1) {
    expected(arg.name(), "at least one dictionary, one atom and one feature", "shape " + arg.shape());
  }
  if (view.extent(1) > (1 << 20) || features > (1 << 20)) {
    expected(arg.name(), "at most 2^20 atoms and features", "shape " + arg.shape());
  }
  require_finite(arg, view);
  return view;
}

// Own copies of dictionaries, and the tables made of them, all on one device.
template <class T>
struct PreparedArrays {
  View<const T, 3> dictionary,
      analysis;                 // [dictionaries, atoms, features]; analysis and thresholds may have no data
  View<const T, 2> thresholds;  // [dictionaries, atoms]
  std::vector<T> storage[3];    // of the views, on the CPU
  std::vector<py::object> memory;  // of the views and the tables, on a GPU
  std::unique_ptr<Prepared> tables;
};

// The Python object of prepared dictionaries. It never changes, so threads may share it.
struct PreparedDictionary {
  std::variant<PreparedArrays<float>, PreparedArrays<double>> arrays;
  std::int32_t memory_type = dlpack::kCpu, memory_id = 0;
};

class DictionaryArg {
 public:
  DictionaryArg(const Call& call, const char* name, const py::object& object) : name_(name) {
    if (py::isinstance<PreparedDictionary>(object)) {
      prepared_ = &object.cast<const PreparedDictionary&>();
      call.require_here(name, prepared_->memory_type, prepared_->memory_id);
    } else {
      array_.emplace(call, name, object);
    }
  }

  // The dictionary's view, and the tables that go with it where they were made before.
  template <class T>
  View<const T, 3> view(std::int64_t features) const {
    if (prepared_ == nullptr) return dictionary_view<T>(*array_, features);
    const View<const T, 3>& view = arrays<T>()->dictionary;
    if (view.extent(2) != features) {
      expected(name_, std::to_string(features) + " features, as the signals have",
               "dictionaries prepared with " + std::to_string(view.extent(2)));
    }
    return view;
  }

  // What was prepared, for LISTA (`learned`) or for pursuit and lasso; null for an array.
  template <class T>
  const PreparedArrays<T>* prepared(bool learned) const {
    if (prepared_ == nullptr) return nullptr;
    const PreparedArrays<T>* found = arrays<T>();
    if ((found->analysis.data != nullptr) != learned) {
      expected(name_,
               learned ? "dictionaries prepared with analysis and thresholds for LISTA"
                       : "dictionaries prepared without analysis and thresholds",
               learned ? "some prepared without" : "some prepared with them");
    }
    return found;
  }

  const TensorArg* array() const { return array_ ? &*array_ : nullptr; }

 private:
  template <class T>
  const PreparedArrays<T>* arrays() const {
    const auto* found = std::get_if<PreparedArrays<T>>(&prepared_->arrays);
    if (found == nullptr) {
      throw py::type_error(std::string(name_) + ": expected " + DTypeName<T>::value +
                           " like the first argument, got dictionaries prepared in another precision");
    }
    return found;
  }

  const char* name_;
  std::optional<TensorArg> array_;
  const PreparedDictionary* prepared_ = nullptr;
};

}  // namespace srdfast
