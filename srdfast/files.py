# SPDX-License-Identifier: Apache-2.0
"""Files that are either whole or absent, and model files that run no code when read.

A model file is a safetensors file whose header carries one JSON document under the key ``srdfast``.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import ModelFormatError

METADATA_KEY = "srdfast"
_UMASK = os.umask(0)  # read once: setting it, the only way to read it, is seen by every thread
os.umask(_UMASK)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; on success it becomes `path`, on error it goes.

    The new content is on the disk before the rename, so a crash leaves the old file or the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _give_ordinary_permissions(temporary)
        commit(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def commit(temporary: Path, path: Path) -> None:
    """Gives a file that is whole its name, in the same folder; its content is on the disk first."""
    _flush_to_disk(temporary, os.O_RDWR)
    temporary.replace(path)
    _flush_to_disk(path.parent, os.O_RDONLY)


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Writes arrays and one JSON document to a safetensors file, atomically."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(contiguous, temporary, metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True)})


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `save_tensors` wrote: the arrays and the JSON document.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFormatError: the file is damaged or is not an srdfast file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model file: no file at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, TypeError, OverflowError) as error:
        raise ModelFormatError(f"{path}: not a whole safetensors file ({error}); fetch it again") from None
    return tensors, _parse_metadata(path, header)


def load_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON document alone of what `save_tensors` wrote; {} where there is no whole such file."""
    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return _parse_metadata(path, file.metadata() or {})
    except (SafetensorError, FileNotFoundError, ModelFormatError):
        return {}


def _parse_metadata(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    try:
        metadata = json.loads(header[METADATA_KEY])
    except (KeyError, ValueError, RecursionError):
        raise ModelFormatError(
            f"{path}: the header holds no srdfast description; not an srdfast file"
        ) from None
    if not isinstance(metadata, dict):
        raise ModelFormatError(f"{path}: the srdfast description must be a JSON object")
    return metadata


def _flush_to_disk(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_ordinary_permissions(path: Path) -> None:
    """`mkstemp` makes private files; a model or a picture is as readable as any other file of the user."""
    path.chmod(0o666 & ~_UMASK)
