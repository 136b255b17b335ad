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
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn

from ..attacks import Model
from ..bank import SRDBank
from ..classifiers import Program, load_classifier, require_fits, save_classifier
from ..clusters import Gaussians
from ..codes import LISTA
from ..errors import UserError
from ..folded import FoldedNetwork
from ..networks import ResNet
from ..pretrained import file_of
from ..purifier import Purifier
from ..rival_networks import denoiser_of_cost, purifier_multiply_adds, save_opponent
from ..training import fit
from .calibrate import Calibration, attacked_views, calibrate
from .encoder import tuned_encoder, tuned_gaussians
from .learned import STEPS, LearnedDictionaries, carried_on, copies, everywhere_of, lista_start
from .pairs import (
    IMAGES_TOGETHER,
    PROTECTED,
    ROBUST,
    SINGLE,
    TOGETHER,
    Attacked,
    Choices,
    attacked_images,
    choices,
    mean_logits,
    several,
)
from .run import Config, Context, Stage
from .sources import trained_sources
from .task import Terms, task_loss, task_schedule


def settings(config: Config) -> dict[str, Any]:
    """What the refined dictionaries depend on."""
    protected: dict[str, Any] = {"classifier": _content(config.classifier)} if config.classifier else {}
    if not config.refine_start:
        given = {"temperature": config.temperature, "mirror": config.mirror}
        protected |= {name: value for name, value in given.items() if value}
    if not config.refine:
        return {**protected, "refine": False}
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
        **(_start_settings(config) if config.refine_start else {"steps": config.refine_steps or STEPS}),
        **protected,
        "seed": config.seed,
        "images": config.refine_images,
        "epochs": config.refine_epochs,
        "batch": config.refine_batch,
        "learning_rate": config.refine_lr,
        "epsilon": config.epsilon,
        "bf16": config.bf16,
    }


def _start_settings(config: Config) -> dict[str, Any]:
    """The start, what is given in the place of its own, and what earlier stages would have depended on."""
    given = {
        name: getattr(config, name) for name in ("split_strength", "temperature", "mirror", "refine_steps")
    }
    of_sources = ("width", "batch") if config.refine_sources else ()
    others = {name: getattr(config, name) for name in ("validation", *of_sources)}
    return {
        "start": _content(config.refine_start),
        **{name: value for name, value in given.items() if value is not None},
        **{f"common_{name}": value for name, value in others.items() if value != getattr(Config, name)},
    }


