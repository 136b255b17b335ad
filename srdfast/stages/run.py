# SPDX-License-Identifier: Apache-2.0
"""The runner of the training stages.

A stage is a file of this folder that exports `STAGE`, a `Stage`. The runner calls `STAGE.run(context)` with a
`Context`, which offers all that a stage may use:

- `config` (a `Config`), `device`, `progress` (show bars?), `log(text)` (a line on stderr);
- `train` and `test`, the two `Dataset`s, read when first asked for; `split`, the rows of `train` to learn
  from and the validation rows for choices;
- `path(stage, file)`, where a stage's output lies; `checkpoint(stage)`, a file that vanishes at its end;
- `network(stage)`, `latents`, `clusters` and `gaussians`, the outputs of earlier stages.

Every stage leaves `done.json` with a fingerprint: SHA-256 of its own settings, the fingerprints of the stages
it needs and the identity of the data. A stage whose fingerprint is there is skipped; one whose fingerprint
differs is refused.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..clusters import Gaussians
from ..data import Dataset, load
from ..errors import UserError
from ..files import atomic_write, load_tensors
from ..networks import ResNet, load_network
from ..training import generator

ORDER = ("baseline", "latents", "clusters", "distributions", "dictionaries", "robust", "refine", "evaluate")

AfterEpoch = Callable[[str, int, Mapping[str, float]], None]


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Config:
    """Every setting of every stage; each field's metadata holds its help text."""

    seed: int = _option(0, "source of all randomness")
    images: int | None = _option(None, "use so many training images, the first of each class (default: all)")
    size: int | None = _option(None, "side in pixels that a folder of pictures is resized to (default: 224)")
    validation: float = _option(0.02, "share of the training images kept aside for choices")
    bf16: bool = _option(True, "train in bfloat16 where that is safe")
    depth: int = _option(18, "layers of both networks: 10 or 18")
    width: int = _option(16, "features of the networks' first stage; the latents have eight times as many")
    batch: int = _option(128, "images a training step")
    weight_decay: float = _option(5e-4, "weight decay of both networks")
    epochs: int = _option(20, "baseline: passes over the training images")
    learning_rate: float = _option(0.2, "baseline: peak learning rate")
    max_clusters: int = _option(6, "clusters: largest number a class may have")
    components: int = _option(4, "clusters: principal components of the latents that are grouped")
    min_size: int = _option(50, "clusters: smallest number of images a cluster may have")
    shrinkage: float = _option(0.1, "distributions: least weight of the pooled variance in each cluster's")
    atoms: int = _option(256, "dictionaries: atoms of each dictionary")
    patch: int = _option(8, "dictionaries: side of the patches in pixels")
    stride: int = _option(2, "dictionaries: distance between neighbouring patches in pixels")
    split_strength: float = _option(
        5.0, "dictionaries: strength of the low-pass filter that leaves the high band"
    )
    dictionary_penalty: float = _option(0.1, "dictionaries: lasso penalty of the learning")
    dictionary_epochs: int = _option(1, "dictionaries: passes over the patches")
    dictionary_patches: int = _option(
        20_000, "dictionaries: most patches that each cluster's dictionary learns from"
    )
    robust_epochs: int = _option(10, "robust: passes over the training images")
    robust_learning_rate: float = _option(0.1, "robust: peak learning rate")
    attack: str = _option("fgsm", "robust: attack in the training: fgsm (one step, cheap) or pgd")
    attack_steps: int = _option(7, "robust: steps of the pgd attack in the training")
    epsilon: float = _option(8 / 255, "robust, refine: radius of the attack's L-infinity ball, in [0, 1]")
    beta: float = _option(0.1, "robust: weight of the distance from the latent to its cluster's distribution")
    distance: str = _option("nll", "robust: nll (negative log-likelihood a latent feature) or moments")
    refine: bool = _option(True, "refine: train the dictionaries for the task")
    refine_steps: int = _option(3, "refine: shrinkage steps of the trained coder")
    refine_images: int = _option(10_000, "refine: most training images used")
    refine_epochs: int = _option(6, "refine: passes over those images")
    refine_batch: int = _option(64, "refine: images a training step")
    refine_lr: float = _option(1e-3, "refine: peak learning rate")
    evaluate_images: int = _option(500, "evaluate: test images of the report")
    adaptive_images: int = _option(100, "evaluate: of these, so many are attacked through the whole pipeline")


@dataclass(frozen=True)
class Stage:
    """One training stage.

    Attributes:
        name: as in `ORDER`.
        needs: names of the stages whose output it reads.
        settings: the part of a `Config` that its output depends on, JSON-able.
        run: does the work and writes the output.
        splits: the parts of the data that it reads.
    """

    name: str
    needs: tuple[str, ...]
    settings: Callable[[Config], dict[str, Any]]
    run: Callable[["Context"], None]
    splits: tuple[str, ...] = ("train",)


