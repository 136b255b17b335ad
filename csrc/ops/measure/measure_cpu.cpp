// SPDX-License-Identifier: Apache-2.0
// Multiply-adds in registers, and a scaled copy, on all threads.
#include "core/parallel.hpp"
#include "math/vector.hpp"
#include "ops/measure/measure.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

template <class T>
void peak_cpu(const PeakProblem<T>& problem) {
  constexpr int kChains = 12;  // more than the latency of a multiply-add times how many start in a cycle
  const int threads = num_threads();
  parallel_for(threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t thread = begin; thread < end; ++thread) {
      const auto start = [&](int chain) { return broadcast<T>(problem.starts[chain]); };
      Vector<T> a = start(0), b = start(1), c = start(2), d = start(3), e = start(4), f = start(5);
      Vector<T> g = start(6), h = start(7), i = start(8), j = start(9), k = start(10), l = start(11);
      const Vector<T> factor = broadcast<T>(T(1) - T(1e-6)), term = broadcast<T>(T(1e-6));
      for (std::int64_t repeat = 0; repeat < problem.repeats; ++repeat) {
        a = a * factor + term, b = b * factor + term, c = c * factor + term, d = d * factor + term;
        e = e * factor + term, f = f * factor + term, g = g * factor + term, h = h * factor + term;
        i = i * factor + term, j = j * factor + term, k = k * factor + term, l = l * factor + term;
      }
      const Vector<T> sum = a + b + c + d + e + f + g + h + i + j + k + l;
      asm volatile("" : : "m"(sum));  // the sums are wanted: the loop stays
    }
  });
  *problem.operations = 2.0 * kChains * kVectorLength<T> * static_cast<double>(problem.repeats) * threads;
}

template <class T>
void stream_cpu(const StreamProblem<T>& problem) {
  constexpr std::int64_t kTogether = 1 << 16;
  const T* const in = problem.first.data;
  T* const out = problem.second.data;
  parallel_for(problem.first.extent(0), kTogether, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) out[i] = 2 * in[i];
  });
}

const Registration<PeakProblem<float>> peak_float(peak_cpu<float>);
const Registration<PeakProblem<double>> peak_double(peak_cpu<double>);
const Registration<StreamProblem<float>> stream_float(stream_cpu<float>);
const Registration<StreamProblem<double>> stream_double(stream_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
