// SPDX-License-Identifier: Apache-2.0
// The vector bodies of tiles give what plain loops and the one-signal references give.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "ops/assign/assign_tile.hpp"
#include "ops/lasso/lasso_tile.hpp"
#include "ops/lista/lista_tile.hpp"
#include "ops/lista_gradient/lista_gradient_tile.hpp"
#include "ops/omp/omp_tile.hpp"
#include "ops/support_gradient/support_gradient_tile.hpp"

namespace {

using namespace srdfast;

int checks = 0, failures = 0;

void check(bool holds, const char* what, int atoms, int features, int count) {
  ++checks;
  if (holds) return;
  ++failures;
  std::printf("failed: %s (%d atoms, %d features, %d signals)\n", what, atoms, features, count);
}

enum class Kind { plain, duplicates, zero_atoms, uneven_norms, tiny, huge };

// Random signals and atoms; a kind makes some of them hard.
struct Case {
  Case(int atoms, int features, int count, Kind kind)
      : atoms(atoms),
        features(features),
        count(count),
        signals(count * features),
        dictionary(atoms * features) {
    std::mt19937 source(static_cast<unsigned>(atoms * 1009 + features * 31 + count + static_cast<int>(kind)));
    std::normal_distribution<float> normal;
    for (float& value : signals) value = normal(source);
    for (float& value : dictionary) value = normal(source) / std::sqrt(static_cast<float>(features));
    for (int a = 0; a < atoms; ++a) {
      float* atom = dictionary.data() + a * features;
      for (int f = 0; f < features; ++f) {
        if (kind == Kind::duplicates && a % 2 == 1) atom[f] = atom[f - features];
        if (kind == Kind::zero_atoms && a % 3 == 0) atom[f] = 0;
        if (kind == Kind::uneven_norms) atom[f] *= static_cast<float>(1 + a % 7);
        if (kind == Kind::tiny) atom[f] *= 1e-9f;
        if (kind == Kind::huge) atom[f] *= 1e9f;
      }
    }
    for (int f = 0; f < features; ++f) signals[(count - 1) * features + f] = 0;  // the last signal is zero
  }

  View<const float, 3> view() const { return {dictionary.data(), {1, atoms, features}}; }
  const float* signal(int row) const { return signals.data() + row * features; }

