// SPDX-License-Identifier: Apache-2.0
// Every body written on a team gives on several threads what it gives on one lane.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "math/tables.hpp"
#include "ops/assign/assign.hpp"
#include "ops/lasso/lasso.hpp"
#include "ops/omp/omp.hpp"
#include "ops/support_gradient/support_gradient.hpp"
#include "tests/thread_team.hpp"

namespace {

using namespace srdfast;

int failures = 0;

void check(bool holds, const char* what, int atoms, int features, int lanes) {
  if (holds) return;
  ++failures;
  std::printf("failed: %s (%d atoms, %d features, %d lanes)\n", what, atoms, features, lanes);
}

// One random signal in one random dictionary, with what the bodies take as given.
struct Case {
  Case(int atoms, int features, unsigned seed)
      : atoms(atoms),
        features(features),
        signal(features),
        dictionary(atoms * features),
        transposed(packed_size<float>(features, atoms)),
        gram(atoms * atoms),
        correlations(padded(atoms)) {
    std::mt19937 source(seed);
    std::normal_distribution<float> normal;
    for (float& value : signal) value = normal(source);
    for (int a = 0; a < atoms; ++a) {
      float* atom = dictionary.data() + a * features;
      float energy = 0;
      for (int f = 0; f < features; ++f) {
        atom[f] = normal(source);
        energy += atom[f] * atom[f];
      }
      for (int f = 0; f < features; ++f) atom[f] /= std::sqrt(energy);
    }
    if (atoms > 3) {  // a duplicate: ties go to the lower index
      for (int f = 0; f < features; ++f) dictionary[3 * features + f] = dictionary[1 * features + f];
    }
    pack_transposed(features, atoms, dictionary.data(), transposed.data());
    for (int a = 0; a < atoms; ++a) {
      for (int f = 0; f < features; ++f) correlations[a] += dictionary[a * features + f] * signal[f];
      for (int b = 0; b < atoms; ++b) {
        for (int f = 0; f < features; ++f) {
          gram[a * atoms + b] += dictionary[a * features + f] * dictionary[b * features + f];
        }
      }
    }
    for (float value : signal) energy += value * value;
  }

