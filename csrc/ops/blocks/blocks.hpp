// SPDX-License-Identifier: Apache-2.0
// The blocks of a plane, each in a window of what surrounds it: which of them have changed.
#pragma once

#include <cstdint>

#include "core/registry.hpp"
#include "core/view.hpp"

namespace srdfast {

template <>
struct DTypeName<std::uint8_t> {
  static constexpr const char* value = "uint8";
};
template <>
struct DTypeName<std::uint16_t> {
  static constexpr const char* value = "uint16";
};

// changed[i] tells whether a pixel of window i of the plane differs by more than `tolerance` from
// references[i], which becomes that window where it does.
template <class Code>
struct RefreshProblem {
  static constexpr const char* name = "refresh_windows";
  static constexpr const char* dtype = DTypeName<Code>::value;

  View<const Code, 2> plane;
  View<const std::int64_t, 2> places;  // [windows, 2], row and column of each one's first pixel
  std::int32_t tolerance;              // below 0: every window differs

  // outputs
  View<Code, 3> references;       // [windows, height, width]
  View<std::uint8_t, 1> changed;  // [windows], 0 or 1
};

}  // namespace srdfast
