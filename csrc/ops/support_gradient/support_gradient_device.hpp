// SPDX-License-Identifier: Apache-2.0
// The gradient of a code on its support on a device: a warp a signal.
//
// Nobody knows the sizes of supports before the device has looked, and nobody waits for it. So a first launch
// takes the signals whose equations fit into shared memory and notes how many atoms the others have; a second
// one, where a support can be larger, takes those in global memory.
#pragma once

#include <cstdint>

#include "device/queue.hpp"
#include "device/tables.hpp"
#include "device/tile_table.hpp"
#include "device/warp_team.hpp"
#include "ops/support_gradient/support_gradient.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct SupportGradientArguments {
  DeviceGrams tables;
  SupportTask task;
  const float* given;           // of codes [batch, width], else [batch, features]
  bool dense;                   // whether `codes` tell the supports, or `indices`
  const std::int32_t* indices;  // [batch, width]
  const float* codes;           // [batch, width]
  const std::int64_t* index;    // [batch], or null
  std::int64_t batch, dictionaries;
  int width;
  int most;          // atoms of a support that a warp has memory for
  int* counts;       // [batch], atoms of each support
  float* workspace;  // of the second launch, a part for each warp
  float* result;     // codes: [batch, width], else [batch, features]

  // The atom that column `column` of a row adds to its support, or -1.
  SRDFAST_INLINE int atom(std::int64_t signal, int column) const {
    if (column >= width) return -1;
    const std::int64_t at = signal * width + column;
    if (dense) return codes[at] != 0 ? column : -1;
    return indices[at] < tables.atoms ? indices[at] : -1;
  }
};

// What a warp works in, for supports of `most` atoms.
class SupportMemory {
 public:
  SRDFAST_INLINE static std::int64_t bytes(int most) {
    return SharedMemory::bytes<std::int32_t>(most) + 2 * SharedMemory::bytes<float>(most) +
           SharedMemory::bytes<float>(elimination_size(most));
  }

  SRDFAST_INLINE SupportMemory(void* start, int most) {
    SharedMemory memory(start);
    indices = memory.take<std::int32_t>(most);
    values = memory.take<float>(most);
    inverses = memory.take<float>(most);
    upper = memory.take<float>(elimination_size(most));
  }

  std::int32_t* indices;
  float *values, *inverses, *upper;
};

template <class Block>
class SupportGradientWarp {
 public:
  SRDFAST_INLINE SupportGradientWarp(const Block& block, const SupportGradientArguments& args, void* memory)
      : block_(block), args_(args), memory_(memory, args.most) {}

  // Finds the support, and what was given for its atoms. Returns how many it has, of which as many are kept
  // as there is memory for.
  SRDFAST_INLINE int collect(std::int64_t signal) const {
    block_.sync_warp();  // the last signal is done with the memory
    const int count = for_each_atom(signal, [&](int column, int atom, int place) {
      memory_.indices[place] = atom;
      if (args_.task == SupportTask::of_codes) {
        memory_.values[place] = args_.given[signal * args_.width + column];
      }
    });
    block_.sync_warp();
    return count;
  }

  SRDFAST_INLINE void run(std::int64_t signal, int count) const {
    const int atoms = args_.tables.atoms, features = args_.tables.features;
    const std::int64_t dictionary = dictionary_of(args_.index, signal, args_.dictionaries);
    const float* const entries = args_.tables.dictionary_at(dictionary);
    const float* const gram = args_.tables.gram_at(dictionary);
    const std::int32_t* const indices = memory_.indices;
    if (args_.task != SupportTask::of_codes) correlate(entries, args_.given + signal * features, count);
    solve_on_support(
        WarpTeam<Block>(block_), count, features,
        [=](int j, int i) { return gram[std::int64_t{indices[j]} * atoms + indices[i]]; }, memory_.upper,
        memory_.inverses, memory_.values);
    if (args_.task == SupportTask::codes) {
      scatter(signal);
    } else {
      combine(entries, count, args_.result + signal * features);
    }
  }

 private:
  // function(column, atom, place) for the atoms of a support for which there is memory, on the lane that has
  // the column. Returns how many atoms there are.
  template <class Function>
  SRDFAST_INLINE int for_each_atom(std::int64_t signal, const Function& function) const {
    int count = 0;
    for (int first = 0; first < args_.width; first += kWarp) {
      const int column = first + block_.lane(), atom = args_.atom(signal, column);
      if (block_.largest(atom >= 0 ? 1u : 0u) == 0) continue;
      const int upto = inclusive_sum(block_, atom >= 0 ? 1 : 0), place = count + upto - 1;
      if (atom >= 0 && place < args_.most) function(column, atom, place);
      count += block_.shuffle(upto, kWarp - 1);
    }
    return count;
  }

