# SPDX-License-Identifier: Apache-2.0
"""Stage 7: dictionaries trained for the task, in LISTA form.

Training images are attacked (`pairs.py`), on the protected classifier and on others (`sources.py`). Purified,
they shall give each of these classifiers, and the robust network, the logits of the clean ones. First one SRD
is trained for all images; every cluster's SRD starts from it and is then trained on the images that the
encoder (`encoder.py`) puts in that cluster, attacked or not: the choice that inference will make.
Crops of pictures without labels, where there are any, belong to the class that the baseline sees in them.

With `refine_start` all goes on from an earlier purifier: for a classifier of one's own, or for longer.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn

from ..attacks import Model
from ..bank import SRDBank
from ..classifiers import Program, load_classifier, require_fits, save_classifier
from ..errors import UserError
from ..folded import FoldedNetwork
from ..networks import ResNet
from ..pretrained import file_of
from ..purifier import Purifier
from ..rival_networks import denoiser_of_cost, purifier_multiply_adds, save_opponent
from ..training import Schedule, fit
from .calibrate import attacked_views, calibrate
from .encoder import CLEAN_SHARE, tuned_encoder, tuned_gaussians
from .learned import LearnedDictionaries, carried_on, copies, everywhere_of, lista_start
from .pairs import (
    IMAGES_TOGETHER,
    PROTECTED,
    ROBUST,
    SINGLE,
    TOGETHER,
    Pairs,
    attacked_images,
    forget_attacked,
    mean_logits,
    several,
    with_clusters,
)
from .run import Config, Context, Stage
from .sources import forget_sources, trained_sources
from .task import Terms, task_loss


def settings(config: Config) -> dict[str, Any]:
    """What the refined dictionaries depend on."""
    protected: dict[str, Any] = {}
    if config.classifier:
        load_classifier(file_of(config.classifier))  # what cannot be read is told before anything is trained
        protected["classifier"] = _content(config.classifier)
    if config.temperature:
        protected["temperature"] = config.temperature
    if config.mirror:
        protected["mirror"] = True
    if not config.refine:
        if config.temperature:
            raise UserError("temperature: needs the refinement, which learns the dictionary of all images")
        return {**protected, "refine": False}
    if config.refine_encoder_own_share > 1 - CLEAN_SHARE:
        got = config.refine_encoder_own_share
        raise UserError(f"refine_encoder_own_share: expected 0 to {1 - CLEAN_SHARE:g}, got {got:g}")
    if config.refine_calibrate and config.validation == 0:
        raise UserError("refine_calibrate: needs validation images, got a validation share of 0")
    chosen = {
        "pixel_weight": config.refine_pixel_weight,
        "label_weight": config.refine_label_weight,
        "clean_share": config.refine_clean_share,
        "protected_share": config.refine_protected_share,
        "sources": config.refine_sources,
        "versions": config.refine_versions,
        "encoder_epochs": config.refine_encoder_epochs,
        "encoder_own_share": config.refine_encoder_own_share,
        "denoiser": config.refine_denoiser,
        "calibrate": config.refine_calibrate,
        "clusters_lr": config.refine_clusters_lr,
    }
    unusual = {name: value for name, value in chosen.items() if value != getattr(Config, f"refine_{name}")}
    return {
        **unusual,
        **({"source_epochs": config.refine_source_epochs} if config.refine_sources else {}),
        **_start_settings(config),
        **protected,
        "seed": config.seed,
        "steps": config.refine_steps,
        "images": config.refine_images,
        "epochs": config.refine_epochs,
        "batch": config.refine_batch,
        "learning_rate": config.refine_lr,
        "epsilon": config.epsilon,
        "bf16": config.bf16,
    }


def _start_settings(config: Config) -> dict[str, Any]:
    if not config.refine_start:
        return {}
    Purifier.from_pretrained(config.refine_start)  # as above
    if not config.classifier:
        raise UserError("refine_start: needs --classifier FILE, the network to protect")
    if config.refine_encoder_epochs:
        raise UserError("refine_encoder_epochs: expected 0 with refine_start, whose encoder stays as it is")
    return {"start": _content(config.refine_start), "split_strength": config.split_strength}


def _content(name_or_path: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return sha256(file_of(name_or_path).read_bytes()).hexdigest()


def run(context: Context) -> None:
    """Write `purifier.safetensors`, the same with one SRD for all images, and the protected classifier.

    The latter two are `global.safetensors` and `classifier.safetensors`; `denoiser.safetensors` is the rival
    of the same cost, where `refine_denoiser` asks for one.
    """
    config, encoder, protected = context.config, context.encoder, _protected(context)
    everywhere, bank = _starts(context)
    if config.refine:
        own = config.classifier and not context.start
        others = [context.network("baseline")] if own else []
        trained = [protected, *others, *trained_sources(context)]
        classifiers: list[Model] = [
            FoldedNetwork.of(network) if isinstance(network, ResNet) else network for network in trained
        ]
        robust = FoldedNetwork.of(encoder)
        attacked = _attacked(context, classifiers, robust)
        encoder = tuned_encoder(context, attacked)
        gaussians = tuned_gaussians(context, attacked, encoder)
        bank = replace(bank, gaussians=gaussians)
        pairs = with_clusters(context, attacked, encoder, gaussians)
        if len(classifiers) > 1:
            classifiers.append(robust)  # its features are those of the image, of no classifier's mistakes
        everywhere, bank = _trained(context, everywhere, bank, classifiers, pairs)
        bank = bank.with_general(everywhere)  # the one dictionary is for images in doubt
    size = context.train.images.shape[-1]
    purifier = Purifier(bank, encoder, image_size=size, temperature=config.temperature, mirror=config.mirror)
    single = Purifier(everywhere, encoder, image_size=size)
    if config.refine and config.refine_calibrate:
        purifier, single = _calibrated(context, classifiers[0], (purifier, single))
    purifier.save(context.path("refine", "purifier.safetensors"))
    single.save(context.path("refine", "global.safetensors"))
    save_classifier(context.path("refine", "classifier"), protected)
    if config.refine and config.refine_denoiser:
        _train_denoiser(context, purifier, classifiers, pairs)
    forget_sources(context)
    forget_attacked(context)
    for file in (
        "encoder",
        "encoder-checkpoint",
        "global-bank",
        "clusters-bank",
        "global-checkpoint",
        "clusters-checkpoint",
        "denoiser-checkpoint",
    ):
        context.path("refine", f"{file}.safetensors").unlink(missing_ok=True)


def _protected(context: Context) -> ResNet | Program:
    """The classifier that is protected, in eval mode on the device."""
    file, train = context.config.classifier, context.train
    if not file:
        return context.network("baseline")
    found = load_classifier(file_of(file), context.device)
    require_fits(found, train.images.shape[1:], len(train.classes), file)
    return found


def _starts(context: Context) -> tuple[SRDBank, SRDBank]:
    """The one dictionary and those of the clusters that training starts from."""
    config = context.config
    if context.start:
        _require_fits(context.start, context)
        bank = carried_on(context.start, config.refine_steps, config.split_strength)
        return everywhere_of(bank), bank.of_clusters()
    everywhere, bank = (
        SRDBank.load(context.path("dictionaries", f"{name}.safetensors")) for name in ("global", "bank")
    )
    return (lista_start(everywhere, config.refine_steps) if config.refine else everywhere), bank


def _require_fits(start: Purifier, context: Context) -> None:
    classes, size = len(context.train.classes), context.train.images.shape[-1]
    if len(start.bank.classes) != classes:
        raise UserError(f"refine_start: expected {classes} classes, got {len(start.bank.classes)}")
    if start.image_size not in (None, size):
        raise UserError(f"refine_start: expected an encoder of {size} pixels a side, got {start.image_size}")


def _trained(
    context: Context, everywhere: SRDBank, bank: SRDBank, classifiers: Sequence[Model], pairs: Pairs
) -> tuple[SRDBank, SRDBank]:
    """The one dictionary and those of the clusters, which start from it unless they are an earlier one's."""
    everywhere = _train(context, "global", everywhere, classifiers, pairs, chosen=False)
    start = bank if context.start else copies(everywhere, bank)
    return everywhere, _train(context, "clusters", start, classifiers, pairs, chosen=True)


