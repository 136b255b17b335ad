// SPDX-License-Identifier: Apache-2.0
// The tables of dictionaries on a device: they are the workspace.
#pragma once

#include "device/tables.hpp"
#include "ops/lista/lista.hpp"
#include "ops/prepare/prepare.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

template <class Queue>
void prepare_device(Queue& queue, const PrepareProblem<float>& problem) {
  if (problem.analysis.data != nullptr) {
    device_lista(queue, problem.analysis, {}, problem.dictionary,
                 lista_by_gram(kAnySteps, problem.dictionary));
  } else {
    device_grams(queue, problem.dictionary);
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
