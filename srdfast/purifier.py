# SPDX-License-Identifier: Apache-2.0
"""The purifier as a torch module: images in, purified images of the same kind out."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from . import arrays, coding, torch_ops, traced
from .arrays import Array
from .bank import SRDBank, require_format
from .batches import as_batch, in_library_of, like
from .choice import Choice, Doubt, choose, likelihood_terms, mixed
from .clusters import Floats
from .codes import LISTA
from .derived import Derived
from .description import Dictionaries, PurifyInfo, count_atoms
from .encoding import Encoding
from .errors import ModelFormatError
from .files import load_tensors, save_tensors
from .networks import ResNet, network_arrays, network_from
from .planes import through_planes
from .pretrained import file_of

FORMAT = "srdfast-purifier"
VERSION = 1
GRAD_MODES = ("bpda", "exact", "none")

GradMode = Literal["bpda", "exact", "none"]


class Purifier(nn.Module):
    """Removes adversarial perturbations (arXiv 2104.02155).

    The image is split into low and high band; the encoder's latent chooses the nearest cluster; the high band
    is rebuilt by sparse coding in that cluster's dictionary; output = low + rebuilt, clipped to [0, 1]. Where
    another class is nearly as likely, the output is the weighted mean with what the dictionary of all images
    makes of it (`choice`).
    Safe to call from many threads. A bank of one-channel dictionaries, as video has them, also takes RGB: the
    luma is purified at full resolution and the chroma at half of it (`planes.through_planes`).

    On the CPU, in float32, an image's pixels have the same bits whatever the batch around it. Elsewhere the
    encoder is torch's, whose last bits may depend on the batch: an image on the border between two clusters
    may then go either way.

    Args:
        bank: dictionaries, Gaussians, coder and split.
        encoder: the robust network whose latents choose the cluster.
        grad_mode: what `forward` gives back as its gradient: "bpda" the identity (Athalye et al. 2018),
            "exact" the derivative for the chosen clusters and shares, "none" nothing.
        lookup: engine of the nearest-cluster search: "auto", "assign", "faiss" or "product"; see
            `NearestCluster`.
        image_size: side in pixels of the images that the encoder was trained on; it sees images of
            another size resized to this. None: it sees them as they are.
        temperature: in nats, at least 0; how far the log-likelihoods of two classes may be apart for the
            bank's dictionary of all images to have a part in the output (`choice.choose`). 0: the likeliest
            cluster alone. Otherwise images in doubt are rebuilt twice; on a GPU and in graphs, where nobody
            looks, all are.
        mirror: whether the encoder looks at the mirror image of each image, to which a perturbation carries
            over less; of images in doubt then at both, and the mean of the latents decides. For encoders that
            learned mirrored images, as all that `srdfast train` makes. On a GPU and in graphs it sees both of
            every image.

    Raises:
        ValueError: an argument is unknown or the parts do not fit together.
    """

    synthesis: Tensor
    analysis: Tensor | None
    thresholds: Tensor | None
    cluster_centre: Tensor
    cluster_scales: Tensor
    cluster_shifts: Tensor
    cluster_offsets: Tensor
    cluster_labels: Tensor

    def __init__(
        self,
        bank: SRDBank,
        encoder: ResNet,
        grad_mode: GradMode = "bpda",
        lookup: str = "auto",
        image_size: int | None = None,
        temperature: float = 0.0,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        if grad_mode not in GRAD_MODES:
            raise ValueError(f"grad_mode: expected one of {', '.join(GRAD_MODES)}, got {grad_mode!r}")
        if encoder.latent != bank.gaussians.latent:
            raise ValueError(
                f"encoder: expected {bank.gaussians.latent} latent features, as the bank's Gaussians have, "
                f"got {encoder.latent}"
            )
        if image_size is not None and not (type(image_size) is int and image_size >= 1):
            raise ValueError(
                f"image_size: expected a whole number of at least 1, or None, got {image_size!r}"
            )
        if type(temperature) not in (int, float) or not 0 <= temperature <= 1e9:
            raise ValueError(f"temperature: expected a number from 0 to 1e9, got {temperature!r}")
        if temperature > 0 and bank.general is None:
            raise ValueError(
                f"temperature: expected 0 for a bank without a dictionary of all images, got {temperature!r}"
            )
        if type(mirror) is not bool:
            raise ValueError(f"mirror: expected True or False, got {mirror!r}")
        self.bank, self.encoder = bank, encoder
        self.grad_mode, self.lookup, self.image_size = grad_mode, lookup, image_size
        self.temperature, self.mirror = float(temperature), mirror
        self._encoding = Encoding(bank.gaussians, lookup, image_size)
        self._nearest = self._encoding.nearest
        for name in ("synthesis", "analysis", "thresholds"):
            array = getattr(bank, name)
            tensor = None if array is None else torch.from_numpy(np.array(array))
            self.register_buffer(name, tensor, persistent=False)
        for name, array in vars(bank.gaussians.tables()).items():
            self.register_buffer(
                f"cluster_{name}", torch.from_numpy(array.astype(np.float32)), persistent=False
            )
        labels = torch.from_numpy(np.array(bank.gaussians.labels))
        self.register_buffer("cluster_labels", labels, persistent=False)
        self._prepared: Derived[coding.Prepared] = Derived()
        self._doubts: Derived[Doubt] = Derived()

    def forward(self, images: Array) -> Array:
        """Purified images; differentiable as `grad_mode` says. See `purify`.

        Under torch.compile and torch.export, one graph without a way out of it; see `traced`.
        """
        if torch.compiler.is_compiling():
            return traced.purified(self, images)
        return self.purify(images)

    def purify(self, images: Array, return_info: bool = False, clusters: Array | None = None) -> Any:
        """Purifies a batch.

        Args:
            images: numpy array or torch tensor [batch, channels, height, width]; floating values in
                [0, 1], or uint8.
            return_info: also describe how each image was purified.
            clusters: int64 [batch], the dictionary to use for each image instead of what the encoder chooses;
                `bank.general` is that of all images.

        Returns:
            Images of the same shape, dtype, device and kind; with `return_info` the pair (images,
            `PurifyInfo`).

        Raises:
            TypeError: not an array, or neither floating nor uint8.
            ValueError: wrong shape, NaN or infinity, or a cluster that is not there.
            DeviceError: the images live where no kernel was built for.
        """
        batch = as_batch(images, self.bank, self.synthesis.device)
        if clusters is not None:
            choice, likelihood = Choice(self._given(clusters, len(batch))), None
        else:
            choice, likelihood = self._choose(batch.detach())
        purified = like(self._mixed(batch, choice), images)
        if not return_info:
            return purified
        return purified, self._describe(batch, choice, likelihood, images)

    def assign(self, images: Array, labels: Array | None = None) -> Array:
        """The nearest cluster of each image, int64 [batch]; with `labels` [batch], of its class."""
        batch = as_batch(images, self.bank, self.synthesis.device)
        if labels is None:
            index = self._choose(batch.detach())[0].first
        else:
            found, _ = self._nearest.within_class(self._latents(batch), arrays.to_numpy(labels))
            index = torch.from_numpy(found).to(batch.device)
        return index if arrays.is_torch(images) else in_library_of(images, index)

    def train(self, mode: bool = True) -> "Purifier":
        """Sets the mode; the encoder stays in eval mode, where no image disturbs another."""
        super().train(mode)
        self.encoder.eval()
        return self

    def save(self, path: str | os.PathLike[str], dtype: str = "float32") -> None:
        """Writes one safetensors file, atomically; `dtype="float16"` halves its atoms and weights."""
        tensors = {f"bank/{name}": array for name, array in self.bank.tensors(dtype).items()}
        tensors |= {f"encoder/{name}": array for name, array in network_arrays(self.encoder, dtype).items()}
        metadata = {
            "bank": self.bank.settings(),
            "encoder": self.encoder.spec,
            "image_size": self.image_size,
            "temperature": self.temperature,
            "mirror": self.mirror,
        }
        save_tensors(path, tensors, {"format": FORMAT, "version": VERSION, **metadata})

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> "Purifier":
        """Reads what `save` wrote, in eval mode, without running any code from the file.

        Args:
            path: the file.
            options: `grad_mode`, `lookup`, `temperature` and `mirror`, as the constructor takes them.

        Raises:
            FileNotFoundError: there is no such file.
            ModelFormatError: the file is damaged, or is not a purifier.
        """
        tensors, metadata = load_tensors(path)
        require_format(path, metadata, FORMAT, VERSION)
        parts: dict[str, dict[str, np.ndarray]] = {"bank": {}, "encoder": {}}
        for name, array in tensors.items():
            part, _, rest = name.partition("/")
            if part not in parts:
                raise ModelFormatError(f"{path}: expected tensors bank/... and encoder/..., got {name!r}")
            parts[part][rest] = array
        bank = SRDBank.from_parts(path, parts["bank"], metadata.get("bank", {}))
        encoder = network_from(parts["encoder"], metadata.get("encoder"), Path(path))
        usual: dict[str, Any] = {"image_size": None, "temperature": 0.0, "mirror": False}
        own = {name: metadata.get(name, value) for name, value in usual.items()}
        try:
            return cls(bank, encoder, **(own | options)).eval()
        except ValueError as error:
            if options and str(error).startswith(tuple(options)):
                raise  # an argument of the caller, not of the file
            raise ModelFormatError(f"{path}: not a whole purifier ({error})") from None

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **options: Any) -> "Purifier":
        """The purifier that ships under a name ("cifar10"), or `load` of a file."""
        return cls.load(file_of(name_or_path), **options)

    def _choose(self, batch: Tensor) -> tuple[Choice, Tensor]:
        """The dictionaries of each image, and the log-likelihood of the first, float32 [batch]."""
        counted = batch.device.type == "cpu"
        return choose(batch, self._look, self._encoding.likeliest, self.doubt(), self.mirror, counted)

    def _look(self, batch: Tensor) -> Tensor:
        return self._encoding.tensors(self.encoder, batch)

    def doubt(self) -> Doubt | None:
        """When the dictionary of all images has a part; None: never."""
        general, labels = self.bank.general, self.cluster_labels
        if self.temperature == 0 or general is None:
            return None

        def make() -> Doubt:
            return Doubt(likelihood_terms(self.tables()), labels, self.temperature, general)

        if torch.compiler.is_compiling():
            return make()  # a graph keeps nothing
        return self._doubts.of(self.temperature, [*self.tables(), labels], make)

    def tables(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centre, scales, shifts and offsets of the clusters, as `GaussianTables` has them."""
        return self.cluster_centre, self.cluster_scales, self.cluster_shifts, self.cluster_offsets

    def _latents(self, batch: Tensor) -> Floats:
        """The encoder's latents of its first look, float32 [batch, latent]."""
        return self._encoding.latents(self.encoder, batch.flip(-1) if self.mirror else batch)

    def _given(self, clusters: Array, batch: int) -> Tensor:
        index = torch.as_tensor(arrays.to_numpy(clusters) if not isinstance(clusters, list) else clusters)
        if index.shape != (batch,) or index.is_floating_point():
            raise ValueError(f"clusters: expected integers of shape [{batch}], got {list(index.shape)}")
        last = self.bank.dictionaries - 1
        if batch and not 0 <= int(index.min()) <= int(index.max()) <= last:
            raise ValueError(
                f"clusters: expected values from 0 to {last}, got {int(index.min())} to {int(index.max())}"
            )
        return index.to(self.synthesis.device, torch.int64)

    def _mixed(self, batch: Tensor, choice: Choice) -> Tensor:
        """The result of each image's dictionaries."""
        return mixed(self._rebuild, batch, choice, counted=batch.device.type == "cpu")

    def _rebuild(self, batch: Tensor, index: Tensor) -> Tensor:
        """Low + rebuilt high band, clipped, with the gradient that `grad_mode` asks for."""
        if batch.shape[1] != self.bank.channels:
            return through_planes(batch, lambda planes, n: self._rebuild(planes, index.repeat(n)))
        differentiable = torch.is_grad_enabled() and batch.requires_grad
        if differentiable and self.grad_mode == "exact":
            low, high = torch_ops.split(batch, self.bank.split_strength)
            rebuilt = torch_ops.rebuild(
                high, *self.dictionaries(batch.dtype), index, self.bank.patch, self.bank.stride
            )
            return (low + rebuilt).clamp(0, 1)
        low, high = coding.split(batch, self.bank.split_strength, nonfinite=None)
        rebuilt = coding.purify_patches(
            high,
            self._tables(batch.dtype),
            self.bank.coder,
            index=index,
            patch=self.bank.patch,
            stride=self.bank.stride,
            nonfinite=None,
        )
        purified = rebuilt.add_(low).clamp_(0, 1)
        if differentiable and self.grad_mode == "bpda":
            return traced.IdentityGradient.apply(batch, purified)
        return purified

    def _tables(self, dtype: torch.dtype) -> coding.Prepared:
        """The dictionaries as the kernels want them."""
        parts = [part for part in (self.synthesis, self.analysis, self.thresholds) if part is not None]

        def make() -> coding.Prepared:
            synthesis, _, analysis, thresholds = self.dictionaries(dtype)
            return coding.prepare(synthesis, analysis, thresholds)

        return self._prepared.of(dtype, parts, make)

    def dictionaries(self, dtype: torch.dtype) -> Dictionaries:
        """Synthesis atoms, coder, and for LISTA analysis atoms and thresholds, in a floating dtype."""
        coder = self.bank.coder
        if not isinstance(coder, LISTA) or self.analysis is None or self.thresholds is None:
            return _as_dtype(self.synthesis, dtype), coder, None, None
        parts = (_as_dtype(part, dtype) for part in (self.synthesis, self.analysis, self.thresholds))
        synthesis, analysis, thresholds = parts
        return synthesis, coder, analysis, thresholds

    def _describe(
        self, batch: Tensor, choice: Choice, likelihood: Tensor | None, images: Array
    ) -> PurifyInfo:
        index, share = choice.first, choice.share
        if likelihood is None:
            scores = self._nearest.scores(self._latents(batch))
            scores = np.pad(scores, ((0, 0), (0, 1)), constant_values=np.nan)  # of the general dictionary
            chosen = scores[np.arange(len(scores)), index.cpu().numpy()]
            likelihood = torch.from_numpy(chosen).to(batch.device)
        if share is None:
            share = torch.ones_like(likelihood)
        atoms_used, gap = count_atoms(batch.detach(), index, self.bank, self.dictionaries(batch.dtype))
        parts = (index, likelihood, share, atoms_used, gap)
        if not arrays.is_torch(images):
            return PurifyInfo(*(None if part is None else in_library_of(images, part) for part in parts))
        return PurifyInfo(*parts)


class PurifiedModel(nn.Module):
    """A purifier in front of a classifier: images [batch, channels, height, width] in [0, 1] to logits.

    Args:
        purifier: purifies what the classifier sees.
        classifier: any module from such images to logits; it is not changed.
    """

    def __init__(self, purifier: Purifier, classifier: nn.Module) -> None:
        super().__init__()
        self.purifier, self.classifier = purifier, classifier

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, classes] of the purified images."""
        return self.classifier(self.purifier(images))


def _as_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor itself where it has the dtype: a graph would take a conversion for another tensor."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)
