// SPDX-License-Identifier: Apache-2.0
// The discrete Fourier transform of any length, of as many lines at once as a vector has lanes.
//
// Lengths whose prime factors are small are transformed by mixed radices, depth first, so that the parts of a
// long line fit the first cache. Any other length becomes a circular convolution of such a length
// (Bluestein). All roots of unity come from one table, computed in double with exactly reduced angles.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/parallel.hpp"
#include "core/scratch.hpp"
#include "math/vector.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
struct Root {
  T re, im;
};

// exp(-2 pi i turn / turns)
template <class T>
Root<T> unit_root(std::int64_t turn, std::int64_t turns) {
  constexpr double kPi = 3.14159265358979323846;
  const double angle = -2 * kPi * static_cast<double>(turn % turns) / static_cast<double>(turns);
  return {static_cast<T>(::cos(angle)), static_cast<T>(::sin(angle))};
}

// roots[turn] = exp(-2 pi i turn / turns) for turn < count
template <class T>
void fill_roots(int count, std::int64_t turns, Root<T>* roots) {
  parallel_for(count, 256, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t turn = begin; turn < end; ++turn) roots[turn] = unit_root<T>(turn, turns);
  });
}

// One complex number a lane.
template <class T>
struct Complex {
  Vector<T> re, im;
};

template <class T>
SRDFAST_INLINE Complex<T> operator+(const Complex<T>& a, const Complex<T>& b) {
  return {a.re + b.re, a.im + b.im};
}

template <class T>
SRDFAST_INLINE Complex<T> operator-(const Complex<T>& a, const Complex<T>& b) {
  return {a.re - b.re, a.im - b.im};
}

template <class T>
SRDFAST_INLINE Complex<T> operator*(const Complex<T>& a, const Root<T>& w) {
  return {a.re * w.re - a.im * w.im, a.re * w.im + a.im * w.re};
}

template <class T>
SRDFAST_INLINE Complex<T> times_i(const Complex<T>& a) {
  return {-a.im, a.re};
}

// The inverse transform is the transform with real and imaginary parts swapped before and after.
template <class T>
SRDFAST_INLINE Complex<T> swapped(const Complex<T>& a) {
  return {a.im, a.re};
}

constexpr int kLargestRadix = 113;  // about where the quadratic cost of a prime meets Bluestein's

// The transform of an odd number of values, the sums over j and radix - j shared.
template <int Room, class T>
SRDFAST_INLINE void odd_dft(int radix, const Root<T>* roots, int step, Complex<T>* z) {
  const int half = radix / 2;
  Complex<T> sums[Room / 2], differences[Room / 2];
  const Complex<T> first = z[0];
#pragma GCC unroll 4
  for (int j = 1; j <= half; ++j) {
    sums[j - 1] = z[j] + z[radix - j];
    differences[j - 1] = z[j] - z[radix - j];
    z[0] = z[0] + sums[j - 1];
  }
#pragma GCC unroll 4
  for (int k = 1; k <= half; ++k) {
    Complex<T> even = first, odd = {};
    int turn = 0;
#pragma GCC unroll 4
    for (int j = 0; j < half; ++j) {
      turn = turn + k < radix ? turn + k : turn + k - radix;
      const Root<T> w = roots[turn * step];
      even = {even.re + w.re * sums[j].re, even.im + w.re * sums[j].im};
      odd = {odd.re + w.im * differences[j].re, odd.im + w.im * differences[j].im};
    }
    z[k] = even + times_i(odd);
    z[radix - k] = even - times_i(odd);
  }
}

// The transform of Radix values in registers; roots[turn * step] = exp(-2 pi i turn / Radix).
template <int Radix, class T>
SRDFAST_INLINE void dft(const Root<T>* roots, int step, Complex<T>* z);

