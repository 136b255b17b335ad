// SPDX-License-Identifier: Apache-2.0
// Products of rows of features with panels of weights: where the network spends its time.
#pragma once

#include "core/parallel.hpp"
#include "math/product.hpp"
#include "ops/encode/encode.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr int kPanelVectors = kOutputPanel / kVectorLength<float>;

// Panels, and rows, whose sums fit the registers together.
constexpr int kPanelsTogether = SRDFAST_VECTOR_BYTES >= 64 ? 2 : 1;
template <int Panels>
constexpr int kRowsTogether = SRDFAST_VECTOR_BYTES >= 64   ? 16 / Panels
                              : SRDFAST_VECTOR_BYTES >= 32 ? 4
                                                           : 2;

// Sums [Rows, Panels * kOutputPanel], in registers.
template <int Rows, int Panels>
struct Sums {
  static constexpr int kVectors = Panels * kPanelVectors;
  Vector<float> values[Rows][kVectors];

  // values += rows [Rows, inner] times panels [Panels, inner, kOutputPanel], by ascending inner index.
  SRDFAST_INLINE void add(int inner, const float* SRDFAST_RESTRICT rows, std::int64_t row_stride,
                          const float* SRDFAST_RESTRICT panels, std::int64_t panel_stride) {
    constexpr int kAhead = 12;  // entries: about what the second-level cache takes to answer
    for (int k = 0; k < inner; ++k, panels += kOutputPanel) {
      Vector<float> entries[kVectors];
#pragma GCC unroll 8
      for (int p = 0; p < Panels; ++p) {
        prefetch(panels + p * panel_stride + kAhead * kOutputPanel, kOutputPanel);
#pragma GCC unroll 8
        for (int v = 0; v < kPanelVectors; ++v)
          entries[p * kPanelVectors + v] = load(panels + p * panel_stride + v * kVectorLength<float>);
      }
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const float factor = rows[r * row_stride + k];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) values[r][v] += factor * entries[v];
      }
    }
  }
};

// Calls body(Constant<rows>, first) for rows that cover [0, count), as many together as fit the registers.
template <int Rows, class Body>
SRDFAST_INLINE void for_rows(int count, int first, const Body& body) {
  for (; count - first >= Rows; first += Rows) body(Constant<Rows>{}, first);
  if constexpr (Rows > 1) for_rows<Rows / 2>(count, first, body);
}

struct Range {
  int begin, end;
};

// Calls body(Constant<panels>, first) for panels that cover the range.
template <class Body>
SRDFAST_INLINE void for_panels(Range range, const Body& body) {
  int first = range.begin;
  if constexpr (kPanelsTogether > 1) {
    for (; range.end - first >= kPanelsTogether; first += kPanelsTogether)
      body(Constant<kPanelsTogether>{}, first);
  }
  for (; first < range.end; ++first) body(Constant<1>{}, first);
}

// Calls body(part, rows, panels) for so many parts of a convolution's outputs, on a thread each. Where there
// are enough panels the parts differ in these, so that each weight is read by one thread.
template <class Body>
SRDFAST_INLINE void for_parts(int parts, int rows, int panels, const Body& body) {
  const bool by_panels = panels >= parts;
  const auto share = [&](int count, std::int64_t part) { return static_cast<int>(count * part / parts); };
  parallel_for(parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      const Range some_rows{by_panels ? 0 : share(rows, part), by_panels ? rows : share(rows, part + 1)};
      const Range some_panels{by_panels ? share(panels, part) : 0,
                              by_panels ? share(panels, part + 1) : panels};
      body(static_cast<int>(part), some_rows, some_panels);
    }
  });
}

// What becomes of a convolution's sums before they are stored.
struct Ending {
  bool adds;       // to what lies there
  bool rectifies;  // the negative becomes zero
};

SRDFAST_INLINE void finish(Ending ending, Vector<float> sums, float* to) {
  if (ending.adds) sums += load(to);
  if (ending.rectifies) sums = sums > 0 ? sums : Vector<float>{};
  store(sums, to);
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
