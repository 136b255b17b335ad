// SPDX-License-Identifier: Apache-2.0
// The cosine transform (DCT-II) of any length and its inverse, for two lines a lane: one in the real part and
// one in the imaginary part.
//
//   frequency_k = 1/length sum_i pixel_i cos(pi (2 i + 1) k / (2 length))
//   pixel_i = frequency_0 + 2 sum_(k > 0) frequency_k cos(pi (2 i + 1) k / (2 length))
//
// It is the Fourier transform of the even pixels followed by the odd ones backwards, turned by
// t_k = exp(-i pi k / (2 length)): length frequency_k = (t_k z_k + z_(length - k) / t_k) / 2.
#pragma once

#include "math/fourier.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
class CosineTransform {
 public:
  explicit CosineTransform(int length) : length_(length), fourier_(length), turns_(length) {
    fill_roots(length, 4L * length, turns_.data());
  }

  // Values that the buffers of a call have room for.
  int room() const { return fourier_.room() + 1; }

  // Transforms pixels [length]; afterwards frequency(out, k) is the frequency k.
  void forward(const Complex<T>* pixels, Complex<T>* out, Complex<T>* spare) const {
    const int last = 2 * length_ - 1;
    fourier_([=](int i) { return pixels[2 * i <= last / 2 ? 2 * i : last - 2 * i]; }, out, spare);
    out[length_] = out[0];
  }

  SRDFAST_INLINE Complex<T> frequency(const Complex<T>* out, int k) const {
    const Complex<T> sum = out[k] + out[length_ - k], difference = out[k] - out[length_ - k];
    const T scale = T(0.5) / static_cast<T>(length_);
    const T re = scale * turns_[k].re, im = scale * turns_[k].im;
    return {re * sum.re - im * difference.im, re * sum.im + im * difference.re};
  }

  // Transforms back frequencies [length + 1], the last of them 0; afterwards pixel(out, i) is the pixel i.
  void inverse(const Complex<T>* frequencies, Complex<T>* out, Complex<T>* spare) const {
    fourier_(
        [&](int k) {
          const Complex<T> z = frequencies[k] - times_i(frequencies[length_ - k]);
          return swapped(z * Root<T>{turns_[k].re, -turns_[k].im});
        },
        out, spare);
  }

  SRDFAST_INLINE Complex<T> pixel(const Complex<T>* out, int i) const {
    return swapped(out[i % 2 == 0 ? i / 2 : length_ - 1 - i / 2]);
  }

 private:
  int length_;
  Fourier<T> fourier_;
  Scratch<Root<T>> turns_;  // [length]
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
