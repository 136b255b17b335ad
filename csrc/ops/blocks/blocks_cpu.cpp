// SPDX-License-Identifier: Apache-2.0
// Cutting windows and joining blocks on the CPU, a block at a time over all threads.
#include <cstring>

#include "core/parallel.hpp"
#include "ops/blocks/blocks.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class Code>
void cut_cpu(const CutProblem<Code>& problem) {
  const std::int64_t width = problem.plane.extent(1);
  const std::int64_t rows = problem.windows.extent(1), columns = problem.windows.extent(2);
  const float scale = problem.scale;
  parallel_for(problem.windows.extent(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t* const place = problem.places.slice(i);
      for (std::int64_t y = 0; y < rows; ++y) {
        const Code* SRDFAST_RESTRICT in = problem.plane.data + (place[0] + y) * width + place[1];
        float* SRDFAST_RESTRICT out = problem.windows.slice(i) + y * columns;
        for (std::int64_t x = 0; x < columns; ++x) out[x] = scale * static_cast<float>(in[x]);
      }
    }
  });
}

// Whether two lines differ anywhere by more than `tolerance`, at least 0.
template <class Code>
SRDFAST_INLINE bool differ(const Code* SRDFAST_RESTRICT a, const Code* SRDFAST_RESTRICT b, std::int64_t count,
                           std::int32_t tolerance) {
  if (tolerance == 0) return std::memcmp(a, b, sizeof(Code) * static_cast<std::size_t>(count)) != 0;
  std::int32_t beyond = 0;
  for (std::int64_t x = 0; x < count; ++x) {
    const std::int32_t apart = static_cast<std::int32_t>(a[x]) - static_cast<std::int32_t>(b[x]);
    beyond |= static_cast<std::int32_t>(apart > tolerance) | static_cast<std::int32_t>(-apart > tolerance);
  }
  return beyond != 0;
}

template <class Code>
void refresh_cpu(const RefreshProblem<Code>& problem) {
  const std::int64_t width = problem.plane.extent(1);
  const std::int64_t rows = problem.references.extent(1), columns = problem.references.extent(2);
  const std::size_t bytes = sizeof(Code) * static_cast<std::size_t>(columns);
  parallel_for(problem.references.extent(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t* const place = problem.places.slice(i);
      const Code* const window = problem.plane.data + place[0] * width + place[1];
      Code* const reference = problem.references.slice(i);
      bool changed = problem.tolerance < 0;
      for (std::int64_t y = 0; y < rows && !changed; ++y) {
        changed = differ(window + y * width, reference + y * columns, columns, problem.tolerance);
      }
      problem.changed.data[i] = changed;
      for (std::int64_t y = 0; y < rows && changed; ++y) {
        std::memcpy(reference + y * columns, window + y * width, bytes);
      }
    }
  });
}

void centres_cpu(const CentresProblem& problem) {
  const std::int64_t width = problem.images.extent(2);
  const std::int64_t rows = problem.centres.extent(1), columns = problem.centres.extent(2);
  parallel_for(problem.centres.extent(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float* const in = problem.images.slice(i) + problem.first * (width + 1);
      for (std::int64_t y = 0; y < rows; ++y) {
        std::memcpy(problem.centres.slice(i) + y * columns, in + y * width,
                    sizeof(float) * static_cast<std::size_t>(columns));
      }
    }
  });
}

template <class Code>
void join_cpu(const JoinProblem<Code>& problem) {
  const std::int64_t low_width = problem.low.extent(2), rebuilt_width = problem.rebuilt.extent(2);
  const std::int64_t width = problem.plane.extent(1), side = problem.side;
  const float span = problem.span, most = problem.most;
  parallel_for(problem.low.extent(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t* const place = problem.places.slice(i);
      const float* const low_block = problem.low.slice(i) + problem.in_low * (low_width + 1);
      const float* const rebuilt_block = problem.rebuilt.slice(i) + problem.in_rebuilt * (rebuilt_width + 1);
      for (std::int64_t y = 0; y < side; ++y) {
        const float* SRDFAST_RESTRICT low = low_block + y * low_width;
        const float* SRDFAST_RESTRICT rebuilt = rebuilt_block + y * rebuilt_width;
        Code* SRDFAST_RESTRICT out = problem.plane.data + (place[0] + y) * width + place[1];
        for (std::int64_t x = 0; x < side; ++x) {
          float value = span * (low[x] + rebuilt[x]) + 0.5f;
          value = value > 0 ? value : 0;
          value = value < most ? value : most;
          out[x] = static_cast<Code>(static_cast<std::int32_t>(value));
        }
      }
    }
  });
}

const Registration<CutProblem<std::uint8_t>> cut_bytes(cut_cpu<std::uint8_t>);
const Registration<CutProblem<std::uint16_t>> cut_words(cut_cpu<std::uint16_t>);
const Registration<RefreshProblem<std::uint8_t>> refresh_bytes(refresh_cpu<std::uint8_t>);
const Registration<RefreshProblem<std::uint16_t>> refresh_words(refresh_cpu<std::uint16_t>);
const Registration<CentresProblem> centres_float(centres_cpu);
const Registration<JoinProblem<std::uint8_t>> join_bytes(join_cpu<std::uint8_t>);
const Registration<JoinProblem<std::uint16_t>> join_words(join_cpu<std::uint16_t>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
