// SPDX-License-Identifier: Apache-2.0
// Every operator's work on a device, run on threads of the CPU, against the operator's CPU kernel.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "ops/assign/assign_device.hpp"
#include "ops/lista_gradient/lista_gradient_device.hpp"
#include "ops/patches/patches_device.hpp"
#include "ops/prepare/prepare_device.hpp"
#include "ops/purify/purify_device.hpp"
#include "ops/split/split_device.hpp"
#include "ops/support_gradient/support_gradient_device.hpp"
#include "tests/host_queue.hpp"

namespace {

using namespace srdfast;

int failures = 0, checks = 0;

void check(bool holds, const std::string& what) {
  ++checks;
  if (holds) return;
  ++failures;
  std::printf("failed: %s\n", what.c_str());
}

using Floats = std::vector<float>;

Floats random_floats(std::int64_t count, unsigned seed) {
  std::mt19937 source(seed);
  std::normal_distribution<float> normal;
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(source);
  return values;
}

// [dictionaries, atoms, features] of unit norm; the second atom of each comes twice, so that there are ties.
Floats random_dictionaries(int dictionaries, int atoms, int features, unsigned seed) {
  Floats values = random_floats(std::int64_t{dictionaries} * atoms * features, seed);
  for (int i = 0; i < dictionaries * atoms; ++i) {
    float* const atom = values.data() + i * features;
    double energy = 0;
    for (int f = 0; f < features; ++f) energy += static_cast<double>(atom[f]) * static_cast<double>(atom[f]);
    for (int f = 0; f < features; ++f) atom[f] /= static_cast<float>(std::sqrt(energy));
    if (i % atoms == 2)
      std::memcpy(atom, atom - features, sizeof(float) * static_cast<std::size_t>(features));
  }
  return values;
}

double farthest(const Floats& a, const Floats& b) {
  double distance = a.size() == b.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double apart = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(apart <= distance)) distance = apart;
  }
  return distance;
}

// Of shared memory: tiles of 32 signals fit into much, of 16 into little; with none all lies in the
// workspace.
constexpr std::int64_t kMuchShared = 228 << 10, kLittleShared = 20 << 10, kNoShared = 0;

// Runs a sequence on the host's threads and checks what every sequence must keep to.
template <class Sequence, class Problem>
void run_device(const Sequence& sequence, const Problem& problem, std::int64_t shared_limit) {
  PlacingQueue size(shared_limit);
  sequence(size, problem);
  HostQueue queue(shared_limit);
  sequence(queue, problem);
  check(size.bytes() == queue.taken(), std::string(Problem::name) + ": the workspace has the size announced");
  check(!queue.rounded(), std::string(Problem::name) + ": tensor cores get what they do not round");
}

struct Signals {
  Signals(int batch, int dictionaries, int atoms, int features)
      : batch(batch),
        dictionaries(dictionaries),
        atoms(atoms),
        features(features),
        values(random_floats(std::int64_t{batch} * features, 1)),
        dictionary(random_dictionaries(dictionaries, atoms, features, 2)),
        analysis(random_dictionaries(dictionaries, atoms, features, 3)),
        thresholds(static_cast<std::size_t>(dictionaries * atoms), 0.1f) {
    for (int i = 0; i < batch; ++i) index.push_back(i * i % 7 % dictionaries);
    for (float& entry : analysis) entry *= 0.3f;
    if (batch > 1) std::fill_n(values.begin(), features, 0.0f);  // a signal that needs no atom
  }

  View<const float, 2> view() const { return {values.data(), {batch, features}}; }
  View<const float, 3> dictionary_view() const {
    return {dictionary.data(), {dictionaries, atoms, features}};
  }
  View<const float, 3> analysis_view() const { return {analysis.data(), {dictionaries, atoms, features}}; }
  View<const float, 2> thresholds_view() const { return {thresholds.data(), {dictionaries, atoms}}; }
  View<const std::int64_t, 1> index_view() const {
    return dictionaries == 1 ? View<const std::int64_t, 1>{}
                             : View<const std::int64_t, 1>{index.data(), {batch}};
  }
  std::string text() const {
    return " (batch " + std::to_string(batch) + ", " + std::to_string(dictionaries) + " dictionaries of " +
           std::to_string(atoms) + " x " + std::to_string(features) + ")";
  }