// The same for a product of two radices.
template <int Outer, int Inner, class T>
SRDFAST_INLINE void composite_dft(const Root<T>* roots, int step, Complex<T>* z) {
  Complex<T> columns[Outer][Inner];
#pragma GCC unroll 4
  for (int a = 0; a < Outer; ++a) {
#pragma GCC unroll 5
    for (int b = 0; b < Inner; ++b) columns[a][b] = z[a + Outer * b];
    dft<Inner>(roots, step * Outer, columns[a]);
  }
#pragma GCC unroll 5
  for (int b = 0; b < Inner; ++b) {
    Complex<T> row[Outer];
#pragma GCC unroll 4
    for (int a = 0; a < Outer; ++a) {
      row[a] = a * b == 0 ? columns[a][b] : columns[a][b] * roots[a * b * step];
    }
    dft<Outer>(roots, step * Inner, row);
#pragma GCC unroll 4
    for (int a = 0; a < Outer; ++a) z[b + Inner * a] = row[a];
  }
}

template <int Radix, class T>
SRDFAST_INLINE void dft(const Root<T>* roots, int step, Complex<T>* z) {
  if constexpr (Radix == 2) {
    const Complex<T> sum = z[0] + z[1];
    z[1] = z[0] - z[1];
    z[0] = sum;
  } else if constexpr (Radix == 4) {
    const Complex<T> a = z[0] + z[2], b = z[0] - z[2], c = z[1] + z[3], d = times_i(z[1] - z[3]);
    z[0] = a + c;
    z[1] = b - d;
    z[2] = a - c;
    z[3] = b + d;
  } else if constexpr (Radix % 4 == 0) {
    composite_dft<Radix / 4, 4>(roots, step, z);
  } else if constexpr (Radix % 2 == 0) {
    composite_dft<2, Radix / 2>(roots, step, z);
  } else if constexpr (Radix == 9) {
    composite_dft<3, 3>(roots, step, z);
  } else {
    odd_dft<Radix>(Radix, roots, step, z);
  }
}

// The transform of a length whose prime factors are at most kLargestRadix.
template <class T>
class MixedRadixFourier {
 public:
  explicit MixedRadixFourier(int length) : length_(length), roots_(length) {
    fill_roots(length, length, roots_.data());
    int levels = 0;
    for (int rest = length; rest > 1; rest /= radices_[levels++]) radices_[levels] = radix_of(rest);
  }

  // The factor of `length` that is transformed first: the largest after which the rest is not too short to be
  // worth a pass. Sixteen places a large power of two apart would collide in a cache. Above kLargestRadix
  // where there is no small factor.
  static int radix_of(int length) {
    constexpr int kRadices[] = {16, 12, 10, 9, 8, 7, 6, 5, 4, 3, 2};
    for (int least = 4; least > 0; least -= 3) {
      for (const int radix : kRadices) {
        const int rest = length / radix;
        const bool collides = radix == 16 && rest > 1 && (rest & (rest - 1)) == 0;
        if (length % radix == 0 && !collides && (rest == 1 || rest >= least)) return radix;
      }
    }
    int radix = 11;
    while (length % radix != 0) radix += 2;
    return radix;
  }

  int length() const { return length_; }

  // out[k] = sum over i < length of load(i) exp(-2 pi i k / length)
  template <class Load>
  void operator()(const Load& load, Complex<T>* out) const {
    if (length_ == 1) {
      out[0] = load(0);
    } else {
      part(0, 0, 1, load, out);
    }
  }

 private:
  // The transform of load(first), load(first + stride), ...: length / stride values.
  template <class Load>
  void part(int level, int first, int stride, const Load& load, Complex<T>* out) const {
    switch (radices_[level]) {
      case 2:
        return radix_part<2>(level, first, stride, load, out);
      case 3:
        return radix_part<3>(level, first, stride, load, out);
      case 4:
        return radix_part<4>(level, first, stride, load, out);
      case 5:
        return radix_part<5>(level, first, stride, load, out);
      case 6:
        return radix_part<6>(level, first, stride, load, out);
      case 7:
        return radix_part<7>(level, first, stride, load, out);
      case 8:
        return radix_part<8>(level, first, stride, load, out);
      case 9:
        return radix_part<9>(level, first, stride, load, out);
      case 10:
        return radix_part<10>(level, first, stride, load, out);
      case 12:
        return radix_part<12>(level, first, stride, load, out);
      case 16:
        return radix_part<16>(level, first, stride, load, out);
      default:
        return radix_part<0>(level, first, stride, load, out);
    }
  }

