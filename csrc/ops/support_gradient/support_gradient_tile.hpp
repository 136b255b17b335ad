// SPDX-License-Identifier: Apache-2.0
// The gradient of a code on its support for one signal after another, on vectors over the atoms of the
// support and over the features: the CPU's path.
//
// Rows of U go from the pivot's vector to the right side, which is their last column, so that elimination
// takes it along. What a row takes of the earlier ones, the row of U^T P^-1, is kept for the way back.
#pragma once

#include <cstdint>

#include "math/tables.hpp"
#include "ops/support_gradient/support_gradient.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
class SupportGradient {
 public:
  // most: atoms of the largest support.
  SupportGradient(int most, const GramTables<T>& tables)
      : most_(most),
        tables_(tables),
        columns_(most),
        indices_(most),
        inverses_(most),
        values_(whole_vectors(most)),
        upper_(most * whole_vectors(most + 1)),
        shares_(most * whole_vectors(most + 1)) {}

  // Takes the atoms that are not -1 of indices [width] for the support, and the values beside them where
  // there are any.
  void take_indices(int width, const std::int32_t* indices, const T* values) {
    count_ = 0;
    for (int i = 0; i < width && count_ < most_; ++i) {
      if (indices[i] >= 0) take(i, indices[i], values == nullptr ? T(0) : values[i]);
    }
  }

  // Takes the atoms whose codes [atoms] are not zero.
  void take_codes(const T* codes, const T* values) {
    count_ = 0;
    int first = 0;
    for (; first + kScanned <= tables_.atoms; first += kScanned) {
      if (any_nonzero(codes + first)) take_nonzero(first, first + kScanned, codes);
    }
    take_nonzero(first, tables_.atoms, codes);
    for (int j = 0; j < count_; ++j) {
      columns_[j] = indices_[j];
      values_[j] = values == nullptr ? T(0) : values[indices_[j]];
    }
  }

  // values = D_S vector [features]
  void correlate(std::int64_t dictionary, const T* vector) {
    int j = 0;
    for (; j + 4 <= count_; j += 4) correlate<4>(dictionary, vector, j);
    for (; j < count_; ++j) correlate<1>(dictionary, vector, j);
  }

  // values = (D_S D_S^T)^-1 values
  void solve(std::int64_t dictionary) {
    stride_ = whole_vectors(count_ + 1);
    collect(tables_.gram(dictionary));
    int rank = 0;
    for (int j = 0; j < count_; ++j) {
      const T norm = upper(j)[j];
      for (int m = 0; m < j; ++m) shares(j)[m] = upper(m)[j] * inverses_[m];
      eliminate(j);
      const bool outside = rank < tables_.features && upper(j)[j] > kDependent<T> * norm;
      inverses_[j] = outside ? 1 / upper(j)[j] : T(0);
      rank += outside;
    }
    substitute_back();
  }

  // out [features] = D_S^T values
  void combine(std::int64_t dictionary, T* out) const {
    const int features = tables_.features;
    int f = 0;
    for (; f + 4 * kLength <= features; f += 4 * kLength) combine<4>(dictionary, f, out);
    for (; f + kLength <= features; f += kLength) combine<1>(dictionary, f, out);
    for (; f < features; ++f) {
      T sum = 0;
      for (int j = 0; j < count_; ++j) sum += values_[j] * tables_.atom(dictionary, indices_[j])[f];
      out[f] = sum;
    }
  }

  // out [width] = the values, where their atoms were taken from.
  void scatter(int width, T* out) const {
    for (int i = 0; i < width; ++i) out[i] = 0;
    for (int j = 0; j < count_; ++j) out[columns_[j]] = values_[j];
  }

 private:
  static constexpr int kLength = kVectorLength<T>;
  static constexpr int kScanned = 16;  // codes that are looked at together: most are zero

  static SRDFAST_INLINE std::int64_t whole_vectors(int count) {
    return (std::int64_t{count} + kLength - 1) / kLength * kLength;
  }

  SRDFAST_INLINE void take(int column, int atom, T value) {
    columns_[count_] = column;
    indices_[count_] = atom;
    values_[count_++] = value;
  }

  // Whether any of kScanned codes has a bit besides its sign.
  static SRDFAST_INLINE bool any_nonzero(const T* codes) {
    Lane<T> bits[kScanned], any = 0;
    std::memcpy(bits, codes, sizeof(bits));
    for (int i = 0; i < kScanned; ++i) any |= bits[i];
    constexpr Lane<T> kAllButSign = static_cast<Lane<T>>(~(std::uint64_t{1} << (8 * sizeof(T) - 1)));
    return (any & kAllButSign) != 0;
  }

  // Takes the atoms from `first` to `end` whose codes are not zero, without a branch to predict.
  SRDFAST_INLINE void take_nonzero(int first, int end, const T* codes) {
    int count = count_;
    for (int a = first; a < end; ++a) {
      indices_[count] = a;
      count += codes[a] != 0;
    }
    count_ = count;
  }