@dataclass(frozen=True)
class Context:
    """What a stage may use: settings, data, device, and where the outputs of the stages are."""

    data: Path
    out: Path
    config: Config
    device: torch.device
    progress: bool | None = None
    after_epoch: AfterEpoch | None = None

    @cached_property
    def train(self) -> Dataset:
        """The training images."""
        return load(self.data, "train", self.config.images, self.config.size)

    @cached_property
    def test(self) -> Dataset:
        """The test images."""
        return load(self.data, "test", None, self.config.size)

    @cached_property
    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of `train` to learn from, and validation rows for choices; int64, ascending."""
        count = len(self.train)
        aside = max(1, round(count * self.config.validation)) if self.config.validation > 0 else 0
        order = torch.randperm(count, generator=generator(self.config.seed)).numpy()
        return np.sort(order[aside:]), np.sort(order[:aside])

    def path(self, stage: str, file: str = "") -> Path:
        """Where `stage` keeps `file`, or its folder."""
        return self.out / f"{ORDER.index(stage) + 1}_{stage}" / file

    def checkpoint(self, stage: str) -> Path:
        """The file from which an interrupted `stage` goes on; removed when the stage is done."""
        return self.path(stage, "checkpoint.safetensors")

    def log(self, text: str) -> None:
        """One line of progress on stderr."""
        print(text, file=sys.stderr, flush=True)

    def report_epoch(self, stage: str, epochs: int) -> Callable[[int, Mapping[str, float]], None]:
        """A callback for `training.fit` that logs each epoch's measures."""

        def report(epoch: int, measures: Mapping[str, float]) -> None:
            numbers = "  ".join(f"{name} {value:.4f}" for name, value in measures.items())
            self.log(f"{stage}: epoch {epoch + 1}/{epochs}  {numbers}")
            if self.after_epoch is not None:
                self.after_epoch(stage, epoch, measures)

        return report

    @cached_property
    def latents(self) -> tuple[np.ndarray, np.ndarray]:
        """The baseline's latents of the training images, float32 [n, latent], and their labels, int64 [n]."""
        tensors, _ = load_tensors(self.path("latents", "latents.safetensors"))
        return tensors["latents"], tensors["labels"]

    @cached_property
    def clusters(self) -> tuple[np.ndarray, np.ndarray]:
        """The cluster of each training image, int64 [n], and the class of each cluster, int64 [clusters]."""
        tensors, _ = load_tensors(self.path("clusters", "clusters.safetensors"))
        return tensors["assignment"], tensors["labels"]

    @cached_property
    def gaussians(self) -> Gaussians:
        """The distribution of each cluster."""
        return Gaussians(**load_tensors(self.path("distributions", "gaussians.safetensors"))[0])

    def network(self, stage: str) -> ResNet:
        """The network that `stage` ("baseline" or "robust") trained, in eval mode on the device."""
        return load_network(self.path(stage, "model.safetensors")).to(self.device).eval()


def get_stage(name: str) -> Stage:
    """The stage of that name; its module is imported now."""
    if name not in ORDER:
        raise UserError(f"stages: expected names out of {', '.join(ORDER)}, got {name!r}")
    stage: Stage = import_module(f"{__package__}.{name}").STAGE
    return stage


def fingerprint(stage: Stage, context: Context) -> str:
    """SHA-256 of the stage's settings, the fingerprints of what it needs and the identity of its data."""
    content = {
        "stage": stage.name,
        "settings": stage.settings(context.config),
        "needs": {name: fingerprint(get_stage(name), context) for name in stage.needs},
        "data": {split: getattr(context, split).identity for split in stage.splits},
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _selected(stages: str | Iterable[str]) -> list[str]:
    if isinstance(stages, str):
        stages = ORDER if stages == "all" else [name.strip() for name in stages.split(",")]
    chosen = {get_stage(name).name for name in stages}
    return [name for name in ORDER if name in chosen]


def _recorded(path: Path) -> str | None:
    """The fingerprint in a record file, or None where there is none."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["fingerprint"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return "damaged"


def _record(path: Path, stage: Stage, mark: str, config: Config) -> None:
    with atomic_write(path) as temporary:
        record = {"stage": stage.name, "fingerprint": mark, "settings": stage.settings(config)}
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def run_stage(stage: Stage, context: Context, redo: bool = False) -> bool:
    """Run one stage unless its output is there; returns whether it ran.

    Raises:
        UserError: a needed stage is not done, or the folder holds the output of other settings or data.
    """
    mark = fingerprint(stage, context)
    for name in stage.needs:
        if _recorded(context.path(name, "done.json")) != fingerprint(get_stage(name), context):
            raise UserError(f"stage {stage.name}: needs stage {name} of the same settings; run that first")
    done, started = context.path(stage.name, "done.json"), context.path(stage.name, "started.json")
    if _recorded(done) == mark:
        context.log(f"{stage.name}: done")
        return False
    if _recorded(started) not in (None, mark):
        if not redo:
            raise UserError(
                f"{context.path(stage.name)}: made with other settings or data; "
                "give another --out, or --redo to replace it"
            )
        shutil.rmtree(context.path(stage.name))
    _record(started, stage, mark, context.config)
    context.log(f"{stage.name}: running")
    stage.run(context)
    _record(done, stage, mark, context.config)
    context.checkpoint(stage.name).unlink(missing_ok=True)
    return True


def train(
    data: Path | str,
    out: Path | str,
    config: Config,
    stages: str | Iterable[str] = "all",
    device: torch.device | str = "cpu",
    *,
    redo: bool = False,
    progress: bool | None = None,
    after_epoch: AfterEpoch | None = None,
) -> Context:
    """Run stages in order, skipping those that are done, and going on with one that was interrupted.

    Args:
        data: a dataset that `srdfast.data.load` reads.
        out: folder of the run; made if absent.
        config: the settings.
        stages: "all", or names (an iterable, or one text with commas).
        device: where to compute.
        redo: replace outputs that were made with other settings or data, instead of refusing.
        progress: show bars; None shows them where stderr is a terminal.
        after_epoch: called with (stage, epoch, measures) once an epoch's checkpoint is on disk; an exception
            from it stops the run, which another call resumes.

    Returns:
        The context, whose `path` says where the outputs are.
    """
    context = Context(Path(data), Path(out), config, torch.device(device), progress, after_epoch)
    for name in _selected(stages):
        run_stage(get_stage(name), context, redo)
    return context
