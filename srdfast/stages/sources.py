# SPDX-License-Identifier: Apache-2.0
"""Further classifiers, of another depth than the protected one, for the refinement alone.

Attacks made on several classifiers, and the logits of several, teach the dictionaries what perturbations have
in common; trained against one network they learn that network (Tramèr et al. 2018, arXiv 1705.07204,
section 3.3, for training classifiers). None of them ships: they are trained, used and thrown away.
"""

from pathlib import Path

from ..networks import ResNet, load_network, save_network
from ..training import Schedule, fit
from .baseline import new_network
from .run import Context

DEPTH = 10  # layers
RATE = 0.2  # peak learning rate
SEED = 11  # of the first, beyond the run's


def trained_sources(context: Context) -> list[ResNet]:
    """`refine_sources` classifiers, in eval mode on the device; trained where needed."""
    return [_trained(context, number) for number in range(context.config.refine_sources)]


def forget_sources(context: Context) -> None:
    """Removes their files."""
    for number in range(context.config.refine_sources):
        for name in ("source", "source-checkpoint"):
            _file(context, name, number).unlink(missing_ok=True)


def _trained(context: Context, number: int) -> ResNet:
    """Classifier `number`: from its file, or trained on the clean training images."""
    config, path = context.config, _file(context, "source", number)
    if not path.is_file():
        rows, _ = context.split
        network = new_network(context, DEPTH, config.seed + 1 + number)
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
        save_network(path, network.cpu())
    # Read even where it was just trained: the weights lie otherwise then, and give other last bits.
    return load_network(path).to(context.device).eval().requires_grad_(False)


def _file(context: Context, name: str, number: int) -> Path:
    return context.path("refine", f"{name}-{number + 1}.safetensors")
