// SPDX-License-Identifier: Apache-2.0
// Orthogonal matching pursuit for a tile of signals: the loop of omp.hpp on vectors, the CPU's path.
//
// It differs from omp_solve in what it leaves out. The update of a step and the search of the next are one
// pass over the atoms. Nothing is updated after the last atom. With selection by correlation, the squared
// norm outside the span is worked out for the chosen atom only. With selection by residual, the scores c^2 /
// r are compared as products, without a division. A signal that needs more is left to omp_solve: one whose
// best atom lies in the span of the chosen ones, and one whose products leave the range of float.
#pragma once

#include "math/argmax.hpp"
#include "math/tables.hpp"
#include "ops/omp/omp.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {

// One signal on its way.
template <class T>
struct Pursuit {
  int row;                    // in the tile
  bool active;                // takes another step
  T energy, residual_energy;  // |x|^2, |residual|^2
  Best<T> best;               // the atom that the next step adds
  T scale, projection;        // 1 / length of that atom outside the span, and <x, u> along its new direction
  T* correlations;            // [width]
  T* coordinates;             // [max_atoms, width], row_stride apart
  T* remaining;               // [width], kept by selection by residual
  T* triangle;     // [max_atoms, max_atoms], coordinates of the chosen atoms: row step, column k <= step
  T* projections;  // [max_atoms], <x, u_k>
};

template <class T>
class OmpCoder {
 public:
  OmpCoder(const OmpSettings<T>& settings, const GramTables<T>& tables)
      : settings_(settings),
        tables_(tables),
        width_(tables.width),
        row_stride_(width_ + kApart),
        most_(settings.max_atoms < tables.atoms ? settings.max_atoms : tables.atoms),
        correlations_(kTile * width_),
        coordinates_(kTogether * most_ * row_stride_),
        remaining_(kTogether * width_),
        norms_(width_),
        dependent_(width_),
        triangles_(kTogether * most_ * most_),
        projections_(kTogether * most_),
        indices_(kTile * settings.max_atoms),
        values_(kTile * settings.max_atoms) {}

  // Codes signals [count, features].
  void code(std::int64_t dictionary, int count, const T* signals) {
    enter(dictionary);
    signals_ = signals;
    tables_.correlate(dictionary, count, signals, correlations_.data());
    for (int first = 0; first < count; first += kTogether) {
      const int together = count - first < kTogether ? count - first : kTogether;
      if (settings_.selection == Selection::residual) {
        pursue<Selection::residual>(first, together);
      } else {
        pursue<Selection::correlation>(first, together);
      }
    }
  }

  int count(int row) const { return counts_[row]; }
  std::int32_t* indices(int row) const { return indices_.data() + std::int64_t{row} * settings_.max_atoms; }
  T* values(int row) const { return values_.data() + std::int64_t{row} * settings_.max_atoms; }

  // out [count, features] = codes * dictionary, with out_stride elements between rows.
  void reconstruct(int count, T* out, int out_stride) const {
    for (int r = 0; r < count; ++r, out += out_stride) {
      std::memset(static_cast<void*>(out), 0, sizeof(T) * static_cast<std::size_t>(tables_.features));
      for (int k = 0; k < counts_[r]; ++k) {
        add_atom(tables_.features, values(r)[k], tables_.atom(dictionary_, indices(r)[k]), out);
      }
    }
  }

 private:
  static constexpr std::int64_t kTogether = 4;  // signals that step together
  // Between rows of coordinates: rows a power of two apart would fall on the same lines of the first cache as
  // the Gram row and the correlations that are read with them.
  static constexpr int kApart = 16;
  static constexpr int kWays = kPadding / kVectorLength<T>;

  // What depends on the dictionary alone.
  void enter(std::int64_t dictionary) {
    if (dictionary == dictionary_) return;
    dictionary_ = dictionary;
    gram_ = tables_.gram(dictionary);
    largest_norm_ = smallest_norm_ = gram_[0];
    for (int a = 0; a < width_; ++a) {
      norms_[a] = a < tables_.atoms ? gram_[std::int64_t{a} * width_ + a] : T(0);
      dependent_[a] = kDependent<T> * norms_[a];
      if (a >= tables_.atoms) continue;
      if (norms_[a] > largest_norm_) largest_norm_ = norms_[a];
      if (norms_[a] < smallest_norm_) smallest_norm_ = norms_[a];
    }
  }

