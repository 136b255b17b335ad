// SPDX-License-Identifier: Apache-2.0
// Codes a batch: tiles of signals that share a dictionary, over all threads.
#pragma once

#include "core/groups.hpp"
#include "core/parallel.hpp"
#include "core/view.hpp"
#include "math/product.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// make_coder() gives a thread its coder; coder.code(dictionary, count, signals [count, features]) codes a
// tile, and take(coder, row, i) stores the code of its row `row`, which is signal i of the batch.
template <class T, class MakeCoder, class Take>
SRDFAST_INLINE void code_batch(const View<const T, 2>& signals, const Groups& groups,
                               const MakeCoder& make_coder, const Take& take) {
  constexpr std::int64_t kRanges = 64;  // enough to balance the threads, few enough that coders cost nothing
  const int features = static_cast<int>(signals.extent(1));
  parallel_for(groups.tile_count(), groups.tile_count() / kRanges + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 auto coder = make_coder();
                 Scratch<T> gathered(static_cast<std::int64_t>(kTile) * features);
                 for (std::int64_t t = begin; t < end; ++t) {
                   const Tile& tile = groups.tile(t);
                   const T* rows = signals.slice(groups.signal(tile.first));
                   if (!groups.is_run(tile)) {
                     for (int r = 0; r < tile.count; ++r) {
                       std::memcpy(gathered.data() + static_cast<long>(r) * features,
                                   signals.slice(groups.signal(tile.first + r)),
                                   sizeof(T) * static_cast<std::size_t>(features));
                     }
                     rows = gathered.data();
                   }
                   coder.code(tile.dictionary, tile.count, rows);
                   for (int r = 0; r < tile.count; ++r) take(coder, r, groups.signal(tile.first + r));
                 }
               });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