  int batch, dictionaries, atoms, features;
  Floats values, dictionary, analysis, thresholds;
  std::vector<std::int64_t> index;
};

// Tables as a device keeps them.
class PreparedOnHost {
 public:
  PreparedOnHost(const View<const float, 3>& dictionary, const View<const float, 3>& analysis)
      : memory_(bytes(dictionary, analysis) / sizeof(Four)), tables(memory_.data()) {
    InPlaceQueue queue(memory_.data(), kMuchShared);
    prepare_device(queue, {dictionary, analysis, nullptr});
  }

 private:
  static std::size_t bytes(const View<const float, 3>& dictionary, const View<const float, 3>& analysis) {
    PlacingQueue size(kMuchShared);
    prepare_device(size, {dictionary, analysis, nullptr});
    return static_cast<std::size_t>(size.bytes());
  }

  std::vector<Four> memory_;

 public:
  const CudaTables tables;
};

// The tables of one dictionary as `prepare` leaves them, by plain loops: threads would take long for large
// ones.
class PlainTables {
 public:
  explicit PlainTables(const Signals& given) : memory_(bytes(given) / sizeof(Four)), tables(memory_.data()) {
    PlacingQueue place(memory_.data());
    const int atoms = given.atoms, features = given.features;
    const PackedShape shape{features, atoms};
    float* const transposed = place.take<float>(shape.size());
    float* const gram = place.take<float>(atoms * atoms);
    float* const norms = place.take<float>(atoms);
    for (int a = 0; a < atoms; ++a) {
      const float* const atom = given.dictionary.data() + a * features;
      for (int f = 0; f < features; ++f) transposed[shape.place(f, a)] = atom[f];
      for (int b = 0; b < atoms; ++b) {
        double sum = 0;
        for (int f = 0; f < features; ++f) {
          sum += static_cast<double>(atom[f]) *
                 static_cast<double>(given.dictionary[static_cast<std::size_t>(b * features + f)]);
        }
        gram[a * atoms + b] = static_cast<float>(sum);
      }
      norms[a] = gram[a * atoms + a];
    }
  }

 private:
  static std::size_t bytes(const Signals& given) {
    PlacingQueue size(kMuchShared);
    prepare_device(size, {given.dictionary_view(), {}, nullptr});
    return static_cast<std::size_t>(size.bytes());
  }

  std::vector<Four> memory_;

 public:
  const CudaTables tables;
};

struct OmpResults {
  OmpResults(int batch, int most)
      : indices(static_cast<std::size_t>(batch * most), -7),
        counts(static_cast<std::size_t>(batch), -7),
        values(static_cast<std::size_t>(batch * most), NAN) {}

  std::vector<std::int32_t> indices, counts;
  Floats values;
};

void test_omp(const Signals& given, int most, Selection selection, std::int64_t shared_limit, bool prepared) {
  const auto run = [&](bool on_device) {
    OmpResults results(given.batch, most);
    OmpProblem<float> problem;
    problem.signals = given.view();
    problem.dictionary = given.dictionary_view();
    problem.index = given.index_view();
    problem.settings = {most, 0.5f, selection};
    problem.indices = {results.indices.data(), {given.batch, most}};
    problem.values = {results.values.data(), {given.batch, most}};
    problem.counts = {results.counts.data(), {given.batch}};
    if (!on_device) {
      run_kernel(problem);
      return results;
    }
    const auto sequence = [](auto& queue, const auto& of) { omp_device(queue, of); };
    if (!prepared) {
      run_device(sequence, problem, shared_limit);
      return results;
    }
    const auto run_prepared = [&](const auto& kept) {
      problem.prepared = &kept.tables;
      run_device(sequence, problem, shared_limit);
    };
    if (given.dictionaries > 1) {
      run_prepared(PreparedOnHost(problem.dictionary, {}));
    } else {
      run_prepared(PlainTables(given));
    }
    return results;
  };
  const OmpResults device = run(true), cpu = run(false);
  const std::string what = "omp" + given.text() + ", " + std::to_string(most) + " atoms";
  check(device.counts == cpu.counts, what + ": as many atoms");
  check(device.indices == cpu.indices, what + ": the same atoms");
  check(farthest(device.values, cpu.values) < 1e-4, what + ": the same values");
}

