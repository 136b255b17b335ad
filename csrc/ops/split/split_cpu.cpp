// SPDX-License-Identifier: Apache-2.0
// The Tikhonov split on the CPU: transform columns, eliminate along rows, transform back, over all threads.
#include <cstring>

#include "core/parallel.hpp"
#include "math/cosine.hpp"
#include "math/transpose.hpp"
#include "ops/split/elimination.hpp"
#include "ops/split/split.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

// Asks for two vectors of adjacent pixels that are read (0) or written (1) later; they need not exist.
template <class T>
SRDFAST_INLINE void prefetch_pixels(const T* row) {
  constexpr int kSecondLevel = 2;
  __builtin_prefetch(row, 0, kSecondLevel);
  __builtin_prefetch(row + kVectorLength<T>, 0, kSecondLevel);
}

// Two vectors of adjacent pixels of one row, of which only the first `count` pixels need be there.
template <class T>
SRDFAST_INLINE Complex<T> load_pixels(const T* row, int count) {
  constexpr int kLength = kVectorLength<T>;
  if (count >= 2 * kLength) return {load_vector(row), load_vector(row + kLength)};
  T padded[2 * kLength] = {};
  std::memcpy(padded, row, sizeof(T) * static_cast<std::size_t>(count));
  return {load_vector(padded), load_vector(padded + kLength)};
}

template <class T>
SRDFAST_INLINE void store_pixels(const Complex<T>& pixels, int count, T* row) {
  constexpr int kLength = kVectorLength<T>;
  if (count >= 2 * kLength) {
    store_vector<T>(pixels.re, row);
    store_vector<T>(pixels.im, row + kLength);
  } else {
    T padded[2 * kLength];
    store_vector<T>(pixels.re, padded);
    store_vector<T>(pixels.im, padded + kLength);
    std::memcpy(row, padded, sizeof(T) * static_cast<std::size_t>(count));
  }
}

// The three steps of a plane. A strip is two vectors of adjacent columns, transformed together as real and
// imaginary parts; a band is a few adjacent strips, read and written together because memory likes long rows.
// Between the steps the plane is kept as `spectrum` [frequency blocks, columns], vectors of adjacent
// frequencies, so that the elimination along the row reads and writes whole vectors in order.
template <class T>
class Splitter {
 public:
  Splitter(int height, int width, double strength)
      : height_(height),
        width_(width),
        cosine_(height),
        elimination_(height, width, strength),
        band_(strips_together(cosine_.room())) {}

  int bands() const { return (strips() + band_ - 1) / band_; }
  int groups() const { return elimination_.groups(); }
  std::int64_t spectrum_size() const { return elimination_.blocks() * line(); }

  // The working memory of one thread: a band of pixels, and the buffers of a strip.
  struct Work {
    explicit Work(const Splitter& s)
        : band(static_cast<std::int64_t>(s.band_) * s.cosine_.room()), strip(s.cosine_.room() + kLength), spare(s.cosine_.room()) {}
    Scratch<Complex<T>> band;  // [strips, room]
    Scratch<Complex<T>> strip, spare;  // [room]
  };

  void transform(int band, const T* image, const Work& work, T* spectrum) const {
    const int first = band * band_, count = strips_of(first), room = cosine_.room();
    for (int y = 0; y < height_; ++y) {
      const T* row = image + static_cast<std::int64_t>(y) * width_;
      for (int s = 0; s < count; ++s) {
        const int column = (first + s) * kStrip;
        work.band[s * room + y] = load_pixels(row + column, width_ - column);
      }
    }
    for (int s = 0; s < count; ++s) {
      const Complex<T>* pixels = work.band.data() + s * room;
      const T* next = image + (first + band_ + s) * kStrip;
      cosine_.forward(
          [=, this](int y) {
            prefetch_pixels(next + static_cast<std::int64_t>(y) * width_);
            return pixels[y];
          },
          work.strip.data(), work.spare.data());
      store_frequencies(work.strip.data(), first + s, spectrum);
    }
  }

  void eliminate(int group, T* spectrum) const { elimination_.solve(group, line(), spectrum); }

  void restore(int band, const T* image, const T* spectrum, const Work& work, T* low, T* high) const {
    const int first = band * band_, count = strips_of(first), room = cosine_.room();
    for (int s = 0; s < count; ++s) {
      load_frequencies(spectrum, first + s, work.strip.data());
      const Complex<T>* frequencies = work.strip.data();
      const std::int64_t column = (first + s) * kStrip;
      cosine_.inverse([=, this](int k) {
            return frequencies[k]; }, 
            [=, this](int k) {
            const std::int64_t at = static_cast<std::int64_t>(k) * width_ + column;
            prefetch_pixels(image + at);
            prefetch_pixels(low + at);
            prefetch_pixels(high + at);
            }, work.band.data() + s * room, work.spare.data());
    }
    for (int y = 0; y < height_; ++y) {
      for (int s = 0; s < count; ++s) {
        const int column = (first + s) * kStrip;
        const std::int64_t at = static_cast<std::int64_t>(y) * width_ + column;
        const Complex<T> smooth = cosine_.pixel(work.band.data() + s * room, y);
        store_pixels(smooth, width_ - column, low + at);
        store_pixels(load_pixels(image + at, width_ - column) - smooth, width_ - column, high + at);
      }
    }
  }

 private:
  static constexpr int kLength = kVectorLength<T>;
  static constexpr int kStrip = 2 * kLength;

