// SPDX-License-Identifier: Apache-2.0
// Rebuilding an image by sparse coding: extract -> code -> reconstruct -> average, fused, so that neither the
// patches nor their codes exist in memory beyond one tile.
#pragma once

#include "ops/lasso/lasso.hpp"
#include "ops/lista/lista.hpp"
#include "ops/omp/omp.hpp"
#include "ops/patches/strips.hpp"

namespace srdfast {

// How a purification codes its patches: one of these three.
template <class T>
struct OmpCoding {
  static constexpr const char* purify_name = "purify_omp";
  OmpSettings<T> settings;
};

template <class T>
struct LassoCoding {
  static constexpr const char* purify_name = "purify_lasso";
  LassoSettings<T> settings;
};

template <class T>
struct ListaCoding {
  static constexpr const char* purify_name = "purify_lista";
  View<const T, 3> analysis;    // [dictionaries, atoms, features]
  View<const T, 2> thresholds;  // [dictionaries, atoms]
  int steps;
};

template <class T, class Coding>
struct PurifyProblem {
  static constexpr const char* name = Coding::purify_name;
  static constexpr const char* dtype = DTypeName<T>::value;

  View<const T, 4> images;            // [batch, channels, height, width]
  View<const T, 3> dictionary;        // [dictionaries, atoms, channels * patch * patch], synthesis atoms
  View<const std::int64_t, 1> index;  // [batch], or no data when there is one dictionary
  Coding coding;
  int patch, stride;

  // outputs
  View<T, 4> purified;  // [batch, channels, height, width]
};

inline namespace SRDFAST_LEVEL {

// A rebuilder is shared by all threads and holds what is precomputed of the dictionaries; its Worker codes a
// tile of patches [kTile, features] in one dictionary and writes their reconstructions [kTile, features].

template <class T>
SRDFAST_INLINE void add_atom(int features, T value, const T* SRDFAST_RESTRICT atom, T* SRDFAST_RESTRICT out) {
  for (int f = 0; f < features; ++f) out[f] += value * atom[f];
}

template <class T>
struct OmpRebuilder {
  OmpRebuilder(const PurifyProblem<T, OmpCoding<T>>& problem, const Groups& groups)
      : problem(problem),
        transposes(problem.dictionary, groups),
        grams(problem.dictionary, transposes, groups) {}

  struct Worker {
    explicit Worker(const OmpRebuilder& shared)
        : shared(shared),
          features(static_cast<int>(shared.problem.dictionary.extent(2))),
          coder(shared.problem.coding.settings, static_cast<int>(shared.problem.dictionary.extent(1)),
                features),
          indices(shared.problem.coding.settings.max_atoms),
          values(shared.problem.coding.settings.max_atoms) {}

    SRDFAST_INLINE void rebuild(std::int64_t d, int count, const T* patches, T* out) {
      std::memset(static_cast<void*>(out), 0, sizeof(T) * static_cast<std::size_t>(kTile) * features);
      coder.begin_tile(patches, shared.transposes[d]);
      for (int r = 0; r < count; ++r) {
        const int chosen = coder.solve(r, shared.grams[d], indices.data(), values.data());
        for (int k = 0; k < chosen; ++k) {
          const T* atom =
              shared.problem.dictionary.slice(d) + static_cast<std::int64_t>(indices[k]) * features;
          add_atom(features, values[k], atom, out + static_cast<long>(r) * features);
        }
      }
    }

    const OmpRebuilder& shared;
    int features;
    OmpCoder<T> coder;
    Scratch<std::int32_t> indices;
    Scratch<T> values;
  };

  const PurifyProblem<T, OmpCoding<T>>& problem;
  Transposes<T> transposes;
  Grams<T> grams;
};

template <class T>
struct LassoRebuilder {
  LassoRebuilder(const PurifyProblem<T, LassoCoding<T>>& problem, const Groups& groups)
      : problem(problem),
        transposes(problem.dictionary, groups),
        grams(problem.dictionary, transposes, groups) {}

  struct Worker {
    explicit Worker(const LassoRebuilder& shared)
        : shared(shared),
          atoms(static_cast<int>(shared.problem.dictionary.extent(1))),
          features(static_cast<int>(shared.problem.dictionary.extent(2))),
          coder(shared.problem.coding.settings, atoms, features),
          codes(atoms) {}

    SRDFAST_INLINE void rebuild(std::int64_t d, int count, const T* patches, T* out) {
      const T* dictionary = shared.problem.dictionary.slice(d);
      std::memset(static_cast<void*>(out), 0, sizeof(T) * static_cast<std::size_t>(kTile) * features);
      coder.begin_tile(patches, shared.transposes[d]);
      for (int r = 0; r < count; ++r) {
        coder.solve(r, dictionary, shared.grams[d], codes.data());
        for (int a = 0; a < atoms; ++a) {
          if (codes[a] == 0) continue;
          add_atom(features, codes[a], dictionary + static_cast<std::int64_t>(a) * features,
                   out + static_cast<long>(r) * features);
        }
      }
    }

    const LassoRebuilder& shared;
    int atoms, features;
    LassoCoder<T> coder;
    Scratch<T> codes;
  };

  const PurifyProblem<T, LassoCoding<T>>& problem;
  Transposes<T> transposes;
  Grams<T> grams;
};

template <class T>
struct ListaRebuilder {
  ListaRebuilder(const PurifyProblem<T, ListaCoding<T>>& problem, const Groups& groups)
      : problem(problem), transposes(problem.coding.analysis, groups) {}

  struct Worker {
    explicit Worker(const ListaRebuilder& shared)
        : shared(shared),
          coder(shared.problem.coding.steps, static_cast<int>(shared.problem.dictionary.extent(1)),
                static_cast<int>(shared.problem.dictionary.extent(2))),
          codes(static_cast<std::int64_t>(kTile) * shared.problem.dictionary.extent(1)) {}

    SRDFAST_INLINE void rebuild(std::int64_t d, int, const T* patches, T* out) {
      const T* dictionary = shared.problem.dictionary.slice(d);
      coder.code_tile(patches, shared.transposes[d], shared.problem.coding.thresholds.slice(d), dictionary,
                      codes.data());
      coder.reconstruct_tile(codes.data(), dictionary, out);
    }

    const ListaRebuilder& shared;
    ListaCoder<T> coder;
    Scratch<T> codes;
  };

  const PurifyProblem<T, ListaCoding<T>>& problem;
  Transposes<T> transposes;
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
