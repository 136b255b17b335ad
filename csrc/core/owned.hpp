// SPDX-License-Identifier: Apache-2.0
// A few things made one after another, destroyed at the end of the scope: also if making the next one fails.
#pragma once

#include "core/level.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class Thing, int kMost>
class Owned {
 public:
  Owned() = default;
  ~Owned() {
    while (count_ > 0) delete things_[--count_];
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;

  // Takes a thing that `new` made; at most kMost.
  void add(Thing* thing) { things_[count_++] = thing; }

  int size() const { return count_; }
  Thing& operator[](int i) const { return *things_[i]; }

 private:
  Thing* things_[kMost];
  int count_ = 0;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
