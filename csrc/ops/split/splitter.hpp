// SPDX-License-Identifier: Apache-2.0
// The steps of the Tikhonov split of one plane: transform rows, eliminate down columns, transform back.
#pragma once

#include <cstring>

#include "math/cosine.hpp"
#include "math/transpose.hpp"
#include "ops/split/elimination.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// The three steps of a plane. A strip is two vectors of adjacent rows, transformed together as real and
// imaginary parts. Between the steps the plane is kept as `spectrum` [frequency blocks, rows], vectors of
// adjacent frequencies, so that the elimination down the columns reads and writes whole vectors in order.
template <class T>
class Splitter {
 public:
  Splitter(int height, int width, double strength)
      : height_(height), width_(width), cosine_(width), elimination_(width, height, strength) {}

  int strips() const { return (height_ + kStrip - 1) / kStrip; }
  int groups() const { return elimination_.groups(); }
  std::int64_t spectrum_size() const { return elimination_.blocks() * line(); }

  // The buffers of a strip, one set for each thread.
  struct Work {
    explicit Work(const Splitter& s)
        : rows(kStrip * s.stride()), first(s.room()), second(s.room()), spare(s.room()) {}
    Scratch<T> rows;                           // [kStrip, stride] pixels
    Scratch<Complex<T>> first, second, spare;  // [room], two rows a lane
  };

  void transform(int strip, const T* image, const Work& work, T* spectrum) const {
    load_rows(strip, image, work.rows.data());
    for (int x = 0; x < width_; x += kLength) {
      const T* const rows = work.rows.data() + x;
      T* const pixels = reinterpret_cast<T*>(work.first.data() + x);
      transpose_tile(rows, stride(), pixels, kStrip);
      transpose_tile(rows + kLength * stride(), stride(), pixels + kLength, kStrip);
    }
    cosine_.forward(work.first.data(), work.second.data(), work.spare.data());
    store_frequencies(work.second.data(), strip, spectrum);
  }

  void eliminate(int group, T* spectrum) const { elimination_.solve(group, line(), spectrum); }

  void restore(int strip, const T* image, const T* spectrum, const Work& work, T* low, T* high) const {
    load_frequencies(spectrum, strip, work.first.data());
    cosine_.inverse(work.first.data(), work.second.data(), work.spare.data());
    T* const rows = work.rows.data();
    for (int x = 0; x < width_; x += kLength) {
      Vector<T> re[kLength], im[kLength];
      take(width_ - x, re, im, [&](int i) { return cosine_.pixel(work.second.data(), x + i); });
      store_transposed(re, rows + x, stride());
      store_transposed(im, rows + kLength * stride() + x, stride());
    }
    store_rows(strip, image, rows, low, high);
  }

  // All steps of a plane by one thread; spectrum [spectrum_size()].
  void split(const T* image, const Work& work, T* spectrum, T* low, T* high) const {
    for (int i = 0; i < strips(); ++i) transform(i, image, work, spectrum);
    for (int i = 0; i < groups(); ++i) eliminate(i, spectrum);
    for (int i = 0; i < strips(); ++i) restore(i, image, spectrum, work, low, high);
  }

 private:
  static constexpr int kLength = kVectorLength<T>;
  static constexpr int kStrip = 2 * kLength;

  // Elements from a row of a strip, and from a block of the spectrum, to the next. Neither is a multiple of a
  // large power of two, which would send them all to the same few places of a cache.
  std::int64_t stride() const { return (width_ + kLength - 1) / kLength * kLength + kLength; }
  std::int64_t line() const { return static_cast<std::int64_t>(strips() | 1) * kStrip * kLength; }
  int room() const { return cosine_.room() + kLength; }

  // kLength complex numbers value(i), zero from `count` on.
  template <class Value>
  static SRDFAST_INLINE void take(int count, Vector<T>* re, Vector<T>* im, const Value& value) {
    if (count >= kLength) {
#pragma GCC unroll 16
      for (int i = 0; i < kLength; ++i) {
        const Complex<T> z = value(i);
        re[i] = z.re;
        im[i] = z.im;
      }
    } else {
      for (int i = 0; i < kLength; ++i) {
        const Complex<T> z = i < count ? value(i) : Complex<T>{};
        re[i] = z.re;
        im[i] = z.im;
      }
    }
  }