def _content(name_or_path: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return sha256(file_of(name_or_path).read_bytes()).hexdigest()


def check(context: Context) -> None:
    """Raise where the settings do not go together, or a named file does not fit the data."""
    config, start = context.config, context.start
    for option in ("temperature", "refine_start", "refine_calibrate", "refine_denoiser"):
        if getattr(config, option) and not config.refine:
            raise UserError(f"{option}: needs the refinement")
    if config.refine_calibrate and config.validation == 0:
        raise UserError("refine_calibrate: needs validation images, got a validation share of 0")
    if config.refine_denoiser and not config.refine_epochs:
        raise UserError("refine_denoiser: needs refine_epochs of 1 or more, got 0")
    if config.refine_start and not config.classifier:
        raise UserError("refine_start: needs --classifier FILE, the network to protect")
    if config.refine_start and config.refine_encoder_epochs:
        raise UserError("refine_encoder_epochs: expected 0 with refine_start, whose encoder stays as it is")
    if start:
        _require_fits(start, context)
    if config.classifier:
        _protected(context)


def run(context: Context) -> None:
    """Write `purifier.safetensors`, the same with one SRD for all images, and the protected classifier.

    The latter two are `global.safetensors` and `classifier.safetensors`; `denoiser.safetensors` is the rival
    of the same cost, where `refine_denoiser` asks for one.
    """
    protected = _protected(context)
    purifier, single = _refined(context, protected) if context.config.refine else _as_learned(context)
    purifier.save(context.path("refine", "purifier.safetensors"))
    single.save(context.path("refine", "global.safetensors"))
    save_classifier(context.path("refine", "classifier"), protected)


def _as_learned(context: Context) -> tuple[Purifier, Purifier]:
    """The purifier with the dictionaries that were learned from patches, and that of one for all images."""
    everywhere, bank = (
        SRDBank.load(context.path("dictionaries", f"{name}.safetensors")) for name in ("global", "bank")
    )
    return _purifiers(context, context.encoder, everywhere, bank)


def _refined(context: Context, protected: ResNet | Program) -> tuple[Purifier, Purifier]:
    """The same trained for the task, where there is something to train, and calibrated on request."""
    config = context.config
    if config.refine_epochs or config.refine_encoder_epochs:
        made = _learned(context, protected)
    else:
        everywhere, bank = _starts(context)
        made = _purifiers(context, context.encoder, everywhere, bank.with_general(everywhere))
    return _calibrated(context, protected, made) if config.refine_calibrate else made


def _learned(context: Context, protected: ResNet | Program) -> tuple[Purifier, Purifier]:
    """Both purifiers, trained; a denoiser beside them where there shall be one."""
    config = context.config
    classifiers, robust = _classifiers(context, protected), FoldedNetwork.of(context.encoder)
    attacked = _attacked(context, classifiers, robust)
    encoder = tuned_encoder(context, attacked)
    gaussians = tuned_gaussians(context, attacked, encoder)
    mirror = Calibration.given(config, context.start).mirror
    chosen = choices(context, attacked, encoder, gaussians, mirror)
    # The robust network's features are those of the image, of no classifier's mistakes.
    heard: list[Model] = [*classifiers, robust] if len(classifiers) > 1 else classifiers
    everywhere, bank = _trained(context, gaussians, heard, attacked, chosen)
    made = _purifiers(context, encoder, everywhere, bank.with_general(everywhere))
    if config.refine_denoiser:
        _train_denoiser(context, made[0], heard, attacked)
    return made


def _purifiers(
    context: Context, encoder: ResNet, everywhere: SRDBank, bank: SRDBank
) -> tuple[Purifier, Purifier]:
    """The purifier of a dictionary a cluster, which may be in doubt, and that of one for all images."""
    size, given = context.train.images.shape[-1], Calibration.given(context.config, context.start)
    purifier = Purifier(bank, encoder, image_size=size, temperature=given.temperature, mirror=given.mirror)
    return purifier, Purifier(everywhere, encoder, image_size=size)


def _protected(context: Context) -> ResNet | Program:
    """The classifier that is protected, in eval mode on the device."""
    file, train = context.config.classifier, context.train
    if not file:
        return context.network("baseline")
    found = load_classifier(file_of(file), context.device)
    require_fits(found, train.images.shape[1:], len(train.classes), file)
    return found


def _classifiers(context: Context, protected: ResNet | Program) -> list[Model]:
    """The protected classifier, and after it all others that are attacked and listened to."""
    own = context.config.classifier and not context.start
    others = [context.network("baseline")] if own else []
    found = [protected, *others, *trained_sources(context)]
    return [FoldedNetwork.of(network) if isinstance(network, ResNet) else network for network in found]


def _require_fits(start: Purifier, context: Context) -> None:
    classes, size = len(context.train.classes), context.train.images.shape[-1]
    if not isinstance(start.bank.coder, LISTA):
        raise UserError(f"refine_start: expected dictionaries with the coder LISTA, got {start.bank.coder}")
    if len(start.bank.classes) != classes:
        raise UserError(f"refine_start: expected {classes} classes, got {len(start.bank.classes)}")
    if start.image_size not in (None, size):
        raise UserError(f"refine_start: expected an encoder of {size} pixels a side, got {start.image_size}")


def _attacked(context: Context, classifiers: Sequence[Model], encoder: Model) -> Attacked:
    """Images of `Context.material`, attacked once on these classifiers and on the robust network."""
    protected, *others = classifiers
    models: dict[str, Model] = {
        PROTECTED: protected,
        **{str(number): other for number, other in enumerate(others)},
    }
    diet = several(list(models)[1:]) if others else SINGLE
    models |= {TOGETHER: mean_logits(classifiers), ROBUST: encoder}
    return attacked_images(context, models, diet)


def _starts(context: Context) -> tuple[SRDBank, SRDBank]:
    """The one dictionary and those of the clusters before they are trained."""
    config = context.config
    if context.start:
        strength = Calibration.given(config, context.start).split_strength
        bank = carried_on(context.start.bank, config.refine_steps, strength)
        return everywhere_of(bank), bank.of_clusters()
    learned = SRDBank.load(context.path("dictionaries", "global.safetensors"))
    everywhere = lista_start(learned, config.refine_steps or STEPS)
    return everywhere, copies(everywhere, context.gaussians)


def _trained(
    context: Context,
    gaussians: Gaussians,
    classifiers: Sequence[Model],
    attacked: Attacked,
    chosen: Choices,
) -> tuple[SRDBank, SRDBank]:
    """The one dictionary and those of the clusters, which start from it unless they are an earlier one's."""
    everywhere, bank = _starts(context)
    everywhere = _train(context, "global", everywhere, classifiers, attacked, None)
    start = bank if context.start else copies(everywhere, gaussians)
    return everywhere, _train(context, "clusters", start, classifiers, attacked, chosen)


def _train(
    context: Context,
    name: str,
    bank: SRDBank,
    classifiers: Sequence[Model],
    attacked: Attacked,
    chosen: Choices | None,
) -> SRDBank:
    """Trains the dictionaries of `bank`, where there are choices each on the images of its cluster."""
    config, result = context.config, context.scratch("refine", f"{name}-bank.safetensors")
    if not result.is_file():
        module = LearnedDictionaries(bank)
        rate = config.refine_clusters_lr if chosen and config.refine_clusters_lr else config.refine_lr
        _fit(context, name, module, classifiers, attacked, chosen, config.refine_epochs, rate)
        module.trained().save(result)
    return SRDBank.load(result)


def _train_denoiser(
    context: Context, purifier: Purifier, classifiers: Sequence[Model], attacked: Attacked
) -> None:
    """Writes a denoiser of the purifier's cost, trained as both kinds of dictionaries are."""
    config, result = context.config, context.path("refine", "denoiser.safetensors")
    if result.is_file():
        return
    shape = context.train.images.shape[1:]
    torch.manual_seed(config.seed)
    denoiser = denoiser_of_cost(purifier_multiply_adds(purifier, shape), shape)
    _fit(
        context, "denoiser", denoiser, classifiers, attacked, None, 2 * config.refine_epochs, config.refine_lr
    )
    save_opponent(result, denoiser.cpu(), {})


def _calibrated(
    context: Context, classifier: Model, purifiers: tuple[Purifier, Purifier]
) -> tuple[Purifier, Purifier]:
    """Each purifier with what is best on the validation images, which are attacked once."""
    config, train, device = context.config, context.train, context.device
    _, rows = context.split
    images = torch.from_numpy(train.images[rows]).to(device).float() / 255
    labels = torch.from_numpy(train.labels[rows]).to(device)
    classifier = FoldedNetwork.of(classifier) if isinstance(classifier, ResNet) else classifier
    views = attacked_views(classifier, images, labels, config.epsilon, config.bf16, context.progress)

    def log(line: str) -> None:
        context.log(f"refine calibrate: {line}")

    first, second = (
        calibrate(purifier.to(device), classifier, views, labels, log).of(purifier).cpu()
        for purifier in purifiers
    )
    return first, second


def _fit(
    context: Context,
    name: str,
    module: nn.Module,
    classifiers: Sequence[Model],
    attacked: Attacked,
    chosen: Choices | None,
    epochs: int,
    rate: float,
) -> None:
    """Trains what maps images, and clusters where there are choices, to purified images."""
    config = context.config
    _, validation = context.split
    fit(
        module,
        context.material,
        np.setdiff1d(attacked.rows, validation),
        task_schedule(epochs, rate, config.seed, min(config.refine_batch, len(attacked.rows)), config.bf16),
        loss=task_loss(classifiers, attacked, chosen, Terms.of(config)),
        checkpoint=context.scratch("refine", f"{name}-checkpoint.safetensors"),
        validate=_validation(context, classifiers[0], attacked, chosen),
        device=context.device,
        progress=context.progress,
        after_epoch=context.report_epoch(f"refine {name}", epochs),
    )


def _validation(
    context: Context, classifier: Model, attacked: Attacked, chosen: Choices | None
) -> Callable[[nn.Module], dict[str, float]]:
    """Accuracy of the classifier on purified validation images, clean and attacked; both in [0, 1]."""
    dataset, device = context.train, context.device
    rows = np.intersect1d(attacked.rows, context.split[1])

    def accuracy(module: nn.Module, spared: bool) -> float:
        right = 0
        for mine in torch.from_numpy(rows).split(IMAGES_TOGETHER):
            there = mine.to(device)
            clean = torch.from_numpy(dataset.images[mine]).to(device).float() / 255
            inputs = clean if spared else attacked.images(there)
            clusters = (
                chosen.of(there, torch.full_like(there, spared, dtype=torch.bool), 0) if chosen else None
            )
            answers = classifier(module(inputs, clusters)).argmax(1).cpu().numpy()
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
    check=check,
)
