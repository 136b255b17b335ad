# SPDX-License-Identifier: Apache-2.0
"""Auto-PGD (Croce and Hein 2020, arXiv 2003.01690): gradient ascent that chooses its own step lengths."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .balls import BALLS, Ball
from .base import (
    Model,
    Objective,
    Seed,
    check,
    choose,
    cross_entropy,
    evaluating,
    generator,
    per_image,
    value_and_gradient,
)

INERTIA = 0.75  # weight of the gradient step beside that of the last move (their alpha)
RISING = 0.75  # a step shorter than this share of rising iterations calls for is halved (their rho)
FIRST_PERIOD, SHORTEST_PERIOD, SHRINK = 0.22, 0.06, 0.03  # between checkpoints, as shares of the steps


def apgd_ce(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    steps: int = 100,
    norm: str = "Linf",
    seed: Seed = 0,
) -> Tensor:
    """APGD on the cross-entropy (arXiv 2003.01690, algorithm 1), one random start.

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball.
        steps: number of steps.
        norm: "Linf" or "L2".
        seed: of the random start, or a CPU generator to draw it from.
    """
    check(images, labels, epsilon, norm)
    with evaluating(model), torch.no_grad():
        return _apgd(BALLS[norm], model, images, labels, epsilon, steps, seed, cross_entropy)


def apgd_t(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float = 8 / 255,
    steps: int = 100,
    targets: int = 9,
    norm: str = "Linf",
    seed: Seed = 0,
) -> Tensor:
    """APGD on the targeted difference-of-logits ratio (arXiv 2003.01690, equation 7), target by target.

    Targets are the classes with the largest logits on the clean image, the true one left out. An image that
    one target has broken is not attacked again.

    Args:
        model: images to logits.
        images: float [batch, channels, height, width] in [0, 1].
        labels: int64 [batch].
        epsilon: radius of the ball.
        steps: number of steps a target.
        targets: how many classes are tried, at most classes - 1.
        norm: "Linf" or "L2".
        seed: of the random starts, or a CPU generator to draw them from.
    """
    check(images, labels, epsilon, norm)
    source, found = generator(seed), images.detach().clone()
    with evaluating(model), torch.no_grad():
        logits = model(images)
        standing = logits.argmax(1) == labels
        order = logits.scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
        for rank in range(min(targets, logits.shape[1] - 1)):
            rows = standing.nonzero()[:, 0]
            if not len(rows):
                break
            part, target = choose(model, rows), order[rows, rank]
            objective = targeted_dlr(target)
            attacked = _apgd(BALLS[norm], part, images[rows], labels[rows], epsilon, steps, source, objective)
            broken = part(attacked).argmax(1) != labels[rows]
            found[rows[broken]] = attacked[broken]
            standing[rows[broken]] = False
    return found


def targeted_dlr(target: Tensor) -> Objective:
    """The targeted difference-of-logits ratio, unchanged where all logits are shifted or scaled.

    With fewer than four classes there are too few logits for the ratio, and the plain difference is taken.
    """

    def objective(logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits.float()
        apart = logits.gather(1, target[:, None])[:, 0] - logits.gather(1, labels[:, None])[:, 0]
        if logits.shape[1] < 4:
            return apart
        ranked = logits.sort(1, descending=True).values  # [batch, classes]
        return apart / (ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2 + 1e-12)

    return objective


@dataclass
class _Ascent:
    """Where each image of the batch is, and the best it has seen."""

    current: Tensor
    before: Tensor
    value: Tensor  # [batch]
    gradient: Tensor
    best: Tensor
    best_value: Tensor  # [batch]
    best_gradient: Tensor
    step: Tensor  # [batch]

    def see(self, point: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        """Moves to a point; returns where its value rose, bool [batch]."""
        rose = value > self.value
        better = value > self.best_value
        self.before, self.current = self.current, point
        self.value, self.gradient = value, gradient
        self.best = torch.where(per_image(better), point, self.best)
        self.best_gradient = torch.where(per_image(better), gradient, self.best_gradient)
        self.best_value = torch.where(better, value, self.best_value)
        return rose

    def halve(self, stuck: Tensor) -> None:
        """Halves the step of the images `stuck` (bool [batch]) and puts them back on their best point."""
        self.step = torch.where(stuck, self.step / 2, self.step)
        self.current = torch.where(per_image(stuck), self.best, self.current)
        self.gradient = torch.where(per_image(stuck), self.best_gradient, self.gradient)
        self.value = torch.where(stuck, self.best_value, self.value)


def _apgd(
    ball: Ball,
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int,
    seed: Seed,
    objective: Objective,
) -> Tensor:
    """The point of largest objective; where the model was wrong on the way, a point where it is wrong."""
    start = ball.start(images, epsilon, seed)
    logits, value, gradient = value_and_gradient(model, start, labels, objective)
    step = torch.full_like(value, 2 * epsilon)
    state = _Ascent(start, start, value, gradient, start, value, gradient, step)
    found, broken = start, logits.argmax(1) != labels
    checkpoints = _checkpoints(steps)
    rises, last = torch.zeros_like(value), 0
    halved, best_then = torch.ones_like(broken), value
    for iteration in range(steps):
        point = _next(ball, state, images, epsilon, 1.0 if iteration == 0 else INERTIA)
        logits, value, gradient = value_and_gradient(model, point, labels, objective)
        rises += state.see(point, value, gradient)
        found = torch.where(per_image(broken), found, state.best)
        wrong = (logits.argmax(1) != labels) & ~broken
        found, broken = torch.where(per_image(wrong), point, found), broken | wrong
        if bool(broken.all()):
            break
        if iteration + 1 in checkpoints:
            few = rises < RISING * (iteration + 1 - last)
            stuck = few | (~halved & (state.best_value <= best_then))
            state.halve(stuck)
            rises, last = torch.zeros_like(value), iteration + 1
            halved, best_then = stuck, state.best_value
    return found.detach()


def _next(ball: Ball, state: _Ascent, images: Tensor, epsilon: float, inertia: float) -> Tensor:
    ahead = state.current + per_image(state.step) * ball.steepest(state.gradient)
    ahead = ball.project(ahead, images, epsilon)
    moved = inertia * (ahead - state.current) + (1 - inertia) * (state.current - state.before)
    return ball.project(state.current + moved, images, epsilon)


def _checkpoints(steps: int) -> set[int]:
    """The iterations after which steps may be halved, closer together toward the end."""
    period, place, found = FIRST_PERIOD, FIRST_PERIOD, set()
    while place < 1:
        found.add(max(1, round(place * steps)))
        period = max(period - SHRINK, SHORTEST_PERIOD)
        place += period
    return found