  // Fixed is the radix, or 0 for one that is known at run time only.
  template <int Fixed, class Load>
  void radix_part(int level, int first, int stride, const Load& load, Complex<T>* out) const {
    constexpr int kRoom = Fixed == 0 ? kLargestRadix : Fixed;
    const int radix = Fixed == 0 ? radices_[level] : Fixed;
    const int count = length_ / (stride * radix);  // values of each of the `radix` interleaved parts
    const auto transform = [&](Complex<T>* z) {
      if constexpr (Fixed == 0) {
        odd_dft<kRoom>(radix, roots_.data(), length_ / radix, z);
      } else {
        dft<Fixed>(roots_.data(), length_ / Fixed, z);
      }
    };
    Complex<T> z[kRoom];
    if (count == 1) {
#pragma GCC unroll 16
      for (int j = 0; j < radix; ++j) z[j] = load(first + j * stride);
      transform(z);
#pragma GCC unroll 16
      for (int j = 0; j < radix; ++j) out[j] = z[j];
      return;
    }
    for (int j = 0; j < radix; ++j) {
      part(level + 1, first + j * stride, stride * radix, load, out + static_cast<long>(j) * count);
    }
    for (int k = 0; k < count; ++k) {
      z[0] = out[k];
#pragma GCC unroll 16
      for (int j = 1; j < radix; ++j) z[j] = out[k + j * count] * roots_[j * k * stride];
      transform(z);
#pragma GCC unroll 16
      for (int j = 0; j < radix; ++j) out[k + j * count] = z[j];
    }
  }

  int length_;
  int radices_[16];
  Scratch<Root<T>> roots_;  // [length]
};

// The transform of any length. With c_j = exp(-i pi j^2 / length), out_k = c_k sum_j (load_j c_j) / c_(k-j):
// a convolution, which a transform of at least twice the length computes.
template <class T>
class Fourier {
 public:
  explicit Fourier(int length)
      : length_(length),
        direct_(has_small_factors(length)),
        inner_(direct_ ? length : smooth_above(2 * length - 1)),
        chirp_(direct_ ? 0 : length),
        kernel_(direct_ ? 0 : inner_.length()) {
    if (!direct_) prepare_convolution();
  }

  // Values that `out` and `work` of a call have room for.
  int room() const { return inner_.length(); }

  template <class Load>
  void operator()(const Load& load, Complex<T>* out, Complex<T>* work) const {
    if (direct_) return inner_(load, out);
    inner_([&](int i) { return i < length_ ? load(i) * chirp_[i] : Complex<T>{}; }, work);
    inner_([&](int i) { return swapped(work[i] * kernel_[i]); }, out);
    for (int k = 0; k < length_; ++k) out[k] = swapped(out[k]) * chirp_[k];
  }

 private:
  static bool has_small_factors(int length) {
    while (length > 1) {
      const int radix = MixedRadixFourier<T>::radix_of(length);
      if (radix > kLargestRadix) return false;
      length /= radix;
    }
    return true;
  }

  static int smooth_above(int length) {
    for (;; ++length) {
      int rest = length;
      while (rest % 2 == 0) rest /= 2;
      while (rest % 3 == 0) rest /= 3;
      while (rest % 5 == 0) rest /= 5;
      if (rest == 1) return length;
    }
  }

  void prepare_convolution() {
    const int room = inner_.length();
    const MixedRadixFourier<double> exact(room);
    Scratch<Complex<double>> spectrum(room);
    exact(
        [&](int i) {
          const std::int64_t j = i < length_ ? i : room - i;  // the kernel is even
          const Root<double> root = j < length_ ? unit_root<double>(j * j, 2 * length_) : Root<double>{};
          return Complex<double>{Vector<double>{} + root.re, Vector<double>{} - root.im};
        },
        spectrum.data());
    for (int k = 0; k < room; ++k) {
      kernel_[k] = {static_cast<T>(spectrum[k].re[0] / room), static_cast<T>(spectrum[k].im[0] / room)};
    }
    for (std::int64_t j = 0; j < length_; ++j) chirp_[j] = unit_root<T>(j * j, 2 * length_);
  }

  int length_;
  bool direct_;
  MixedRadixFourier<T> inner_;
  Scratch<Root<T>> chirp_;   // [length]
  Scratch<Root<T>> kernel_;  // [room], the transform of 1 / c, over room
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