  // As many strips as half of a second-level cache holds.
  static int strips_together(int room) {
    constexpr int kBytes = 1 << 19, kMost = 3;
    const int strips = kBytes / (room * static_cast<int>(sizeof(Complex<T>)));
    return strips < 1 ? 1 : strips < kMost ? strips : kMost;
  }

  int strips() const { return (width_ + kStrip - 1) / kStrip; }
  int strips_of(int first) const { return strips() - first < band_ ? strips() - first : band_; }
  std::int64_t line() const { return static_cast<std::int64_t>(strips()) * kStrip * kLength; }

  SRDFAST_INLINE void store_frequencies(const Complex<T>* transformed, int strip, T* spectrum) const {
    T* out = spectrum + static_cast<std::int64_t>(strip) * kStrip * kLength;
    for (int base = 0; base < height_; base += kLength, out += line()) {
      Vector<T> re[kLength], im[kLength];
      const auto take = [&](int i) {
        const Complex<T> f = cosine_.frequency(transformed, base + i);
        re[i] = f.re;
        im[i] = f.im;
      };
      if (height_ - base >= kLength) {
#pragma GCC unroll 16
        for (int i = 0; i < kLength; ++i) take(i);
      } else {
        std::memset(re, 0, sizeof(re));
        std::memset(im, 0, sizeof(im));
        for (int i = 0; i < height_ - base; ++i) take(i);
      }
      store_transposed(re, out);
      store_transposed(im, out + kLength * kLength);
    }
  }

  static SRDFAST_INLINE void store_transposed(Vector<T>* tile, T* out) {
    transpose_square<T>(tile);
#pragma GCC unroll 16
    for (int i = 0; i < kLength; ++i) store_vector<T>(tile[i], out + i * kLength);
  }

  SRDFAST_INLINE void load_frequencies(const T* spectrum, int strip, Complex<T>* frequencies) const {
    const T* in = spectrum + static_cast<std::int64_t>(strip) * kStrip * kLength;
    for (int base = 0; base < height_; base += kLength, in += line()) {
      for (int part = 0; part < 2; ++part) {
        Vector<T> tile[kLength];
#pragma GCC unroll 16
        for (int i = 0; i < kLength; ++i) tile[i] = load_vector(in + (part * kLength + i) * kLength);
        transpose_square<T>(tile);
        T* const out = reinterpret_cast<T*>(frequencies + base) + part * kLength;
#pragma GCC unroll 16
        for (int i = 0; i < kLength; ++i) store_vector<T>(tile[i], out + i * kStrip);
      }
    }
    frequencies[height_] = Complex<T>{};
  }

  int height_, width_;
  CosineTransform<T> cosine_;   // along the columns
  Elimination<T> elimination_;  // along the rows
  int band_;                    // strips of a band
};

// One plane after the other, each over all threads.
template <class T>
void split_large(const SplitProblem<T>& problem, const Splitter<T>& splitter) {
  const Scratch<T> spectrum(splitter.spectrum_size());
  for (std::int64_t plane = 0; plane < problem.images.extent(0); ++plane) {
    const T* const image = problem.images.slice(plane);
    T *const low = problem.low.slice(plane), *const high = problem.high.slice(plane);
    parallel_for(splitter.bands(), 1, [&](std::int64_t begin, std::int64_t end) {
      const typename Splitter<T>::Work work(splitter);
      for (std::int64_t i = begin; i < end; ++i) {
        splitter.transform(static_cast<int>(i), image, work, spectrum.data());
      }
    });
    parallel_for(splitter.groups(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) splitter.eliminate(static_cast<int>(i), spectrum.data());
    });
    parallel_for(splitter.bands(), 1, [&](std::int64_t begin, std::int64_t end) {
      const typename Splitter<T>::Work work(splitter);
      for (std::int64_t i = begin; i < end; ++i) {
        splitter.restore(static_cast<int>(i), image, spectrum.data(), work, low, high);
      }
    });
  }
}

// Planes that fit a thread's cache: each is one thread's own.
template <class T>
void split_small(const SplitProblem<T>& problem, const Splitter<T>& splitter) {
  constexpr int kPlanesTogether = 8;
  parallel_for(problem.images.extent(0), kPlanesTogether, [&](std::int64_t begin, std::int64_t end) {
    const typename Splitter<T>::Work work(splitter);
    const Scratch<T> spectrum(splitter.spectrum_size());
    for (std::int64_t plane = begin; plane < end; ++plane) {
      const T* const image = problem.images.slice(plane);
      for (int i = 0; i < splitter.bands(); ++i) splitter.transform(i, image, work, spectrum.data());
      for (int i = 0; i < splitter.groups(); ++i) splitter.eliminate(i, spectrum.data());
      for (int i = 0; i < splitter.bands(); ++i) {
        splitter.restore(i, image, spectrum.data(), work, problem.low.slice(plane), problem.high.slice(plane));
      }
    }
  });
}

template <class T>
void split_cpu(const SplitProblem<T>& problem) {
  constexpr std::int64_t kSmall = 1 << 18;  // bytes of a spectrum
  const Splitter<T> splitter(static_cast<int>(problem.images.extent(1)),
                             static_cast<int>(problem.images.extent(2)), problem.strength);
  const bool small = splitter.spectrum_size() * static_cast<std::int64_t>(sizeof(T)) <= kSmall;
  small ? split_small(problem, splitter) : split_large(problem, splitter);
}

const Registration<SplitProblem<float>> registered_float(split_cpu<float>);
const Registration<SplitProblem<double>> registered_double(split_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
