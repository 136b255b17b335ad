// SPDX-License-Identifier: Apache-2.0
// The 32 lanes of a warp as a team (core/team.hpp).
#pragma once

#include "core/team.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr int kWarp = 32;

// The sum of a number over the lanes up to this one.
template <class Block>
SRDFAST_INLINE int inclusive_sum(const Block& block, int number) {
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int other =
        block.shuffle(number, block.lane() >= distance ? block.lane() - distance : block.lane());
    if (block.lane() >= distance) number += other;
  }
  return number;
}

template <class Block>
class WarpTeam {
 public:
  SRDFAST_INLINE explicit WarpTeam(const Block& block) : block_(block) {}

  template <class Function>
  SRDFAST_INLINE void for_each(int count, const Function& function) const {
    for (int i = block_.lane(); i < count; i += kWarp) function(i);
  }

  template <class T, class Function>
  SRDFAST_INLINE T sum(int count, const Function& function) const {
    block_.sync_warp();
    T total = 0;
    for (int i = block_.lane(); i < count; i += kWarp) total += function(i);
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      total += block_.shuffle(total, block_.lane() ^ distance);
    }
    block_.sync_warp();
    return total;
  }

  template <class T, class Function>
  SRDFAST_INLINE Best<T> best(int count, const Function& function) const {
    block_.sync_warp();
    Best<T> best{T(0), -1};
    for (int i = block_.lane(); i < count; i += kWarp) {
      const T value = function(i);
      if (best.index < 0 || value > best.value) best = {value, i};
    }
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      const int other_lane = block_.lane() ^ distance;
      const Best<T> other{block_.shuffle(best.value, other_lane), block_.shuffle(best.index, other_lane)};
      const bool better = other.index >= 0 && (best.index < 0 || other.value > best.value ||
                                               (other.value == best.value && other.index < best.index));
      if (better) best = other;
    }
    block_.sync_warp();
    return best;
  }

  template <class Function>
  SRDFAST_INLINE void once(const Function& function) const {
    if (block_.lane() == 0) function();
  }

  SRDFAST_INLINE void sync() const { block_.sync_warp(); }

 private:
  const Block& block_;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
