// SPDX-License-Identifier: Apache-2.0
// A block of CUDA threads, as device/queue.hpp describes what a body may ask of it.
#pragma once

#include <cuda_runtime.h>

#include "core/level.hpp"

namespace srdfast::cuda {

// Bodies are compiled for host and device alike, and run on the device: what only exists there is hidden from
// the host's compilation.
#if defined(__CUDA_ARCH__)
#define SRDFAST_ON_DEVICE(expression) return expression
#else
#define SRDFAST_ON_DEVICE(expression) __builtin_trap()
#endif

class Block {
 public:
  SRDFAST_INLINE int index() const { SRDFAST_ON_DEVICE(static_cast<int>(blockIdx.x)); }
  SRDFAST_INLINE int blocks() const { SRDFAST_ON_DEVICE(static_cast<int>(gridDim.x)); }
  SRDFAST_INLINE int thread() const { SRDFAST_ON_DEVICE(static_cast<int>(threadIdx.x)); }
  SRDFAST_INLINE int threads() const { SRDFAST_ON_DEVICE(static_cast<int>(blockDim.x)); }
  SRDFAST_INLINE int lane() const { return thread() % 32; }
  SRDFAST_INLINE int warp() const { return thread() / 32; }
  SRDFAST_INLINE int warps() const { return threads() / 32; }

  SRDFAST_INLINE void sync() const { SRDFAST_ON_DEVICE(__syncthreads()); }
  SRDFAST_INLINE void sync_warp() const { SRDFAST_ON_DEVICE(__syncwarp()); }

  template <class T>
  SRDFAST_INLINE T shuffle(T value, int from_lane) const {
    SRDFAST_ON_DEVICE(__shfl_sync(kAllLanes, value, from_lane));
  }

  SRDFAST_INLINE unsigned largest(unsigned number) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    for (int distance = 16; distance > 0; distance /= 2)
      number = max(number, shuffle(number, lane() ^ distance));
    return number;
#else
    SRDFAST_ON_DEVICE(__reduce_max_sync(kAllLanes, number));
#endif
  }

  SRDFAST_INLINE unsigned smallest(unsigned number) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    for (int distance = 16; distance > 0; distance /= 2)
      number = min(number, shuffle(number, lane() ^ distance));
    return number;
#else
    SRDFAST_ON_DEVICE(__reduce_min_sync(kAllLanes, number));
#endif
  }

  SRDFAST_INLINE int add(int* counter, int amount) const { SRDFAST_ON_DEVICE(atomicAdd(counter, amount)); }

  // sums += left * right; device/fragments.hpp says which lane holds what.
  SRDFAST_INLINE void multiply(float (&sums)[4], const float (&left)[4], const float (&right)[2]) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(__float_as_uint(left[0])), "r"(__float_as_uint(left[1])), "r"(__float_as_uint(left[2])),
          "r"(__float_as_uint(left[3])), "r"(__float_as_uint(right[0])), "r"(__float_as_uint(right[1])));
#elif defined(__CUDA_ARCH__)
    // No tensor cores for TF32: each lane collects the row and the columns of its sums.
    const int place = lane() / 4, part = lane() % 4;
#pragma unroll 1  // unrolled, its shuffles would take all registers
    for (int k = 0; k < 8; ++k) {
      const int row_lane = place * 4 + k % 4, column_lane = 2 * part * 4 + k % 4;
      const float upper = shuffle(k < 4 ? left[0] : left[2], row_lane);
      const float lower = shuffle(k < 4 ? left[1] : left[3], row_lane);
      const float first = shuffle(k < 4 ? right[0] : right[1], column_lane);
      const float second = shuffle(k < 4 ? right[0] : right[1], column_lane + 4);
      sums[0] += upper * first;
      sums[1] += upper * second;
      sums[2] += lower * first;
      sums[3] += lower * second;
    }
#else
    __builtin_trap();
#endif
  }

 private:
  static constexpr unsigned kAllLanes = 0xffffffffu;
};

#undef SRDFAST_ON_DEVICE

}  // namespace srdfast::cuda
