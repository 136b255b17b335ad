// SPDX-License-Identifier: Apache-2.0
// The most likely clusters of a batch on a device: a warp takes a few latents, a lane a cluster.
#pragma once

#include "device/fragments.hpp"
#include "device/queue.hpp"
#include "ops/assign/assign.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// The two largest scores among the clusters that a lane, and then a warp, has seen.
struct DeviceRanking {
  float best = -kInfinity<float>, second = -kInfinity<float>;
  int index = 0;

  SRDFAST_INLINE void offer(int cluster, float score) {
    if (score > best) {
      second = best;
      best = score;
      index = cluster;
    } else if (score > second) {
      second = score;
    }
  }

  // Joins what other clusters came to.
  SRDFAST_INLINE void join(float other_best, float other_second, int other_index) {
    const bool theirs = other_best > best || (other_best == best && other_index < index);
    const float lesser = theirs ? best : other_best, rest = theirs ? other_second : second;
    second = lesser > rest ? lesser : rest;
    if (theirs) {
      best = other_best;
      index = other_index;
    }
  }
};

struct AssignBody {
  static constexpr int kThreads = 128;
  static constexpr bool kFewerWillDo = true;
  static constexpr int kResident = 4;
  static constexpr int kRows = 8;            // latents of a warp
  static constexpr int kStride = kRows + 4;  // between features in shared memory; whole 16 bytes
  static constexpr int kWarps = kThreads / kWarp;

  using Arguments = AssignProblem<float>;

  SRDFAST_INLINE static std::int64_t tiles(const Arguments& args) {
    return (args.latents.extent(0) + kRows - 1) / kRows;
  }
  static std::int64_t shared_bytes(const Arguments&) {
    return SharedMemory::bytes<float>(kWarps * kWarp * kStride);
  }

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    float* const rows = static_cast<float*>(shared) + block.warp() * kWarp * kStride;
    const std::int64_t step = std::int64_t{block.blocks()} * block.warps();
    for (std::int64_t tile = std::int64_t{block.index()} * block.warps() + block.warp(); tile < tiles(args);
         tile += step) {
      assign_tile(block, args, tile * kRows, rows);
    }
  }

 private:
  template <class Block>
  SRDFAST_INLINE static void assign_tile(const Block& block, const Arguments& args, std::int64_t first,
                                         float* rows) {
    const int clusters = static_cast<int>(args.offsets.extent(0));
    DeviceRanking rankings[kRows];
    for (int group = 0; group < clusters; group += kWarp) {
      const int cluster = group + block.lane();
      const int column = cluster < clusters ? cluster : clusters - 1;
      float distances[kRows];
      measure(block, args, first, column, rows, distances);
      const float offset = args.offsets.data[column];
      SRDFAST_UNROLL
      for (int r = 0; r < kRows; ++r) {
        rankings[r].offer(column, cluster < clusters ? offset - distances[r] : -kInfinity<float>);
      }
    }
    SRDFAST_UNROLL
    for (int r = 0; r < kRows; ++r) {
      for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        const int other = block.lane() ^ distance;
        rankings[r].join(block.shuffle(rankings[r].best, other), block.shuffle(rankings[r].second, other),
                         block.shuffle(rankings[r].index, other));
      }
      if (block.lane() == r && first + r < args.latents.extent(0)) {
        args.index.data[first + r] = rankings[r].index;
        args.log_likelihood.data[first + r] = rankings[r].best;
        args.margin.data[first + r] = margin_of(rankings[r].best, rankings[r].second);
      }
    }
  }

  // distances [kRows] = those of the warp's latents from one cluster a lane; 32 features at a time lie in
  // shared memory, rows [32, kStride].
  template <class Block>
  SRDFAST_INLINE static void measure(const Block& block, const Arguments& args, std::int64_t first,
                                     int column, float* rows, float (&distances)[kRows]) {
    const int latent = static_cast<int>(args.centre.extent(0));
    const std::int64_t clusters = args.offsets.extent(0), last = args.latents.extent(0) - 1;
    SRDFAST_UNROLL
    for (int r = 0; r < kRows; ++r) distances[r] = 0;
    for (int start = 0; start < latent; start += kWarp) {
      const int count = latent - start < kWarp ? latent - start : kWarp;
      block.sync_warp();  // the features of before have been read
      if (block.lane() < count) {
        const float centre = args.centre.data[start + block.lane()];
        SRDFAST_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const std::int64_t row = first + r < last ? first + r : last;
          rows[block.lane() * kStride + r] = args.latents.data[row * latent + start + block.lane()] - centre;
        }
      }
      block.sync_warp();
      const float* scales = args.scales.data + start * clusters + column;
      const float* shifts = args.shifts.data + start * clusters + column;
      for (int f = 0; f < count; ++f, scales += clusters, shifts += clusters) {
        const Four* const values = reinterpret_cast<const Four*>(rows + f * kStride);
        const float scale = *scales, shift = *shifts;
        SRDFAST_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const float away = scale * values[r / 4].values[r % 4] - shift;
          distances[r] += away * away;
        }
      }
    }
  }
};

template <class Queue>
void assign_device(Queue& queue, const AssignProblem<float>& problem) {
  constexpr int kWarps = AssignBody::kWarps;
  queue.template launch<AssignBody>((AssignBody::tiles(problem) + kWarps - 1) / kWarps, problem);
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
