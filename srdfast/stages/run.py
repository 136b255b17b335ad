# SPDX-License-Identifier: Apache-2.0
"""The runner of the training stages.

A stage is a file of this folder that exports `STAGE`, a `Stage`. The runner calls `STAGE.run(context)` with a
`Context`, which offers all that a stage may use:

- `config` (a `Config`), `device`, `progress` (show bars?), `log(text)` (a line on stderr);
- `train` and `test`, the two `Dataset`s, read when first asked for; `split`, the rows of `train` to learn
  from and the validation rows for choices; `crops`, of pictures without labels, where there are any, and
  `material`, the training images with these;
- `path(stage, file)`, where a stage's output lies; `scratch(stage, file)`, where it keeps what an
  interrupted run goes on from, which vanishes at its end, and `checkpoint(stage)`, such a file;
- `network(stage)`, `latents`, `clusters`, `gaussians` and `encoder`, the outputs of earlier stages, or
  `start`, the purifier that is gone on from in their place.

What cannot work is told by `STAGE.check` before the first stage runs. Every stage leaves `done.json` with a
fingerprint: SHA-256 of its own settings, the fingerprints of the stages it needs and the identity of the
data. A stage whose fingerprint is there is skipped; one whose fingerprint differs is refused.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
from ..purifier import Purifier
from ..scenes import draw_crops
from ..training import predictions, split_rows
from .config import Config

ORDER = ("baseline", "latents", "clusters", "distributions", "dictionaries", "robust", "refine", "evaluate")

AfterEpoch = Callable[[str, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Stage:
    """One training stage.

    Attributes:
        name: as in `ORDER`.
        needs: names of the stages whose output it reads.
        settings: the part of a `Config` that its output depends on, JSON-able.
        run: does the work and writes the output.
        splits: the parts of the data that it reads, attributes of the `Context`.
        starts: whether these settings give it another start, and it needs no stage.
        check: raises where settings, data and named files do not go together.
    """

    name: str
    needs: tuple[str, ...]
    settings: Callable[[Config], dict[str, Any]]
    run: Callable[["Context"], None]
    splits: tuple[str, ...] = ("train",)
    starts: Callable[[Config], bool] = lambda config: False
    check: Callable[["Context"], None] = lambda context: None

    def needed(self, config: Config) -> tuple[str, ...]:
        """The stages that it needs with these settings."""
        return () if self.starts(config) else self.needs


@dataclass(frozen=True)
class Context:
    """What a stage may use: settings, data, device, and where the outputs of the stages are."""

    data: Path
    out: Path
    config: Config
    device: torch.device
    progress: bool | None = None
    after_epoch: AfterEpoch | None = None
    pictures: tuple[Path, ...] = ()

    @cached_property
    def train(self) -> Dataset:
        """The training images."""
        return load(self.data, "train", self.config.images, self.config.size)

    @cached_property
    def test(self) -> Dataset:
        """The test images."""
        return load(self.data, "test", None, self.config.size)

    @cached_property
    def crops(self) -> Dataset | None:
        """Crops of `pictures`, of the size of the training images; their labels, all 0, say nothing."""
        if not self.pictures:
            return None
        channels, size = self.train.images.shape[1:3]
        if channels != 3:
            raise UserError(f"pictures: are RGB, but the training images have {channels} channel(s)")
        images = draw_crops(self.pictures, self.config.crops, size, self.config.seed)
        return Dataset(images, np.zeros(len(images), np.int64), self.train.classes, "crops of pictures")

    @cached_property
    def material(self) -> Dataset:
        """The training images, and after them the crops with the class that a network sees in each."""
        train, crops = self.train, self.crops
        if crops is None:
            return train
        network = self.start.encoder if self.start else self.network("baseline")
        seen = predictions(network, crops.images, self.device)
        return Dataset(
            np.concatenate([train.images, crops.images]),
            np.concatenate([train.labels, seen]),
            train.classes,
            f"{train.name}, {crops.name}",
        )

    @cached_property
    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of `train` to learn from, and validation rows for choices; int64, ascending."""
        return split_rows(len(self.train), self.config.validation, self.config.seed)

    def path(self, stage: str, file: str = "") -> Path:
        """Where `stage` keeps `file`, or its folder."""
        return self.out / f"{ORDER.index(stage) + 1}_{stage}" / file

    def scratch(self, stage: str, file: str = "") -> Path:
        """Where `stage` keeps what it goes on from after an interruption; removed when the stage is done."""
        return self.path(stage, "scratch") / file

    def checkpoint(self, stage: str) -> Path:
        """The file from which an interrupted training of `stage` goes on."""
        return self.scratch(stage, "checkpoint.safetensors")

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
    def start(self) -> Purifier | None:
        """The purifier `refine_start`, whose encoder, clusters and dictionaries are trained on."""
        file = self.config.refine_start
        return Purifier.from_pretrained(file).to(self.device) if file else None

    @property
    def encoder(self) -> ResNet:
        """The network that chooses clusters, in eval mode on the device."""
        return self.start.encoder if self.start else self.network("robust")

    @cached_property
    def gaussians(self) -> Gaussians:
        """The distribution of each cluster."""
        if self.start:
            return self.start.bank.gaussians
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
        "needs": {name: fingerprint(get_stage(name), context) for name in stage.needed(context.config)},
        "data": {
            name: data.identity for name in stage.splits if (data := getattr(context, name)) is not None
        },
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _selected(stages: str | Iterable[str], config: Config) -> list[Stage]:
    """The stages of these names in their order, from the last one on that has another start."""
    if isinstance(stages, str):
        stages = ORDER if stages == "all" else [name.strip() for name in stages.split(",")]
    chosen = {get_stage(name).name for name in stages}
    selected = [get_stage(name) for name in ORDER if name in chosen]
    first = max((place for place, stage in enumerate(selected) if stage.starts(config)), default=0)
    return selected[first:]


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


