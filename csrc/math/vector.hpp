// SPDX-License-Identifier: Apache-2.0
// The widest vector of a CPU level.
#pragma once

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class T>
using Vector __attribute__((vector_size(SRDFAST_VECTOR_BYTES))) = T;

template <class T>
constexpr int kVectorLength = SRDFAST_VECTOR_BYTES / static_cast<int>(sizeof(T));

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