  SRDFAST_INLINE T* upper(int j) const { return upper_.data() + j * stride_; }
  SRDFAST_INLINE T* shares(int j) const { return shares_.data() + j * stride_; }

  // values[first ...] = the inner products of Atoms atoms with a vector [features].
  template <int Atoms>
  SRDFAST_INLINE void correlate(std::int64_t dictionary, const T* SRDFAST_RESTRICT vector, int first) {
    const int features = tables_.features;
    const T* atoms[Atoms];
    Vector<T> sums[Atoms] = {};
    for (int a = 0; a < Atoms; ++a) atoms[a] = tables_.atom(dictionary, indices_[first + a]);
    int f = 0;
    for (; f + kLength <= features; f += kLength) {
      const Vector<T> part = load(vector + f);
#pragma GCC unroll 4
      for (int a = 0; a < Atoms; ++a) sums[a] += part * load(atoms[a] + f);
    }
    for (int a = 0; a < Atoms; ++a) {
      T sum = reduced<T>(sums[a], [](const auto& one, const auto& other) { return one + other; })[0];
      for (int rest = f; rest < features; ++rest) sum += vector[rest] * atoms[a][rest];
      values_[first + a] = sum;
    }
  }

  // Rows of D_S D_S^T and the right side, from the vector of the diagonal on.
  SRDFAST_INLINE void collect(const T* gram) {
    for (int j = 0; j < count_; ++j) {
      const T* const gram_row = gram + std::int64_t{indices_[j]} * tables_.width;
      T* const row = upper(j);
      for (int at = j / kLength * kLength; at < stride_; at += kLength) store(Vector<T>{}, row + at);
      for (int i = j; i < count_; ++i) row[i] = gram_row[indices_[i]];
      row[count_] = values_[j];
    }
  }

  // Takes the shares of the earlier rows out of row j.
  SRDFAST_INLINE void eliminate(int j) {
    int at = j / kLength * kLength;
    for (; at + 4 * kLength <= stride_; at += 4 * kLength) eliminate<4>(j, at);
    for (; at < stride_; at += kLength) eliminate<1>(j, at);
  }

  template <int Ways>
  SRDFAST_INLINE void eliminate(int j, int at) {
    const std::int64_t stride = stride_;
    const T* const taken = shares(j);
    const T* earlier = upper_.data() + at;
    T* const row = upper(j) + at;
    Vector<T> even[Ways], odd[Ways] = {};
#pragma GCC unroll 4
    for (int way = 0; way < Ways; ++way) even[way] = load(row + way * kLength);
    int m = 0;
    for (; m + 2 <= j; m += 2, earlier += 2 * stride) {
      const T share = taken[m], next = taken[m + 1];
#pragma GCC unroll 4
      for (int way = 0; way < Ways; ++way) {
        even[way] -= share * load(earlier + way * kLength);
        odd[way] -= next * load(earlier + stride + way * kLength);
      }
    }
    if (m < j) {
#pragma GCC unroll 4
      for (int way = 0; way < Ways; ++way) even[way] -= taken[m] * load(earlier + way * kLength);
    }
#pragma GCC unroll 4
    for (int way = 0; way < Ways; ++way) store(even[way] + odd[way], row + way * kLength);
  }

  SRDFAST_INLINE void substitute_back() {
    T* const values = values_.data();
    for (int j = 0; j < count_; ++j) values[j] = upper(j)[count_] * inverses_[j];
    for (int i = count_ - 1; i > 0; --i) {
      const T value = values[i];
      const T* const taken = shares(i);
      int j = 0;
      for (; j + kLength <= i; j += kLength) store(load(values + j) - value * load(taken + j), values + j);
      for (; j < i; ++j) values[j] -= value * taken[j];
    }
  }

  template <int Ways>
  SRDFAST_INLINE void combine(std::int64_t dictionary, int f, T* out) const {
    Vector<T> sums[Ways] = {};
    for (int j = 0; j < count_; ++j) {
      const T value = values_[j];
      const T* const atom = tables_.atom(dictionary, indices_[j]) + f;
#pragma GCC unroll 4
      for (int way = 0; way < Ways; ++way) sums[way] += value * load(atom + way * kLength);
    }
#pragma GCC unroll 4
    for (int way = 0; way < Ways; ++way) store(sums[way], out + f + way * kLength);
  }

  int most_, count_ = 0;
  std::int64_t stride_ = 0;  // elements between rows of as many atoms as the support has
  const GramTables<T>& tables_;
  Scratch<std::int32_t> columns_, indices_;  // [most], the support, and where it was taken from
  Scratch<T> inverses_;        // [most], of the pivots; 0 for an atom in the span of those before it
  Scratch<T> values_;          // [most], the right side, then the answer
  Scratch<T> upper_, shares_;  // [most, stride], U with the right side, and U^T P^-1
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
