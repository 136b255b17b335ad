// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <vector>

#include "bindings/coding_args.hpp"
#include "bindings/ops.hpp"
#include "ops/measure/measure.hpp"

namespace srdfast {
namespace {

// The best rate of work() that repeats within the time; work returns how much it did.
template <class Work>
double best_rate(double seconds, const Work& work) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  double best = 0;
  const auto start = Clock::now();
  do {
    const auto round = Clock::now();
    const double done = work();
    best = std::max(best, done / since(round));
  } while (since(start) < seconds);
  return best;
}

void require_seconds(double seconds) {
  require_setting(seconds > 0 && seconds <= 60, "seconds", "a number above 0, at most 60", seconds);
}

template <class T>
double peak(double seconds) {
  return best_rate(seconds, [] {
    const T starts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    double operations = 0;
    run_kernel(PeakProblem<T>{1 << 20, starts, &operations});
    return operations;
  });
}

double measure_peak(const std::string& dtype, double seconds) {
  require_seconds(seconds);
  if (dtype != "float32" && dtype != "float64") expected("dtype", "float32 or float64", dtype);
  const py::gil_scoped_release release;
  return dtype == "float32" ? peak<float>(seconds) : peak<double>(seconds);
}

double measure_bandwidth(std::int64_t bytes, double seconds) {
  require_seconds(seconds);
  if (bytes < 8 || bytes > (std::int64_t{1} << 34))
    expected("bytes", "from 8 to 2^34", std::to_string(bytes));
  const py::gil_scoped_release release;
  const std::int64_t count = bytes / 8;  // two arrays of float32
  std::vector<float> first(static_cast<std::size_t>(count)), second(static_cast<std::size_t>(count));
  return best_rate(seconds, [&] {
    run_kernel(StreamProblem<float>{{first.data(), {count}}, {second.data(), {count}}});
    return 8.0 * static_cast<double>(count);
  });
}

}  // namespace

void bind_measure(py::module_& module) {
  module.def("measure_peak", &measure_peak, py::arg("dtype"), py::arg("seconds"),
             "Multiply-adds a second, counted as two operations each, of all threads in registers.");
  module.def("measure_bandwidth", &measure_bandwidth, py::arg("bytes"), py::arg("seconds"),
             "Bytes a second, read and written, of a scaled copy by all threads over `bytes` of memory.");
}

}  // namespace srdfast