  int atoms, features;
  std::vector<float> signal, dictionary, transposed, gram, correlations;
  float energy = 0;
};

struct OmpAnswer {
  std::vector<std::int32_t> indices;
  std::vector<float> values;
  int count = 0;
};

template <class Run>
OmpAnswer omp_answer(const Case& given, const OmpSettings<float>& settings, const Run& run) {
  const std::size_t atoms = static_cast<std::size_t>(given.atoms),
                    most = static_cast<std::size_t>(settings.max_atoms);
  std::vector<float> correlations = given.correlations, coordinates(most * atoms), remaining(atoms),
                     projections(most);
  OmpAnswer answer{std::vector<std::int32_t>(most), std::vector<float>(most), 0};
  const OmpWorkspace<float> work{coordinates.data(), remaining.data(), projections.data()};
  run([&](const auto& team) {
    const int count = omp_solve(team, settings, given.atoms, given.atoms, given.gram.data(),
                                given.gram.data(), given.atoms + 1, correlations.data(), given.energy, work,
                                answer.indices.data(), answer.values.data());
    team.once([&] { answer.count = count; });
  });
  return answer;
}

template <class Run>
std::vector<float> lasso_answer(const Case& given, const LassoSettings<float>& settings, const Run& run,
                                float& gap) {
  std::vector<float> gradient = given.correlations, residual(given.signal.size()), codes(gradient.size());
  const LassoInput<float, TransposedPanels<float>> in{
      given.atoms,         given.features,          given.atoms,
      given.signal.data(), given.dictionary.data(), {given.transposed.data()},
      given.gram.data()};
  run([&](const auto& team) {
    const float reached = lasso_solve(team, settings, in, gradient.data(), residual.data(), codes.data()).gap;
    team.once([&] { gap = reached; });
  });
  return codes;
}

void test_case(int atoms, int features, int lanes) {
  const Case given(atoms, features, static_cast<unsigned>(atoms * 1000 + features));
  const auto serially = [](const auto& body) { body(SerialTeam{}); };
  const auto together = [=](const auto& body) { run_team(lanes, body); };
  for (const Selection selection : {Selection::correlation, Selection::residual}) {
    const OmpSettings<float> settings{5, 0.01f * given.energy, selection};
    const OmpAnswer one = omp_answer(given, settings, serially), many = omp_answer(given, settings, together);
    check(one.count == many.count && one.indices == many.indices && one.values == many.values,
          "omp: the same bits", atoms, features, lanes);
  }
  const LassoSettings<float> settings{0.2f, 1e-4f, 500};
  float one_gap = 0, many_gap = 0;
  const std::vector<float> one = lasso_answer(given, settings, serially, one_gap);
  const std::vector<float> many = lasso_answer(given, settings, together, many_gap);
  check(one_gap <= 0.5e-4f * given.energy && many_gap <= 0.5e-4f * given.energy, "lasso: the gap asked for",
        atoms, features, lanes);
  float apart = 0;  // between the reconstructions: codes of duplicate atoms are not unique
  for (int f = 0; f < features; ++f) {
    float difference = 0;
    for (int a = 0; a < atoms; ++a) difference += (one[a] - many[a]) * given.dictionary[a * features + f];
    apart += difference * difference;
  }
  check(apart <= 4e-4f * given.energy, "lasso: the same reconstruction", atoms, features, lanes);
}

// Least squares on all atoms, of which some come twice and some are more than there are features: what is
// left of the signal is orthogonal to every one.
void test_support(int atoms, int features, int lanes) {
  const Case given(atoms, features, static_cast<unsigned>(atoms * 1000 + features));
  const float* const gram = given.gram.data();
  const auto answer = [&](const auto& run) {
    std::vector<float> values(given.correlations.begin(), given.correlations.begin() + atoms),
        inverses(atoms), upper(static_cast<std::size_t>(elimination_size(atoms)));
    run([&](const auto& team) {
      solve_on_support(
          team, atoms, features, [=](int j, int i) { return gram[j * atoms + i]; }, upper.data(),
          inverses.data(), values.data());
    });
    return values;
  };
  const std::vector<float> one = answer([](const auto& body) { body(SerialTeam{}); });
  const std::vector<float> many = answer([=](const auto& body) { run_team(lanes, body); });
  check(one == many, "support: the same bits", atoms, features, lanes);
  std::vector<float> rest = given.signal;
  for (int a = 0; a < atoms; ++a) {
    for (int f = 0; f < features; ++f) rest[f] -= one[a] * given.dictionary[a * features + f];
  }
  float largest = 0;
  for (int a = 0; a < atoms; ++a) {
    float correlation = 0;
    for (int f = 0; f < features; ++f) correlation += rest[f] * given.dictionary[a * features + f];
    largest = std::fmax(largest, std::abs(correlation));
  }
  check(largest <= 1e-3f * std::sqrt(given.energy), "support: the normal equations hold", atoms, features,
        lanes);
}

// Atoms as the shifts of clusters of one variance: the nearest is the most likely, and two are the same.
void test_assign(int clusters, int features, int lanes) {
  const Case given(clusters, features, static_cast<unsigned>(clusters * 1000 + features));
  std::vector<float> centre(features, 0.25f), scales(features * clusters, 0.5f), shifts(scales.size());
  const std::vector<float> offsets(clusters, -1.5f);
  for (int c = 0; c < clusters; ++c) {
    for (int f = 0; f < features; ++f) shifts[f * clusters + c] = given.dictionary[c * features + f];
  }
  AssignProblem<float> problem;
  problem.centre = {centre.data(), {features}};
  problem.scales = {scales.data(), {features, clusters}};
  problem.shifts = {shifts.data(), {features, clusters}};
  problem.offsets = {offsets.data(), {clusters}};
  const auto answer = [&](const auto& run) {
    std::vector<float> centred(features);
    Assigned<float> assigned{};
    run([&](const auto& team) {
      const Assigned<float> found = assign_one(team, problem, given.signal.data(), centred.data());
      team.once([&] { assigned = found; });
    });
    return assigned;
  };
  const Assigned<float> one = answer([](const auto& body) { body(SerialTeam{}); });
  const Assigned<float> many = answer([=](const auto& body) { run_team(lanes, body); });
  check(one.index == many.index && one.log_likelihood == many.log_likelihood && one.margin == many.margin,
        "assign: the same bits", clusters, features, lanes);
  check(one.index != 3 && (one.index != 1 || clusters < 4 || one.margin == 0),
        "assign: of two equal clusters the lower", clusters, features, lanes);
}

}  // namespace

int main() {
  int cases = 0;
  for (const int lanes : {1, 2, 3}) {
    for (const int atoms : {1, 5, 33}) {
      for (const int features : {1, 3, 16}) {
        test_case(atoms, features, lanes);
        test_assign(atoms, features, lanes);
        test_support(atoms, features, lanes);
        ++cases;
      }
    }
  }
  std::printf("%d passed, %d failed\n", cases - failures, failures);
  return failures == 0 ? 0 : 1;
}
