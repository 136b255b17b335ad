// SPDX-License-Identifier: Apache-2.0
// Vectors of the CPU level's width, on the compiler's vector extensions: loads, stores, and sums over lanes.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
using Vector __attribute__((vector_size(SRDFAST_VECTOR_BYTES))) = T;

template <class T>
constexpr int kVectorLength = SRDFAST_VECTOR_BYTES / static_cast<int>(sizeof(T));

// The integer type as wide as T, whose vectors are the masks of comparisons.
template <class T>
struct LaneInteger;
template <>
struct LaneInteger<float> {
  using type = std::int32_t;
};
template <>
struct LaneInteger<double> {
  using type = std::int64_t;
};
template <class T>
using Lane = typename LaneInteger<T>::type;

template <class T>
SRDFAST_INLINE Vector<T> load(const T* from) {
  Vector<T> vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

template <class V, class T>
SRDFAST_INLINE void store(const V& vector, T* to) {
  static_assert(sizeof(V) == SRDFAST_VECTOR_BYTES);
  std::memcpy(to, &vector, sizeof(vector));
}

template <class T>
SRDFAST_INLINE Vector<T> broadcast(T value) {
  return value - Vector<T>{};
}

// 0, 1, 2, ...
template <class T>
SRDFAST_INLINE Vector<Lane<T>> lane_numbers() {
  Vector<Lane<T>> numbers;
  for (int lane = 0; lane < kVectorLength<T>; ++lane) numbers[lane] = lane;
  return numbers;
}

// |v|, lane by lane: the sign bit cleared.
template <class T, class V>
SRDFAST_INLINE V magnitude(const V& vector) {
  constexpr Lane<T> kAllButSign = static_cast<Lane<T>>(~(std::uint64_t{1} << (8 * sizeof(T) - 1)));
  return (V)((Vector<Lane<T>>)vector & kAllButSign);
}

// Asks for memory that is read soon, while something else is computed.
template <class T>
SRDFAST_INLINE void prefetch(const T* from, int count) {
  constexpr int kLine = 64 / static_cast<int>(sizeof(T));
  for (int i = 0; i < count; i += kLine) __builtin_prefetch(from + i);
}

// Every lane becomes combine(...) over all lanes; combine(a, b) works lane by lane and is symmetric.
template <class T, class V, class Combine>
SRDFAST_INLINE V reduced(V vector, const Combine& combine) {
  for (int distance = kVectorLength<T> / 2; distance > 0; distance /= 2) {
    vector = combine(vector, __builtin_shuffle(vector, lane_numbers<T>() ^ static_cast<Lane<T>>(distance)));
  }
  return vector;
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
