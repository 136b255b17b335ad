// SPDX-License-Identifier: Apache-2.0
// Which windows have changed, a window at a time over all threads.
#include <cstring>

#include "core/parallel.hpp"
#include "ops/blocks/blocks.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

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

const Registration<RefreshProblem<std::uint8_t>> refresh_bytes(refresh_cpu<std::uint8_t>);
const Registration<RefreshProblem<std::uint16_t>> refresh_words(refresh_cpu<std::uint16_t>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