  // Whole rows go through a buffer: memory is fast where it is read and written in order. Zero is where there
  // are no pixels.
  void load_rows(int strip, const T* image, T* rows) const {
    for (int i = 0; i < kStrip; ++i) {
      T* const row = rows + i * stride();
      const std::int64_t y = static_cast<std::int64_t>(strip) * kStrip + i;
      const std::int64_t count = y < height_ ? width_ : 0;
      if (count > 0) std::memcpy(row, image + y * width_, sizeof(T) * static_cast<std::size_t>(count));
      std::memset(row + count, 0, sizeof(T) * static_cast<std::size_t>(stride() - count));
    }
  }

  void store_rows(int strip, const T* image, const T* rows, T* low, T* high) const {
    for (int i = 0; i < kStrip && strip * kStrip + i < height_; ++i) {
      const std::int64_t at = (static_cast<std::int64_t>(strip) * kStrip + i) * width_;
      const T* SRDFAST_RESTRICT row = rows + i * stride();
      const T* SRDFAST_RESTRICT pixels = image + at;
      T* SRDFAST_RESTRICT low_row = low + at;
      T* SRDFAST_RESTRICT high_row = high + at;
      for (int x = 0; x < width_; ++x) {
        low_row[x] = row[x];
        high_row[x] = pixels[x] - row[x];
      }
    }
  }

  SRDFAST_INLINE void store_frequencies(const Complex<T>* transformed, int strip, T* spectrum) const {
    T* out = spectrum + static_cast<std::int64_t>(strip) * kStrip * kLength;
    for (int base = 0; base < width_; base += kLength, out += line()) {
      Vector<T> re[kLength], im[kLength];
      prefetch_chunk(out + 2 * line());
      take(width_ - base, re, im, [&](int i) { return cosine_.frequency(transformed, base + i); });
      store_transposed(re, out, kLength);
      store_transposed(im, out + kLength * kLength, kLength);
    }
  }

  SRDFAST_INLINE void load_frequencies(const T* spectrum, int strip, Complex<T>* frequencies) const {
    const T* in = spectrum + static_cast<std::int64_t>(strip) * kStrip * kLength;
    for (int base = 0; base < width_; base += kLength, in += line()) {
      prefetch_chunk(in + 2 * line());
      T* const out = reinterpret_cast<T*>(frequencies + base);
      transpose_tile(in, kLength, out, kStrip);
      transpose_tile(in + kLength * kLength, kLength, out + kLength, kStrip);
    }
    frequencies[width_] = Complex<T>{};
  }

  // Asks for what a strip has in a later block, which may lie past the end: the blocks are too far apart for
  // the hardware to foresee.
  static SRDFAST_INLINE void prefetch_chunk(const T* chunk) {
    constexpr int kSecondLevel = 2;
    for (int i = 0; i < kStrip; ++i) __builtin_prefetch(chunk + i * kLength, 0, kSecondLevel);
  }

  // Squares whose rows begin stride elements apart.
  static SRDFAST_INLINE void transpose_tile(const T* in, std::int64_t in_stride, T* out,
                                            std::int64_t out_stride) {
    Vector<T> tile[kLength];
#pragma GCC unroll 16
    for (int i = 0; i < kLength; ++i) tile[i] = load(in + i * in_stride);
    store_transposed(tile, out, out_stride);
  }

  static SRDFAST_INLINE void store_transposed(Vector<T>* tile, T* out, std::int64_t stride) {
    transpose_square<T>(tile);
#pragma GCC unroll 16
    for (int i = 0; i < kLength; ++i) store(tile[i], out + i * stride);
  }

  int height_, width_;
  CosineTransform<T> cosine_;   // along the rows
  Elimination<T> elimination_;  // down the columns
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
