# SPDX-License-Identifier: Apache-2.0
"""Classifiers from files: srdfast's own networks, and programs that torch exported, of any make.

`srdfast train` and `srdfast evaluate` protect either. Any module from images to logits becomes a program by

    batch = torch.export.Dim("batch")
    program = torch.export.export(module.eval(), (images,), dynamic_shapes=({0: batch},))
    torch.export.save(program, "classifier.pt2")
"""

import logging
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from .errors import DataError, ModelFormatError
from .files import atomic_write
from .networks import ResNet, load_network, save_network

NETWORK, PROGRAM = ".safetensors", ".pt2"
"""Suffixes; a file with another than the second is read as a network of srdfast."""

TRAINING = {torch.ops.aten.batch_norm.default: 5, torch.ops.aten.dropout.default: 2}
"""Operators that act otherwise while a module is trained, and which argument tells it."""


class Program(nn.Module):
    """An exported classifier: images float32 [batch, channels, height, width] in [0, 1] -> logits.

    It stays as it was exported: `train()` changes nothing, and it computes in float32 under autocast too,
    since a program may insist on the types that it was exported with.

    Args:
        exported: for any number of images.
        content: what tells it from others, such as the SHA-256 of its file.

    Attributes:
        content: as above.
        image_shape: channels, height and width of the images; None where it takes any.
        classes: number of logits.

    Raises:
        ValueError: the program takes or returns something else.
    """

    def __init__(self, exported: ExportedProgram, content: str) -> None:
        super().__init__()
        images, logits = _signature(exported)
        if len(images) != 4 or len(logits) != 2 or not isinstance(logits[1], int):
            raise ValueError(
                "expected images [batch, channels, height, width] to logits [batch, classes], "
                f"got {_written(images)} to {_written(logits)}"
            )
        if isinstance(images[0], int):
            raise ValueError(
                f"expected any number of images, got {images[0]} alone; export with "
                'dynamic_shapes=({0: torch.export.Dim("batch")},)'
            )
        if any(node.args[TRAINING[node.target]] for node in exported.graph.nodes if node.target in TRAINING):
            raise ValueError(
                "expected a module in eval mode, got one that was training; call eval() and export it"
            )
        self.exported, self.program, self.content = exported, exported.module(), content
        if not all(bool(weights.isfinite().all()) for weights in self.program.parameters()):
            raise ValueError("expected finite weights, got some that are NaN or infinite")
        self.training = False
        self.image_shape = tuple(side if isinstance(side, int) else None for side in images[1:])
        self.classes = logits[1]

    def train(self, mode: bool = True) -> "Program":
        """The program itself: what it computes was settled when it was exported."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        _require_shape(self, images.shape[1:])
        with torch.autocast(images.device.type, enabled=False):
            return self.program(images.float())


def load_classifier(path: Path | str, device: torch.device | str = "cpu") -> ResNet | Program:
    """The classifier in a file, in eval mode on the device, its parameters without gradients.

    Args:
        path: of a network of srdfast, or with the suffix `.pt2` of a program. Programs are code: load what
            you trust.
        device: where it is to run.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFormatError: the file is damaged, or holds something else.
    """
    path = Path(path)
    if path.suffix != PROGRAM:
        return load_network(path).to(device).requires_grad_(False)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    exported = move_to_device_pass(_read(path), str(device))  # wherever it was exported
    try:
        return Program(exported, sha256(path.read_bytes()).hexdigest()).requires_grad_(False)
    except ValueError as error:
        raise ModelFormatError(f"{path}: {error}") from error


def save_classifier(path: Path, classifier: ResNet | Program, dtype: str = "float32") -> Path:
    """Write a classifier; returns the file, which is `path` with the suffix of its kind.

    Args:
        path: without a suffix.
        classifier: to write.
        dtype: "float16" halves the file of a network; a program is written as it is, for the CPU.
    """
    network, program = (path.with_name(f"{path.name}{suffix}") for suffix in (NETWORK, PROGRAM))
    if isinstance(classifier, ResNet):
        save_network(network, classifier, dtype=dtype)
        program.unlink(missing_ok=True)  # of another classifier
        return network
    with atomic_write(program) as temporary:
        torch.export.save(classifier.exported, temporary)
        copy = _read(temporary)  # the pass moves what it is given
        torch.export.save(move_to_device_pass(copy, "cpu"), temporary)
    network.unlink(missing_ok=True)
    return program


def saved_classifier(path: Path) -> Path:
    """The file that `save_classifier` wrote; where there is none, the name that a network's would have."""
    program = path.with_name(f"{path.name}{PROGRAM}")
    return program if program.is_file() else path.with_name(f"{path.name}{NETWORK}")


def require_fits(classifier: ResNet | Program, images: Sequence[int], classes: int, source: str) -> None:
    """Raise unless a classifier is for such images and so many classes.

    Args:
        classifier: to check.
        images: channels, height and width.
        classes: number of classes.
        source: where it is from, for the message.

    Raises:
        DataError: it is not.
    """
    known = classifier.spec["classes"] if isinstance(classifier, ResNet) else classifier.classes
    if known != classes:
        raise DataError(f"classifier: expected one of {classes} classes, got {known} ({source})")
    if isinstance(classifier, Program):
        _require_shape(classifier, images)


def _require_shape(program: Program, shape: Sequence[int]) -> None:
    own = program.image_shape
    if len(shape) != len(own) or any(a not in (None, b) for a, b in zip(own, shape, strict=True)):
        raise DataError(f"classifier: the program takes images of {_written(own)}, got {_written(shape)}")


def _read(path: Path) -> ExportedProgram:
    log = logging.getLogger("torch.export")  # which writes a traceback of all that it cannot read
    before, log.disabled = log.disabled, True
    try:
        return torch.export.load(path)
    except Exception as error:  # whatever torch's readers of zip, JSON and operators raise
        raise ModelFormatError(
            f"{path}: damaged, not a program of torch.export, or exported on a device that is not here; "
            "export it on the CPU"
        ) from error
    finally:
        log.disabled = before


def _signature(exported: ExportedProgram) -> tuple[Sequence[Any], Sequence[Any]]:
    """The shapes of the one input and the one output; int where a side is fixed."""
    nodes = {node.name: node for node in exported.graph.nodes}
    shapes = []
    for what, names in (
        ("input", exported.graph_signature.user_inputs),
        ("output", exported.graph_signature.user_outputs),
    ):
        if len(names) != 1:
            raise ValueError(f"expected one {what}, got {len(names)}")
        value = nodes[str(names[0])].meta.get("val") if str(names[0]) in nodes else None
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            raise ValueError(f"expected float32 as {what}, got {getattr(value, 'dtype', value)}")
        shapes.append(tuple(side if isinstance(side, int) else None for side in value.shape))
    return shapes[0], shapes[1]


def _written(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("any" if side is None else str(side) for side in shape) + "]"
