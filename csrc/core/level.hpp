// SPDX-License-Identifier: Apache-2.0
// Namespaces that keep code compiled for different CPU levels apart.
//
// Hot files are compiled once per CPU level with that level's instruction set. Whatever they define must have
// a name of its own per level: the linker keeps one copy of an inline function, and a copy with AVX-512 in it
// must never serve a machine without. So everything compiled per level lives in this inline namespace, and
// hot files use no containers and no algorithms of the standard library.
#pragma once

#ifndef SRDFAST_LEVEL
#define SRDFAST_LEVEL portable
#endif

#ifndef SRDFAST_VECTOR_BYTES
#define SRDFAST_VECTOR_BYTES 16
#endif

#if defined(__CUDACC__)
#define SRDFAST_INLINE __host__ __device__ __forceinline__
#define SRDFAST_UNROLL _Pragma("unroll")
#else
#define SRDFAST_UNROLL
#define SRDFAST_INLINE inline __attribute__((always_inline))
#endif
#define SRDFAST_RESTRICT __restrict__

#define SRDFAST_STRINGIFY_(text) #text
#define SRDFAST_STRINGIFY(text) SRDFAST_STRINGIFY_(text)
