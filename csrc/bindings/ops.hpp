// SPDX-License-Identifier: Apache-2.0
// Every operator adds itself to the module by one function; this is their list.
#pragma once

#include <pybind11/pybind11.h>

namespace srdfast {

void bind_omp(pybind11::module_& module);
void bind_lasso(pybind11::module_& module);
void bind_lista(pybind11::module_& module);
void bind_lista_gradient(pybind11::module_& module);
void bind_support_gradient(pybind11::module_& module);
void bind_assign(pybind11::module_& module);
void bind_split(pybind11::module_& module);
void bind_patches(pybind11::module_& module);
void bind_purify(pybind11::module_& module);
void bind_prepare(pybind11::module_& module);
void bind_blocks(pybind11::module_& module);
void bind_frame(pybind11::module_& module);
void bind_colour(pybind11::module_& module);
void bind_measure(pybind11::module_& module);
void bind_encode(pybind11::module_& module);

inline void bind_ops(pybind11::module_& module) {
  bind_omp(module);
  bind_lasso(module);
  bind_lista(module);
  bind_lista_gradient(module);
  bind_support_gradient(module);
  bind_assign(module);
  bind_split(module);
  bind_patches(module);
  bind_purify(module);
  bind_prepare(module);
  bind_blocks(module);
  bind_frame(module);
  bind_colour(module);
  bind_measure(module);
  bind_encode(module);
}

}  // namespace srdfast
