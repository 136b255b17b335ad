// SPDX-License-Identifier: Apache-2.0
// Which instruction-set level the hot kernels use, chosen at run time.
#pragma once

#include <string>
#include <vector>

namespace srdfast {

// The levels that this build holds and this machine can run, slowest first ("v2", "v3", "v4" on x86-64).
std::vector<std::string> available_cpu_levels();

// The level in use: the environment variable SRDFAST_CPU_LEVEL, else the fastest available one.
// Throws std::invalid_argument when the variable names a level that is not available.
const std::string& cpu_level();

}  // namespace srdfast
