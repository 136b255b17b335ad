// SPDX-License-Identifier: Apache-2.0
// Runs the bodies of a device (device/queue.hpp) on threads of the CPU, one for each thread of a block: a
// sanitizer then finds a missing sync, and memory that a body must not touch.
#pragma once

#include <atomic>
#include <barrier>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "device/fragments.hpp"
#include "device/queue.hpp"

namespace srdfast {

class HostBlock {
 public:
  struct Warp {
    std::barrier<> arrived{kWarp};
    double values[kWarp];
    float left[kWarp][4], right[kWarp][2];
  };

  struct State {
    explicit State(int threads) : threads(threads), arrived(threads) {
      for (int w = 0; w < threads / kWarp; ++w) warps.push_back(std::make_unique<Warp>());
    }
    int threads;
    std::barrier<> arrived;
    std::vector<std::unique_ptr<Warp>> warps;
    std::atomic<bool> rounded{false};  // a factor came to `multiply` that tensor cores would have rounded
  };

  HostBlock(State& state, std::int64_t index, std::int64_t blocks, int thread)
      : state_(state), index_(static_cast<int>(index)), blocks_(static_cast<int>(blocks)), thread_(thread) {}

  int index() const { return index_; }
  int blocks() const { return blocks_; }
  int thread() const { return thread_; }
  int threads() const { return state_.threads; }
  int lane() const { return thread_ % kWarp; }
  int warp() const { return thread_ / kWarp; }
  int warps() const { return threads() / kWarp; }

  void sync() const { state_.arrived.arrive_and_wait(); }
  void sync_warp() const { mine().arrived.arrive_and_wait(); }

  template <class T>
  T shuffle(T value, int from_lane) const {
    mine().values[lane()] = static_cast<double>(value);
    sync_warp();
    const T theirs = static_cast<T>(mine().values[from_lane]);
    sync_warp();
    return theirs;
  }

  unsigned largest(unsigned number) const {
    return over_lanes(number, [](unsigned a, unsigned b) { return a > b ? a : b; });
  }
  unsigned smallest(unsigned number) const {
    return over_lanes(number, [](unsigned a, unsigned b) { return a < b ? a : b; });
  }

  int add(int* counter, int amount) const { return std::atomic_ref<int>(*counter).fetch_add(amount); }

  // Products of numbers of 10 bits of mantissa, added up like those of a GPU in a wider sum.
  void multiply(float (&sums)[4], const float (&left)[4], const float (&right)[2]) const {
    std::memcpy(mine().left[lane()], left, sizeof(left));
    std::memcpy(mine().right[lane()], right, sizeof(right));
    sync_warp();
    const int place = lane() / 4, part = lane() % 4;
    for (int i = 0; i < 4; ++i) {
      const int lower = i / 2, column = 2 * part + i % 2;
      double sum = static_cast<double>(sums[i]);
      for (int k = 0; k < 8; ++k) {
        const float a = mine().left[place * 4 + k % 4][2 * (k / 4) + lower];
        const float b = mine().right[column * 4 + k % 4][k / 4];
        if (nearest_tf32(a) != a || nearest_tf32(b) != b) state_.rounded = true;
        sum += static_cast<double>(a) * static_cast<double>(b);
      }
      sums[i] = static_cast<float>(sum);
    }
    sync_warp();
  }

 private:
  Warp& mine() const { return *state_.warps[static_cast<std::size_t>(warp())]; }

  template <class Combine>
  unsigned over_lanes(unsigned number, const Combine& combine) const {
    mine().values[lane()] = static_cast<double>(number);
    sync_warp();
    unsigned all = number;
    for (double value : mine().values) all = combine(all, static_cast<unsigned>(value));
    sync_warp();
    return all;
  }

  State& state_;
  int index_, blocks_, thread_;
};

class HostQueue {
 public:
  // shared_limit: bytes of shared memory that a block may have; where a body cannot do with less, it gets
  // more.
  explicit HostQueue(std::int64_t shared_limit) : shared_limit_(shared_limit) {}

  // Memory of its own for every request, so that an address sanitizer sees where it ends; filled with NaN, so
  // that what nobody wrote shows.
  template <class T>
  T* take(std::int64_t count) {
    taken_ += aligned_bytes(count * static_cast<std::int64_t>(sizeof(T)));
    return static_cast<T*>(allocate(count * static_cast<std::int64_t>(sizeof(T))));
  }

  template <class Body>
  void launch(std::int64_t blocks, const typename Body::Arguments& arguments) {
    constexpr int kEnough = 2 * kWarp;  // threads are dear on a CPU, and races show among these
    constexpr int kThreads = Body::kFewerWillDo && Body::kThreads > kEnough ? kEnough : Body::kThreads;
    HostBlock::State state(kThreads);
    void* const shared = allocate(Body::shared_bytes(arguments));
    const auto run_thread = [&](int thread) {
      for (std::int64_t index = 0; index < blocks; ++index) {
        const HostBlock block(state, index, blocks, thread);
        Body::run(block, arguments, shared);
        block.sync();
      }
    };
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) threads.emplace_back(run_thread, thread);
    for (std::thread& thread : threads) thread.join();
    rounded_ = rounded_ || state.rounded;
  }

  std::int64_t shared_limit() const { return shared_limit_; }
  std::int64_t taken() const { return taken_; }
  bool rounded() const { return rounded_; }

 private:
  using Memory = std::unique_ptr<void, std::function<void(void*)>>;

  void* allocate(std::int64_t bytes) {
    constexpr std::align_val_t kAlignment{16};
    void* const memory = ::operator new(static_cast<std::size_t>(bytes), kAlignment);
    std::memset(memory, 0xff, static_cast<std::size_t>(bytes));
    memory_.push_back(Memory(memory, [](void* held) { ::operator delete(held, kAlignment); }));
    return memory;
  }

  std::int64_t shared_limit_, taken_ = 0;
  bool rounded_ = false;
  std::vector<Memory> memory_;
};

// Takes its memory from a workspace that the caller has, as a GPU does.
class InPlaceQueue : public HostQueue {
 public:
  InPlaceQueue(void* start, std::int64_t shared_limit) : HostQueue(shared_limit), place_(start) {}

  template <class T>
  T* take(std::int64_t count) {
    return place_.template take<T>(count);
  }

 private:
  PlacingQueue place_;
};

}  // namespace srdfast
