// SPDX-License-Identifier: Apache-2.0
// What LISTA and its gradient share on a device: the rows of a tile in the shared memory of a block, and
// their products with the tables.
//
// Rows are written to the end of a group of columns: beyond the atoms or features products are zero, and so
// is what is made of them; the next product reads them as such. To leave these out would cost registers.
#pragma once

#include "device/fragments.hpp"
#include "device/queue.hpp"
#include "device/tables.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

struct BlockRows {
  float* data;
  int stride;

  SRDFAST_INLINE int place(int row, int column) const { return row * stride + column; }
  SRDFAST_INLINE float& at(int row, int column) const { return data[place(row, column)]; }
};

// kByGram: steps after the first go by I - D E^T; see lista.hpp.
template <bool kByGram, int kRows, class Block>
class ListaBlock {
 public:
  static constexpr int kRowTiles = kRows / kRowTile;
  using Product = WarpProduct<kRowTiles>;

  // Signals share their rows with codes in steps by the Gram matrix.
  SRDFAST_INLINE static int row_width(const DeviceLista& tables) {
    return kByGram && tables.atoms > tables.features ? tables.atoms : tables.features;
  }
  // with_rests: whether `rests` is wanted, which steps by the Gram matrix need in any case.
  static std::int64_t shared_bytes(const DeviceLista& tables, bool with_rests) {
    return SharedMemory::bytes<float>(kRows * codes_stride(tables)) +
           SharedMemory::bytes<float>(kRows * rests_stride(tables, with_rests));
  }

  SRDFAST_INLINE ListaBlock(const Block& block, const DeviceLista& tables, bool with_rests,
                            SharedMemory& memory)
      : block_(block),
        codes{memory.take<float>(kRows * codes_stride(tables)), codes_stride(tables)},
        rests{memory.take<float>(kRows * rests_stride(tables, with_rests)),
              rests_stride(tables, with_rests)} {}

  // Takes over the signals of a tile.
  SRDFAST_INLINE void take(std::int64_t dictionary, float* rows, int stride) {
    dictionary_ = dictionary;
    signals = {rows, stride};
  }

  // The other of the two rows that codes go between in steps by the Gram matrix.
  SRDFAST_INLINE BlockRows other(const BlockRows& now) const {
    return now.data == codes.data ? signals : codes;
  }

  // visit(group, product) for every group of columns of rows E^T, rows D and rows (I - D E^T); what visits
  // wrote is seen by all when these return.
  template <class Visit>
  SRDFAST_INLINE void to_atoms(const DeviceLista& tables, const BlockRows& rows, const Visit& visit) const {
    multiply(rows, tables.to_atoms, tables.atoms_shape(), visit);
  }
  template <class Visit>
  SRDFAST_INLINE void to_features(const DeviceLista& tables, const BlockRows& rows,
                                  const Visit& visit) const {
    multiply(rows, tables.to_features, tables.features_shape(), visit);
  }
  template <class Visit>
  SRDFAST_INLINE void recur(const DeviceLista& tables, const BlockRows& rows, const Visit& visit) const {
    multiply(rows, tables.recurrence, tables.recurrence_shape(), visit);
  }

  // visit(bit, row, column, sum) for the elements of a group's product that this lane holds: the same ones
  // in every product of one shape.
  template <class Visit>
  SRDFAST_INLINE void for_each(int group, const Product& product, const Visit& visit) const {
    int bit = 0;
    product.for_each(
        block_, [&](int row, int column, float sum) { visit(bit++, row, group * kGroup + column, sum); });
  }

 private:
  // By the Gram matrix all rows are as far apart, else those of signals and rests: one place does for
  // several.
  SRDFAST_INLINE static int codes_stride(const DeviceLista& tables) {
    return row_stride(kByGram ? row_width(tables) : tables.atoms);
  }
  // Of x E^T [atoms] in steps by the Gram matrix, else of features.
  SRDFAST_INLINE static int rests_stride(const DeviceLista& tables, bool with_rests) {
    if (kByGram) return codes_stride(tables);
    return with_rests ? row_stride(tables.features) : 0;
  }

  template <class Visit>
  SRDFAST_INLINE void multiply(const BlockRows& rows, const float* packed, const PackedShape& shape,
                               const Visit& visit) const {
    block_groups<kRowTiles>(block_, rows.data, rows.stride, packed + dictionary_ * shape.size(), shape,
                            visit);
    block_.sync();
  }

  const Block& block_;
  std::int64_t dictionary_ = 0;

 public:
  const BlockRows codes, rests;
  BlockRows signals{nullptr, 0};
};

// Calls function(ByGram<..>{}): a kernel of its own for each of the two ways, since both in one would not fit
// its registers.
template <bool kByGram>
struct ByGram {
  static constexpr bool value = kByGram;
};

template <class Function>
void with_lista_form(const DeviceLista& tables, const Function& function) {
  if (tables.by_gram) {
    function(ByGram<true>{});
  } else {
    function(ByGram<false>{});
  }
}

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