  // Whether every product of a squared correlation and a norm keeps its precision in float.
  bool in_range(T energy) const {
    return energy < T(1e30) && largest_norm_ < T(1e30) && energy * largest_norm_ * largest_norm_ < T(1e36) &&
           energy * smallest_norm_ * smallest_norm_ > T(1e-18);
  }

  template <Selection Rule>
  void pursue(int first, int together) {
    Pursuit<T> pursuits[kTogether];
    for (int s = 0; s < together; ++s) pursuits[s] = started<Rule>(s, first + s);
    bool any = true;
    for (int step = 0; step < most_ && any; ++step) {
      any = false;
      for (int s = 0; s < together; ++s) {
        if (pursuits[s].active) add_best(step, pursuits[s]);
        any |= pursuits[s].active;
      }
      if (step + 1 == most_) break;  // nothing is searched any more
      for (int s = 0; s < together; ++s) {
        if (pursuits[s].active) pursuits[s].best = update<Rule>(step, pursuits[s]);
      }
    }
    for (int s = 0; s < together; ++s) finish(pursuits[s]);
  }

  template <Selection Rule>
  SRDFAST_INLINE Pursuit<T> started(int slot, int row) {
    const T* signal = signals_ + std::int64_t{row} * tables_.features;
    const T energy = SerialTeam{}.sum<T>(tables_.features, [=](int f) { return signal[f] * signal[f]; });
    Pursuit<T> pursuit{row,
                       true,
                       energy,
                       energy,
                       {},
                       0,
                       0,
                       correlations_.data() + std::int64_t{row} * width_,
                       coordinates_.data() + std::int64_t{slot} * most_ * row_stride_,
                       remaining_.data() + std::int64_t{slot} * width_,
                       triangles_.data() + std::int64_t{slot} * most_ * most_,
                       projections_.data() + std::int64_t{slot} * most_};
    counts_[row] = 0;
    if (in_range(energy)) {
      pursuit.best = first_search<Rule>(pursuit);
    } else {
      refer(pursuit);
    }
    return pursuit;
  }

  // Adds the best atom, or ends the pursuit.
  SRDFAST_INLINE void add_best(int step, Pursuit<T>& pursuit) {
    const int chosen = pursuit.best.index;
    const T norm = norms_[chosen], correlation = pursuit.correlations[chosen];
    pursuit.active = (settings_.tolerance == 0 || pursuit.residual_energy > settings_.tolerance) &&
                     pursuit.best.value > 0 &&
                     correlation * correlation > kNoise<T> * kNoise<T> * pursuit.energy * norm;
    if (!pursuit.active) return;

    T* const shares = pursuit.triangle + std::int64_t{step} * most_;
    T outside = norm;
    for (int k = 0; k < step; ++k) {
      shares[k] = pursuit.coordinates[std::int64_t{k} * row_stride_ + chosen];
      outside -= shares[k] * shares[k];
    }
    if (!(outside > dependent_[chosen])) return refer(pursuit);
    const T length = __builtin_sqrt(outside);
    shares[step] = length;
    pursuit.scale = 1 / length;
    pursuit.projection = correlation / length;
    pursuit.projections[step] = pursuit.projection;
    pursuit.residual_energy -= pursuit.projection * pursuit.projection;
    indices(pursuit.row)[step] = chosen;
    counts_[pursuit.row] = step + 1;
  }

  template <Selection Rule>
  SRDFAST_INLINE Best<T> first_search(const Pursuit<T>& pursuit) const {
    Search<Rule> search;
    for (int a = 0; a < width_; a += kPadding) {
      for (int way = 0; way < kWays; ++way) {
        const int at = a + way * kVectorLength<T>;
        const Vector<T> norms = load(norms_.data() + at);
        if constexpr (Rule == Selection::residual) store(norms, pursuit.remaining + at);
        search.offer(way, a, load(pursuit.correlations + at), norms, load(dependent_.data() + at));
      }
    }
    return search.result();
  }

