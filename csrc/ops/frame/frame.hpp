// SPDX-License-Identifier: Apache-2.0
// The planes of a frame, purified block by block: cut -> split -> rebuild the high band -> round, fused.
#pragma once

#include <cstdint>

#include "ops/blocks/blocks.hpp"
#include "ops/purify/purify.hpp"

namespace srdfast {

// How the blocks of a plane lie; pixels.
struct BlockShape {
  std::int64_t rows, columns;                // of a block, multiples of the stride of the patches
  std::int64_t window_rows, window_columns;  // of what a block is split in
  std::int64_t halo;                         // from the first pixel of a window to that of its block

  bool operator==(const BlockShape&) const = default;
};

// Codes of the lasso that patches of a plane have kept, of at most `most` atoms each. A count of 0 is both a
// code without atoms and one that was not kept.
struct KeptCodes {
  View<std::uint8_t, 2> counts;  // [blocks, patches], or no data: nothing is kept
  View<std::uint16_t, 3> atoms;  // [blocks, patches, most]
  View<float, 3> values;         // [blocks, patches, most]
};

template <class Code>
struct FramePlane {
  View<const Code, 2> pixels;          // [height, width], with what lies around the first and last blocks
  View<const std::int64_t, 2> places;  // [blocks to purify, 2], row and column of a window's first pixel
  BlockShape shape;
  float span;  // codes from the value 0 to the value 1
  float most;  // the largest code

  // outputs
  View<Code, 2>
      purified;    // [blocks down * rows, blocks across * columns]; a block lies where its window does
  KeptCodes kept;  // what coding starts from, and what it ends with
};

template <class Coding>
struct FrameNames;
template <>
struct FrameNames<OmpCoding<float>> {
  static constexpr const char* value = "purify_frame_omp";
};
template <>
struct FrameNames<LassoCoding<float>> {
  static constexpr const char* value = "purify_frame_lasso";
};
template <>
struct FrameNames<ListaCoding<float>> {
  static constexpr const char* value = "purify_frame_lista";
};

constexpr int kMostPlanes = 3;

// purified = clip(round(span * (low + rebuilt)), 0, most) of every block, low + high being its window over
// `span`, split, and rebuilt what the patches of the high band that cover the block are in the dictionary.
template <class Code, class Coding>
struct FrameProblem {
  static constexpr const char* name = FrameNames<Coding>::value;
  static constexpr const char* dtype = DTypeName<Code>::value;

  FramePlane<Code> planes[kMostPlanes];
  int plane_count;
  View<const float, 3> dictionary;  // [dictionaries, atoms, patch * patch], synthesis atoms
  std::int64_t cluster;             // which of them
  const Prepared* prepared;         // the coder's tables
  Coding coding;
  int patch, stride;
  double strength;  // of the split
};

}  // namespace srdfast
