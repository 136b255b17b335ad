// SPDX-License-Identifier: Apache-2.0
// A batch of images, over all threads.
#include "core/parallel.hpp"
#include "ops/encode/encoder.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

constexpr std::int64_t kMostTogether = 32;  // enough to keep the last stage's weights busy
constexpr int kMostThreads = 4;             // a convolution of one small image has no work for more

void encode_cpu(const EncodeProblem<float>& problem) {
  const std::int64_t batch = problem.images.extent(0), threads = num_threads();
  const int height = static_cast<int>(problem.images.extent(2));
  const int width = static_cast<int>(problem.images.extent(3));
  const auto encode = [&](std::int64_t begin, std::int64_t end, int threads_together) {
    const int count = static_cast<int>(end - begin);
    Encoder(problem.network, height, width, count, threads_together)
        .encode(problem.images.slice(begin), count, problem.latents.slice(begin));
  };
  if (batch < threads) {
    return encode(0, batch, static_cast<int>(threads < kMostThreads ? threads : kMostThreads));
  }
  const std::int64_t each = (batch + threads - 1) / threads;
  parallel_for(batch, each < kMostTogether ? each : kMostTogether,
               [&](std::int64_t begin, std::int64_t end) { encode(begin, end, 1); });
}

const Registration<EncodeProblem<float>> registered(encode_cpu);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
