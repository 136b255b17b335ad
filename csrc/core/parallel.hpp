// SPDX-License-Identifier: Apache-2.0
// Splits a loop over the threads of one pool.
#pragma once

#include <cstdint>

#include "core/level.hpp"

namespace srdfast {

// Threads that a loop may use, the caller's included. The default is SRDFAST_NUM_THREADS, else the number of
// processors this process may run on. Throws std::invalid_argument for a count below 1.
void set_num_threads(int count);
int num_threads();

using RangeFunction = void (*)(void* context, std::int64_t begin, std::int64_t end);

// Calls `body` on disjoint ranges of at most `grain` indices that cover [0, count). The ranges do not depend
// on the number of threads. When the pool is busy with another caller's loop, this one runs on its own
// thread. The first exception of a body is thrown to the caller after the loop has ended.
void parallel_ranges(std::int64_t count, std::int64_t grain, RangeFunction body, void* context);

// The same for a callable body(begin, end).
template <class Body>
SRDFAST_INLINE void parallel_for(std::int64_t count, std::int64_t grain, const Body& body) {
  parallel_ranges(
      count, grain,
      [](void* context, std::int64_t begin, std::int64_t end) {
        (*static_cast<const Body*>(context))(begin, end);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace srdfast