  // The coordinates of all atoms along the new direction, and what they change: one pass over the atoms.
  template <Selection Rule>
  SRDFAST_INLINE Best<T> update(int step, const Pursuit<T>& pursuit) const {
    // Local copies: the compiler must take it that a store changes whatever a pointer leads to.
    const int width = width_, row_stride = row_stride_;
    const T scale = pursuit.scale, projection = pursuit.projection;
    const T* const gram_row = gram_ + std::int64_t{pursuit.best.index} * width;
    const T* const shares = pursuit.triangle + std::int64_t{step} * most_;
    const T* const earlier_rows = pursuit.coordinates;
    T* const row = pursuit.coordinates + std::int64_t{step} * row_stride;
    T* const correlations = pursuit.correlations;
    T* const remaining = pursuit.remaining;
    const T* const dependent = dependent_.data();
    Search<Rule> search;
    for (int a = 0; a < width; a += kPadding) {
      Vector<T> coordinates[kWays];
#pragma GCC unroll 4
      for (int way = 0; way < kWays; ++way) coordinates[way] = load(gram_row + a + way * kVectorLength<T>);
      for (int k = 0; k < step; ++k) {
        const T* const earlier = earlier_rows + std::int64_t{k} * row_stride + a;
        const T share = shares[k];
#pragma GCC unroll 4
        for (int way = 0; way < kWays; ++way)
          coordinates[way] -= share * load(earlier + way * kVectorLength<T>);
      }
#pragma GCC unroll 4
      for (int way = 0; way < kWays; ++way) {
        const int at = a + way * kVectorLength<T>;
        const Vector<T> coordinate = coordinates[way] * scale;
        const Vector<T> correlation = load(correlations + at) - projection * coordinate;
        store(coordinate, row + at);
        store(correlation, correlations + at);
        Vector<T> left = {};
        if constexpr (Rule == Selection::residual) {
          left = load(remaining + at) - coordinate * coordinate;
          store(left, remaining + at);
        }
        search.offer(way, a, correlation, left, load(dependent + at));
      }
    }
    return search.result();
  }

  // The search that belongs to a selection rule: by |c|, or by c^2 / r among the atoms outside the span.
  template <Selection Rule>
  struct Search {
    SRDFAST_INLINE void offer(int way, int first, const Vector<T>& correlations, const Vector<T>& remaining,
                              const Vector<T>& dependent) {
      if constexpr (Rule == Selection::residual) {
        ratios.offer(way, first, correlations * correlations, remaining, remaining > dependent);
      } else {
        magnitudes.offer(way, first, magnitude<T>(correlations));
      }
    }
    SRDFAST_INLINE Best<T> result() const {
      if constexpr (Rule == Selection::residual) return ratios.result();
      return magnitudes.result();
    }
    Argmax<T, kWays> magnitudes;
    RatioArgmax<T, kWays> ratios;
  };

  // Leaves the signal to the reference, from the start.
  void refer(Pursuit<T>& pursuit) {
    Scratch<T> work((std::int64_t{most_} + 2) * width_ + most_);
    T* const correlations = work.data();
    T* const remaining = correlations + width_;
    T* const coordinates = remaining + width_;
    const OmpWorkspace<T> workspace{coordinates, remaining, coordinates + std::int64_t{most_} * width_};
    tables_.correlate(dictionary_, 1, signals_ + std::int64_t{pursuit.row} * tables_.features, correlations);
    counts_[pursuit.row] =
        omp_solve(SerialTeam{}, settings_, tables_.atoms, width_, gram_, gram_, width_ + 1, correlations,
                  pursuit.energy, workspace, indices(pursuit.row), values(pursuit.row));
    pursuit.active = false;
    pursuit.triangle = nullptr;  // the values are there already
  }

  // Back substitution: the projections of x are sum_m values[m] <d_m, u_k>.
  SRDFAST_INLINE void finish(const Pursuit<T>& pursuit) {
    if (pursuit.triangle == nullptr) return;
    const int count = counts_[pursuit.row];
    T* const values = this->values(pursuit.row);
    for (int k = count - 1; k >= 0; --k) {
      T value = pursuit.projections[k];
      for (int m = k + 1; m < count; ++m) value -= values[m] * pursuit.triangle[std::int64_t{m} * most_ + k];
      values[k] = value / pursuit.triangle[std::int64_t{k} * most_ + k];
    }
    for (int k = count; k < settings_.max_atoms; ++k) {
      indices(pursuit.row)[k] = -1;
      values[k] = 0;
    }
  }

  OmpSettings<T> settings_;
  const GramTables<T>& tables_;
  int width_, row_stride_, most_;  // no more atoms are chosen than there are
  std::int64_t dictionary_ = -1;
  const T* gram_ = nullptr;
  const T* signals_ = nullptr;
  T largest_norm_ = 0, smallest_norm_ = 0;
  Scratch<T> correlations_, coordinates_, remaining_;
  Scratch<T> norms_, dependent_;  // [width], |d_a|^2 and the kDependent share of it
  Scratch<T> triangles_, projections_;
  Scratch<std::int32_t> indices_;  // [kTile, max_atoms]
  Scratch<T> values_;              // [kTile, max_atoms]
  int counts_[kTile] = {};
};

}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
