// SPDX-License-Identifier: Apache-2.0
// The Tikhonov split on the CPU, over all threads.
#include "core/parallel.hpp"
#include "ops/split/split.hpp"
#include "ops/split/splitter.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

// One plane after the other, each over all threads.
template <class T>
void split_large(const SplitProblem<T>& problem, const Splitter<T>& splitter) {
  const Scratch<T> spectrum(splitter.spectrum_size());
  for (std::int64_t plane = 0; plane < problem.images.extent(0); ++plane) {
    const T* const image = problem.images.slice(plane);
    T *const low = problem.low.slice(plane), *const high = problem.high.slice(plane);
    parallel_for(splitter.strips(), 1, [&](std::int64_t begin, std::int64_t end) {
      const typename Splitter<T>::Work work(splitter);
      for (std::int64_t i = begin; i < end; ++i) {
        splitter.transform(static_cast<int>(i), image, work, spectrum.data());
      }
    });
    parallel_for(splitter.groups(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) splitter.eliminate(static_cast<int>(i), spectrum.data());
    });
    parallel_for(splitter.strips(), 1, [&](std::int64_t begin, std::int64_t end) {
      const typename Splitter<T>::Work work(splitter);
      for (std::int64_t i = begin; i < end; ++i) {
        splitter.restore(static_cast<int>(i), image, spectrum.data(), work, low, high);
      }
    });
  }
}

// Planes that fit a thread's cache: each is one thread's own.
template <class T>
void split_small(const SplitProblem<T>& problem, const Splitter<T>& splitter) {
  constexpr std::int64_t kTogether = 1 << 14;  // elements that are worth a thread's while
  const std::int64_t grain = 1 + kTogether / splitter.spectrum_size();
  parallel_for(problem.images.extent(0), grain, [&](std::int64_t begin, std::int64_t end) {
    const typename Splitter<T>::Work work(splitter);
    const Scratch<T> spectrum(splitter.spectrum_size());
    for (std::int64_t plane = begin; plane < end; ++plane) {
      splitter.split(problem.images.slice(plane), work, spectrum.data(), problem.low.slice(plane),
                     problem.high.slice(plane));
    }
  });
}

template <class T>
void split_cpu(const SplitProblem<T>& problem) {
  constexpr std::int64_t kSmall = 1 << 18;  // bytes of a spectrum
  const Splitter<T> splitter(static_cast<int>(problem.images.extent(1)),
                             static_cast<int>(problem.images.extent(2)), problem.strength);
  const bool small = splitter.spectrum_size() * static_cast<std::int64_t>(sizeof(T)) <= kSmall;
  small ? split_small(problem, splitter) : split_large(problem, splitter);
}

const Registration<SplitProblem<float>> registered_float(split_cpu<float>);
const Registration<SplitProblem<double>> registered_double(split_cpu<double>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
