# SPDX-License-Identifier: Apache-2.0
"""The training loop of every stage that trains by gradient descent: seeded, and resumable to the bit.

All randomness of an epoch comes from one generator seeded by (seed, epoch), and the checkpoint written after
an epoch holds weights, optimizer and history. So a run that is killed and resumed ends with the same bits as
one that is not, on a CPU with the same number of threads; some of torch's GPU kernels add in any order.
"""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from .data import Dataset
from .files import load_tensors, save_tensors

History = list[dict[str, float]]

MOST_RESIDENT = 0.25  # of a GPU's free memory, for the training images
STEPS_BETWEEN_READINGS = 50  # of a GPU's sums, for the progress bar: each waits for the GPU


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and how exactly to train.

    Attributes:
        epochs: passes over the training rows.
        batch: images a step; the incomplete last batch of an epoch is left out.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: pull toward zero on every parameter.
        optimizer: "sgd" (Nesterov momentum 0.9) or "adam".
        warmup: share of the steps spent rising linearly to the peak; the rest falls as a cosine to zero.
        bf16: where `bfloat16_is_fast`, compute in it as far as autocast allows, with channels-last layout.
        augment: random crops (padding of one eighth) and mirror images.
        seed: with the epoch's number, the source of all randomness.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    optimizer: str = "sgd"
    warmup: float = 0.25
    bf16: bool = True
    augment: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """One training step's input.

    Attributes:
        images: float32 [batch, channels, height, width] in [0, 1], augmented.
        labels: int64 [batch].
        rows: int64 [batch], the images' positions in the dataset.
        generator: for the step's own random draws; a CPU generator.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    generator: torch.Generator = field(repr=False)


Loss = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]


def cross_entropy(net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The plain classification loss; returns (loss, logits)."""
    logits = net(batch.images).float()
    return functional.cross_entropy(logits, batch.labels), logits


def generator(*key: int) -> torch.Generator:
    """A CPU generator seeded by a sequence of non-negative integers, such as (seed, epoch)."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device computes in bfloat16; a CPU without AVX-512 takes ten times as long so."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")


def in_bfloat16(device: torch.device, wanted: bool = True) -> torch.autocast:
    """A context in which networks compute in bfloat16, if that is wanted and fast."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and bfloat16_is_fast(device))


