// SPDX-License-Identifier: Apache-2.0
// The cosine transforms of the split along one axis of planes, by Fourier transforms in shared memory.
//
//   frequency_k = 1/n sum_i pixel_i cos(pi (2 i + 1) k / 2n)
//   pixel_i = frequency_0 + 2 sum_(k > 0) frequency_k cos(pi (2 i + 1) k / 2n)
//
// is the Fourier transform z of the even pixels followed by the odd ones backwards, turned by
// t_k = exp(-i pi k / 2n): n frequency_k = (t_k z_k + z_(n - k) / t_k) / 2. Two lines are the real and the
// imaginary part of one complex line; both are of one plane, so that planes never mix. Frequencies stay
// wherever the Fourier transform leaves them.
#pragma once

#include <numbers>

#include "device/fourier.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// The cosine transform of one axis. Plain data.
struct CosineAxis {
  FourierTables fourier;
  ComplexNumber* turns;  // [length], t_k of the frequency k at each position
  int* partners;         // [length], where the frequency n - k is; frequency 0, at 0, has itself
  float* eigenvalues;    // [length], of the second difference with reflecting boundary
  int log_lines;         // complex lines of a block

  SRDFAST_INLINE int length() const { return fourier.plan.length; }
  SRDFAST_INLINE int lines() const { return 1 << log_lines; }
  SRDFAST_INLINE std::int64_t bytes() const { return FourierLines::bytes(length(), log_lines); }

  // Where a pixel goes before the Fourier transform, and comes from after it.
  SRDFAST_INLINE int place_of(int pixel) const {
    return pixel % 2 == 0 ? pixel / 2 : length() - 1 - pixel / 2;
  }

  // The frequency at a position, of the values there and at its partner.
  SRDFAST_INLINE ComplexNumber frequency(int position, const ComplexNumber& own,
                                         const ComplexNumber& partner) const {
    const float scale = 0.5f / static_cast<float>(length());
    const ComplexNumber sum = own + partner, difference = own - partner, turn = turns[position];
    const float re = scale * turn.re, im = scale * turn.im;
    return {re * sum.re - im * difference.im, re * sum.im + im * difference.re};
  }

  // What the inverse Fourier transform takes at a position, of the frequencies there and at its partner.
  SRDFAST_INLINE ComplexNumber value(int position, const ComplexNumber& own,
                                     const ComplexNumber& partner) const {
    const ComplexNumber z = position == 0 ? own : own - times_i(partner);
    return swapped(z * conjugate(turns[position]));
  }
};

struct CosineAxisBody : ItemBody {
  using Arguments = CosineAxis;

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& axis, void*) {
    const FourierPlan& plan = axis.fourier.plan;
    const int length = axis.length();
    for_each_item(block, std::int64_t{plan.stages} * length, [&](std::int64_t i) {
      fill_fourier_table(axis.fourier, i);
      if (i >= length) return;
      const int position = static_cast<int>(i), k = plan.frequency_at(position);
      axis.turns[position] = device_root(k, std::int64_t{4} * length);
      axis.partners[position] = plan.position_of(k == 0 ? 0 : length - k);
      const double half = sin(std::numbers::pi * static_cast<double>(k) / (2.0 * length));
      axis.eigenvalues[position] = static_cast<float>(4 * half * half);
    });
  }
};

// Whether lines of a length are transformed here: short ones are faster as products with a matrix, and others
// may have a large prime factor or not fit.
inline bool has_fourier_axis(int length, std::int64_t shared_limit) {
  constexpr int kShortest = 64;
  return length >= kShortest && fourier_plan(length).stages > 0 &&
         FourierLines::bytes(length, 0) <= shared_limit;
}

template <class Queue>
CosineAxis cosine_axis(Queue& queue, int length) {
  CosineAxis axis;
  axis.fourier.plan = fourier_plan(length);
  const std::int64_t tables = std::int64_t{axis.fourier.plan.stages} * length;
  axis.fourier.roots = queue.template take<ComplexNumber>(length);
  axis.fourier.twiddles = queue.template take<ComplexNumber>(tables);
  axis.turns = queue.template take<ComplexNumber>(length);
  axis.partners = queue.template take<int>(length);
  axis.eigenvalues = queue.template take<float>(length);
  launch_items<CosineAxisBody>(queue, tables, axis);
  return axis;
}

// The axis for blocks of as many lines as two blocks of a multiprocessor have room for, but no more than keep
// a GPU busy with `lines` of them, nor more than `most`; yet `least` where they fit.
inline CosineAxis in_blocks(CosineAxis axis, std::int64_t lines, int least, int most,
                            std::int64_t shared_limit) {
  constexpr std::int64_t kHalf = 76 << 10, kBlocks = 264;  // bytes; two blocks for each multiprocessor
  const std::int64_t limit = shared_limit < kHalf ? shared_limit : kHalf;
  const auto fits = [&](int log_lines) {
    const std::int64_t of_block = std::int64_t{1} << log_lines;
    return FourierLines::bytes(axis.length(), log_lines) <= limit && of_block <= most &&
           (of_block <= least || of_block * kBlocks <= lines);
  };
  axis.log_lines = 0;
  while (fits(axis.log_lines + 1)) ++axis.log_lines;
  return axis;
}

