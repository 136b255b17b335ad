// SPDX-License-Identifier: Apache-2.0
// The Tikhonov split on a device: the cosine transform along the rows, along the columns, a damping of each
// frequency, and back.
//
// Each axis has its own way: long ones whose prime factors are small by Fourier transforms in shared memory,
// the others as products with dense matrices.
#pragma once

#include "ops/split/split.hpp"
#include "ops/split/split_dense.hpp"
#include "ops/split/split_fourier.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// A launch of a body whose blocks take `axis.lines()` pairs of rows.
template <class Body, class Queue>
void launch_rows(Queue& queue, const typename Body::Arguments& args) {
  const int lines = args.axis.lines();
  queue.template launch<Body>((args.pairs.count() + lines - 1) / lines, args);
}

template <class Queue>
void split_device(Queue& queue, const SplitProblem<float>& problem) {
  constexpr int kMostLines = 1 << 10;
  constexpr int kSector = 4, kCacheLine = 16;  // lines of two columns each that fill one
  const std::int64_t planes = problem.images.extent(0), limit = queue.shared_limit();
  const int height = static_cast<int>(problem.images.extent(1)),
            width = static_cast<int>(problem.images.extent(2));
  const bool fourier_rows = has_fourier_axis(width, limit), fourier_columns = has_fourier_axis(height, limit);
  const float strength = static_cast<float>(problem.strength);
  float* const half = queue.template take<float>(problem.images.size());

  // The transform along the rows is as long as the planes are wide.
  CosineAxis along_rows{}, along_columns{};
  CosineTables rows{}, columns{};
  if (fourier_rows) along_rows = cosine_axis(queue, width);
  if (!fourier_rows) rows = cosine_tables(queue, width);
  if (fourier_columns) along_columns = height == width ? along_rows : cosine_axis(queue, height);
  if (!fourier_columns) columns = height == width ? rows : cosine_tables(queue, height);

  const RowPairs pairs{static_cast<int>(planes), height, width};
  if (fourier_rows) {
    along_rows = in_blocks(along_rows, pairs.count(), 1, kMostLines, limit);
    launch_rows<RowsForwardBody>(queue, {along_rows, pairs, problem.images.data, half});
  } else {
    matrix_product(queue, RowsOf{problem.images.data, width}, rows.forward, 0, rows.shape, 1, planes * height,
                   IntoRows{half, width});
  }
  const float* const of_rows = fourier_rows ? along_rows.eigenvalues : rows.eigenvalues;
  if (fourier_columns) {
    along_columns = in_blocks(along_columns, planes * width / 2, kSector, kCacheLine, limit);
    const ColumnsBody::Arguments args{along_columns, planes, width, half, of_rows, strength};
    queue.template launch<ColumnsBody>(ColumnsBody::blocks(args), args);
  } else {
    float* const whole = queue.template take<float>(problem.images.size());
    matrix_product(queue, ColumnsOf{half, height, width}, columns.forward, 0, columns.shape, 1,
                   planes * width,
                   DampedIntoColumns{{whole, height, width}, columns.eigenvalues, of_rows, strength});
    matrix_product(queue, ColumnsOf{whole, height, width}, columns.backward, 0, columns.shape, 1,
                   planes * width, IntoColumns{half, height, width});
  }
  if (fourier_rows) {
    launch_rows<RowsBackwardBody>(
        queue, {along_rows, pairs, half, problem.images.data, problem.low.data, problem.high.data});
  } else {
    matrix_product(queue, RowsOf{half, width}, rows.backward, 0, rows.shape, 1, planes * height,
                   BandsInto{problem.images.data, problem.low.data, problem.high.data, width});
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
