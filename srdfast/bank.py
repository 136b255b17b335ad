# SPDX-License-Identifier: Apache-2.0
"""The bank: every cluster's dictionary and Gaussian, and how images are split and coded."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clusters import Gaussians
from .codes import LISTA, OMP, Coder, Lasso
from .errors import ModelFormatError
from .files import load_tensors, save_tensors

Floats = NDArray[np.float32]

FORMAT = "srdfast-bank"
VERSION = 1
_CODERS: dict[str, type[OMP] | type[Lasso] | type[LISTA]] = {"omp": OMP, "lasso": Lasso, "lista": LISTA}
_GAUSSIAN_FIELDS = ("means", "variances", "log_priors", "labels")


@dataclass(frozen=True)
class SRDBank:
    """One Semantic Reconstruction Dictionary (SRD) a cluster: all that a purifier is beside its encoder.

    After those of the clusters there may be one more, learned from all images, for images in doubt.

    Raises:
        ValueError: parts do not fit together; the message names the part.
    """

    gaussians: Gaussians
    """Where each cluster lies in latent space."""
    synthesis: Floats
    """Atoms that rebuild a patch, [dictionaries, atoms, channels * patch * patch]: clusters, or one more."""
    coder: Coder
    """How patches are coded."""
    classes: tuple[str, ...]
    """Names of the classes that the clusters' labels count."""
    analysis: Floats | None = None
    """For the coder LISTA: atoms that analyse a patch, the shape of `synthesis`."""
    thresholds: Floats | None = None
    """For the coder LISTA: [dictionaries, atoms], at least 0."""
    channels: int = 3
    patch: int = 8
    """Side of a patch in pixels."""
    stride: int = 2
    """Distance of neighbouring patches in pixels, from 1 to `patch`."""
    split_strength: float = 5.0
    """Strength of the Tikhonov split, from 0 to 1e9."""

    def __post_init__(self) -> None:
        features = self.channels * self.patch**2
        wanted = self.clusters + 1 if len(self.synthesis) == self.clusters + 1 else self.clusters
        _require_array("synthesis", self.synthesis, (wanted, None, features))
        if (self.analysis is None) != (self.thresholds is None):
            raise ValueError("analysis, thresholds: expected both or neither")
        if isinstance(self.coder, LISTA) and self.analysis is None:
            raise ValueError("analysis: expected atoms for the coder LISTA, got None")
        if self.analysis is not None and self.thresholds is not None:
            _require_array("analysis", self.analysis, self.synthesis.shape)
            _require_array("thresholds", self.thresholds, self.synthesis.shape[:2])
            if (self.thresholds < 0).any():
                raise ValueError("thresholds: expected values of at least 0")
        if not 1 <= self.stride <= self.patch:
            raise ValueError(f"stride: expected from 1 to the patch size {self.patch}, got {self.stride}")
        if not 0 <= self.split_strength <= 1e9:
            raise ValueError(f"split_strength: expected 0 to 1e9, got {self.split_strength}")
        if self.gaussians.labels.max() >= len(self.classes) or self.gaussians.labels.min() < 0:
            raise ValueError(f"classes: expected a name for every label, got {len(self.classes)}")

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return len(self.gaussians)

    @property
    def dictionaries(self) -> int:
        """How many dictionaries there are: one a cluster, and by option one of all images."""
        return len(self.synthesis)

    @property
    def general(self) -> int | None:
        """The index of the dictionary of all images, the last, where there is one."""
        return self.clusters if self.dictionaries > self.clusters else None

    def with_general(self, everywhere: "SRDBank") -> "SRDBank":
        """This bank, and after its clusters' dictionaries the one of `everywhere`.

        Raises:
            ValueError: the dictionaries are not alike.
        """
        if everywhere.dictionaries != 1:
            raise ValueError(f"everywhere: expected one dictionary, got {everywhere.dictionaries}")
        if self.settings() != everywhere.settings():
            raise ValueError("everywhere: expected the coder, patches, split and classes of the clusters")
        return self.of_clusters().with_each(
            lambda name, part: np.concatenate([part, getattr(everywhere, name)])
        )

    def of_clusters(self) -> "SRDBank":
        """The same without the dictionary of all images."""
        return self.with_each(lambda name, part: part[: self.clusters])

    def of_all(self) -> "SRDBank":
        """The dictionary of all images alone, as that of all clusters together.

        Raises:
            ValueError: there is none.
        """
        if self.general is None:
            raise ValueError("bank: expected a dictionary of all images beside those of the clusters")
        return self.with_each(lambda name, part: part[self.general :], gaussians=self.gaussians.together())

    def with_each(self, change: Callable[[str, Any], Floats], **others: Any) -> "SRDBank":
        """This bank with each array of its dictionaries changed, and other fields.

        Args:
            change: (name, array) -> array, for `synthesis` and, where there are, `analysis` and `thresholds`.
            others: fields by name.
        """
        named: dict[str, Any] = {
            name: getattr(self, name) for name in ("synthesis", "analysis", "thresholds")
        }
        others |= {name: change(name, part) for name, part in named.items() if part is not None}
        return replace(self, **others)

    @property
    def atoms(self) -> int:
        """Atoms in a dictionary."""
        return self.synthesis.shape[1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a safetensors file, atomically."""
        save_tensors(path, self.tensors(), {"format": FORMAT, "version": VERSION, **self.settings()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SRDBank":
        """Reads what `save` wrote, without running any code from the file.

        Raises:
            FileNotFoundError: there is no such file.
            ModelFormatError: the file is damaged, or is not a bank.
        """
        tensors, metadata = load_tensors(path)
        require_format(path, metadata, FORMAT, VERSION)
        return cls.from_parts(path, tensors, metadata)

    def tensors(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        """The arrays by name; the atoms in `dtype` (float16 halves a file), all else as it is."""
        tensors: dict[str, np.ndarray] = {name: getattr(self.gaussians, name) for name in _GAUSSIAN_FIELDS}
        tensors["synthesis"] = self.synthesis.astype(dtype)
        if self.analysis is not None and self.thresholds is not None:
            tensors["analysis"] = self.analysis.astype(dtype)
            tensors["thresholds"] = self.thresholds
        return tensors

    def settings(self) -> dict[str, Any]:
        """All that is not an array, ready for JSON."""
        name = next(name for name, coder in _CODERS.items() if isinstance(self.coder, coder))
        return {
            "coder": {"name": name, **asdict(self.coder)},
            "classes": list(self.classes),
            "channels": self.channels,
            "patch": self.patch,
            "stride": self.stride,
            "split_strength": self.split_strength,
        }

    @classmethod
    def from_parts(
        cls, path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], settings: Mapping[str, Any]
    ) -> "SRDBank":
        """The bank that `tensors` and `settings` describe; `path` is named in errors.

        Raises:
            ModelFormatError: a part is missing or wrong.
        """
        try:
            coder = dict(settings["coder"])
            gaussians = Gaussians(*(np.array(tensors[name]) for name in _GAUSSIAN_FIELDS))
            return cls(
                gaussians=gaussians,
                synthesis=tensors["synthesis"].astype(np.float32),
                coder=_CODERS[coder.pop("name")](**coder),
                classes=tuple(str(name) for name in settings["classes"]),
                analysis=_optional(tensors, "analysis"),
                thresholds=_optional(tensors, "thresholds"),
                channels=int(settings["channels"]),
                patch=int(settings["patch"]),
                stride=int(settings["stride"]),
                split_strength=float(settings["split_strength"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ModelFormatError(f"{path}: not a whole SRD bank ({reason})") from None


def require_format(
    path: str | os.PathLike[str], metadata: Mapping[str, Any], name: str, version: int
) -> None:
    """Raises ModelFormatError unless the metadata are of this format and version."""
    if metadata.get("format") != name:
        raise ModelFormatError(f"{path}: expected format {name}, got {metadata.get('format')!r}")
    if metadata.get("version") != version:
        raise ModelFormatError(
            f"{path}: expected version {version} of {name}, got {metadata.get('version')!r}; update srdfast"
        )


def _optional(tensors: Mapping[str, np.ndarray], name: str) -> Floats | None:
    return tensors[name].astype(np.float32) if name in tensors else None


def _require_array(name: str, array: np.ndarray, shape: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        wanted in (None, got) for wanted, got in zip(shape, array.shape, strict=True)
    )
    if not fits or array.size == 0:
        raise ValueError(f"{name}: expected shape {list(shape)}, got {list(array.shape)}")
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite float32 values")