  int atoms, features, count;
  std::vector<float> signals, dictionary;
};

bool everything(std::int64_t) { return true; }

void test_product(const Case& given) {
  const GramTables<float> tables(given.view(), everything);
  std::vector<float> products(kTile * tables.width, -1.0f);
  tables.correlate(0, given.count, given.signals.data(), products.data());
  bool right = true;
  for (int r = 0; r < given.count; ++r) {
    for (int a = 0; a < tables.width; ++a) {
      double sum = 0, size = 0;
      for (int f = 0; f < given.features && a < given.atoms; ++f) {
        const double term = double{given.signal(r)[f]} * given.dictionary[a * given.features + f];
        sum += term;
        size += std::abs(term);
      }
      right &= std::abs(products[r * tables.width + a] - sum) <= 1e-5 * size;
    }
  }
  check(right, "product: that of plain loops", given.atoms, given.features, given.count);
}

// |x - zD|^2 of a sparse code.
double residual_energy(const Case& given, int row, int count, const std::int32_t* indices,
                       const float* values) {
  double energy = 0;
  for (int f = 0; f < given.features; ++f) {
    double rest = given.signal(row)[f];
    for (int k = 0; k < count; ++k)
      rest -= double{values[k]} * given.dictionary[indices[k] * given.features + f];
    energy += rest * rest;
  }
  return energy;
}

void test_omp(const Case& given, Selection selection) {
  const OmpSettings<float> settings{4, 0, selection};
  const GramTables<float> tables(given.view(), everything);
  OmpCoder<float> coder(settings, tables);
  coder.code(0, given.count, given.signals.data());
  std::vector<float> correlations(tables.width), coordinates(4 * given.atoms), remaining(given.atoms),
      projections(4);
  const OmpWorkspace<float> work{coordinates.data(), remaining.data(), projections.data()};
  for (int r = 0; r < given.count; ++r) {
    std::int32_t indices[4];
    float values[4];
    float energy = 0;
    for (int f = 0; f < given.features; ++f) energy += given.signal(r)[f] * given.signal(r)[f];
    tables.correlate(0, 1, given.signal(r), correlations.data());
    const int count =
        omp_solve(SerialTeam{}, settings, given.atoms, tables.width, tables.gram(0), tables.gram(0),
                  tables.width + 1, correlations.data(), energy, work, indices, values);
    bool same = count == coder.count(r);
    for (int k = 0; same && k < 4; ++k) same = indices[k] == coder.indices(r)[k];
    if (given.features > 1) {  // with one, all atoms explain a signal equally well and rounding decides
      check(same, "omp: the support of the reference", given.atoms, given.features, given.count);
    }
    const double ours = residual_energy(given, r, coder.count(r), coder.indices(r), coder.values(r));
    const double theirs = residual_energy(given, r, count, indices, values);
    check(std::abs(ours - theirs) <= 1e-5 * energy, "omp: the residual of the reference", given.atoms,
          given.features, given.count);
  }
}

void test_lista(const Case& given) {
  const std::vector<float> thresholds(given.atoms, 0.05f);
  std::vector<float> analysis = given.dictionary;
  for (float& value : analysis) value *= 0.3f;
  const View<const float, 3> analysis_view{analysis.data(), {1, given.atoms, given.features}};
  const ListaTables<float> tables(analysis_view, given.view(), 3, everything);
  ListaCoder<float> coder(3, {thresholds.data(), {1, given.atoms}}, tables);
  coder.code(0, given.count, given.signals.data());
  bool right = true;
  for (int r = 0; r < given.count; ++r) {
    std::vector<double> codes(given.atoms), rest(given.features);
    for (int step = 0; step < 3; ++step) {
      for (int f = 0; f < given.features; ++f) {
        rest[f] = given.signal(r)[f];
        for (int a = 0; a < given.atoms; ++a) rest[f] -= codes[a] * given.dictionary[a * given.features + f];
      }
      for (int a = 0; a < given.atoms; ++a) {
        for (int f = 0; f < given.features; ++f) codes[a] += rest[f] * analysis[a * given.features + f];
        codes[a] = shrink(codes[a], double{0.05f});
      }
    }
    for (int a = 0; a < given.atoms; ++a) {
      right &= std::abs(codes[a] - coder.codes(r)[a]) <= 1e-4 * (1 + std::abs(codes[a]));
    }
  }
  check(right, tables.by_gram ? "lista: one product a step" : "lista: two products a step", given.atoms,
        given.features, given.count);
}

// By central differences of the coder in double precision, of a loss whose gradient by codes or
// reconstructions is `slopes`; a difference that crosses a threshold shows none.
void test_lista_gradient(const Case& given, int steps, bool rebuilt) {
  const int atoms = given.atoms, features = given.features, width = padded(features);
  const std::vector<double> thresholds(atoms, 0.05),
      synthesis(given.dictionary.begin(), given.dictionary.end());
  std::vector<double> analysis = synthesis, signals(given.signals.begin(), given.signals.end());
  for (double& value : analysis) value *= 0.3;
  const View<const double, 3> analysis_view{analysis.data(), {1, atoms, features}};
  const View<const double, 3> synthesis_view{synthesis.data(), {1, atoms, features}};
  const View<const double, 2> thresholds_view{thresholds.data(), {1, atoms}};
  const ListaTables<double> forward(analysis_view, synthesis_view, steps, everything);
  const ListaTables<double> backward(synthesis_view, analysis_view, steps, everything);
  const int outputs = rebuilt ? features : atoms;
  std::vector<double> slopes(given.count * outputs), out(kTile * width);
  for (std::size_t i = 0; i < slopes.size(); ++i) slopes[i] = std::sin(static_cast<double>(i));
  ListaGradient<double> gradient(steps, rebuilt, thresholds_view, forward, backward);
  gradient.differentiate(0, given.count, signals.data(), slopes.data());

  ListaCoder<double> coder(steps, thresholds_view, forward);
  const auto losses = [&](double shift, std::vector<bool>& moves) {
    std::vector<double> moved = signals, found(given.count);
    for (int i = 0; i < given.count * features; ++i) moved[i] += shift * std::cos(3.0 * i);
    moves.clear();
    coder.code(0, given.count, moved.data(), [&](int) {
      for (int i = 0; i < given.count * atoms; ++i) moves.push_back(coder.codes(i / atoms)[i % atoms] != 0);
    });
    coder.reconstruct(given.count, out.data(), width);
    for (int i = 0; i < given.count * outputs; ++i) {
      const int row = i / outputs, at = i % outputs;
      found[row] += slopes[i] * (rebuilt ? out[row * width + at] : coder.codes(row)[at]);
    }
    return found;
  };
  std::vector<bool> below, above;
  const std::vector<double> lower = losses(-1e-7, below), upper = losses(1e-7, above);
  if (below != above) return;
  bool right = true;
  for (int r = 0; r < given.count; ++r) {
    double slope = 0;
    for (int f = 0; f < features; ++f) {
      slope += gradient.of_signal(r)[f] * std::cos(3.0 * (r * features + f));
    }
    const double measured = (upper[r] - lower[r]) / 2e-7;
    right &= std::abs(measured - slope) <= 1e-6 * (1 + std::abs(slope));
  }
  check(right, forward.by_gram ? "lista_gradient: one product a step" : "lista_gradient: two products a step",
        atoms, features, given.count);
}

// Every `apart`-th atom as the support, backwards as padded indices: the codes of the reference, and what is
// left of a signal by its projection is orthogonal to the atoms.
void test_support(const Case& given, int apart) {
  const GramTables<float> tables(given.view(), everything);
  SupportGradient<float> support(given.atoms, tables);
  std::vector<std::int32_t> indices(given.atoms, -1);
  std::vector<int> chosen;
  for (int a = given.atoms - 1; a >= 0; a -= apart) {
    indices[a] = a;
    chosen.insert(chosen.begin(), a);
  }
  const int size = static_cast<int>(chosen.size());
  const float* const gram = tables.gram(0);
  std::vector<float> projected(given.features), codes(given.atoms), expected(size), inverses(size),
      upper(static_cast<std::size_t>(elimination_size(size)));
  for (int r = 0; r < given.count; ++r) {
    support.take_indices(given.atoms, indices.data(), nullptr);
    support.correlate(0, given.signal(r));
    for (int j = 0; j < size; ++j) {
      expected[j] = 0;
      for (int f = 0; f < given.features; ++f)
        expected[j] += given.signal(r)[f] * tables.atom(0, chosen[j])[f];
    }
    support.solve(0);
    support.combine(0, projected.data());
    support.scatter(given.atoms, codes.data());
    solve_on_support(
        SerialTeam{}, size, given.features,
        [&](int j, int i) { return gram[std::int64_t{chosen[j]} * tables.width + chosen[i]]; }, upper.data(),
        inverses.data(), expected.data());
    double energy = 0, off = 0, apart_by = 0;
    for (int f = 0; f < given.features; ++f) energy += double{given.signal(r)[f]} * given.signal(r)[f];
    for (int a = 0, j = 0; a < given.atoms; ++a) {
      double correlation = 0, norm = 0;
      for (int f = 0; f < given.features && indices[a] >= 0; ++f) {
        const double entry = tables.atom(0, a)[f];
        correlation += entry * (double{given.signal(r)[f]} - projected[f]);
        norm += entry * entry;
      }
      off = std::fmax(off, std::abs(correlation) / std::sqrt(norm > 0 ? norm : 1));
      const double theirs = indices[a] >= 0 ? double{expected[j++]} : 0;
      apart_by = std::fmax(apart_by, std::abs(theirs - codes[a]) * std::sqrt(norm));
    }
    const bool many = 2 * size > given.features;  // equations that amplify rounding
    check(off <= (many ? 3e-2 : 1e-4) * std::sqrt(energy), "support: a projection", given.atoms,
          given.features, given.count);
    if (many) continue;
    check(apart_by <= 1e-3 * std::sqrt(energy), "support: the codes of the reference", given.atoms,
          given.features, given.count);
  }
}

void test_lasso(const Case& given) {
  const LassoSettings<float> settings{0.2f, 1e-5f, 2000};
  const GramTables<float> tables(given.view(), everything);
  LassoCoder<float> coder(settings, tables);
  coder.code(0, given.count, given.signals.data());
  std::vector<float> gradient(tables.width), residual(given.features), codes(tables.width), ours(given.atoms);
  for (int r = 0; r < given.count; ++r) {
    float energy = 0;
    for (int f = 0; f < given.features; ++f) energy += given.signal(r)[f] * given.signal(r)[f];
    tables.correlate(0, 1, given.signal(r), gradient.data());
    const LassoInput<float, TransposedPanels<float>> in{
        given.atoms,          given.features,       tables.width,  given.signal(r),
        tables.dictionary(0), tables.transposed(0), tables.gram(0)};
    const float reached =
        lasso_solve(SerialTeam{}, settings, in, gradient.data(), residual.data(), codes.data()).gap;
    coder.write(r, ours.data());
    const auto objective = [&](const float* code) {
      double value = 0;
      for (int f = 0; f < given.features; ++f) {
        double rest = given.signal(r)[f];
        for (int a = 0; a < given.atoms; ++a)
          rest -= double{code[a]} * given.dictionary[a * given.features + f];
        value += rest * rest / 2;
      }
      for (int a = 0; a < given.atoms; ++a) value += 0.2 * std::abs(code[a]);
      return value;
    };
    const double above = objective(ours.data()) - objective(codes.data());
    check(above <= 2e-5 * energy && -above <= reached + 2e-5 * energy,
          "lasso: the objective of the reference", given.atoms, given.features, given.count);
    check(coder.gap(r) >= 0 && coder.gap(r) <= std::fmax(1e-5f * energy, reached), "lasso: the gap asked for",
          given.atoms, given.features, given.count);
  }
}

// Where the same signals start from their own codes, they stay; elsewhere the start costs nothing but rounds.
void test_lasso_start(const Case& given) {
  const LassoSettings<float> settings{0.2f, 1e-5f, 2000};
  const GramTables<float> tables(given.view(), everything);
  LassoCoder<float> cold(settings, tables), warm(settings, tables);
  cold.code(0, given.count, given.signals.data());
  warm.code(0, given.count, given.signals.data(), [&](int row) { return cold.repeatable(row); });
  std::vector<float> before(given.atoms), after(given.atoms);
  for (int r = 0; r < given.count; ++r) {
    cold.write(r, before.data());
    warm.write(r, after.data());
    check(before == after, "lasso: the same signal stays where it starts", given.atoms, given.features,
          given.count);
    check(cold.repeatable(r).count == 0 || warm.rounds(r) == 0, "lasso: no round for the same signal",
          given.atoms, given.features, given.count);
  }
  const int other = given.count - 1;  // every row starts from the code of another
  warm.code(0, given.count, given.signals.data(), [&](int row) { return cold.repeatable(other - row); });
  for (int r = 0; r < given.count; ++r) {
    float energy = 0;
    for (int f = 0; f < given.features; ++f) energy += given.signal(r)[f] * given.signal(r)[f];
    const bool done = warm.gap(r) <= std::fmax(1e-5f * energy, 1.01f * cold.gap(r));
    check(done || warm.rounds(r) >= settings.max_sweeps, "lasso: the gap from a bad start", given.atoms,
          given.features, given.count);
  }
}

// Atoms as the shifts of clusters, signals as latents.
void test_assign(const Case& given) {
  const int clusters = given.atoms, latent = given.features;
  std::vector<float> centre(latent, 0.1f), scales(latent * clusters), shifts(scales.size()),
      offsets(clusters);
  for (int c = 0; c < clusters; ++c) {
    offsets[c] = -0.1f * static_cast<float>(c / 2 % 5);
    for (int f = 0; f < latent; ++f) {
      scales[f * clusters + c] = 0.5f + 0.25f * static_cast<float>(c / 2 % 3);
      shifts[f * clusters + c] = given.dictionary[c * latent + f];
    }
  }
  AssignProblem<float> problem;
  problem.centre = {centre.data(), {latent}};
  problem.scales = {scales.data(), {latent, clusters}};
  problem.shifts = {shifts.data(), {latent, clusters}};
  problem.offsets = {offsets.data(), {clusters}};
  const PackedClusters<float> packed(problem);
  ClusterAssigner<float> assigner(packed);
  constexpr int kRows = ClusterAssigner<float>::kRows;
  std::vector<float> centred(latent);
  for (int first = 0; first < given.count; first += kRows) {
    const int count = given.count - first < kRows ? given.count - first : kRows;
    assigner.assign(count, given.signal(first), centre.data(), [&](int row, const Assigned<float>& ours) {
      const Assigned<float> theirs =
          assign_one(SerialTeam{}, problem, given.signal(first + row), centred.data());
      const float rounding = 1e-5f * (1 + std::abs(theirs.log_likelihood));
      check(ours.index == theirs.index || theirs.margin <= rounding, "assign: the cluster of the reference",
            clusters, latent, given.count);
      check(std::abs(ours.log_likelihood - theirs.log_likelihood) <= rounding &&
                (ours.margin == theirs.margin || std::abs(ours.margin - theirs.margin) <= rounding),
            "assign: the likelihood and margin of the reference", clusters, latent, given.count);
    });
  }
}

}  // namespace

int main() {
  for (const int atoms : {1, 5, 64, 70}) {
    for (const int features : {1, 3, 16, 40}) {
      for (const int count : {1, 2, 3, 5, 7, 8}) {
        for (const Kind kind :
             {Kind::plain, Kind::duplicates, Kind::zero_atoms, Kind::uneven_norms, Kind::tiny, Kind::huge}) {
          const Case given(atoms, features, count, kind);
          test_product(given);
          test_omp(given, Selection::correlation);
          test_omp(given, Selection::residual);
          if (kind == Kind::plain) test_lista(given);
          if (kind == Kind::plain) {
            for (const int steps : {1, 3}) {
              test_lista_gradient(given, steps, false);
              test_lista_gradient(given, steps, true);
            }
          }
          for (const int apart : {1, 3, 9}) test_support(given, apart);
          if (kind != Kind::huge) test_assign(given);
          if (kind != Kind::tiny && kind != Kind::huge) {
            test_lasso(given);
            test_lasso_start(given);
          }
        }
      }
    }
  }
  std::printf("%d passed, %d failed\n", checks - failures, failures);
  return failures == 0 ? 0 : 1;
}
