// SPDX-License-Identifier: Apache-2.0
// A batch of images, over all threads.
#include "core/parallel.hpp"
#include "ops/encode/encoder.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

constexpr std::int64_t kMostTogether = 32;  // enough to keep the last stage's weights busy

void encode_cpu(const EncodeProblem<float>& problem) {
  const std::int64_t batch = problem.images.extent(0), each = (batch + num_threads() - 1) / num_threads();
  const std::int64_t together = each < kMostTogether ? each : kMostTogether;
  const int height = static_cast<int>(problem.images.extent(2)),
            width = static_cast<int>(problem.images.extent(3));
  parallel_for(batch, together, [&](std::int64_t begin, std::int64_t end) {
    const int count = static_cast<int>(end - begin);
    Encoder(problem.network, height, width, count)
        .encode(problem.images.slice(begin), count, problem.latents.slice(begin));
  });
}

const Registration<EncodeProblem<float>> registered(encode_cpu);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
