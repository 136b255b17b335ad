# SPDX-License-Identifier: Apache-2.0
"""Training of the opponents: from srdfast's data, attacks and loss, resumable, each in a file of its own.

The training images are attacked on the protected classifier as for the refinement of the dictionaries, and
then

- `one_dictionary`: the mean of the purifier's dictionaries learns on, with the same loss;
- `denoiser`: a convolutional denoiser of srdfast's cost learns with the refinement's loss;
- `second`: a classifier of another architecture, which nothing else is trained on, learns the clean images;
- `behind`: the protected classifier is fine-tuned on purified images, half of them attacked;
- `control`: the same on the same images without the purifier.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..bank import SRDBank
from ..classifiers import Program
from ..data import Dataset
from ..defences import fingerprint, identity_of
from ..errors import UserError
from ..evaluation.outcomes import key_of
from ..files import load_metadata, load_tensors, save_tensors
from ..networks import ResNet, load_network, save_network
from ..purifier import Purifier
from ..rival_networks import PlainNet, denoiser_of_cost, load_opponent, purifier_multiply_adds, save_opponent
from ..stages.baseline import accuracy, inputs_of, stem_stride
from ..stages.learned import LearnedDictionaries, everywhere_of
from ..stages.pairs import PROTECTED, Attacked, attack_in_shares
from ..stages.task import Terms, task_loss, task_schedule
from ..training import History, Loss, Schedule, cross_entropy, fit, generator, split_rows
from .recipes import Recipe

IMAGES_TOGETHER = 500


@dataclass(frozen=True)
class Lesson:
    """What an opponent learns from, and how."""

    dataset: Dataset
    rows: np.ndarray
    schedule: Schedule
    loss: Loss


class Opponents:
    """The opponents of one purifier and classifier, trained when first asked for.

    Args:
        folder: where they are kept; what is there already is not trained again.
        train: the training images.
        purifier: the purifier they are compared with.
        classifier: the protected network.
        recipe: how much to train.
        device: where to train.
        progress: bars on stderr; by default only on a terminal.
    """

    def __init__(
        self,
        folder: Path,
        train: Dataset,
        purifier: Purifier,
        classifier: nn.Module,
        recipe: Recipe,
        device: torch.device | str = "cpu",
        progress: bool | None = None,
    ) -> None:
        self.folder, self.train, self.purifier = folder, train, purifier
        self.classifier, self.recipe = classifier.to(device).eval(), recipe
        self.device, self.progress = torch.device(device), progress
        self.learned, self.validation = split_rows(len(train), recipe.validation, recipe.seed)

    @cached_property
    def denoiser(self) -> nn.Module:
        """The convolutional denoiser, trained on attacked images as the dictionaries are."""
        recipe = self.recipe

        def make() -> nn.Module:
            shape = self.train.images.shape[1:]
            torch.manual_seed(recipe.seed)
            return denoiser_of_cost(purifier_multiply_adds(self.purifier, shape), shape)

        return self._trained(
            "denoiser", make, lambda: self._task(recipe.denoiser_epochs, recipe.denoiser_rate)
        )

    @cached_property
    def one_dictionary(self) -> Purifier:
        """The purifier with one dictionary: its general one, or the mean, trained further."""
        recipe = self.recipe

        def write(path: Path, mark: str) -> None:
            module = LearnedDictionaries(everywhere_of(self.purifier.bank))
            lesson = self._task(recipe.dictionary_epochs, recipe.dictionary_rate)
            self._fit("one_dictionary", module, lesson, mark)
            bank = module.cpu().trained()
            save_tensors(path, bank.tensors(), {"mark": mark, **bank.settings()})

        path = self._file("one_dictionary", write)
        bank = SRDBank.from_parts(path, *load_tensors(path))
        made = Purifier(bank, self.purifier.encoder, image_size=self.purifier.image_size)
        return made.to(self.device).eval().requires_grad_(False)

    @cached_property
    def second(self) -> nn.Module:
        """A classifier of another architecture, trained on the clean images."""
        recipe = self.recipe

        def make() -> nn.Module:
            torch.manual_seed(recipe.seed)
            return PlainNet(stem=stem_stride(self.train), **inputs_of(self.train))

        def lesson() -> Lesson:
            passes = max(1, round(recipe.second_images / len(self.learned)))
            schedule = Schedule(passes, learning_rate=recipe.second_rate, seed=recipe.seed)
            return Lesson(self.train, self.learned, schedule, cross_entropy)

        return self._trained("second", make, lesson)

    @cached_property
    def behind(self) -> nn.Module:
        """The classifier, fine-tuned on what the purifier makes of clean and of attacked images."""
        return self._tuned("behind", purified=True)

    @cached_property
    def control(self) -> nn.Module:
        """The classifier, fine-tuned on the same images without the purifier."""
        return self._tuned("control", purified=False)

    @cached_property
    def attacked(self) -> Attacked:
        """Attacked versions of training images; kept in a file."""
        tensors = self._kept("attacked", self._attack)
        return Attacked(tensors["rows"], tensors["attacked"][None])

    def _attack(self) -> dict[str, np.ndarray]:
        recipe = self.recipe
        order = torch.randperm(len(self.learned), generator=generator(recipe.seed, 1)).numpy()
        rows = np.sort(self.learned[order[: recipe.pairs]])
        images, labels = (torch.from_numpy(part[rows]) for part in (self.train.images, self.train.labels))
        self._log(f"opponents: attacking {len(rows)} training images")
        attacked = attack_in_shares(
            {PROTECTED: self.classifier},
            images,
            labels,
            epsilon=recipe.epsilon,
            seed=recipe.seed,
            device=self.device,
            progress=self.progress,
        )
        return {"rows": rows, "attacked": attacked.numpy()}

    def _tuned(self, name: str, purified: bool) -> nn.Module:
        if isinstance(self.classifier, Program):
            raise UserError(f"{name}: is fine-tuned, which an exported program does not bear")
        recipe = self.recipe

        def lesson() -> Lesson:
            rows = self.attacked.rows
            both = np.concatenate([self.train.images[rows], self.attacked.versions[0]])
            if purified:
                both = self._kept("purified", lambda: {"images": self._purify(both)})["images"]
            labels = np.tile(self.train.labels[rows], 2)
            dataset = Dataset(both, labels, self.train.classes, f"{self.train.name}, {name}")
            schedule = Schedule(recipe.tuning_epochs, learning_rate=recipe.tuning_rate, seed=recipe.seed)
            return Lesson(dataset, np.arange(len(dataset)), schedule, cross_entropy)

        return self._trained(name, lambda: copy.deepcopy(self.classifier).requires_grad_(True), lesson)

    def _task(self, epochs: int, rate: float) -> Lesson:
        """What the dictionaries learned: that the classifier sees in attacked images what clean ones show."""
        loss = task_loss([self.classifier.requires_grad_(False)], self.attacked, None, Terms())
        return Lesson(self.train, self.attacked.rows, task_schedule(epochs, rate, self.recipe.seed), loss)

    @torch.no_grad()
    def _purify(self, images: np.ndarray) -> np.ndarray:
        """Purified images, rounded to uint8 [n, channels, height, width]."""
        self._log(f"opponents: purifying {len(images)} images")
        purified = np.empty_like(images)
        for start in range(0, len(images), IMAGES_TOGETHER):
            part = torch.from_numpy(images[start : start + IMAGES_TOGETHER]).to(self.device).float() / 255
            pixels = (self.purifier(part) * 255).round().to(torch.uint8)
            purified[start : start + IMAGES_TOGETHER] = pixels.cpu().numpy()
        return purified

    def _trained(self, name: str, make: Callable[[], nn.Module], lesson: Callable[[], Lesson]) -> nn.Module:
        """The network `name`: from its file, or trained, going on from its checkpoint."""

        def write(path: Path, mark: str) -> None:
            network = make()
            history = self._fit(name, network, lesson(), mark)
            about: dict[str, object] = {"mark": mark, "recipe": asdict(self.recipe), "history": history}
            if name != "denoiser":
                about["validation"] = accuracy(network, self.train, self.validation, self.device)
            _save(path, network.cpu(), about)

        return _load(self._file(name, write)).to(self.device).eval().requires_grad_(False)

    def _fit(self, name: str, module: nn.Module, lesson: Lesson, mark: str) -> History:
        """`training.fit` with a checkpoint that is this opponent's own."""
        title = name.replace("_", " ")
        self._log(f"opponents: training {title}")
        return fit(
            module,
            lesson.dataset,
            lesson.rows,
            lesson.schedule,
            loss=lesson.loss,
            checkpoint=self._checkpoint(mark),
            device=self.device,
            progress=self.progress,
            after_epoch=lambda epoch, measures: self._log(
                f"{title}: epoch {epoch + 1}/{lesson.schedule.epochs}  loss {measures['loss']:.4f}"
            ),
        )

    def _kept(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Arrays from their file, or made and written there."""

        def write(path: Path, mark: str) -> None:
            save_tensors(path, make(), {"mark": mark})

        return load_tensors(self._file(name, write))[0]

    def _file(self, name: str, write: Callable[[Path, str], None]) -> Path:
        """The file of `name`; unless it is there and depends on the same, `write(file, mark)` makes it."""
        path, mark = self.folder / f"{name.replace('_', '-')}.safetensors", self._mark(name)
        if load_metadata(path).get("mark") != mark:
            write(path, mark)
            self._checkpoint(mark).unlink(missing_ok=True)
        return path

    def _checkpoint(self, mark: str) -> Path:
        """The file that an interrupted training goes on from; it vanishes when the opponent is there."""
        return self.folder / f"checkpoint-{mark[:12]}.safetensors"

    def _mark(self, name: str) -> str:
        """SHA-256 of all that the opponent `name` depends on."""
        of_purifier = name in ("behind", "purified", "denoiser", "one_dictionary")
        return key_of(
            {
                "name": name,
                "recipe": self.recipe.of(name),
                "data": self.train.identity,
                "classifier": None if name == "second" else fingerprint(self.classifier),
                "purifier": identity_of(self.purifier) if of_purifier else None,
            }
        )

    def _log(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _save(path: Path, network: nn.Module, about: dict[str, object]) -> None:
    if isinstance(network, ResNet):
        save_network(path, network, about)
    else:
        save_opponent(path, network, about)


def _load(path: Path) -> nn.Module:
    if load_metadata(path).get("kind") == "network":
        return load_network(path)
    return load_opponent(path)[0]
