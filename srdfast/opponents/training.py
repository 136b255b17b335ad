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
from dataclasses import asdict
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
from ..files import load_tensors, save_tensors
from ..networks import ResNet, load_network, save_network
from ..purifier import Purifier
from ..rival_networks import PlainNet, denoiser_of_cost, load_opponent, purifier_multiply_adds, save_opponent
from ..stages.baseline import accuracy, inputs_of, stem_stride
from ..stages.learned import LearnedDictionaries, everywhere_of
from ..stages.pairs import PROTECTED, Pairs, attack_in_shares
from ..stages.task import Terms, task_loss
from ..training import History, Loss, Schedule, cross_entropy, fit, generator, split_rows
from .recipes import Recipe

IMAGES_TOGETHER = 500


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
        """The convolutional denoiser, trained on the pairs as the dictionaries are."""
        pairs, recipe = self.pairs, self.recipe

        def make() -> nn.Module:
            shape = self.train.images.shape[1:]
            torch.manual_seed(recipe.seed)
            return denoiser_of_cost(purifier_multiply_adds(self.purifier, shape), shape)

        schedule = self._on_pairs(recipe.denoiser_epochs, recipe.denoiser_rate)
        loss = task_loss([self.classifier.requires_grad_(False)], pairs, False, Terms())
        return self._trained("denoiser", make, self.train, pairs.rows, schedule, loss)

    @cached_property
    def one_dictionary(self) -> Purifier:
        """The purifier with one dictionary: its general one, or the mean, trained further on the pairs."""
        start, recipe = everywhere_of(self.purifier.bank), self.recipe
        schedule = self._on_pairs(recipe.dictionary_epochs, recipe.dictionary_rate)
        loss = task_loss([self.classifier.requires_grad_(False)], self.pairs, False, Terms())
        path, mark = self.folder / "one-dictionary.safetensors", self._mark("one_dictionary")
        if not path.is_file() or load_tensors(path)[1].get("mark") != mark:
            module = LearnedDictionaries(start)
            self._fit("one dictionary", module, self.train, self.pairs.rows, schedule, loss, mark)
            bank = module.cpu().trained()
            save_tensors(path, bank.tensors(), {"mark": mark, **bank.settings()})
            self._checkpoint(mark).unlink(missing_ok=True)
        tensors, about = load_tensors(path)
        bank = SRDBank.from_parts(path, tensors, about)
        made = Purifier(bank, self.purifier.encoder, image_size=self.purifier.image_size)
        return made.to(self.device).eval().requires_grad_(False)

    @cached_property
    def second(self) -> nn.Module:
        """A classifier of another architecture, trained on the clean images."""
        recipe = self.recipe

        def make() -> nn.Module:
            torch.manual_seed(recipe.seed)
            return PlainNet(stem=stem_stride(self.train), **inputs_of(self.train))

        passes = max(1, round(recipe.second_images / len(self.learned)))
        schedule = Schedule(passes, learning_rate=recipe.second_rate, seed=recipe.seed)
        return self._trained("second", make, self.train, self.learned, schedule, cross_entropy)

    @cached_property
    def behind(self) -> nn.Module:
        """The classifier, fine-tuned on what the purifier makes of clean and of attacked images."""
        return self._tuned("behind", purified=True)

    @cached_property
    def control(self) -> nn.Module:
        """The classifier, fine-tuned on the same images without the purifier."""
        return self._tuned("control", purified=False)

    @cached_property
    def pairs(self) -> Pairs:
        """Training images and their attacked versions; kept in a file."""
        tensors = self._kept("pairs", self._attack)
        nowhere = np.zeros(len(tensors["rows"]), np.int64)
        return Pairs(tensors["rows"], tensors["attacked"][None], nowhere, nowhere[None])

    def _attack(self) -> dict[str, np.ndarray]:
        order = torch.randperm(len(self.learned), generator=generator(self.recipe.seed, 1)).numpy()
        rows = np.sort(self.learned[order[: self.recipe.pairs]])
        images, labels = (torch.from_numpy(part[rows]) for part in (self.train.images, self.train.labels))
        self._log(f"opponents: attacking {len(rows)} training images")
        attacked = attack_in_shares(
            {PROTECTED: self.classifier},
            images,
            labels,
            self.recipe.epsilon,
            self.recipe.seed,
            self.device,
            progress=self.progress,
        )
        return {"rows": rows, "attacked": attacked.numpy()}

    def _tuned(self, name: str, purified: bool) -> nn.Module:
        if isinstance(self.classifier, Program):
            raise UserError(f"{name}: is fine-tuned, which an exported program does not bear")
        pairs, recipe = self.pairs, self.recipe
        both = np.concatenate([self.train.images[pairs.rows], pairs.attacked[0]])
        if purified:
            both = self._kept("purified", lambda: {"images": self._purify(both)})["images"]
        labels = np.tile(self.train.labels[pairs.rows], 2)
        dataset = Dataset(both, labels, self.train.classes, f"{self.train.name}, {name}")
        schedule = Schedule(recipe.tuning_epochs, learning_rate=recipe.tuning_rate, seed=recipe.seed)
        return self._trained(
            name,
            lambda: copy.deepcopy(self.classifier).requires_grad_(True),
            dataset,
            np.arange(len(dataset)),
            schedule,
            cross_entropy,
        )

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

    def _on_pairs(self, epochs: int, learning_rate: float) -> Schedule:
        """How a rival is trained on the pairs: as the dictionaries are."""
        return Schedule(
            epochs,
            batch=64,
            learning_rate=learning_rate,
            weight_decay=0.0,
            optimizer="adam",
            warmup=0.1,
            augment=False,
            seed=self.recipe.seed,
        )

    def _trained(
        self,
        name: str,
        make: Callable[[], nn.Module],
        dataset: Dataset,
        rows: np.ndarray,
        schedule: Schedule,
        loss: Loss,
    ) -> nn.Module:
        """The network `name`: from its file, or trained, going on from its checkpoint."""
        path, mark = self.folder / f"{name}.safetensors", self._mark(name)
        if path.is_file():
            network, about = _load(path)
            if about.get("mark") == mark:
                return network.to(self.device).eval()
        network = make()
        history = self._fit(name, network, dataset, rows, schedule, loss, mark)
        about = {"mark": mark, "recipe": asdict(self.recipe), "history": history}
        if name != "denoiser":
            about["validation"] = accuracy(network, self.train, self.validation, self.device)
        _save(path, network.cpu(), about)
        self._checkpoint(mark).unlink(missing_ok=True)
        return network.to(self.device).eval().requires_grad_(False)

    def _fit(
        self,
        name: str,
        module: nn.Module,
        dataset: Dataset,
        rows: np.ndarray,
        schedule: Schedule,
        loss: Loss,
        mark: str,
    ) -> History:
        """`training.fit` with a checkpoint that is this opponent's own."""
        self._log(f"opponents: training {name}")
        return fit(
            module,
            dataset,
            rows,
            schedule,
            loss=loss,
            checkpoint=self._checkpoint(mark),
            device=self.device,
            progress=self.progress,
            after_epoch=lambda epoch, measures: self._log(
                f"{name}: epoch {epoch + 1}/{schedule.epochs}  loss {measures['loss']:.4f}"
            ),
        )

    def _kept(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Arrays from their file, or made and written there."""
        path, mark = self.folder / f"{name}.safetensors", self._mark(name)
        if path.is_file():
            tensors, about = load_tensors(path)
            if about.get("mark") == mark:
                return tensors
        tensors = make()
        save_tensors(path, tensors, {"mark": mark})
        return tensors

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


def _load(path: Path) -> tuple[nn.Module, dict[str, object]]:
    about = load_tensors(path)[1]
    if about.get("kind") == "network":
        return load_network(path).requires_grad_(False), about
    network, about = load_opponent(path)
    return network.requires_grad_(False), about
