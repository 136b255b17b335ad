// SPDX-License-Identifier: Apache-2.0
#include "core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace srdfast {
namespace {

struct Loop {
  std::int64_t count;
  std::int64_t grain;
  RangeFunction body;
  void* context;
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;

  void run() {
    try {
      while (!failed.load(std::memory_order_relaxed)) {
        const std::int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count) return;
        body(context, begin, std::min(begin + grain, count));
      }
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Looks at a condition again and again for a short while; waking a thread that sleeps takes far longer than
// most pauses between two loops.
template <class Condition>
void spin_until(const Condition& condition) {
  constexpr auto kPatience = std::chrono::microseconds(200);
  const auto start = std::chrono::steady_clock::now();
  while (!condition() && std::chrono::steady_clock::now() - start < kPatience) {
    for (int i = 0; i < 16; ++i) pause();
    std::this_thread::yield();  // should the thread that is waited for share this processor
  }
}

// Workers wait until a loop is posted; the posting thread works too and waits for them at the end.
class Pool {
 public:
  void run(Loop& loop, int helpers) {
    {
      std::lock_guard lock(mutex_);
      while (static_cast<int>(workers_.size()) < helpers) {
        workers_.emplace_back([this] { work(); });
      }
      loop_ = &loop;
      invited_ = helpers;
    }
    posted_.notify_all();
    loop.run();
    {
      std::lock_guard lock(mutex_);
      loop_ = nullptr;
      invited_ = 0;
    }
    spin_until([this] { return busy_ == 0; });
    std::unique_lock lock(mutex_);
    left_.wait(lock, [this] { return busy_ == 0; });
  }

  std::mutex in_use;  // held by the caller whose loop runs

 private:
  void work() {
    for (;;) {
      spin_until([this] { return invited_ > 0; });
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [this] { return invited_ > 0; });
      Loop* loop = loop_;
      --invited_;
      ++busy_;
      lock.unlock();
      loop->run();
      lock.lock();
      if (--busy_ == 0) left_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable posted_, left_;
  std::vector<std::thread> workers_;
  Loop* loop_ = nullptr;
  std::atomic<int> invited_{0}, busy_{0};  // written under the mutex, looked at without it
};

// The pool is never destroyed: its workers may still sleep in it when the process ends. A forked child has
// none of its parent's threads, so it leaves the old pool alone and makes a new one.
std::atomic<Pool*> pool{nullptr};
std::atomic<int> thread_count{0};

void make_pool() { pool.store(new Pool); }

Pool& the_pool() {
  static const bool ready = [] {
    make_pool();
#if defined(__linux__)
    pthread_atfork(nullptr, nullptr, make_pool);
#endif
    return true;
  }();
  static_cast<void>(ready);
  return *pool.load();
}

int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

int default_num_threads() {
  const char* asked = std::getenv("SRDFAST_NUM_THREADS");
  if (asked == nullptr || *asked == '\0') return processors();
  char* end = nullptr;
  const long count = std::strtol(asked, &end, 10);
  if (*end != '\0' || count < 1 || count > 1024) {
    throw std::invalid_argument("SRDFAST_NUM_THREADS: expected a whole number from 1 to 1024, got '" +
                                std::string(asked) + "'");
  }
  return static_cast<int>(count);
}

}  // namespace

void set_num_threads(int count) {
  if (count < 1 || count > 1024) {
    throw std::invalid_argument("count: expected from 1 to 1024 threads, got " + std::to_string(count));
  }
  thread_count.store(count);
}

int num_threads() {
  if (thread_count.load() == 0) thread_count.store(default_num_threads());
  return thread_count.load();
}

void parallel_ranges(std::int64_t count, std::int64_t grain, RangeFunction body, void* context) {
  if (count <= 0) return;
  Loop loop{count, std::max<std::int64_t>(grain, 1), body, context, {}, {}, {}};
  const std::int64_t ranges = (count + loop.grain - 1) / loop.grain;
  const int helpers = static_cast<int>(std::min<std::int64_t>(ranges, num_threads())) - 1;
  Pool& shared = the_pool();
  if (helpers > 0 && shared.in_use.try_lock()) {
    std::lock_guard lock(shared.in_use, std::adopt_lock);
    shared.run(loop, helpers);
  } else {
    loop.run();
  }
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace srdfast