// What bodies that transform lines have in common.
struct LinesBody {
  static constexpr int kThreads = 256;
  static constexpr bool kFewerWillDo = true;
  static constexpr int kResident = 2;

  template <class Arguments>
  static std::int64_t shared_bytes(const Arguments& args) {
    return args.axis.bytes();
  }
};

// store(i, load(i)) for i = first, first + step, ... below count. Several loads are under way before the
// first store: memory is far.
template <class Load, class Store>
SRDFAST_INLINE void transfer(int first, int step, int count, const Load& load, const Store& store) {
  constexpr int kTogether = 8;
  for (int i = first; i < count; i += kTogether * step) {
    decltype(load(0)) values[kTogether] = {};
    SRDFAST_UNROLL
    for (int j = 0; j < kTogether; ++j) {
      if (i + j * step < count) values[j] = load(i + j * step);
    }
    SRDFAST_UNROLL
    for (int j = 0; j < kTogether; ++j) {
      if (i + j * step < count) store(i + j * step, values[j]);
    }
  }
}

// Two adjacent rows of a plane, or one where it has no more, or none.
struct RowPair {
  int rows, width;
  std::int64_t start;  // where the first begins

  SRDFAST_INLINE ComplexNumber load(const float* planes, int x) const {
    const float* const row = planes + start + x;
    return {rows > 0 ? row[0] : 0.0f, rows > 1 ? row[width] : 0.0f};
  }
  SRDFAST_INLINE void store(const ComplexNumber& values, float* planes, int x) const {
    float* const row = planes + start + x;
    if (rows > 0) row[0] = values.re;
    if (rows > 1) row[width] = values.im;
  }
};

// Planes [planes, height, width] as pairs of rows, fewer than 2^31: more of a width worth the while would
// fill no GPU's memory.
struct RowPairs {
  int planes, height, width;

  SRDFAST_INLINE int of_plane() const { return (height + 1) / 2; }
  SRDFAST_INLINE std::int64_t count() const { return std::int64_t{planes} * of_plane(); }
  SRDFAST_INLINE RowPair operator()(std::int64_t pair) const {
    if (pair >= count()) return {0, width, 0};
    const int plane = static_cast<int>(pair) / of_plane(), row = 2 * (static_cast<int>(pair) % of_plane());
    return {row + 1 < height ? 2 : 1, width, (std::int64_t{plane} * height + row) * width};
  }
};

// function(line, pair, first, step) for the pairs of rows of a block; the thread has the pixels first, first
// + step, ... of it. Several lines at a time share the threads where they are short.
template <class Block, class Function>
SRDFAST_INLINE void for_each_pair(const Block& block, const RowPairs& pairs, int lines,
                                  const Function& function) {
  constexpr int kNarrowest = 32;  // threads that read neighbouring pixels
  int step = block.threads();
  while (step > kNarrowest && step / 2 >= pairs.width) step /= 2;
  for (int line = block.thread() / step; line < lines; line += block.threads() / step) {
    function(line, pairs(std::int64_t{block.index()} * lines + line), block.thread() % step, step);
  }
}

// The pixels of rows become frequencies.
struct RowsForwardBody : LinesBody {
  struct Arguments {
    CosineAxis axis;
    RowPairs pairs;
    const float* pixels;
    float* frequencies;
  };

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    const CosineAxis& axis = args.axis;
    const FourierLines lines{static_cast<ComplexNumber*>(shared), axis.log_lines};
    const int width = args.pairs.width;
    for_each_pair(block, args.pairs, axis.lines(), [&](int line, const RowPair& pair, int first, int step) {
      transfer(
          first, step, width, [&](int x) { return pair.load(args.pixels, x); },
          [&](int x, const ComplexNumber& pixels) { lines(axis.place_of(x), line) = pixels; });
    });
    fourier_forward(block, axis.fourier, lines);
    for_each_pair(block, args.pairs, axis.lines(), [&](int line, const RowPair& pair, int first, int step) {
      transfer(
          first, step, width,
          [&](int x) { return axis.frequency(x, lines(x, line), lines(axis.partners[x], line)); },
          [&](int x, const ComplexNumber& frequency) { pair.store(frequency, args.frequencies, x); });
    });
  }
};

