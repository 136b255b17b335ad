// SPDX-License-Identifier: Apache-2.0
// Blocks that need more shared memory than a GPU has: theirs lies in the workspace.
//
// It is slower there, so that a body should ask for less first. Fewer blocks are launched, as many as get a
// part of that memory, and each does the work of several, one after the other. The bodies are the same, and
// so are the bits.
#pragma once

#include <cstdint>

#include "device/queue.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

constexpr std::int64_t kMostSpilledBlocks = 264;  // two for each multiprocessor of a large GPU
constexpr std::int64_t kMostSpilledBytes = std::int64_t{256} << 20;  // of all of them, where one needs less

// A block that does the work of block `index` of `blocks`.
template <class Block>
class StandInBlock : public Block {
 public:
  SRDFAST_INLINE StandInBlock(const Block& block, std::int64_t index, std::int64_t blocks)
      : Block(block), index_(static_cast<int>(index)), blocks_(static_cast<int>(blocks)) {}

  SRDFAST_INLINE int index() const { return index_; }
  SRDFAST_INLINE int blocks() const { return blocks_; }

 private:
  int index_, blocks_;
};

template <class Body>
struct SpilledBody {
  static constexpr int kThreads = Body::kThreads;
  static constexpr bool kFewerWillDo = Body::kFewerWillDo;
  static constexpr int kResident = Body::kResident;

  struct Arguments {
    typename Body::Arguments body;
    std::int64_t blocks;  // that the body has
    char* memory;         // [blocks launched, bytes]
    std::int64_t bytes;
  };

  static std::int64_t shared_bytes(const Arguments&) { return 0; }

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    char* const memory = args.memory + block.index() * args.bytes;
    for (std::int64_t index = block.index(); index < args.blocks; index += block.blocks()) {
      Body::run(StandInBlock<Block>(block, index, args.blocks), args.body, memory);
      block.sync();  // the memory has been read
    }
  }
};

// Launches of one body, with `Body::kMaySpill`: whether it may need more shared memory than there is.
template <class Body, class Queue>
class SpillingLaunches {
 public:
  // For launches of at most `most_blocks` blocks whose arguments ask for as much shared memory as these.
  SpillingLaunches(Queue& queue, std::int64_t most_blocks, const typename Body::Arguments& arguments)
      : queue_(queue), bytes_(aligned_bytes(Body::shared_bytes(arguments))) {
    if (!Body::kMaySpill || bytes_ <= queue.shared_limit()) return;
    const std::int64_t fitting = kMostSpilledBytes / bytes_;
    most_ = fitting < 1 ? 1 : fitting < kMostSpilledBlocks ? fitting : kMostSpilledBlocks;
    if (most_blocks < most_) most_ = most_blocks;
    memory_ = queue.template take<char>(most_ * bytes_);
  }

  void launch(std::int64_t blocks, const typename Body::Arguments& arguments) {
    require_launchable(blocks);
    if constexpr (Body::kMaySpill) {
      if (most_ >= 0) {
        queue_.template launch<SpilledBody<Body>>(blocks < most_ ? blocks : most_,
                                                  {arguments, blocks, memory_, bytes_});
        return;
      }
    }
    queue_.template launch<Body>(blocks, arguments);
  }

 private:
  Queue& queue_;
  std::int64_t bytes_;
  std::int64_t most_ = -1;  // blocks that get memory; -1: shared memory is enough
  char* memory_ = nullptr;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