void test_lasso(const Signals& given, std::int64_t shared_limit) {
  const auto run = [&](bool on_device, Floats& gap) {
    Floats codes(static_cast<std::size_t>(given.batch * given.atoms), NAN);
    gap.assign(static_cast<std::size_t>(given.batch), NAN);
    LassoProblem<float> problem;
    problem.signals = given.view();
    problem.dictionary = given.dictionary_view();
    problem.index = given.index_view();
    problem.settings = {0.2f, 1e-4f, 1000};
    problem.values = {codes.data(), {given.batch, given.atoms}};
    problem.gap = {gap.data(), {given.batch}};
    if (on_device) {
      run_device([](auto& queue, const auto& of) { lasso_device(queue, of); }, problem, shared_limit);
    } else {
      run_kernel(problem);
    }
    Floats rebuilt(given.values.size());
    for (int i = 0; i < given.batch; ++i) {
      const std::int64_t d = given.dictionaries == 1 ? 0 : given.index[static_cast<std::size_t>(i)];
      for (int a = 0; a < given.atoms; ++a) {
        for (int f = 0; f < given.features; ++f) {
          rebuilt[static_cast<std::size_t>(i * given.features + f)] +=
              codes[static_cast<std::size_t>(i * given.atoms + a)] *
              given.dictionary[static_cast<std::size_t>((d * given.atoms + a) * given.features + f)];
        }
      }
    }
    return rebuilt;
  };
  Floats device_gap, cpu_gap;
  const Floats device = run(true, device_gap), cpu = run(false, cpu_gap);
  bool certified = true;
  for (int i = 0; i < given.batch; ++i) {
    double energy = 0;
    for (int f = 0; f < given.features; ++f) {
      const double value = given.values[static_cast<std::size_t>(i * given.features + f)];
      energy += value * value;
    }
    certified = certified && static_cast<double>(device_gap[static_cast<std::size_t>(i)]) <= 0.5e-4 * energy;
  }
  check(certified, "lasso" + given.text() + ": the gap asked for");
  // A gap of g bounds the squared distance of reconstructions by 8 g: twice sqrt(2 g) from the optimum's.
  check(farthest(device, cpu) < 2 * std::sqrt(1e-4 * given.features * 4),
        "lasso" + given.text() + ": the same signals");
}

void test_lista(const Signals& given, int steps, std::int64_t shared_limit) {
  const auto run = [&](bool on_device) {
    Floats codes(static_cast<std::size_t>(given.batch * given.atoms), NAN);
    ListaProblem<float> problem;
    problem.signals = given.view();
    problem.analysis = given.analysis_view();
    problem.thresholds = given.thresholds_view();
    problem.synthesis = given.dictionary_view();
    problem.index = given.index_view();
    problem.steps = steps;
    problem.values = {codes.data(), {given.batch, given.atoms}};
    if (on_device) {
      run_device([](auto& queue, const auto& of) { lista_device(queue, of); }, problem, shared_limit);
    } else {
      run_kernel(problem);
    }
    return codes;
  };
  check(farthest(run(true), run(false)) < 1e-5,
        "lista" + given.text() + ", " + std::to_string(steps) + " steps: the same codes");
}

void test_lista_gradient(const Signals& given, int steps, bool rebuilt, std::int64_t shared_limit,
                         bool prepared) {
  const std::int64_t width = rebuilt ? given.features : given.atoms;
  const Floats grad = random_floats(given.batch * width, 5);
  const auto run = [&](bool on_device) {
    Floats of_signals(given.values.size(), NAN);
    ListaGradientProblem<float> problem;
    problem.grad = {grad.data(), {given.batch, width}};
    problem.signals = given.view();
    problem.analysis = given.analysis_view();
    problem.thresholds = given.thresholds_view();
    problem.synthesis = given.dictionary_view();
    problem.index = given.index_view();
    problem.steps = steps;
    problem.rebuilt = rebuilt;
    problem.of_signals = {of_signals.data(), {given.batch, given.features}};
    const auto sequence = [](auto& queue, const auto& of) { lista_gradient_device(queue, of); };
    if (!on_device) {
      run_kernel(problem);
    } else if (!prepared) {
      run_device(sequence, problem, shared_limit);
    } else {
      const PreparedOnHost forward(problem.synthesis, problem.analysis);
      const PreparedOnHost backward(problem.analysis, problem.synthesis);
      problem.forward = &forward.tables;
      problem.backward = &backward.tables;
      run_device(sequence, problem, shared_limit);
    }
    return of_signals;
  };
  check(farthest(run(true), run(false)) < 2e-5,
        "lista_gradient" + given.text() + ", " + std::to_string(steps) + " steps: the same gradients");
}

