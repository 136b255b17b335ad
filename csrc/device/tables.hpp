// SPDX-License-Identifier: Apache-2.0
// What the coders need of dictionaries, on the device. The sequences that make tables also find them again,
// in memory where they were made before.
#pragma once

#include <cstdint>

#include "core/prepared.hpp"
#include "core/view.hpp"
#include "device/matrix_product.hpp"
#include "device/pack.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// For pursuit and lasso.
struct DeviceGrams {
  int atoms, features;
  const float* dictionary;  // [dictionaries, atoms, features]
  const float* transposed;  // matrices [features, atoms], packed
  const float* gram;        // [dictionaries, atoms, atoms]
  const float* norms;       // [dictionaries, atoms], squared: the diagonals

  SRDFAST_INLINE PackedShape shape() const { return {features, atoms}; }
  SRDFAST_INLINE const float* dictionary_at(std::int64_t d) const {
    return dictionary + d * atoms * features;
  }
  SRDFAST_INLINE const float* transposed_at(std::int64_t d) const { return transposed + d * shape().size(); }
  SRDFAST_INLINE const float* gram_at(std::int64_t d) const { return gram + d * atoms * atoms; }
  SRDFAST_INLINE const float* norms_at(std::int64_t d) const { return norms + d * atoms; }

  // Elements between rows of correlations; the 8 apart spread a warp's stores over the banks.
  SRDFAST_INLINE int correlation_stride() const { return (atoms + 31) / 32 * 32 + 8; }

  // correlations [kRows, correlation_stride()] = rows [kRows, features] times a dictionary, transposed. The
  // block has written them when this returns.
  template <int kRows, class Block>
  SRDFAST_INLINE void correlate(const Block& block, std::int64_t d, const float* rows, int stride,
                                float* correlations) const {
    const int correlations_apart = correlation_stride();
    block_product<kRows / kRowTile>(
        block, rows, stride, transposed_at(d), shape(),
        [&](int row, int column, float sum) { correlations[row * correlations_apart + column] = sum; });
    block.sync();
  }
};

// For LISTA.
struct DeviceLista {
  int atoms, features;
  const float* to_atoms;     // E^T [features, atoms], packed
  const float* to_features;  // D [atoms, features], packed
  const float* thresholds;   // [dictionaries, atoms]
  bool by_gram;              // steps after the first go by `recurrence`
  const float* recurrence;   // I - D E^T [atoms, atoms], packed

  SRDFAST_INLINE PackedShape atoms_shape() const { return {features, atoms}; }
  SRDFAST_INLINE PackedShape features_shape() const { return {atoms, features}; }
  SRDFAST_INLINE PackedShape recurrence_shape() const { return {atoms, atoms}; }
};

struct AtomsOf {
  const float* dictionary;
  std::int64_t size;
  int features;

  SRDFAST_INLINE float operator()(std::int64_t batch, std::int64_t row, int k) const {
    return dictionary[batch * size + row * features + k];
  }
};

struct GramInto {
  float *gram, *norms;
  int atoms;

  SRDFAST_INLINE void operator()(std::int64_t batch, std::int64_t row, int column, float value) const {
    gram[(batch * atoms + row) * atoms + column] = value;
    if (row == column) norms[batch * atoms + row] = value;
  }
};

struct RecurrenceInto {
  float* recurrence;  // packed
  PackedShape shape;

  SRDFAST_INLINE void operator()(std::int64_t batch, std::int64_t row, int column, float value) const {
    const int place = static_cast<int>(row);
    recurrence[batch * shape.size() + shape.place(place, column)] = (place == column ? 1.0f : 0.0f) - value;
  }
};

// A matrix [features, atoms] of each dictionary [atoms, features], packed.
template <class Queue>
float* packed_transposes(Queue& queue, const View<const float, 3>& dictionary) {
  const int atoms = static_cast<int>(dictionary.extent(1)), features = static_cast<int>(dictionary.extent(2));
  return packed_matrices(queue, dictionary.data, dictionary.slice_size(), 1, features, {features, atoms},
                         dictionary.extent(0));
}

template <class Queue>
DeviceGrams device_grams(Queue& queue, const View<const float, 3>& dictionary) {
  const int atoms = static_cast<int>(dictionary.extent(1)), features = static_cast<int>(dictionary.extent(2));
  float* const transposed = packed_transposes(queue, dictionary);
  float* const gram = queue.template take<float>(dictionary.extent(0) * atoms * atoms);
  float* const norms = queue.template take<float>(dictionary.extent(0) * atoms);
  const PackedShape shape{features, atoms};
  matrix_product(queue, AtomsOf{dictionary.data, dictionary.slice_size(), features}, transposed, shape.size(),
                 shape, dictionary.extent(0), atoms, GramInto{gram, norms, atoms});
  return {atoms, features, dictionary.data, transposed, gram, norms};
}

// I - D E^T of each dictionary, packed.
template <class Queue>
float* packed_recurrences(Queue& queue, const View<const float, 3>& synthesis, const float* to_atoms) {
  const std::int64_t dictionaries = synthesis.extent(0);
  const int atoms = static_cast<int>(synthesis.extent(1)), features = static_cast<int>(synthesis.extent(2));
  const PackedShape shape{atoms, atoms}, analysis_shape{features, atoms};
  float* const recurrence = queue.template take<float>(dictionaries * shape.size());
  launch_items<ZeroBody>(queue, dictionaries * shape.size(), {recurrence, dictionaries * shape.size()});
  matrix_product(queue, AtomsOf{synthesis.data, synthesis.slice_size(), features}, to_atoms,
                 analysis_shape.size(), analysis_shape, dictionaries, atoms,
                 RecurrenceInto{recurrence, shape});
  return recurrence;
}

// What is made only for steps by_gram comes last in the memory.
template <class Queue>
DeviceLista device_lista(Queue& queue, const View<const float, 3>& analysis,
                         const View<const float, 2>& thresholds, const View<const float, 3>& synthesis,
                         bool by_gram) {
  const int atoms = static_cast<int>(synthesis.extent(1)), features = static_cast<int>(synthesis.extent(2));
  const float* const to_atoms = packed_transposes(queue, analysis);
  const float* const to_features = packed_matrices(queue, synthesis.data, synthesis.slice_size(), features, 1,
                                                   {atoms, features}, synthesis.extent(0));
  const float* const recurrence = by_gram ? packed_recurrences(queue, synthesis, to_atoms) : nullptr;
  return {atoms, features, to_atoms, to_features, thresholds.data, by_gram, recurrence};
}

// make(queue), or where it put its results when it ran before.
template <class Queue, class Make>
auto made_or_found(Queue& queue, const Prepared* prepared, const Make& make) {
  if (prepared == nullptr) return make(queue);
  PlacingQueue found(static_cast<const CudaTables&>(*prepared).data);
  return make(found);
}

// The tables of a problem for pursuit or lasso.
template <class Queue, class Problem>
DeviceGrams problem_grams(Queue& queue, const Problem& problem) {
  return made_or_found(queue, problem.prepared,
                       [&](auto& place) { return device_grams(place, problem.dictionary); });
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