def split_rows(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `count` to learn from, and a random `share` of them, at least one, kept aside for choices.

    Both int64, ascending; a share of 0 keeps none aside.
    """
    aside = max(1, round(count * share)) if share > 0 else 0
    order = torch.randperm(count, generator=generator(seed)).numpy()
    return np.sort(order[aside:]), np.sort(order[:aside])


@torch.no_grad()
def predictions(net: nn.Module, images: np.ndarray, device: torch.device, batch: int = 500) -> np.ndarray:
    """The class that `net` sees in each of images uint8 [n, channels, height, width]; int64 [n]."""
    parts = torch.from_numpy(images).split(batch)
    seen = [net(part.to(device).float().div_(255)).argmax(1).cpu() for part in parts]
    return torch.cat(seen).numpy() if seen else np.empty(0, np.int64)


def augment(images: Tensor, source: torch.Generator) -> Tensor:
    """Random crop, after zero padding by one eighth of the height, and mirror image, one draw an image.

    Args:
        images: [batch, channels, height, width], any dtype, on any device.
        source: generator of the draws, on the CPU.
    """
    batch, channels, height, width = images.shape
    pad = height // 8
    padded = functional.pad(images, (pad, pad, pad, pad))
    top, left = torch.randint(0, 2 * pad + 1, (2, batch), generator=source)
    mirrored = torch.rand(batch, generator=source) < 0.5
    rows = top[:, None] + torch.arange(height)  # [batch, height]
    columns = torch.arange(width).expand(batch, width)
    columns = left[:, None] + torch.where(mirrored[:, None], columns.flip(1), columns)  # [batch, width]
    rows, columns = rows.to(images.device), columns.to(images.device)
    first = torch.arange(batch, device=images.device)[:, None, None, None]
    second = torch.arange(channels, device=images.device)[:, None, None]
    return padded[first, second, rows[:, None, :, None], columns[:, None, None, :]]


def learning_rate_at(step: int, steps: int, schedule: Schedule) -> float:
    """One-cycle rate of step `step` of `steps`: linear warm-up, then cosine to zero."""
    position, rise = (step + 1) / steps, schedule.warmup
    if position < rise:
        return schedule.learning_rate * position / rise
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * (position - rise) / (1 - rise)))


def fit(
    net: nn.Module,
    dataset: Dataset,
    rows: np.ndarray,
    schedule: Schedule,
    *,
    loss: Loss = cross_entropy,
    checkpoint: Path,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    keep_best: str | None = None,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
    after_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> History:
    """Train `net` in place on `rows` of `dataset`, and leave it in eval mode.

    Args:
        net: any module; parameters without `requires_grad` stay as they are.
        dataset: where the images come from.
        rows: int64 [n], the rows to train on.
        schedule: see `Schedule`.
        loss: maps (net, batch) to the loss and the logits; it runs under the schedule's autocast.
        checkpoint: file written after every epoch and, if it is there at the start, continued from.
        validate: measures the network after each epoch, in eval mode.
        keep_best: name of the measure whose best epoch is kept; None keeps the last.
        device: where to train.
        progress: show a bar on stderr; None shows it where stderr is a terminal.
        after_epoch: called with (epoch, measures) after each epoch's checkpoint is on disk.

    Returns:
        One dictionary an epoch: loss, accuracy and the measures of `validate`.
    """
    device = torch.device(device)
    net.to(device)
    schedule = replace(schedule, bf16=schedule.bf16 and bfloat16_is_fast(device))
    if schedule.bf16:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = _State(net, schedule)
    if checkpoint.is_file():
        state.load(checkpoint)
    images, labels = resident(dataset.images, device), resident(dataset.labels, device)
    steps = max(1, len(rows) // schedule.batch)
    for epoch in range(len(state.history), schedule.epochs):
        net.train()
        measures = _train_epoch(state, images, labels, rows, epoch, steps, loss, device, progress)
        net.eval()
        measures.update(validate(net) if validate else {})
        state.finish_epoch(measures, keep_best)
        state.save(checkpoint)
        if after_epoch is not None:
            after_epoch(epoch, measures)
    if keep_best is not None:
        net.load_state_dict(state.best)
    net.eval()
    return state.history


def resident(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor: in the memory of a GPU where it takes a small part of that, else of the CPU."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda" and array.nbytes <= MOST_RESIDENT * torch.cuda.mem_get_info(device)[0]:
        return tensor.to(device)
    return tensor


def take(tensor: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Rows (int64 [n], anywhere) of a tensor (anywhere), on `device`."""
    return tensor[rows.to(tensor.device)].to(device)


def _train_epoch(
    state: "_State",
    images: Tensor,
    labels: Tensor,
    rows: np.ndarray,
    epoch: int,
    steps: int,
    loss: Loss,
    device: torch.device,
    progress: bool | None,
) -> dict[str, float]:
    schedule, draws = state.schedule, generator(state.schedule.seed, epoch)
    order = torch.from_numpy(rows)[torch.randperm(len(rows), generator=draws)].to(device)
    sums = torch.zeros(2, dtype=torch.float64, device=device)  # of the loss, of right answers
    bar = tqdm(
        range(steps),
        desc=f"epoch {epoch + 1}/{schedule.epochs}",
        unit="step",
        file=sys.stderr,
        disable=None if progress is None else not progress,
        leave=False,
    )
    for step in bar:
        chosen = order[step * schedule.batch : (step + 1) * schedule.batch]
        pixels, wanted = take(images, chosen, device), take(labels, chosen, device)
        pixels = augment(pixels, draws) if schedule.augment else pixels
        inputs = pixels.float().div_(255)
        if schedule.bf16:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        state.optimizer.param_groups[0]["lr"] = learning_rate_at(
            epoch * steps + step, schedule.epochs * steps, schedule
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=schedule.bf16):
            value, logits = loss(state.net, Batch(inputs, wanted, chosen, draws))
        state.optimizer.zero_grad()
        value.backward()
        state.optimizer.step()
        right = (logits.detach().argmax(1) == wanted).sum()
        sums += torch.stack([value.detach().double() * len(chosen), right.double()])
        if not bar.disable and (device.type == "cpu" or step % STEPS_BETWEEN_READINGS == 0):
            mean_loss, share = (sums / ((step + 1) * len(chosen))).tolist()
            bar.set_postfix(loss=f"{mean_loss:.3f}", accuracy=f"{100 * share:.1f}%")
    mean_loss, share = (sums / (steps * len(chosen))).tolist()
    return {"loss": mean_loss, "accuracy": share}


class _State:
    """Network, optimizer, history and best weights: what a checkpoint holds."""

    def __init__(self, net: nn.Module, schedule: Schedule) -> None:
        self.net, self.schedule = net, schedule
        self.parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.optimizer = _optimizer(self.parameters, schedule)
        self.history: History = []
        self.best: dict[str, Tensor] = {}

    def finish_epoch(self, measures: dict[str, float], keep_best: str | None) -> None:
        earlier = [epoch[keep_best] for epoch in self.history] if keep_best else []
        self.history.append(measures)
        if keep_best and all(measures[keep_best] > value for value in earlier):
            self.best = {name: tensor.detach().clone() for name, tensor in self.net.state_dict().items()}

    def save(self, path: Path) -> None:
        tensors = {f"net/{name}": tensor for name, tensor in self.net.state_dict().items()}
        tensors.update({f"best/{name}": tensor for name, tensor in self.best.items()})
        for number, parameter in enumerate(self.parameters):
            for name, tensor in self.optimizer.state.get(parameter, {}).items():
                if tensor is not None:
                    tensors[f"optimizer/{number}/{name}"] = tensor
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        save_tensors(path, arrays, {"kind": "checkpoint", "history": self.history})

    def load(self, path: Path) -> None:
        arrays, metadata = load_tensors(path)
        groups: dict[str, dict[str, Tensor]] = {"net": {}, "best": {}, "optimizer": {}}
        for name, array in arrays.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = torch.from_numpy(array)
        self.net.load_state_dict(groups["net"])
        self.best = groups["best"]
        self.history = list(metadata["history"])
        for name, tensor in groups["optimizer"].items():
            number, _, key = name.partition("/")
            parameter = self.parameters[int(number)]
            like = torch.empty_like(parameter) if key != "step" else torch.empty(())
            self.optimizer.state[parameter][key] = like.copy_(tensor.view(like.shape)).detach()


def _optimizer(parameters: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"lr": schedule.learning_rate, "weight_decay": schedule.weight_decay}
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, nesterov=True, **options)
    if schedule.optimizer == "adam":
        return torch.optim.Adam(parameters, **options)
    raise ValueError(f"optimizer: expected 'sgd' or 'adam', got {schedule.optimizer!r}")
