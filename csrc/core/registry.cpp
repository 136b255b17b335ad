// SPDX-License-Identifier: Apache-2.0
#include "core/registry.hpp"

#include <map>
#include <stdexcept>
#include <string>
#include <tuple>

#include "core/cpu_level.hpp"
#include "core/errors.hpp"

namespace srdfast {
namespace {

using Key = std::tuple<std::string, std::string, std::string>;  // operator, dtype, level

std::map<Key, AnyKernel>& kernels() {
  static std::map<Key, AnyKernel> table;
  return table;
}

std::string text(const Key& key) {
  return std::get<0>(key) + " for " + std::get<1>(key) + " at CPU level " + std::get<2>(key);
}

}  // namespace

void register_kernel(const char* name, const char* dtype, const char* level, AnyKernel kernel) {
  const Key key{name, dtype, level};
  if (!kernels().emplace(key, kernel).second) throw std::logic_error("registered twice: " + text(key));
}

AnyKernel find_kernel(const char* name, const char* dtype) {
  const Key key{name, dtype, cpu_level()};
  const auto found = kernels().find(key);
  if (found == kernels().end()) throw std::logic_error("not in this build: " + text(key));
  return found->second;
}

AnyKernel find_cuda_kernel(const char* name, const char* dtype, const char* part) {
  const auto found = kernels().find(Key{name, dtype, part});
  if (found != kernels().end()) return found->second;
  const std::string operation = std::string(name) + " for " + dtype;
#if SRDFAST_HAS_CUDA
  throw DeviceError("no CUDA kernel of " + operation + "; GPUs compute in float32, the CPU in float64 too");
#else
  throw DeviceError("no CUDA kernel of " + operation +
                    ": this build of srdfast has none; move the arrays to the CPU");
#endif
}

}  // namespace srdfast
