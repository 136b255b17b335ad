// SPDX-License-Identifier: Apache-2.0
// What the core throws that Python has an exception of its own for.
#pragma once

#include <stdexcept>

namespace srdfast {

// An array lies on a device that cannot be used for it, or the device failed: srdfast.DeviceError.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace srdfast