// On supports of up to `largest` atoms, as padded indices or as codes, some of them empty; that of signal 3
// has the two atoms that are equal.
void test_support_gradient(const Signals& given, SupportTask task, bool dense, int largest, bool prepared) {
  const int atoms = given.atoms, width = dense ? atoms : largest;
  const bool of_codes = task == SupportTask::of_codes, codes_out = task == SupportTask::codes;
  std::vector<std::int32_t> indices(static_cast<std::size_t>(given.batch * width), -1);
  Floats codes(indices.size());
  for (int i = 0; i < given.batch; ++i) {
    const int size = i * 5 % (largest + 1);
    for (int k = 0; k < size; ++k) {
      const int atom = (i + (i == 3 ? k - 2 : k * 7)) % atoms;  // 7 shares no factor with the atoms
      indices[static_cast<std::size_t>(i * width + (dense ? atom : k))] = atom;
      codes[static_cast<std::size_t>(i * width + (dense ? atom : k))] = 0.5f;
    }
  }
  const int columns = of_codes ? width : given.features, results = codes_out ? width : given.features;
  const Floats values = random_floats(std::int64_t{given.batch} * columns, 6);
  const auto run = [&](bool on_device) {
    Floats result(static_cast<std::size_t>(given.batch * results), NAN);
    SupportGradientProblem<float> problem;
    problem.task = task;
    problem.given = {values.data(), {given.batch, columns}};
    problem.dense = dense;
    problem.indices = {indices.data(), {given.batch, width}};
    problem.codes = {codes.data(), {given.batch, width}};
    problem.dictionary = given.dictionary_view();
    problem.index = given.index_view();
    problem.result = {result.data(), {given.batch, results}};
    const auto sequence = [](auto& queue, const auto& of) { support_gradient_device(queue, of); };
    if (!on_device) {
      run_kernel(problem);
    } else if (!prepared) {
      run_device(sequence, problem, kLittleShared);
    } else {
      const PreparedOnHost kept(problem.dictionary, {});
      problem.prepared = &kept.tables;
      run_device(sequence, problem, kLittleShared);
    }
    return result;
  };
  check(farthest(run(true), run(false)) < 2e-4, "support_gradient" + given.text() + ", up to " +
                                                    std::to_string(largest) + " atoms: the same numbers");
}

// Atoms as the shifts of clusters, signals as latents. The third atom of a dictionary is the second again.
void test_assign(const Signals& given) {
  const int clusters = given.dictionaries * given.atoms, latent = given.features;
  const Floats centre(static_cast<std::size_t>(latent), 0.1f),
      offsets(static_cast<std::size_t>(clusters), -2);
  Floats scales(static_cast<std::size_t>(clusters * latent), 0.7f), shifts(scales.size());
  for (int c = 0; c < clusters; ++c) {
    for (int f = 0; f < latent; ++f) {
      shifts[static_cast<std::size_t>(f * clusters + c)] =
          given.dictionary[static_cast<std::size_t>(c * latent + f)];
    }
  }
  std::vector<std::int32_t> indices[2];
  Floats numbers[2];
  for (const int on_device : {0, 1}) {
    const std::size_t batch = static_cast<std::size_t>(given.batch);
    indices[on_device].assign(batch, -7);
    numbers[on_device].assign(2 * batch, NAN);
    AssignProblem<float> problem;
    problem.latents = given.view();
    problem.centre = {centre.data(), {latent}};
    problem.scales = {scales.data(), {latent, clusters}};
    problem.shifts = {shifts.data(), {latent, clusters}};
    problem.offsets = {offsets.data(), {clusters}};
    problem.index = {indices[on_device].data(), {given.batch}};
    problem.log_likelihood = {numbers[on_device].data(), {given.batch}};
    problem.margin = {numbers[on_device].data() + batch, {given.batch}};
    if (on_device) {
      run_device([](auto& queue, const auto& of) { assign_device(queue, of); }, problem, kMuchShared);
    } else {
      run_kernel(problem);
    }
  }
  check(indices[0] == indices[1], "assign" + given.text() + ": the same clusters");
  if (clusters == 1) {
    numbers[0].pop_back();  // the margins, infinite
    check(numbers[1].back() == INFINITY, "assign" + given.text() + ": no second cluster");
    numbers[1].pop_back();
  }
  check(farthest(numbers[0], numbers[1]) < 2e-4,
        "assign" + given.text() + ": the same likelihoods and margins");
}

