// SPDX-License-Identifier: Apache-2.0
// The blocks of a plane: cut with what surrounds them, and joined to a plane again.
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

// windows[i, y, x] = scale * plane[places[i, 0] + y, places[i, 1] + x]
template <class Code>
struct CutProblem {
  static constexpr const char* name = "cut_windows";
  static constexpr const char* dtype = DTypeName<Code>::value;

  View<const Code, 2> plane;
  View<const std::int64_t, 2> places;  // [windows, 2], row and column of each one's first pixel
  float scale;

  // outputs
  View<float, 3> windows;  // [windows, height, width]
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

// centres[i, y, x] = images[i, first + y, first + x]
struct CentresProblem {
  static constexpr const char* name = "cut_centres";
  static constexpr const char* dtype = DTypeName<float>::value;

  View<const float, 3> images;  // [batch, height, width]
  std::int64_t first;

  // outputs
  View<float, 3> centres;  // [batch, height, width]
};

// plane[places[i, 0] + y, places[i, 1] + x] =
//     clip(round(span * (low[i, in_low + y, in_low + x] + rebuilt[i, in_rebuilt + y, in_rebuilt + x])), 0,
//     most)
// for y, x < side; a half rounds to even.
template <class Code>
struct JoinProblem {
  static constexpr const char* name = "join_blocks";
  static constexpr const char* dtype = DTypeName<Code>::value;

  View<const float, 3> low, rebuilt;   // [blocks, height, width], each of its own height and width
  View<const std::int64_t, 2> places;  // [blocks, 2], row and column of each one's first pixel; none overlap
  std::int64_t side, in_low, in_rebuilt;
  float span, most;

  // outputs
  View<Code, 2> plane;
};

}  // namespace srdfast