def _attacked(context: Context, classifiers: Sequence[Model], encoder: Model) -> dict[str, np.ndarray]:
    """Images of `Context.material`, attacked once on these classifiers and on the robust network."""
    protected, *others = classifiers
    models: dict[str, Model] = {
        PROTECTED: protected,
        **{str(number): other for number, other in enumerate(others)},
    }
    diet = several(list(models)[1:]) if others else SINGLE
    models |= {TOGETHER: mean_logits(classifiers), ROBUST: encoder}
    return attacked_images(context, models, diet)


def _train(
    context: Context,
    name: str,
    bank: SRDBank,
    classifiers: Sequence[Model],
    pairs: Pairs,
    chosen: bool,
) -> SRDBank:
    """Trains the dictionaries of `bank`, with `chosen` each on the images of its cluster."""
    result = context.path("refine", f"{name}-bank.safetensors")
    if not result.is_file():
        module = LearnedDictionaries(bank)
        rate = context.config.refine_clusters_lr if chosen else 0.0
        _fit(context, name, module, classifiers, pairs, chosen, context.config.refine_epochs, rate)
        module.trained().save(result)
    return SRDBank.load(result)


def _calibrated(context: Context, classifier: Model, purifiers: Sequence[Purifier]) -> list[Purifier]:
    """Each purifier with what is best on the validation images, which are attacked once."""
    config, train, device = context.config, context.train, context.device
    _, rows = context.split
    images = torch.from_numpy(train.images[rows]).to(device).float() / 255
    labels = torch.from_numpy(train.labels[rows]).to(device)
    views = attacked_views(classifier, images, labels, config.epsilon, config.bf16, context.progress)

    def log(line: str) -> None:
        context.log(f"refine calibrate: {line}")

    return [
        calibrate(purifier.to(device), classifier, views, labels, log).of(purifier).cpu()
        for purifier in purifiers
    ]


