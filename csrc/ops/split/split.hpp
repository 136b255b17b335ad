// SPDX-License-Identifier: Apache-2.0
// The Tikhonov split: low = argmin_u 1/2 |u - x|^2 + strength/2 |grad u|^2, high = x - low.
//
// With a reflecting boundary the normal equations are (1 + strength (L_rows + L_columns)) u = x, L being the
// second difference of one axis. The cosine transform diagonalises L_columns exactly, at any width; along the
// rows the matrix stays tridiagonal, one system per frequency, and elimination solves it. Cost: two products
// of width x width per image row, and O(1) per pixel for the elimination.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/parallel.hpp"
#include "core/registry.hpp"
#include "core/scratch.hpp"
#include "core/view.hpp"
#include "math/tables.hpp"

namespace srdfast {

template <class T>
struct SplitProblem {
  static constexpr const char* name = "split";
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 3> images;  // [planes, height, width]
  double strength;

  // outputs
  View<T, 3> low;   // [planes, height, width]
  View<T, 3> high;  // [planes, height, width]
};

inline namespace SRDFAST_LEVEL {

// The orthonormal cosine transform (DCT-II) of one axis as a matrix: to_frequency [width, width] maps a row
// of pixels to frequencies by row * to_frequency, and to_pixel is its transpose.
template <class T>
struct CosineTransform {
  explicit CosineTransform(int width)
      : to_frequency(width * width), to_pixel(width * width), eigenvalues(width) {
    constexpr double kPi = 3.14159265358979323846;
    for (int k = 0; k < width; ++k) {
      const double norm = __builtin_sqrt((k == 0 ? 1.0 : 2.0) / width);
      for (int x = 0; x < width; ++x) {
        const long turn = (2L * x + 1) * k % (4L * width);  // the angle, reduced exactly
        const T entry = static_cast<T>(norm * ::cos(kPi * static_cast<double>(turn) / (2.0 * width)));
        to_frequency[static_cast<std::int64_t>(x) * width + k] = entry;
        to_pixel[static_cast<std::int64_t>(k) * width + x] = entry;
      }
      const double sine = ::sin(kPi * k / (2.0 * width));
      eigenvalues[k] = 4 * sine * sine;
    }
  }

  Scratch<T> to_frequency, to_pixel;  // [width, width]
  Scratch<double> eigenvalues;        // [width], of the second difference with reflecting boundary
};

// The elimination of (1 + strength * (eigenvalue_k + L)) u = b along the rows, for all frequencies k.
//
// The pivots are kept as pivot = excess + strength with excess_0 = g = 1 + strength * eigenvalue_k and
// excess_y = g + strength * excess / (excess + strength): sums of positive terms, so that no strength
// cancels. The last row has one neighbour less: its pivot is its excess alone.
template <class T>
struct Elimination {
  Elimination(int height, int width, double strength, const double* eigenvalues)
      : factors(static_cast<std::int64_t>(height) * width),
        inverses(static_cast<std::int64_t>(height) * width) {
    for (int k = 0; k < width; ++k) {
      const double least = 1 + strength * eigenvalues[k];
      double excess = least;
      for (int y = 0; y < height; ++y) {
        if (y > 0) excess = least + strength * (excess / (excess + strength));
        const double inverse = 1 / (y < height - 1 ? excess + strength : excess);
        const std::int64_t i = static_cast<std::int64_t>(y) * width + k;
        inverses[i] = static_cast<T>(inverse);
        factors[i] = static_cast<T>(strength * inverse);
      }
    }
  }

  // Solves in place for the frequencies [begin, end) of one plane [height, width].
  SRDFAST_INLINE void solve(int height, int width, int begin, int end, T* plane) const {
    for (int y = 0; y < height; ++y) {
      T* SRDFAST_RESTRICT row = plane + static_cast<std::int64_t>(y) * width;
      const T* SRDFAST_RESTRICT inverse = inverses.data() + static_cast<std::int64_t>(y) * width;
      if (y == 0) {
        for (int k = begin; k < end; ++k) row[k] *= inverse[k];
      } else {
        const T* SRDFAST_RESTRICT above = row - width;
        const T* SRDFAST_RESTRICT factor = factors.data() + static_cast<std::int64_t>(y) * width;
        for (int k = begin; k < end; ++k) row[k] = row[k] * inverse[k] + factor[k] * above[k];
      }
    }
    for (int y = height - 2; y >= 0; --y) {
      T* SRDFAST_RESTRICT row = plane + static_cast<std::int64_t>(y) * width;
      const T* SRDFAST_RESTRICT below = row + width;
      const T* SRDFAST_RESTRICT factor = factors.data() + static_cast<std::int64_t>(y) * width;
      for (int k = begin; k < end; ++k) row[k] += factor[k] * below[k];
    }
  }

  Scratch<T> factors, inverses;  // [height, width], strength / pivot and 1 / pivot
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
