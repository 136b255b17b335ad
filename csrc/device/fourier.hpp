// SPDX-License-Identifier: Apache-2.0
// The discrete Fourier transform of several lines in a block's shared memory, in place.
//
// A length is a product of small radices. Forwards, each stage cuts a part of a line into `radix` shorter
// ones, and what comes out is in the order of the frequencies' reversed digits (decimation in frequency).
// Backwards the same stages run in the other order, each undoing one, so that nothing is ever sorted: who
// works on frequencies asks where they are.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "device/queue.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct alignas(8) ComplexNumber {
  float re, im;
};

SRDFAST_INLINE ComplexNumber operator+(const ComplexNumber& a, const ComplexNumber& b) {
  return {a.re + b.re, a.im + b.im};
}

SRDFAST_INLINE ComplexNumber operator-(const ComplexNumber& a, const ComplexNumber& b) {
  return {a.re - b.re, a.im - b.im};
}

SRDFAST_INLINE ComplexNumber operator*(const ComplexNumber& a, const ComplexNumber& b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

SRDFAST_INLINE ComplexNumber times_i(const ComplexNumber& a) { return {-a.im, a.re}; }

SRDFAST_INLINE ComplexNumber conjugate(const ComplexNumber& a) { return {a.re, -a.im}; }

// The inverse transform is the transform with real and imaginary parts swapped before and after.
SRDFAST_INLINE ComplexNumber swapped(const ComplexNumber& a) { return {a.im, a.re}; }

// exp(-2 pi i turn / turns), for 0 <= turn < turns
SRDFAST_INLINE ComplexNumber device_root(std::int64_t turn, std::int64_t turns) {
  const double angle = -2 * std::numbers::pi * static_cast<double>(turn) / static_cast<double>(turns);
  return {static_cast<float>(cos(angle)), static_cast<float>(sin(angle))};
}

// How a length is transformed. Plain data.
struct FourierPlan {
  static constexpr int kMostStages = 16;

  int length = 1;
  int stages = 0;
  int radices[kMostStages] = {};  // of the stages forwards

  // Which frequency lies at a position after the forward transform.
  SRDFAST_INLINE int frequency_at(int position) const {
    int frequency = 0, part = length, weight = 1;
    for (int stage = 0; stage < stages; ++stage) {
      const int step = part / radices[stage];
      frequency += position / step * weight;
      position %= step;
      weight *= radices[stage];
      part = step;
    }
    return frequency;
  }

  // Where a frequency lies.
  SRDFAST_INLINE int position_of(int frequency) const {
    int position = 0, part = length;
    for (int stage = 0; stage < stages; ++stage) {
      part /= radices[stage];
      position += frequency % radices[stage] * part;
      frequency /= radices[stage];
    }
    return position;
  }
};

// The plan of a length; one without stages where a prime factor is too large. Large radices first: few
// stages.
inline FourierPlan fourier_plan(int length) {
  constexpr int kRadices[] = {16, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2};
  FourierPlan plan;
  plan.length = length;
  int rest = length;
  for (const int radix : kRadices) {
    for (; rest % radix == 0; rest /= radix) plan.radices[plan.stages++] = radix;
  }
  if (rest > 1) plan.stages = 0;
  return plan;
}

struct FourierTables {
  FourierPlan plan;
  ComplexNumber* roots;     // [length], exp(-2 pi i turn / length)
  ComplexNumber* twiddles;  // [stages, length], in the order in which a stage's values lie in their part
};

// Entry i of the `stages * length` of the tables.
SRDFAST_INLINE void fill_fourier_table(const FourierTables& tables, std::int64_t i) {
  const FourierPlan& plan = tables.plan;
  const int stage = static_cast<int>(i / plan.length), place = static_cast<int>(i % plan.length);
  if (stage == 0) tables.roots[place] = device_root(place, plan.length);
  int part = plan.length;
  for (int before = 0; before < stage; ++before) part /= plan.radices[before];
  const int step = part / plan.radices[stage];
  if (place < part) tables.twiddles[i] = device_root(std::int64_t{place / step} * (place % step), part);
}

// Lines in shared memory, the same position of all of them side by side. A gap after every 16 positions keeps
// what lies a power of two apart out of the same bank.
struct FourierLines {
  ComplexNumber* values;
  int log_lines;

  SRDFAST_INLINE int lines() const { return 1 << log_lines; }
  SRDFAST_INLINE int at(int position, int line) const {
    return ((position + (position >> 4)) << log_lines) + line;
  }
  SRDFAST_INLINE ComplexNumber& operator()(int position, int line) const {
    return values[at(position, line)];
  }

  SRDFAST_INLINE static std::int64_t bytes(int length, int log_lines) {
    return SharedMemory::bytes<ComplexNumber>(std::int64_t{length + length / 16 + 1} << log_lines);
  }
};

// The transform of Radix values in registers; roots[turn * step] = exp(-2 pi i turn / Radix).
template <int Radix>
SRDFAST_INLINE void butterfly(const ComplexNumber* roots, int step, ComplexNumber* z);

// The same of an odd number of values, the sums over j and Radix - j shared.
template <int Radix>
SRDFAST_INLINE void odd_butterfly(const ComplexNumber* roots, int step, ComplexNumber* z) {
  constexpr int kHalf = Radix / 2;
  ComplexNumber sums[kHalf], differences[kHalf];
  const ComplexNumber first = z[0];
  SRDFAST_UNROLL
  for (int j = 0; j < kHalf; ++j) {
    sums[j] = z[j + 1] + z[Radix - 1 - j];
    differences[j] = z[j + 1] - z[Radix - 1 - j];
    z[0] = z[0] + sums[j];
  }
  SRDFAST_UNROLL
  for (int k = 1; k <= kHalf; ++k) {
    ComplexNumber even = first, odd = {0, 0};
    SRDFAST_UNROLL
    for (int j = 0; j < kHalf; ++j) {
      const ComplexNumber w = roots[(j + 1) * k % Radix * step];
      even = {even.re + w.re * sums[j].re, even.im + w.re * sums[j].im};
      odd = {odd.re + w.im * differences[j].re, odd.im + w.im * differences[j].im};
    }
    z[k] = even + times_i(odd);
    z[Radix - k] = even - times_i(odd);
  }
}

// The same for a product of two radices.
template <int Outer, int Inner>
SRDFAST_INLINE void composite_butterfly(const ComplexNumber* roots, int step, ComplexNumber* z) {
  ComplexNumber columns[Outer][Inner];
  SRDFAST_UNROLL
  for (int a = 0; a < Outer; ++a) {
    SRDFAST_UNROLL
    for (int b = 0; b < Inner; ++b) columns[a][b] = z[a + Outer * b];
    butterfly<Inner>(roots, step * Outer, columns[a]);
  }
  SRDFAST_UNROLL
  for (int b = 0; b < Inner; ++b) {
    ComplexNumber row[Outer];
    SRDFAST_UNROLL
    for (int a = 0; a < Outer; ++a) {
      row[a] = a * b == 0 ? columns[a][b] : columns[a][b] * roots[a * b * step];
    }
    butterfly<Outer>(roots, step * Inner, row);
    SRDFAST_UNROLL
    for (int a = 0; a < Outer; ++a) z[b + Inner * a] = row[a];
  }
}

template <int Radix>
SRDFAST_INLINE void butterfly(const ComplexNumber* roots, int step, ComplexNumber* z) {
  if constexpr (Radix == 2) {
    const ComplexNumber sum = z[0] + z[1];
    z[1] = z[0] - z[1];
    z[0] = sum;
  } else if constexpr (Radix == 4) {
    const ComplexNumber a = z[0] + z[2], b = z[0] - z[2], c = z[1] + z[3], d = times_i(z[1] - z[3]);
    z[0] = a + c;
    z[1] = b - d;
    z[2] = a - c;
    z[3] = b + d;
  } else if constexpr (Radix % 4 == 0) {
    composite_butterfly<Radix / 4, 4>(roots, step, z);
  } else if constexpr (Radix % 2 == 0) {
    composite_butterfly<2, Radix / 2>(roots, step, z);
  } else if constexpr (Radix == 9) {
    composite_butterfly<3, 3>(roots, step, z);
  } else {
    odd_butterfly<Radix>(roots, step, z);
  }
}

// One stage of the transform of all lines, or what undoes it: each butterfly works in place, on values `step`
// apart.
template <int Radix, bool kBackward, class Block>
SRDFAST_INLINE void fourier_stage(const Block& block, const FourierTables& tables, int stage, int part,
                                  const FourierLines& lines) {
  const int step = part / Radix, length = tables.plan.length;
  const ComplexNumber* const twiddles = tables.twiddles + std::int64_t{stage} * length;
  const int count = length / Radix << lines.log_lines;
  for (int i = block.thread(); i < count; i += block.threads()) {
    const int line = i & (lines.lines() - 1), place = i >> lines.log_lines;
    const int within = place % step, first = place / step * part + within;
    ComplexNumber z[Radix];
    SRDFAST_UNROLL
    for (int k = 0; k < Radix; ++k) {
      z[k] = lines(first + k * step, line);
      if (kBackward && k > 0) z[k] = z[k] * twiddles[k * step + within];
    }
    butterfly<Radix>(tables.roots, length / Radix, z);
    SRDFAST_UNROLL
    for (int k = 0; k < Radix; ++k) {
      if (!kBackward && k > 0) z[k] = z[k] * twiddles[k * step + within];
      lines(first + k * step, line) = z[k];
    }
  }
}

template <bool kBackward, class Block>
SRDFAST_INLINE void any_fourier_stage(const Block& block, const FourierTables& tables, int stage, int part,
                                      const FourierLines& lines) {
  switch (tables.plan.radices[stage]) {
    case 2:
      return fourier_stage<2, kBackward>(block, tables, stage, part, lines);
    case 3:
      return fourier_stage<3, kBackward>(block, tables, stage, part, lines);
    case 4:
      return fourier_stage<4, kBackward>(block, tables, stage, part, lines);
    case 5:
      return fourier_stage<5, kBackward>(block, tables, stage, part, lines);
    case 6:
      return fourier_stage<6, kBackward>(block, tables, stage, part, lines);
    case 7:
      return fourier_stage<7, kBackward>(block, tables, stage, part, lines);
    case 8:
      return fourier_stage<8, kBackward>(block, tables, stage, part, lines);
    case 9:
      return fourier_stage<9, kBackward>(block, tables, stage, part, lines);
    case 10:
      return fourier_stage<10, kBackward>(block, tables, stage, part, lines);
    case 11:
      return fourier_stage<11, kBackward>(block, tables, stage, part, lines);
    case 12:
      return fourier_stage<12, kBackward>(block, tables, stage, part, lines);
    case 13:
      return fourier_stage<13, kBackward>(block, tables, stage, part, lines);
    default:
      return fourier_stage<16, kBackward>(block, tables, stage, part, lines);
  }
}

// Values in the order of a line become frequencies where plan.position_of says. What the block's threads
// wrote before is seen, and what they write here is seen after.
template <class Block>
SRDFAST_INLINE void fourier_forward(const Block& block, const FourierTables& tables,
                                    const FourierLines& lines) {
  int part = tables.plan.length;
  block.sync();
  for (int stage = 0; stage < tables.plan.stages; ++stage) {
    any_fourier_stage<false>(block, tables, stage, part, lines);
    part /= tables.plan.radices[stage];
    block.sync();
  }
}

// Swapped frequencies, which lie where `fourier_forward` left them, become swapped values in the order of a
// line, `length` times as large.
template <class Block>
SRDFAST_INLINE void fourier_backward(const Block& block, const FourierTables& tables,
                                     const FourierLines& lines) {
  int part = 1;
  block.sync();
  for (int stage = tables.plan.stages - 1; stage >= 0; --stage) {
    part *= tables.plan.radices[stage];
    any_fourier_stage<true>(block, tables, stage, part, lines);
    block.sync();
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