def _discard(folder: Path) -> None:
    """Removes a stage's folder, in one step as far as any later run can see."""
    trash = folder.with_name(f"{folder.name}.discarded")
    shutil.rmtree(trash, ignore_errors=True)
    folder.rename(trash)
    shutil.rmtree(trash)


def run_stage(stage: Stage, context: Context, redo: bool = False) -> bool:
    """Run one stage unless its output is there; returns whether it ran.

    Raises:
        UserError: a needed stage is not done, or the folder holds the output of other settings or data.
    """
    mark = fingerprint(stage, context)
    for name in stage.needed(context.config):
        if _recorded(context.path(name, "done.json")) != fingerprint(get_stage(name), context):
            raise UserError(f"stage {stage.name}: needs stage {name} of the same settings; run that first")
    done, started = context.path(stage.name, "done.json"), context.path(stage.name, "started.json")
    if _recorded(done) == mark:
        shutil.rmtree(context.scratch(stage.name), ignore_errors=True)
        context.log(f"{stage.name}: done")
        return False
    if {_recorded(started), _recorded(done)} - {None, mark}:
        if not redo:
            raise UserError(
                f"{context.path(stage.name)}: made with other settings or data; "
                "give another --out, or --redo to replace it"
            )
        _discard(context.path(stage.name))
    _record(started, stage, mark, context.config)
    context.log(f"{stage.name}: running")
    stage.run(context)
    _record(done, stage, mark, context.config)
    shutil.rmtree(context.scratch(stage.name), ignore_errors=True)
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
    pictures: Iterable[Path | str] = (),
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
        pictures: photographs, videos, and folders of them, without labels: the dictionaries learn from crops
            of them too.

    Returns:
        The context, whose `path` says where the outputs are.
    """
    extra = tuple(Path(picture) for picture in pictures)
    context = Context(Path(data), Path(out), config, torch.device(device), progress, after_epoch, extra)
    selected = _selected(stages, config)
    for stage in selected:
        stage.check(context)  # what cannot work is told before anything is trained
        fingerprint(stage, context)
    for stage in selected:
        run_stage(stage, context, redo)
    return context
