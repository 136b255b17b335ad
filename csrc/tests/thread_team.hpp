// SPDX-License-Identifier: Apache-2.0
// A team of real threads that runs the same bodies as SerialTeam: a thread sanitizer then finds a missing
// sync.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "core/team.hpp"

namespace srdfast {

class ThreadTeam {
 public:
  static constexpr int kMostLanes = 8;

  struct Shared {
    explicit Shared(int lanes) : lanes(lanes) {}

    // Returns when all lanes have arrived. Sleeps instead of spinning: lanes may outnumber processors.
    void wait() {
      std::unique_lock lock(mutex);
      const long arrival_round = round;
      if (++arrived == lanes) {
        arrived = 0;
        ++round;
        all_arrived.notify_all();
      } else {
        all_arrived.wait(lock, [&] { return round != arrival_round; });
      }
    }

    int lanes;
    int arrived = 0;
    long round = 0;
    std::mutex mutex;
    std::condition_variable all_arrived;
    double values[kMostLanes];
    int indices[kMostLanes];
  };

  ThreadTeam(Shared& shared, int lane) : shared_(shared), lane_(lane) {}

  template <class Function>
  void for_each(int count, const Function& function) const {
    for (int i = lane_; i < count; i += shared_.lanes) function(i);
  }

  template <class T, class Function>
  T sum(int count, const Function& function) const {
    sync();
    double mine = 0;
    for (int i = lane_; i < count; i += shared_.lanes) mine += static_cast<double>(function(i));
    shared_.values[lane_] = mine;
    sync();
    double total = 0;
    for (int lane = 0; lane < shared_.lanes; ++lane) total += shared_.values[lane];
    sync();
    return static_cast<T>(total);
  }

  template <class T, class Function>
  Best<T> best(int count, const Function& function) const {
    sync();
    int index = -1;
    T value{};
    for (int i = lane_; i < count; i += shared_.lanes) {
      const T candidate = function(i);
      if (index < 0 || candidate > value) {
        value = candidate;
        index = i;
      }
    }
    shared_.values[lane_] = static_cast<double>(value);
    shared_.indices[lane_] = index;
    sync();
    Best<T> best{T{}, -1};
    for (int lane = 0; lane < shared_.lanes; ++lane) {
      const int other = shared_.indices[lane];
      if (other < 0) continue;
      const T theirs = static_cast<T>(shared_.values[lane]);
      if (best.index < 0 || theirs > best.value || (theirs == best.value && other < best.index)) {
        best = {theirs, other};
      }
    }
    sync();
    return best;
  }

  template <class Function>
  void once(const Function& function) const {
    if (lane_ == 0) function();
  }

  void sync() const { shared_.wait(); }

 private:
  Shared& shared_;
  int lane_;
};

// Runs body(team) on every lane of a new team.
template <class Body>
void run_team(int lanes, const Body& body) {
  ThreadTeam::Shared shared(lanes);
  std::vector<std::thread> threads;
  for (int lane = 0; lane < lanes; ++lane) {
    threads.emplace_back([&shared, &body, lane] { body(ThreadTeam(shared, lane)); });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace srdfast
