// SPDX-License-Identifier: Apache-2.0
// One thread's work on a block: everything between the codes of its window and its purified codes, in memory
// that stays in the second-level cache.
#pragma once

#include "math/product.hpp"
#include "ops/frame/frame.hpp"
#include "ops/patches/patches.hpp"
#include "ops/split/splitter.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// What the blocks of a plane have in common.
struct BlockPlan {
  BlockPlan(const BlockShape& shape, int patch, int stride, double strength)
      : shape(shape),
        before((patch - 1) / stride * stride),
        grid{1,
             {static_cast<int>(before + shape.rows) + patch - stride, patch, stride},
             {static_cast<int>(before + shape.columns) + patch - stride, patch, stride}},
        splitter(static_cast<int>(shape.window_rows), static_cast<int>(shape.window_columns), strength),
        row_weights(grid.rows.length),
        column_weights(grid.columns.length) {
    coverage_weights(grid.rows, row_weights.data());
    coverage_weights(grid.columns, column_weights.data());
  }

  std::int64_t window_size() const { return shape.window_rows * shape.window_columns; }
  std::int64_t patches() const { return std::int64_t{grid.rows.count()} * grid.columns.count(); }

  BlockShape shape;
  int before;      // pixels from the first patch over a block to the block
  PatchGrid grid;  // of the patches that cover a block
  Splitter<float> splitter;
  Scratch<float> row_weights, column_weights;
};

// A coder is one of OmpCoder, LassoCoder and ListaCoder.
template <class Code, class Coder>
class BlockWorker {
 public:
  template <class MakeCoder>
  BlockWorker(const BlockPlan& plan, const MakeCoder& make_coder)
      : plan_(plan),
        coder_(make_coder()),
        rebuilt_width_(padded(plan.grid.features())),
        work_(plan.splitter),
        spectrum_(plan.splitter.spectrum_size()),
        window_(plan.window_size()),
        low_(plan.window_size()),
        high_(plan.window_size()),
        layers_((plan.grid.patch() + plan.grid.columns.stride - 1) / plan.grid.columns.stride),
        sums_(layers_ * plan.grid.plane()),
        patches_(kTile * plan.grid.features()),
        rebuilt_(kTile * rebuilt_width_),
        atoms_(kMostAtoms) {}

  // Purifies the block of `plane` at `place`.
  void purify(const FramePlane<Code>& plane, const std::int64_t* place, std::int64_t cluster) {
    cut(plane, place);
    plan_.splitter.split(window_.data(), work_, spectrum_.data(), low_.data(), high_.data());
    rebuild(cluster, kept_codes(plane, place));
    join(plane, place);
  }

 private:
  static constexpr int kMostAtoms = 255;  // of a code, by the type of its count

  struct BlockCodes {
    std::uint8_t* counts;  // [patches], or null
    std::uint16_t* atoms;  // [patches, most]
    float* values;         // [patches, most]
    int most;
  };

  BlockCodes kept_codes(const FramePlane<Code>& plane, const std::int64_t* place) const {
    const KeptCodes& kept = plane.kept;
    if (kept.counts.data == nullptr) return {nullptr, nullptr, nullptr, 0};
    const BlockShape& shape = plan_.shape;
    const std::int64_t across = plane.purified.extent(1) / shape.columns;
    const std::int64_t block = place[0] / shape.rows * across + place[1] / shape.columns;
    return {kept.counts.slice(block), kept.atoms.slice(block), kept.values.slice(block),
            static_cast<int>(kept.atoms.extent(2))};
  }

  void cut(const FramePlane<Code>& plane, const std::int64_t* place) {
    const std::int64_t columns = plan_.shape.window_columns, pitch = plane.pixels.extent(1);
    const float scale = 1 / plane.span;
    for (std::int64_t y = 0; y < plan_.shape.window_rows; ++y) {
      const Code* SRDFAST_RESTRICT in = plane.pixels.data + (place[0] + y) * pitch + place[1];
      float* SRDFAST_RESTRICT out = window_.data() + y * columns;
      for (std::int64_t x = 0; x < columns; ++x) out[x] = scale * static_cast<float>(in[x]);
    }
  }