  // values = the inner products of the atoms with a vector [features], some of them at once.
  SRDFAST_INLINE void correlate(const float* entries, const float* vector, int count) const {
    constexpr int kTogether = 4;
    const int features = args_.tables.features;
    for (int first = 0; first < count; first += kTogether) {
      const float* atoms[kTogether];
      float sums[kTogether] = {};
      SRDFAST_UNROLL
      for (int a = 0; a < kTogether; ++a) {
        const int place = first + a < count ? first + a : count - 1;
        atoms[a] = entries + std::int64_t{memory_.indices[place]} * features;
      }
      for (int f = block_.lane(); f < features; f += kWarp) {
        const float value = vector[f];
        SRDFAST_UNROLL
        for (int a = 0; a < kTogether; ++a) sums[a] += value * atoms[a][f];
      }
      for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        SRDFAST_UNROLL
        for (int a = 0; a < kTogether; ++a) {
          sums[a] += block_.shuffle(sums[a], block_.lane() ^ distance);
        }
      }
      SRDFAST_UNROLL
      for (int a = 0; a < kTogether; ++a) {
        if (block_.lane() == a && first + a < count) memory_.values[first + a] = sums[a];
      }
    }
    block_.sync_warp();
  }

  // out [features] = D_S^T values
  SRDFAST_INLINE void combine(const float* entries, int count, float* out) const {
    const int features = args_.tables.features;
    for (int f = block_.lane(); f < features; f += kWarp) {
      float sum = 0;
      for (int j = 0; j < count; ++j) {
        sum += memory_.values[j] * entries[std::int64_t{memory_.indices[j]} * features + f];
      }
      out[f] = sum;
    }
  }

  // The values, where their atoms were taken from.
  SRDFAST_INLINE void scatter(std::int64_t signal) const {
    float* const out = args_.result + signal * args_.width;
    for (int i = block_.lane(); i < args_.width; i += kWarp) out[i] = 0;  // the lane that has the column
    for_each_atom(signal, [&](int column, int, int place) { out[column] = memory_.values[place]; });
  }

  const Block& block_;
  const SupportGradientArguments& args_;
  SupportMemory memory_;
};

// Signals whose support is not larger than `most`, in shared memory.
struct SmallSupportsBody {
  static constexpr int kThreads = 128;
  static constexpr bool kFewerWillDo = true;
  static constexpr int kResident = 4;
  using Arguments = SupportGradientArguments;

  static std::int64_t shared_bytes(const Arguments& args) {
    return kThreads / kWarp * SupportMemory::bytes(args.most);
  }

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    const SupportGradientWarp<Block> warp(
        block, args, static_cast<char*>(shared) + block.warp() * SupportMemory::bytes(args.most));
    const std::int64_t step = std::int64_t{block.blocks()} * block.warps();
    for (std::int64_t i = std::int64_t{block.index()} * block.warps() + block.warp(); i < args.batch;
         i += step) {
      const int count = warp.collect(i);
      if (block.lane() == 0) args.counts[i] = count;
      if (count <= args.most) warp.run(i, count);
    }
  }
};

// The others, each block of one warp in its part of the workspace.
struct LargeSupportsBody {
  static constexpr int kThreads = kWarp;
  static constexpr bool kFewerWillDo = false;
  static constexpr int kResident = 16;
  struct Arguments {
    SupportGradientArguments common;
    int least;  // atoms of the smallest support that the first launch left over
  };

  static std::int64_t shared_bytes(const Arguments&) { return 0; }

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void*) {
    const SupportGradientArguments& common = args.common;
    const SupportGradientWarp<Block> warp(
        block, common,
        reinterpret_cast<char*>(common.workspace) + block.index() * SupportMemory::bytes(common.most));
    for (std::int64_t i = block.index(); i < common.batch; i += block.blocks()) {
      if (common.counts[i] < args.least) continue;
      const int count = warp.collect(i);
      warp.run(i, count < common.most ? count : common.most);
    }
  }
};

// Warps of the second launch: as many as keep a GPU busy, in no more memory than this.
SRDFAST_INLINE std::int64_t large_support_warps(std::int64_t batch, int most) {
  constexpr std::int64_t kMostBytes = std::int64_t{64} << 20, kMostWarps = 2048;
  std::int64_t warps = kMostBytes / SupportMemory::bytes(most);
  warps = warps > kMostWarps ? kMostWarps : warps < 1 ? 1 : warps;
  return warps < batch ? warps : batch;
}

template <class Queue>
void support_gradient_device(Queue& queue, const SupportGradientProblem<float>& problem) {
  constexpr int kShared = 64;  // atoms: their equations leave room for six blocks of an H100's shared memory
  const DeviceGrams tables = problem_grams(queue, problem);
  const std::int64_t batch = problem.given.extent(0);
  const int most = problem.most_atoms();
  SupportGradientArguments args{tables,
                                problem.task,
                                problem.given.data,
                                problem.dense,
                                problem.indices.data,
                                problem.codes.data,
                                problem.index.data,
                                batch,
                                problem.dictionary.extent(0),
                                static_cast<int>(problem.width()),
                                most < kShared ? most : kShared,
                                queue.template take<int>(batch),
                                nullptr,
                                problem.result.data};
  constexpr int kWarps = SmallSupportsBody::kThreads / kWarp;
  queue.template launch<SmallSupportsBody>((batch + kWarps - 1) / kWarps, args);
  if (most <= kShared) return;
  const std::int64_t warps = large_support_warps(batch, most);
  args.most = most;
  args.workspace = queue.template take<float>(warps * SupportMemory::bytes(most) / sizeof(float));
  queue.template launch<LargeSupportsBody>(warps, {args, kShared + 1});
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
