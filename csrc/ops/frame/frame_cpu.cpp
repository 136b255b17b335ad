// SPDX-License-Identifier: Apache-2.0
// The blocks of all planes of a frame, over all threads, so that none waits for another between planes.
#include "core/owned.hpp"
#include "core/parallel.hpp"
#include "ops/frame/block_worker.hpp"
#include "ops/lasso/lasso_tile.hpp"
#include "ops/lista/lista_tile.hpp"
#include "ops/omp/omp_tile.hpp"

namespace srdfast {
inline namespace SRDFAST_LEVEL {
namespace {

// Things that threads use one at a time: as many as threads, each made when it is first needed.
template <class Thing>
class Shelf {
 public:
  explicit Shelf(int places) : places_(places), things_(places), taken_(places) {
    for (int i = 0; i < places; ++i) things_[i] = nullptr, taken_[i] = 0;
  }
  ~Shelf() {
    for (int i = 0; i < places_; ++i) delete things_[i];
  }

  // use(thing) with one that nobody else has meanwhile; make() gives a pointer to a new one.
  template <class Make, class Use>
  void with(const Make& make, const Use& use) {
    int i = 0;
    while (__atomic_exchange_n(&taken_[i], 1, __ATOMIC_ACQUIRE) != 0) i = i + 1 < places_ ? i + 1 : 0;
    const Return back{&taken_[i]};
    if (things_[i] == nullptr) things_[i] = make();
    use(*things_[i]);
  }

 private:
  struct Return {
    int* taken;
    ~Return() { __atomic_store_n(taken, 0, __ATOMIC_RELEASE); }
  };

  int places_;
  Scratch<Thing*> things_;
  Scratch<int> taken_;
};

// The plans of the planes; planes of one shape share one.
class Plans {
 public:
  template <class Code, class Coding>
  explicit Plans(const FrameProblem<Code, Coding>& problem) {
    for (int p = 0; p < problem.plane_count; ++p) {
      const BlockShape& shape = problem.planes[p].shape;
      if (plans_.size() == 0 || !(plans_[plans_.size() - 1].shape == shape)) {
        plans_.add(new BlockPlan(shape, problem.patch, problem.stride, problem.strength));
      }
      of_plane_[p] = plans_.size() - 1;
    }
  }

  int number(int plane) const { return of_plane_[plane]; }
  const BlockPlan& operator[](int number) const { return plans_[number]; }

 private:
  Owned<BlockPlan, kMostPlanes> plans_;
  int of_plane_[kMostPlanes];
};

template <class Code, class Coding, class MakeCoder>
void purify_frame(const FrameProblem<Code, Coding>& problem, const MakeCoder& make_coder) {
  using Worker = BlockWorker<Code, decltype(make_coder())>;
  const Plans plans(problem);
  const int threads = num_threads();
  Shelf<Worker> shelves[kMostPlanes] = {Shelf<Worker>(threads), Shelf<Worker>(threads),
                                        Shelf<Worker>(threads)};
  std::int64_t ends[kMostPlanes], total = 0;  // blocks up to the end of each plane
  for (int p = 0; p < problem.plane_count; ++p) ends[p] = total += problem.planes[p].places.extent(0);
  parallel_for(total, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      int p = 0;
      while (i >= ends[p]) ++p;
      const FramePlane<Code>& plane = problem.planes[p];
      const std::int64_t* const place = plane.places.slice(i - (p == 0 ? 0 : ends[p - 1]));
      const int number = plans.number(p);
      shelves[number].with([&] { return new Worker(plans[number], make_coder); },
                           [&](Worker& worker) { worker.purify(plane, place, problem.cluster); });
    }
  });
}

template <class Code>
void purify_omp(const FrameProblem<Code, OmpCoding<float>>& problem) {
  const auto& tables = static_cast<const GramTables<float>&>(*problem.prepared);
  purify_frame(problem, [&] { return OmpCoder<float>(problem.coding.settings, tables); });
}

template <class Code>
void purify_lasso(const FrameProblem<Code, LassoCoding<float>>& problem) {
  const auto& tables = static_cast<const GramTables<float>&>(*problem.prepared);
  purify_frame(problem, [&] { return LassoCoder<float>(problem.coding.settings, tables); });
}

template <class Code>
void purify_lista(const FrameProblem<Code, ListaCoding<float>>& problem) {
  const auto& tables = static_cast<const ListaTables<float>&>(*problem.prepared);
  const ListaCoding<float>& coding = problem.coding;
  purify_frame(problem, [&] { return ListaCoder<float>(coding.steps, coding.thresholds, tables); });
}

const Registration<FrameProblem<std::uint8_t, OmpCoding<float>>> omp_bytes(purify_omp<std::uint8_t>);
const Registration<FrameProblem<std::uint16_t, OmpCoding<float>>> omp_words(purify_omp<std::uint16_t>);
const Registration<FrameProblem<std::uint8_t, LassoCoding<float>>> lasso_bytes(purify_lasso<std::uint8_t>);
const Registration<FrameProblem<std::uint16_t, LassoCoding<float>>> lasso_words(purify_lasso<std::uint16_t>);
const Registration<FrameProblem<std::uint8_t, ListaCoding<float>>> lista_bytes(purify_lista<std::uint8_t>);
const Registration<FrameProblem<std::uint16_t, ListaCoding<float>>> lista_words(purify_lista<std::uint16_t>);

}  // namespace
}  // namespace SRDFAST_LEVEL
}  // namespace srdfast