  // sums [layers, rows, columns of the grid] = the rebuilt patches, added up. Patches that overlap along a
  // row go to different layers: a sum that was just stored would have to be waited for.
  void rebuild(std::int64_t cluster, const BlockCodes& kept) {
    const PatchGrid& grid = plan_.grid;
    const int columns = grid.columns.count(), features = grid.features(), stride = grid.columns.stride;
    const std::int64_t pitch = plan_.shape.window_columns, width = grid.columns.length;
    const float* const first = high_.data() + (plan_.shape.halo - plan_.before) * (pitch + 1);
    std::memset(static_cast<void*>(sums_.data()), 0,
                sizeof(float) * static_cast<std::size_t>(layers_ * grid.plane()));
    const std::int64_t total = plan_.patches();
    const std::int64_t tiles = (total + kTile - 1) / kTile;  // as even as can be: one row costs as three
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const int begin = static_cast<int>(total * tile / tiles);
      const int count = static_cast<int>(total * (tile + 1) / tiles) - begin;
      for (int r = 0; r < count; ++r) {
        const std::int64_t y = (begin + r) / columns * stride, x = (begin + r) % columns * stride;
        copy_square(first + y * pitch + x, pitch, patches_.data() + std::int64_t{r} * features);
      }
      code(cluster, begin, count, kept);
      coder_.reconstruct(count, rebuilt_.data(), rebuilt_width_);
      for (int r = 0; r < count; ++r) {
        const int row = (begin + r) / columns, column = (begin + r) % columns;
        float* const layer = sums_.data() + column % layers_ * grid.plane();
        add_square(rebuilt_.data() + std::int64_t{r} * rebuilt_width_,
                   layer + row * stride * width + column * stride, width);
      }
    }
  }

  void code(std::int64_t cluster, int begin, int count, const BlockCodes& kept) {
    if constexpr (requires { Coder::kMostKept; }) {
      if (kept.counts != nullptr) {
        coder_.code(cluster, count, patches_.data(), [&](int row) { return take(kept, begin + row); });
        for (int r = 0; r < count; ++r) keep(coder_.repeatable(r), kept, begin + r);
        return;
      }
    }
    coder_.code(cluster, count, patches_.data());
  }

  LassoStart<float> take(const BlockCodes& kept, int patch) const {
    const int count = kept.counts[patch];
    const std::uint16_t* const atoms = kept.atoms + std::int64_t{patch} * kept.most;
    for (int i = 0; i < count; ++i) atoms_[i] = atoms[i];
    return {count, atoms_.data(), kept.values + std::int64_t{patch} * kept.most};
  }

  // A code that does not fit is not kept: one cut short would not come to the same bits.
  void keep(const LassoStart<float>& code, const BlockCodes& kept, int patch) const {
    const int count = code.count <= kept.most ? code.count : 0;
    kept.counts[patch] = static_cast<std::uint8_t>(count);
    for (int i = 0; i < count; ++i) {
      const std::int64_t at = std::int64_t{patch} * kept.most + i;
      kept.atoms[at] = static_cast<std::uint16_t>(code.atoms[i]);
      kept.values[at] = code.values[i];
    }
  }

  void join(const FramePlane<Code>& plane, const std::int64_t* place) {
    const BlockShape& shape = plan_.shape;
    const std::int64_t width = plan_.grid.columns.length, before = plan_.before;
    const float* const weights = plan_.column_weights.data() + before;
    for (std::int64_t y = 0; y < shape.rows; ++y) {
      float* SRDFAST_RESTRICT sums = sums_.data() + (before + y) * width + before;
      const float weight = plan_.row_weights[before + y];
      for (int layer = 1; layer < layers_; ++layer) {
        const float* SRDFAST_RESTRICT more = sums + layer * plan_.grid.plane();
        for (std::int64_t x = 0; x < shape.columns; ++x) sums[x] += more[x];
      }
      round_line(static_cast<int>(shape.columns), plane.span, plane.most, weight, weights, sums,
                 low_.data() + (shape.halo + y) * shape.window_columns + shape.halo,
                 plane.purified.data + (place[0] + y) * plane.purified.extent(1) + place[1]);
    }
  }

  // Everything that the loop reads is its own: bytes may be stored over anything.
  static void round_line(int count, float span, float most, float weight,
                         const float* SRDFAST_RESTRICT weights, const float* SRDFAST_RESTRICT sums,
                         const float* SRDFAST_RESTRICT low, Code* SRDFAST_RESTRICT out) {
    for (int x = 0; x < count; ++x) {
      float value = span * (low[x] + sums[x] * (weight * weights[x])) + 0.5f;
      value = value > 0 ? value : 0;
      value = value < most ? value : most;
      out[x] = static_cast<Code>(static_cast<std::int32_t>(value));
    }
  }

  // The patch at `corner` of an image with `pitch` pixels between rows -> out [features].
  void copy_square(const float* corner, std::int64_t pitch, float* out) const {
    with_patch_side(plan_.grid, [&](int side) __attribute__((always_inline)) {
      for (int y = 0; y < side; ++y, corner += pitch, out += side) {
        std::memcpy(out, corner, sizeof(float) * static_cast<std::size_t>(side));
      }
    });
  }

  void add_square(const float* patch, float* corner, std::int64_t pitch) const {
    with_patch_side(plan_.grid, [&](int side) __attribute__((always_inline)) {
      for (int y = 0; y < side; ++y, corner += pitch, patch += side) {
        float* SRDFAST_RESTRICT out = corner;
        const float* SRDFAST_RESTRICT in = patch;
        for (int x = 0; x < side; ++x) out[x] += in[x];
      }
    });
  }

  const BlockPlan& plan_;
  Coder coder_;
  int rebuilt_width_;
  typename Splitter<float>::Work work_;
  Scratch<float> spectrum_;
  Scratch<float> window_, low_, high_;  // [window rows, window columns]
  int layers_;
  Scratch<float> sums_;          // [layers, rows, columns of the grid]
  Scratch<float> patches_;       // [kTile, features]
  Scratch<float> rebuilt_;       // [kTile, padded features]
  Scratch<std::int32_t> atoms_;  // [kMostAtoms], of a code that is kept
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
