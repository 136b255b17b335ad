// SPDX-License-Identifier: Apache-2.0
#include "core/cpu_level.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace srdfast {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string chosen_level() {
  const std::vector<std::string> levels = available_cpu_levels();
  if (levels.empty()) throw std::runtime_error("this build needs an x86-64-v2 processor (SSE4.2)");
  const char* asked = std::getenv("SRDFAST_CPU_LEVEL");
  if (asked == nullptr || *asked == '\0') return levels.back();
  if (std::find(levels.begin(), levels.end(), asked) == levels.end()) {
    throw std::invalid_argument("SRDFAST_CPU_LEVEL: expected one of " + joined(levels) +
                                " on this machine, got '" + asked + "'; unset it to use the fastest");
  }
  return asked;
}

}  // namespace

std::vector<std::string> available_cpu_levels() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  std::vector<std::string> levels;
  if (__builtin_cpu_supports("x86-64-v2")) levels.emplace_back("v2");
  if (__builtin_cpu_supports("x86-64-v3")) levels.emplace_back("v3");
  if (__builtin_cpu_supports("x86-64-v4")) levels.emplace_back("v4");
  return levels;
#else
  return {"generic"};
#endif
}

const std::string& cpu_level() {
  static const std::string level = chosen_level();
  return level;
}

}  // namespace srdfast
