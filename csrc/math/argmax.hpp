// SPDX-License-Identifier: Apache-2.0
// Where a vector loop over atoms has its largest score, the lowest index on a tie.
#pragma once

#include "core/team.hpp"
#include "math/vector.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// The largest of `scores` over the lanes, and the lowest of the indices that hold it.
template <class T>
SRDFAST_INLINE Best<T> best_lane(const Vector<T>& scores, const Vector<Lane<T>>& indices) {
  const auto larger = [](const auto& a, const auto& b) { return a > b ? a : b; };
  const auto smaller = [](const auto& a, const auto& b) { return a < b ? a : b; };
  constexpr Lane<T> kNone = Lane<T>{1} << 30;
  const Vector<T> largest = reduced<T>(scores, larger);
  const Vector<Lane<T>> holders = scores == largest ? indices : broadcast<Lane<T>>(kNone);
  return {largest[0], static_cast<int>(reduced<T>(holders, smaller)[0])};
}

// Of scores. Every lane of each of Ways vectors keeps its own best, so that comparisons do not wait for each
// other.
template <class T, int Ways>
class Argmax {
 public:
  SRDFAST_INLINE Argmax() {
#pragma GCC unroll 16
    for (int way = 0; way < Ways; ++way) {
      scores_[way] = Vector<T>{};
      firsts_[way] = Vector<Lane<T>>{};
    }
  }

  // scores of the atoms first + way * kVectorLength + lane; `first` ascends from call to call.
  SRDFAST_INLINE void offer(int way, int first, const Vector<T>& scores) {
    const auto better = scores > scores_[way];
    scores_[way] = better ? scores : scores_[way];
    firsts_[way] = better ? broadcast<Lane<T>>(first) : firsts_[way];
  }

  // The best score above 0, else {0, 0}.
  SRDFAST_INLINE Best<T> result() const {
    Vector<T> score = scores_[0];
    Vector<Lane<T>> index = firsts_[0];
#pragma GCC unroll 16
    for (int way = 1; way < Ways; ++way) {
      const Vector<Lane<T>> other = firsts_[way] + way * kVectorLength<T>;
      const auto better = (scores_[way] > score) | ((scores_[way] == score) & (other < index));
      score = better ? scores_[way] : score;
      index = better ? other : index;
    }
    return best_lane<T>(score, index + lane_numbers<T>());
  }

 private:
  Vector<T> scores_[Ways];
  Vector<Lane<T>> firsts_[Ways];
};

// Of ratios above / below with below > 0, compared as products.
template <class T, int Ways>
class RatioArgmax {
 public:
  SRDFAST_INLINE RatioArgmax() {
#pragma GCC unroll 16
    for (int way = 0; way < Ways; ++way) {
      above_[way] = Vector<T>{};
      below_[way] = broadcast<T>(1);
      firsts_[way] = Vector<Lane<T>>{};
    }
  }

  // As Argmax::offer; lanes where `counts` is false are left out.
  template <class Mask>
  SRDFAST_INLINE void offer(int way, int first, const Vector<T>& above, const Vector<T>& below,
                            const Mask& counts) {
    const auto better = (above * below_[way] > above_[way] * below) & counts;
    above_[way] = better ? above : above_[way];
    below_[way] = better ? below : below_[way];
    firsts_[way] = better ? broadcast<Lane<T>>(first) : firsts_[way];
  }

  // The best ratio above 0, else {0, 0}.
  SRDFAST_INLINE Best<T> result() const {
    Vector<T> above = above_[0], below = below_[0];
    Vector<Lane<T>> index = firsts_[0];
#pragma GCC unroll 16
    for (int way = 1; way < Ways; ++way) {
      const Vector<Lane<T>> other = firsts_[way] + way * kVectorLength<T>;
      const Vector<T> theirs = above_[way] * below, ours = above * below_[way];
      const auto better = (theirs > ours) | ((theirs == ours) & (other < index));
      above = better ? above_[way] : above;
      below = better ? below_[way] : below;
      index = better ? other : index;
    }
    return best_lane<T>(above / below, index + lane_numbers<T>());
  }

 private:
  Vector<T> above_[Ways], below_[Ways];
  Vector<Lane<T>> firsts_[Ways];
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
