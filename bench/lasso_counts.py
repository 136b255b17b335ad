# SPDX-License-Identifier: Apache-2.0
"""How much work the lasso's two methods take: why a GPU codes by the active set.

python bench/lasso_counts.py [--penalty 0.1] [--every 20]

Prints what a signal takes on average: Gram rows added to gradients by the kernel's active set, read off from
calls that stop after ever more rounds, and by the coordinate descent of csrc/ops/lasso/lasso.hpp, in float64.
"""

import argparse

import conftest
import numpy as np

import srdfast

GAP = 1e-6


def active_set(signals, dictionary, penalty):
    """(rounds, Gram rows, largest support), the first two as means."""
    rounds = rows = largest = 0
    prepared, target = srdfast.prepare(dictionary), GAP * 0.5 * (signals.astype(float) ** 2).sum(1)
    done = np.zeros(len(signals), bool)
    for most in range(1, 500):
        codes = srdfast.lasso(signals, prepared, penalty, GAP, max_sweeps=most)
        support = (codes.values != 0).sum(1)
        rounds, rows = rounds + (~done).sum(), rows + support[~done].sum()
        largest, done = max(largest, support.max()), done | (codes.gap <= target)
        if done.all():
            break
    return rounds / len(signals), rows / len(signals), largest


class Descent:
    """Coordinate descent on one signal, counting."""

    def __init__(self, signal, dictionary, gram, penalty):
        self.signal, self.dictionary, self.gram, self.penalty = signal, dictionary, gram, penalty
        self.gradient, self.codes = dictionary @ signal, np.zeros(len(gram))
        self.looks = self.moves = 0

    def gap(self):
        residual = self.signal - self.codes @ self.dictionary
        gradient = self.dictionary @ residual
        scale = min(1, self.penalty / max(np.abs(gradient).max(), 1e-30))
        shares = self.penalty * np.abs(self.codes) - scale * self.codes * gradient
        return 0.5 * (1 - scale) ** 2 * residual @ residual + shares.sum()

    def sweep(self, support_only):
        """The largest move of a pass over the atoms."""
        largest, atom = 0.0, -1
        self.looks += len(self.codes)
        while True:
            moves = self.codes != 0
            if not support_only:
                moves |= np.abs(self.gradient) > self.penalty
            later = np.flatnonzero(moves[atom + 1 :])
            if not len(later):
                return largest
            atom += 1 + later[0]
            norm, old = self.gram[atom, atom], self.codes[atom]
            pulled = self.gradient[atom] + norm * old
            delta = (pulled - np.clip(pulled, -self.penalty, self.penalty)) / norm - old
            if delta != 0:
                self.gradient -= delta * self.gram[atom]
                self.codes[atom] += delta
                self.moves += 1
                largest = max(largest, abs(delta) * norm**0.5)

    def solve(self):
        energy = self.signal @ self.signal
        settled = 0.1 * energy**0.5
        while self.gap() > GAP * energy / 2:
            move = self.sweep(support_only=False)
            settled = 0.1 * min(move, settled)
            while move > max(settled, 1e-7 * energy**0.5):
                move = self.sweep(support_only=True)


def main():
    parser = argparse.ArgumentParser(description="Count the work of the lasso's two methods.")
    parser.add_argument("--penalty", type=float, default=0.1)
    parser.add_argument(
        "--every", type=int, default=20, help="takes one of so many patches of the photograph"
    )
    options = parser.parse_args()
    signals, dictionary = conftest._patches(1)[:: options.every], conftest._dictionary(1, 256)
    rounds, rows, largest = active_set(signals, dictionary, options.penalty)
    print(f"{len(signals)} signals, penalty {options.penalty}, gap {GAP}")
    print(f"active set: {rounds:.1f} rounds, {rows:.1f} Gram rows, largest support {largest}")
    atoms = dictionary.astype(float)
    runs = [Descent(signal.astype(float), atoms, atoms @ atoms.T, options.penalty) for signal in signals]
    for run in runs:
        run.solve()
    looks, moves = (np.mean([getattr(run, name) for run in runs]) for name in ("looks", "moves"))
    print(f"coordinate descent: {moves:.1f} Gram rows, {looks:.0f} atoms looked at")


if __name__ == "__main__":
    main()
