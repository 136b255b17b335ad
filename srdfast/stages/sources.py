# SPDX-License-Identifier: Apache-2.0
"""Further classifiers, of other architectures than the protected one, for the refinement alone.

Attacks made on several classifiers, and the logits of several, teach the dictionaries what perturbations have
in common; trained against one network they learn that network (Tramèr et al. 2018, arXiv 1705.07204,
section 3.3, for training classifiers). None of them ships: they are trained, used and thrown away.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ..data import Dataset
from ..files import load_tensors, save_tensors
from ..networks import ResNet
from ..straight import StraightNet
from ..training import Schedule, fit
from .baseline import inputs_of, stem_for, stem_stride
from .run import Context

RATE = 0.2  # peak learning rate
SEED = 11  # of the first, beyond the run's


def shallow(dataset: Dataset, width: int) -> nn.Module:
    """A residual network of ten layers."""
    return ResNet(10, width, stem=stem_for(dataset), **inputs_of(dataset))


def straight(dataset: Dataset, width: int) -> nn.Module:
    """A network without shortcuts."""
    return StraightNet(width, stem=stem_stride(dataset), **inputs_of(dataset))


def separable(dataset: Dataset, width: int) -> nn.Module:
    """A network without shortcuts whose filters of 5 x 5 pixels see one channel each."""
    stem = stem_stride(dataset)
    return StraightNet(2 * width, kernel=5, separable=True, stem=stem, **inputs_of(dataset))


ARCHITECTURES: tuple[Callable[[Dataset, int], nn.Module], ...] = (shallow, straight, separable)
"""Of the first source, the second and so on, and again from the start."""


def trained_sources(context: Context) -> list[nn.Module]:
    """`refine_sources` classifiers, in eval mode on the device; trained where needed."""
    return [_trained(context, number) for number in range(context.config.refine_sources)]


def _trained(context: Context, number: int) -> nn.Module:
    """Classifier `number`: from its file, or trained on the clean training images."""
    path = _file(context, "source", number)
    if not path.is_file():
        network = _new(context, number)
        _train(context, number, network)
        weights = {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
        save_tensors(path, weights, {"kind": "source"})
    # Read even where it was just trained: the weights lie otherwise then, and give other last bits.
    network = _new(context, number)
    network.load_state_dict({name: torch.from_numpy(part) for name, part in load_tensors(path)[0].items()})
    return network.to(context.device).eval().requires_grad_(False)


def _new(context: Context, number: int) -> nn.Module:
    """Classifier `number` before its training."""
    torch.manual_seed(context.config.seed + 1 + number)
    return ARCHITECTURES[number % len(ARCHITECTURES)](context.train, context.config.width)


def _train(context: Context, number: int, network: nn.Module) -> None:
    config, (rows, _) = context.config, context.split
    schedule = Schedule(
        epochs=config.refine_source_epochs,
        batch=min(config.batch, len(rows)),
        learning_rate=RATE,
        bf16=config.bf16,
        seed=config.seed + SEED + number,
    )
    fit(
        network,
        context.train,
        rows,
        schedule,
        checkpoint=_file(context, "source-checkpoint", number),
        device=context.device,
        progress=context.progress,
        after_epoch=context.report_epoch(f"refine source {number + 1}", config.refine_source_epochs),
    )


def _file(context: Context, name: str, number: int) -> Path:
    return context.scratch("refine", f"{name}-{number + 1}.safetensors")