// The frequencies of rows become the low band.
struct RowsBackwardBody : LinesBody {
  struct Arguments {
    CosineAxis axis;
    RowPairs pairs;
    const float *frequencies, *images;
    float *low, *high;
  };

  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    const CosineAxis& axis = args.axis;
    const FourierLines lines{static_cast<ComplexNumber*>(shared), axis.log_lines};
    const int width = args.pairs.width;
    for_each_pair(block, args.pairs, axis.lines(), [&](int line, const RowPair& pair, int first, int step) {
      // The partners of neighbours are neighbours too, backwards.
      transfer(
          first, step, width,
          [&](int x) {
            return axis.value(x, pair.load(args.frequencies, x),
                              pair.load(args.frequencies, axis.partners[x]));
          },
          [&](int x, const ComplexNumber& value) { lines(x, line) = value; });
    });
    fourier_backward(block, axis.fourier, lines);
    for_each_pair(block, args.pairs, axis.lines(), [&](int line, const RowPair& pair, int first, int step) {
      transfer(
          first, step, width, [&](int x) { return pair.load(args.images, x); },
          [&](int x, const ComplexNumber& pixels) {
            const ComplexNumber low = swapped(lines(axis.place_of(x), line));
            pair.store(low, args.low, x);
            pair.store(pixels - low, args.high, x);
          });
    });
  }
};

// Columns of the rows' frequencies are transformed, damped and transformed back, in place. A block takes
// neighbouring columns, so that what it reads of a row are whole sectors of memory.
struct ColumnsBody : LinesBody {
  struct Arguments {
    CosineAxis axis;  // of the columns
    std::int64_t planes;
    int width;
    float* frequencies;           // [planes, length, width]
    const float* of_frequencies;  // [width], eigenvalues of the other axis
    float strength;

    SRDFAST_INLINE int columns() const { return 2 * axis.lines(); }  // of a block
    SRDFAST_INLINE int tiles() const { return (width + columns() - 1) / columns(); }
  };

  static std::int64_t blocks(const Arguments& args) { return args.planes * args.tiles(); }
  template <class Block>
  SRDFAST_INLINE static void run(const Block& block, const Arguments& args, void* shared) {
    const CosineAxis& axis = args.axis;
    const FourierLines lines{static_cast<ComplexNumber*>(shared), axis.log_lines};
    const std::int64_t plane = block.index() / args.tiles();
    const int first = block.index() % args.tiles() * args.columns();
    float* const tile = args.frequencies + plane * axis.length() * args.width + first;
    const int width = args.width - first < args.columns() ? args.width - first : args.columns();

    // Pixel i of the tile, neighbouring threads on neighbouring columns.
    const int log_columns = axis.log_lines + 1, count = axis.length() << log_columns;
    const auto column_of = [=](int i) { return i & ((1 << log_columns) - 1); };
    const auto in_tile = [&](int i) { return std::int64_t{i >> log_columns} * args.width + column_of(i); };
    const auto in_lines = [&](int i) -> float& {
      ComplexNumber& pair = lines(axis.place_of(i >> log_columns), column_of(i) / 2);
      return column_of(i) % 2 == 0 ? pair.re : pair.im;
    };
    transfer(
        block.thread(), block.threads(), count,
        [&](int i) { return column_of(i) < width ? tile[in_tile(i)] : 0.0f; },
        [&](int i, float value) { in_lines(i) = value; });
    fourier_forward(block, axis.fourier, lines);
    damp(block, args, lines, args.of_frequencies + first, width);
    fourier_backward(block, axis.fourier, lines);
    for (int i = block.thread(); i < count; i += block.threads()) {
      // What comes back is swapped: the column next to it.
      if (column_of(i) < width) tile[in_tile(i)] = in_lines(i ^ 1);
    }
  }

 private:
  // From Fourier transform to Fourier transform: a frequency and its partner at a time, so that both stay in
  // their places.
  template <class Block>
  SRDFAST_INLINE static void damp(const Block& block, const Arguments& args, const FourierLines& lines,
                                  const float* of_columns, int columns) {
    const CosineAxis& axis = args.axis;
    const int count = axis.length() << lines.log_lines;
    for (int i = block.thread(); i < count; i += block.threads()) {
      const int line = i & (lines.lines() - 1), own = i >> lines.log_lines, partner = axis.partners[own];
      if (partner < own) continue;
      const int column = 2 * line;
      const float left = column < columns ? of_columns[column] : 0.0f;
      const float right = column + 1 < columns ? of_columns[column + 1] : 0.0f;
      const auto damped = [&](int position, const ComplexNumber& z, const ComplexNumber& other) {
        const ComplexNumber f = axis.frequency(position, z, other);
        const float eigenvalue = axis.eigenvalues[position];
        return ComplexNumber{f.re / (1 + args.strength * (eigenvalue + left)),
                             f.im / (1 + args.strength * (eigenvalue + right))};
      };
      const ComplexNumber z = lines(own, line), other = lines(partner, line);
      const ComplexNumber f = damped(own, z, other), f_other = damped(partner, other, z);
      lines(own, line) = axis.value(own, f, f_other);
      if (partner != own) lines(partner, line) = axis.value(partner, f_other, f);
    }
  }
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
