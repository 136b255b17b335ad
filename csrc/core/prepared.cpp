// SPDX-License-Identifier: Apache-2.0
#include "core/prepared.hpp"

namespace srdfast {

Prepared::~Prepared() = default;

}  // namespace srdfast