struct Images {
  Images(int batch, int channels, int height, int width)
      : batch(batch),
        channels(channels),
        height(height),
        width(width),
        values(random_floats(std::int64_t{batch} * channels * height * width, 4)) {}

  View<const float, 4> view() const { return {values.data(), {batch, channels, height, width}}; }
  std::string text() const {
    return " (" + std::to_string(batch) + " x " + std::to_string(channels) + " x " + std::to_string(height) +
           " x " + std::to_string(width) + ")";
  }

  int batch, channels, height, width;
  Floats values;
};

void test_patches(const Images& given, int patch, int stride) {
  const PatchGrid grid = PatchGrid::of(given.view(), patch, stride);
  const std::int64_t count = patch_count(grid);
  const auto run = [&](bool on_device) {
    Floats patches(static_cast<std::size_t>(given.batch * count * grid.features()), NAN);
    ExtractProblem<float> extract{
        given.view(), patch, stride, {patches.data(), {given.batch, count, grid.features()}}};
    Floats images(given.values.size(), NAN);
    AverageProblem<float> average{{patches.data(), {given.batch, count, grid.features()}},
                                  patch,
                                  stride,
                                  {images.data(), {given.batch, given.channels, given.height, given.width}}};
    if (on_device) {
      run_device([](auto& queue, const auto& of) { extract_device(queue, of); }, extract, kMuchShared);
    } else {
      run_kernel(extract);
    }
    for (std::size_t i = 0; i < patches.size(); ++i) patches[i] *= 1 + 0.01f * static_cast<float>(i % 17);
    if (on_device) {
      run_device([](auto& queue, const auto& of) { average_device(queue, of); }, average, kMuchShared);
    } else {
      run_kernel(average);
    }
    patches.insert(patches.end(), images.begin(), images.end());
    return patches;
  };
  check(farthest(run(true), run(false)) < 1e-6, "patches" + given.text() + ": the same numbers");
}

void test_split(const Images& given, double strength) {
  const std::int64_t planes = std::int64_t{given.batch} * given.channels;
  const auto run = [&](bool on_device) {
    Floats low(given.values.size(), NAN), high(given.values.size(), NAN);
    const SplitProblem<float> problem{{given.values.data(), {planes, given.height, given.width}},
                                      strength,
                                      {low.data(), {planes, given.height, given.width}},
                                      {high.data(), {planes, given.height, given.width}}};
    if (on_device) {
      run_device([](auto& queue, const auto& of) { split_device(queue, of); }, problem, kMuchShared);
      double off = 0;
      for (std::size_t i = 0; i < low.size(); ++i) {
        off = std::max(off, std::abs(static_cast<double>(low[i] + high[i] - given.values[i])));
      }
      check(off < 1e-6, "split" + given.text() + ": low + high == image");
    } else {
      run_kernel(problem);
    }
    low.insert(low.end(), high.begin(), high.end());
    return low;
  };
  check(farthest(run(true), run(false)) < 5e-6, "split" + given.text() + ": the same bands");
}

template <class Coding>
void test_purify(const Images& given, const Signals& atoms, const Coding& coding, int patch, int stride,
                 double tolerance, const char* coder, std::int64_t shared_limit) {
  const auto run = [&](bool on_device) {
    Floats purified(given.values.size(), NAN);
    PurifyProblem<float, Coding> problem;
    problem.images = given.view();
    problem.dictionary = atoms.dictionary_view();
    problem.index = atoms.index_view();
    problem.coding = coding;
    problem.patch = patch;
    problem.stride = stride;
    problem.purified = {purified.data(), {given.batch, given.channels, given.height, given.width}};
    if (on_device) {
      run_device([](auto& queue, const auto& of) { purify_device(queue, of); }, problem, shared_limit);
    } else {
      run_kernel(problem);
    }
    return purified;
  };
  check(farthest(run(true), run(false)) < tolerance,
        std::string("purify by ") + coder + given.text() + ": the same images");
}

}  // namespace

