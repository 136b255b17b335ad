// SPDX-License-Identifier: Apache-2.0
// The most likely clusters of a tile of latents, on vectors: a lane is a cluster.
#pragma once

#include "math/argmax.hpp"
#include "math/tables.hpp"
#include "ops/assign/assign.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// The clusters, packed into panels.
template <class T>
class PackedClusters {
 public:
  explicit PackedClusters(const AssignProblem<T>& problem)
      : latent(static_cast<int>(problem.centre.extent(0))),
        panels(panel_count<T>(static_cast<int>(problem.offsets.extent(0)))),
        scales_(1, latent, panels * kPanel<T>),
        shifts_(1, latent, panels * kPanel<T>),
        offsets_(panels * kPanel<T>) {
    const int clusters = static_cast<int>(problem.offsets.extent(0));
    pack(latent, clusters, problem.scales.data, clusters, scales_[0]);
    pack(latent, clusters, problem.shifts.data, clusters, shifts_[0]);
    for (int c = 0; c < panels * kPanel<T>; ++c) {
      offsets_[c] = c < clusters ? problem.offsets.data[c] : -kInfinity<T>;
    }
  }

  const T* scales(int panel) const { return scales_[0] + std::int64_t{panel} * latent * kPanel<T>; }
  const T* shifts(int panel) const { return shifts_[0] + std::int64_t{panel} * latent * kPanel<T>; }
  const T* offsets(int cluster) const { return offsets_.data() + cluster; }

  const int latent, panels;

 private:
  PackedMatrices<T> scales_, shifts_;  // [panels, latent, kPanel], zero beyond the clusters
  Scratch<T> offsets_;                 // [panels * kPanel], -infinity beyond the clusters
};

// The two largest scores of every lane.
template <class T>
class Ranking {
 public:
  SRDFAST_INLINE Ranking() : best_(broadcast(-kInfinity<T>)), second_(best_), firsts_(Vector<Lane<T>>{}) {}

  // Scores of the clusters first + lane; `first` ascends from call to call.
  SRDFAST_INLINE void offer(int first, const Vector<T>& scores) {
    const auto better = scores > best_;
    const Vector<T> rest = better ? best_ : scores;
    second_ = rest > second_ ? rest : second_;
    best_ = better ? scores : best_;
    firsts_ = better ? broadcast<Lane<T>>(first) : firsts_;
  }

  SRDFAST_INLINE Assigned<T> result() const {
    const Vector<Lane<T>> indices = firsts_ + lane_numbers<T>();
    const Best<T> best = best_lane<T>(best_, indices);
    const Vector<T> others = indices == broadcast<Lane<T>>(best.index) ? second_ : best_;
    const T second = reduced<T>(others, [](const auto& a, const auto& b) { return a > b ? a : b; })[0];
    return {best.index, best.value, margin_of(best.value, second)};
  }

 private:
  Vector<T> best_, second_;
  Vector<Lane<T>> firsts_;  // indices less the lane
};

template <class T>
class ClusterAssigner {
 public:
  static constexpr int kRows = SRDFAST_VECTOR_BYTES >= 64 ? kTile : kTile / 2;  // what fits the register file

  explicit ClusterAssigner(const PackedClusters<T>& clusters)
      : clusters_(clusters), centred_(std::int64_t{kRows} * clusters.latent) {}

  // take(row, assigned) for latents [count, latent], count up to kRows.
  template <class Take>
  SRDFAST_INLINE void assign(int count, const T* latents, const T* centre, const Take& take) {
    const int latent = clusters_.latent;
    for (int r = 0; r < kRows; ++r) {
      T* SRDFAST_RESTRICT centred = centred_.data() + std::int64_t{r} * latent;
      const T* SRDFAST_RESTRICT row = latents + std::int64_t{r < count ? r : 0} * latent;
      for (int f = 0; f < latent; ++f) centred[f] = row[f] - centre[f];
    }
    Ranking<T> rankings[kRows];
    for (int panel = 0; panel < clusters_.panels; ++panel) rank_panel(panel, rankings);
    for (int r = 0; r < count; ++r) take(r, rankings[r].result());
  }

 private:
  // kRows x 2 vectors of sums stay in registers while the features run.
  SRDFAST_INLINE void rank_panel(int panel, Ranking<T>* rankings) const {
    constexpr int kLength = kVectorLength<T>;
    const int latent = clusters_.latent;
    const T* SRDFAST_RESTRICT rows = centred_.data();
    const T* SRDFAST_RESTRICT scales = clusters_.scales(panel);
    const T* SRDFAST_RESTRICT shifts = clusters_.shifts(panel);
    Vector<T> left[kRows] = {}, right[kRows] = {};
    for (int f = 0; f < latent; ++f, scales += kPanel<T>, shifts += kPanel<T>) {
      const Vector<T> left_scales = load(scales), right_scales = load(scales + kLength);
      const Vector<T> left_shifts = load(shifts), right_shifts = load(shifts + kLength);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const T value = rows[static_cast<long>(r) * latent + f];
        const Vector<T> left_away = value * left_scales - left_shifts;
        const Vector<T> right_away = value * right_scales - right_shifts;
        left[r] += left_away * left_away;
        right[r] += right_away * right_away;
      }
    }
    const int first = panel * kPanel<T>;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      rankings[r].offer(first, load(clusters_.offsets(first)) - left[r]);
      rankings[r].offer(first + kLength, load(clusters_.offsets(first + kLength)) - right[r]);
    }
  }

  const PackedClusters<T>& clusters_;
  Scratch<T> centred_;  // [kRows, latent]
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