def _train_denoiser(context: Context, purifier: Purifier, classifiers: Sequence[Model], pairs: Pairs) -> None:
    """Writes a denoiser of the purifier's cost, trained as both kinds of dictionaries are."""
    result = context.path("refine", "denoiser.safetensors")
    if result.is_file():
        return
    shape = context.train.images.shape[1:]
    torch.manual_seed(context.config.seed)
    denoiser = denoiser_of_cost(purifier_multiply_adds(purifier, shape), shape)
    _fit(context, "denoiser", denoiser, classifiers, pairs, False, 2 * context.config.refine_epochs)
    save_opponent(result, denoiser.cpu(), {})


def _fit(
    context: Context,
    name: str,
    module: nn.Module,
    classifiers: Sequence[Model],
    pairs: Pairs,
    chosen: bool,
    epochs: int,
    rate: float = 0.0,
) -> None:
    """Trains what maps images and clusters to purified images; with `chosen` it is told the clusters.

    The peak learning rate is `refine_lr` unless there is another `rate`.
    """
    config = context.config
    _, validation = context.split
    schedule = Schedule(
        epochs=epochs,
        batch=min(config.refine_batch, len(pairs.rows)),
        learning_rate=rate or config.refine_lr,
        weight_decay=0.0,
        optimizer="adam",
        warmup=0.1,
        bf16=config.bf16,
        augment=False,
        seed=config.seed,
    )
    fit(
        module,
        context.material,
        np.setdiff1d(pairs.rows, validation),
        schedule,
        loss=task_loss(classifiers, pairs, chosen, Terms.of(config)),
        checkpoint=context.path("refine", f"{name}-checkpoint.safetensors"),
        validate=_validation(context, classifiers[0], pairs, np.intersect1d(pairs.rows, validation), chosen),
        device=context.device,
        progress=context.progress,
        after_epoch=context.report_epoch(f"refine {name}", epochs),
    )


def _validation(
    context: Context, classifier: Model, pairs: Pairs, rows: np.ndarray, chosen: bool
) -> Callable[[nn.Module], dict[str, float]]:
    """Accuracy of the classifier on purified validation images, clean and attacked; both in [0, 1]."""
    dataset = context.train

    def accuracy(module: nn.Module, spared: bool) -> float:
        right = 0
        for mine in torch.from_numpy(rows).split(IMAGES_TOGETHER):
            there = mine.to(context.device)
            marks = torch.full_like(there, spared, dtype=torch.bool)
            inputs, clusters = pairs.on(there.device).inputs(there, marks)
            if spared:
                inputs = torch.from_numpy(dataset.images[mine]).to(context.device).float() / 255
            answers = classifier(module(inputs, clusters if chosen else None)).argmax(1).cpu().numpy()
            right += int((answers == dataset.labels[mine]).sum())
        return right / len(rows)

    @torch.no_grad()
    def validate(module: nn.Module) -> dict[str, float]:
        return {"clean": accuracy(module, True), "attacked": accuracy(module, False)} if len(rows) else {}

    return validate


STAGE = Stage(
    "refine",
    needs=("baseline", "robust", "dictionaries"),
    settings=settings,
    run=run,
    splits=("train", "crops"),
    starts=lambda config: bool(config.refine_start),
)
