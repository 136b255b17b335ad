// SPDX-License-Identifier: Apache-2.0
// What a coder computes of the dictionaries before it sees a signal. A caller with the same dictionaries for
// many calls has it made once and hands it to each of them.
#pragma once

namespace srdfast {

struct Prepared {
  Prepared() = default;
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;
  virtual ~Prepared();  // defined where no instruction of a CPU level can reach it
};

// Tables in the memory of a CUDA device, which whoever had them made keeps.
struct CudaTables final : Prepared {
  explicit CudaTables(const void* data) : data(data) {}
  const void* data;
};

}  // namespace srdfast
