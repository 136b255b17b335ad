// SPDX-License-Identifier: Apache-2.0
// An operator on a device: a sequence of launches, on memory taken from a workspace that its caller gives.
//
// The sequence is written once, as a function of a queue:
//
//     queue.take<T>(count)            device memory of the call, aligned, uninitialised
//     queue.launch<Body>(blocks, arguments)
//     queue.shared_limit()            bytes of shared memory that a block may have
//
// A body is the work of one block of threads:
//
//     struct Body {
//       static constexpr int kThreads;                   // a multiple of 32
//       static constexpr bool kFewerWillDo;              // it also works with fewer threads than that
//       static constexpr int kResident;                  // blocks whose registers a multiprocessor has room
//       for struct Arguments;                                // plain data static std::int64_t
//       shared_bytes(const Arguments&); template <class Block> static void run(const Block&, const
//       Arguments&, void* shared);
//     };
//
// `PlacingQueue` finds the size of the workspace, `cuda::Queue` (cuda/queue.hpp) launches on a GPU, and
// `HostQueue` (tests/host_queue.hpp) runs the same blocks on threads of the CPU.
//
// What a body may ask of its block:
//
//     index() blocks()                which block of how many
//     thread() threads()              which thread of the block, of how many
//     lane() warp() warps()           its place among the 32 lanes of a warp, and the warp's among the warps
//     sync() sync_warp()              what the block's (warp's) threads wrote before is seen by them after
//     shuffle(value, lane)            the value that a lane of the warp holds
//     largest(number) smallest(..)    of an unsigned number over the warp
//     add(counter, amount)            atomic; returns what was there before
//     multiply(sums, left, right)     the tensor cores' 16 x 8 x 8 product, see device/fragments.hpp
#pragma once

#include <cstdint>

#include "core/errors.hpp"
#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr std::int64_t kDeviceAlignment = 256;  // bytes, as cudaMalloc's

SRDFAST_INLINE std::int64_t aligned_bytes(std::int64_t bytes) {
  return (bytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
}

// Hands out memory and launches nothing: on null it finds the size of a workspace, for blocks that may have
// so much shared memory; and on tables that were made before, where each of them is.
class PlacingQueue {
 public:
  explicit PlacingQueue(const void* start) : start_(static_cast<char*>(const_cast<void*>(start))) {}
  explicit PlacingQueue(std::int64_t shared_limit) : shared_limit_(shared_limit) {}

  template <class T>
  T* take(std::int64_t count) {
    char* const taken = start_ == nullptr ? nullptr : start_ + bytes_;
    bytes_ += aligned_bytes(count * static_cast<std::int64_t>(sizeof(T)));
    return reinterpret_cast<T*>(taken);
  }

  template <class Body>
  void launch(std::int64_t, const typename Body::Arguments&) {}

  std::int64_t shared_limit() const { return shared_limit_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  char* start_ = nullptr;
  std::int64_t shared_limit_ = 0, bytes_ = 0;
};

// Blocks are counted in an int.
inline void require_launchable(std::int64_t blocks) {
  if (blocks > 0x7fffffff) throw DeviceError("more work than one call can launch: split the batch");
}

// function(i) for every i in [0, count), shared among the threads of all blocks.
template <class Block, class Function>
SRDFAST_INLINE void for_each_item(const Block& block, std::int64_t count, const Function& function) {
  const std::int64_t step = std::int64_t{block.blocks()} * block.threads();
  for (std::int64_t i = std::int64_t{block.index()} * block.threads() + block.thread(); i < count;
       i += step) {
    function(i);
  }
}

// What bodies that go through their work by `for_each_item` have in common.
struct ItemBody {
  static constexpr int kThreads = 256;
  static constexpr bool kFewerWillDo = true;
  static constexpr int kResident = 1;

  template <class Arguments>
  static std::int64_t shared_bytes(const Arguments&) {
    return 0;
  }
};

// Launches an ItemBody with a thread for each of `items`.
template <class Body, class Queue>
void launch_items(Queue& queue, std::int64_t items, const typename Body::Arguments& arguments) {
  queue.template launch<Body>((items + Body::kThreads - 1) / Body::kThreads, arguments);
}

// Hands out parts of a block's shared memory.
class SharedMemory {
 public:
  SRDFAST_INLINE explicit SharedMemory(void* start) : next_(static_cast<char*>(start)) {}

  template <class T>
  SRDFAST_INLINE T* take(std::int64_t count) {
    T* const taken = reinterpret_cast<T*>(next_);
    next_ += bytes<T>(count);
    return taken;
  }

  // What `take` uses up: whole 16 bytes, the widest access.
  template <class T>
  SRDFAST_INLINE static std::int64_t bytes(std::int64_t count) {
    return (count * static_cast<std::int64_t>(sizeof(T)) + 15) / 16 * 16;
  }

 private:
  char* next_;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