int main() {
  setenv("SRDFAST_CPU_LEVEL", SRDFAST_TEST_LEVEL, 1);
  const Signals one(37, 1, 40, 27), several(45, 3, 40, 36), lone(1, 1, 1, 1);
  for (const Signals* given : {&one, &several, &lone}) {
    for (const Selection selection : {Selection::correlation, Selection::residual}) {
      test_omp(*given, 4, selection, kMuchShared, false);
    }
    test_omp(*given, 11, Selection::residual, kLittleShared, true);
    test_omp(*given, 3, Selection::correlation, kNoShared, false);
    test_lista(*given, 1, kLittleShared);
    test_lista(*given, 2, kNoShared);
    test_lista(*given, 3, kMuchShared);
    for (const bool rebuilt : {false, true}) {
      test_lista_gradient(*given, 1, rebuilt, kLittleShared, rebuilt);
      test_lista_gradient(*given, 3, rebuilt, rebuilt ? kMuchShared : kNoShared, !rebuilt);
    }
    test_assign(*given);
    for (const SupportTask task :
         {SupportTask::of_codes, SupportTask::of_reconstructions, SupportTask::codes}) {
      const int largest = given->atoms < 9 ? given->atoms : 9;
      test_support_gradient(*given, task, true, largest, true);
      test_support_gradient(*given, task, false, largest, false);
    }
  }
  const Signals many(6, 2, 97, 180);  // supports beyond what shared memory takes
  test_support_gradient(many, SupportTask::of_codes, true, 80, false);
  test_support_gradient(many, SupportTask::of_reconstructions, false, 80, true);
  test_lasso(lone, kMuchShared);
  test_lasso(several, kMuchShared);
  test_lasso(Signals(2, 1, 45, 60), kLittleShared);  // larger supports than a warp has lanes
  test_lasso(Signals(9, 2, 17, 10), kNoShared);      // a warp waits for itself at every move of an atom
  const Signals wide(5, 1, 70, 20);  // steps of LISTA by residuals: fewer operations than by the Gram matrix
  for (const std::int64_t shared_limit : {kMuchShared, kLittleShared}) test_lista(wide, 3, shared_limit);
  for (const bool rebuilt : {false, true}) test_lista_gradient(wide, 3, rebuilt, kMuchShared, rebuilt);
  test_omp(Signals(3, 1, 1030, 10), 3, Selection::residual, kMuchShared, true);  // more than registers hold
  test_patches(Images(2, 3, 13, 17), 5, 3);
  test_patches(Images(1, 1, 8, 8), 8, 8);
  test_split(Images(2, 2, 12, 20), 5);
  test_split(Images(1, 1, 1, 9), 0.5);
  test_split(Images(1, 1, 149, 21), 100);  // wider than one block's columns
  test_split(Images(1, 2, 65, 96), 5);     // both axes by Fourier transforms, an odd number of rows
  test_split(Images(1, 1, 77, 117), 1e4);  // an odd number of columns as well
  test_split(Images(2, 1, 64, 19), 5);     // one axis each
  test_split(Images(1, 1, 7, 270), 5);

  const Images images(3, 2, 11, 14);
  const Signals atoms(3, 2, 40, 2 * 5 * 5);
  test_purify(images, atoms, OmpCoding<float>{{3, 0.0f, Selection::residual}}, 5, 2, 1e-4, "omp",
              kMuchShared);
  test_purify(images, atoms, OmpCoding<float>{{2, 0.0f, Selection::correlation}}, 5, 3, 1e-4, "omp",
              kNoShared);
  test_purify(Images(1, 2, 6, 8), Signals(1, 1, 17, 2 * 4 * 4), LassoCoding<float>{{0.2f, 1e-6f, 1000}}, 4, 3,
              3e-3, "lasso", kNoShared);
  test_purify(images, atoms, ListaCoding<float>{atoms.analysis_view(), atoms.thresholds_view(), 2}, 5, 2,
              1e-5, "lista", kMuchShared);
  std::printf("%d passed, %d failed\n", checks - failures, failures);
  return failures == 0 ? 0 : 1;
}
