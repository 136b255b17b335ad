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

// Two vectors of adjacent pixels of one row, of which only the first `count` pixels need be there.
template <class T>
SRDFAST_INLINE Complex<T> load_pixels(const T* row, int count) {
  Complex<T> pixels = {};
  if (count >= 2 * kVectorLength<T>) {
    std::memcpy(&pixels, row, sizeof(pixels));
  } else {
    std::memcpy(&pixels, row, sizeof(T) * static_cast<std::size_t>(count));
  }
  return pixels;
}

template <class T>
SRDFAST_INLINE void store_pixels(const Complex<T>& pixels, int count, T* row) {
  if (count >= 2 * kVectorLength<T>) {
    std::memcpy(row, &pixels, sizeof(pixels));
  } else {
    std::memcpy(row, &pixels, sizeof(T) * static_cast<std::size_t>(count));
  }
}

// The three steps of a plane. A strip is two vectors of adjacent columns, transformed together as real and
// imaginary parts. Between the steps the plane is kept as `spectrum` [frequency blocks, columns], vectors of
// adjacent frequencies, so that the elimination along the row reads and writes whole vectors in order.
template <class T>
class Splitter {
 public:
  static constexpr int kLength = kVectorLength<T>;
  static constexpr int kStrip = 2 * kLength;

  Splitter(int height, int width, double strength)
      : height_(height), width_(width), cosine_(height), elimination_(height, width, strength) {}

  int strips() const { return (width_ + kStrip - 1) / kStrip; }
  int groups() const { return elimination_.groups(); }
  std::int64_t spectrum_size() const { return elimination_.blocks() * columns() * kLength; }

  // Vectors that the work space of a thread has room for.
  struct Work {
    explicit Work(const Splitter& s) : lines(s.cosine_.room()), out(s.cosine_.room()), work(s.cosine_.room()) {}
    Scratch<Complex<T>> lines, out, work;
  };

  void transform(int strip, const T* image, const Work& work, T* spectrum) const {
    const int first = strip * kStrip, count = width_ - first;
    for (int y = 0; y < height_; ++y) {
      work.lines[y] = load_pixels(image + static_cast<std::int64_t>(y) * width_ + first, count);
    }
    cosine_.forward([&](int y) { return work.lines[y]; }, work.out.data(), work.work.data());
    for (int block = 0; block < elimination_.blocks(); ++block) {
      Vector<T> tiles[2][kLength] = {};
      const int base = block * kLength, full = height_ - base;
      if (full >= kLength) {
#pragma GCC unroll 16
        for (int i = 0; i < kLength; ++i) {
          const Complex<T> f = cosine_.frequency(work.out.data(), base + i);
          tiles[0][i] = f.re;
          tiles[1][i] = f.im;
        }
      } else {
        for (int i = 0; i < full; ++i) {
          const Complex<T> f = cosine_.frequency(work.out.data(), base + i);
          tiles[0][i] = f.re;
          tiles[1][i] = f.im;
        }
      }
      transpose_square<T>(tiles[0]);
      transpose_square<T>(tiles[1]);
      std::memcpy(spectrum + (block * columns() + first) * kLength, tiles, sizeof(tiles));
    }
  }

  void eliminate(int group, T* spectrum) const { elimination_.solve(group, columns() * kLength, spectrum); }

  void restore(int strip, const T* image, const T* spectrum, const Work& work, T* low, T* high) const {
    const int first = strip * kStrip, count = width_ - first;
    for (int block = 0; block < elimination_.blocks(); ++block) {
      Vector<T> tiles[2][kLength];
      std::memcpy(tiles, spectrum + (block * columns() + first) * kLength, sizeof(tiles));
      transpose_square<T>(tiles[0]);
      transpose_square<T>(tiles[1]);
      const int base = block * kLength, full = height_ - base;
      for (int i = 0; i < kLength && i < full; ++i) work.lines[base + i] = {tiles[0][i], tiles[1][i]};
    }
    work.lines[height_] = Complex<T>{};
    cosine_.inverse(work.lines.data(), work.out.data(), work.work.data());
    for (int y = 0; y < height_; ++y) {
      const std::int64_t at = static_cast<std::int64_t>(y) * width_ + first;
      const Complex<T> smooth = cosine_.pixel(work.out.data(), y);
      store_pixels(smooth, count, low + at);
      store_pixels(load_pixels(image + at, count) - smooth, count, high + at);
    }
  }

 private:
  std::int64_t columns() const { return static_cast<std::int64_t>(strips()) * kStrip; }

  int height_, width_;
  CosineTransform<T> cosine_;   // along the columns
  Elimination<T> elimination_;  // along the rows
};

// One plane after the other, each over all threads.
template <class T>
void split_large(const SplitProblem<T>& problem, const Splitter<T>& splitter) {
  constexpr int kStripsTogether = 4, kGroupsTogether = 1;
  const Scratch<T> spectrum(splitter.spectrum_size());
  for (std::int64_t plane = 0; plane < problem.images.extent(0); ++plane) {
    const T* const image = problem.images.slice(plane);
    T *const low = problem.low.slice(plane), *const high = problem.high.slice(plane);
    parallel_for(splitter.strips(), kStripsTogether, [&](std::int64_t begin, std::int64_t end) {
      const typename Splitter<T>::Work work(splitter);
      for (std::int64_t i = begin; i < end; ++i) {
        splitter.transform(static_cast<int>(i), image, work, spectrum.data());
      }
    });
    parallel_for(splitter.groups(), kGroupsTogether, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) splitter.eliminate(static_cast<int>(i), spectrum.data());
    });
    parallel_for(splitter.strips(), kStripsTogether, [&](std::int64_t begin, std::int64_t end) {
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
      for (int i = 0; i < splitter.strips(); ++i) splitter.transform(i, image, work, spectrum.data());
      for (int i = 0; i < splitter.groups(); ++i) splitter.eliminate(i, spectrum.data());
      for (int i = 0; i < splitter.strips(); ++i) {
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
