# SPDX-License-Identifier: Apache-2.0
"""The lasso at equal objective: SPAMS (LARS, exact), scikit-learn (coordinate descent), torch (FISTA).

The row "srdfast" is the one that solves as closely as they do, gap tolerance 1e-6; the default has its own.
"""

import numpy as np
import pytest
import torch

import srdfast
from srdfast.microbench import lasso_work

TIGHT = 1e-6
MOST_STEPS, CHECK_EVERY = 3000, 20
penalties = pytest.mark.parametrize("penalty", [0.1, 0.05])


def mean_objective(signals, dictionary, codes, penalty):
    """The mean of 1/2 |x - zD|^2 + penalty |z|_1, in float64: float32 would not tell 1e-6 apart."""
    codes = codes.astype(np.float64)
    residual = signals - codes @ dictionary.astype(np.float64)
    return np.mean(0.5 * np.sum(residual**2, axis=1) + penalty * np.sum(np.abs(codes), axis=1))


def our_objective(signals, dictionary, penalty):
    codes = srdfast.lasso(signals, dictionary, penalty, TIGHT).values
    return mean_objective(signals, dictionary, codes, penalty)


def case(penalty):
    return f"64 features, 256 atoms, penalty {penalty}"


@penalties
@pytest.mark.parametrize("tolerance", [TIGHT, 1e-4])
def bench_srdfast(timed, problem, penalty, tolerance):
    signals, dictionary = problem(64, 256)
    codes = srdfast.lasso(signals, dictionary, penalty, tolerance).values
    excess = (
        mean_objective(signals, dictionary, codes, penalty) / our_objective(signals, dictionary, penalty) - 1
    )
    assert excess <= tolerance * 50  # the tolerance is a share of 1/2 |x|^2, which lies above the objective
    timed(
        lambda: srdfast.lasso(signals, dictionary, penalty, tolerance),
        "lasso", case(penalty), "srdfast" if tolerance == TIGHT else "srdfast, default gap", len(signals),
        "signals", work=lasso_work(64, 256),
        notes=f"gap {tolerance:g}" + (f", objective +{excess:.1e}" if tolerance != TIGHT else ""),
    )  # fmt: skip


@penalties
def bench_spams(timed, problem, threads, penalty):
    spams = pytest.importorskip("spams")
    signals, dictionary = problem(64, 256)
    columns = np.asfortranarray(signals.T), np.asfortranarray(dictionary.T)

    def call():
        return spams.lasso(*columns, lambda1=penalty, mode=2, numThreads=threads)

    theirs = mean_objective(signals, dictionary, call().toarray().T, penalty)
    excess = our_objective(signals, dictionary, penalty) / theirs - 1
    assert excess <= 1e-6, f"our mean objective is {excess:.1e} above that of SPAMS"
    timed(
        call, "lasso", case(penalty), "spams", len(signals), "signals", rounds=3,
        notes=f"objective {-excess:+.1e}",
    )  # fmt: skip


@penalties
def bench_sklearn(timed, problem, sized, penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    signals, dictionary = problem(64, 256)
    signals = signals[: sized(500, 20)]
    model = linear_model.Lasso(
        alpha=penalty / 64, fit_intercept=False, precompute=True, tol=1e-4, max_iter=10_000
    )
    theirs = mean_objective(signals, dictionary, model.fit(dictionary.T, signals.T).coef_, penalty)
    excess = theirs / our_objective(signals, dictionary, penalty) - 1
    assert abs(excess) < 1e-2
    timed(
        lambda: model.fit(dictionary.T, signals.T),
        "lasso", case(penalty), "scikit-learn", len(signals), "signals", rounds=3,
        notes=f"on {len(signals):,} signals, ratio per signal; objective {excess:+.1e}",
    )  # fmt: skip


class Fista:
    """FISTA on a batch with Gram products and a restart per signal (O'Donoghue and Candes 2015)."""

    def __init__(self, signals, dictionary, penalty):
        self.gram, self.products = dictionary @ dictionary.T, signals @ dictionary.T
        self.step = 1 / torch.linalg.eigvalsh(self.gram)[-1]
        self.threshold = penalty * self.step
        self.codes = self.ahead = torch.zeros_like(self.products)
        self.momentum = torch.ones(len(signals), 1, device=signals.device)

    def advance(self):
        """One step from the extrapolated point."""
        descent = torch.addmm(self.products, self.ahead, self.gram, alpha=-1)
        codes = torch.nn.functional.softshrink(self.ahead + self.step * descent, float(self.threshold))
        moved = codes - self.codes
        uphill = ((self.ahead - codes) * moved).sum(1, keepdim=True) > 0
        former = torch.where(uphill, 1.0, self.momentum)
        self.momentum = (1 + torch.sqrt(1 + 4 * former**2)) / 2
        self.ahead = torch.where(uphill, codes, codes + ((former - 1) / self.momentum) * moved)
        self.codes = codes

    def run(self, steps):
        for _ in range(steps):
            self.advance()
        return self.codes


@penalties
def bench_torch(timed, problem, sized, penalty):
    """Timed for just as many steps as it needs, without the checks that find out how many these are."""
    signals, dictionary = problem(64, 256)
    signals = signals[: sized(2000, 50)]
    target = our_objective(signals, dictionary, penalty)
    tensors = torch.from_numpy(signals), torch.from_numpy(dictionary)
    fista, steps, excess = Fista(*tensors, penalty), 0, np.inf
    while steps < sized(MOST_STEPS, 200) and excess > 1e-6:
        steps += CHECK_EVERY
        excess = mean_objective(signals, dictionary, fista.run(CHECK_EVERY).numpy(), penalty) / target - 1
    assert excess < 1e-2
    timed(
        lambda: Fista(*tensors, penalty).run(steps),
        "lasso", case(penalty), "torch FISTA", len(signals), "signals", rounds=3 if steps < 500 else 1,
        notes=f"on {len(signals):,} signals, ratio per signal; {steps} steps, objective {excess:+.1e}",
    )  # fmt: skip
