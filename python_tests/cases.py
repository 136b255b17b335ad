# SPDX-License-Identifier: Apache-2.0
"""Every coder behind one signature, so that what holds for all of them is tested once."""

from dataclasses import replace

import numpy as np

import srdfast


def problem(rng, batch=40, atoms=48, features=27, dictionaries=None, dtype=np.float32):
    """Random signals [batch, features] and unit atoms [(dictionaries,) atoms, features]."""
    shape = (atoms, features) if dictionaries is None else (dictionaries, atoms, features)
    dictionary = rng.normal(size=shape)
    dictionary /= np.linalg.norm(dictionary, axis=-1, keepdims=True)
    return rng.normal(size=(batch, features)).astype(dtype), dictionary.astype(dtype)


def omp(signals, dictionary, **options):
    """Plain selection."""
    codes = srdfast.omp(signals, dictionary, max_atoms=4, tolerance=5.0, **options)
    return codes.indices, codes.values, codes.counts


def omp_residual(signals, dictionary, **options):
    """Order-recursive selection."""
    codes = srdfast.omp(signals, dictionary, max_atoms=4, tolerance=5.0, selection="residual", **options)
    return codes.indices, codes.values, codes.counts


def lasso(signals, dictionary, **options):
    """A tight gap, so that the stopping sweep matters."""
    codes = srdfast.lasso(signals, dictionary, penalty=0.1, gap_tolerance=1e-5, **options)
    return codes.values, codes.gap


def lista(signals, dictionary, **options):
    """Three steps whose analysis atoms are the scaled synthesis atoms."""
    thresholds = dictionary[..., 0] * 0 + 0.05  # [..., atoms], of the dictionary's kind
    return (srdfast.lista(signals, dictionary * 0.2, thresholds, dictionary, steps=3, **options).values,)


def lista_gradient(signals, dictionary, **options):
    """By the signals, of half the squared norms of those codes."""
    learned = dictionary * 0.2, dictionary[..., 0] * 0 + 0.05, dictionary
    codes = srdfast.lista(signals, *learned, steps=3, **options).values
    return (srdfast.lista_gradient(codes, signals, *learned, steps=3, **options),)


def support_gradient(signals, dictionary, **options):
    """On the supports of OMP, told by numbers and by codes: of the sums of reconstructions and of codes."""
    codes = srdfast.omp(signals, dictionary, max_atoms=5, tolerance=5.0, **options)
    ones = 0 * codes.values[:, :1] + 0 * dictionary.reshape(-1, dictionary.shape[-1])[:1] + 1
    dense = codes.dense()
    return (
        srdfast.support_gradient(ones, codes.indices, dictionary, rebuilt=True, **options),
        srdfast.support_gradient(0 * dense + 1, dense, dictionary, **options),
    )


CODERS = [omp, omp_residual, lasso, lista, lista_gradient, support_gradient]
CODER_IDS = [coder.__name__ for coder in CODERS]


def bank(
    rng, coder=None, latent=8, clusters=4, atoms=20, patch=4, stride=2, classes=("cat", "dog"), channels=3
):
    """A random SRDBank of `clusters` dictionaries for 4x4 patches; cluster c is of class c % classes."""
    coder = srdfast.LISTA(steps=2) if coder is None else coder
    features = channels * patch * patch
    synthesis = problem(rng, atoms=atoms, features=features, dictionaries=clusters)[1]
    learned = isinstance(coder, srdfast.LISTA)
    gaussians = srdfast.Gaussians(
        means=rng.normal(size=(clusters, latent)).astype(np.float32),
        variances=rng.uniform(0.5, 2, (clusters, latent)).astype(np.float32),
        log_priors=np.log(np.full(clusters, 1 / clusters, np.float32)),
        labels=np.arange(clusters, dtype=np.int64) % len(classes),
    )
    return srdfast.SRDBank(
        gaussians=gaussians,
        synthesis=synthesis,
        analysis=0.3 * synthesis if learned else None,
        thresholds=np.full((clusters, atoms), 0.02, np.float32) if learned else None,
        coder=coder,
        channels=channels,
        patch=patch,
        stride=stride,
        split_strength=5.0,
        classes=tuple(classes),
    )


def write_data(folder, seed=0):
    """200 training and 40 test images of 10 classes, each class of one colour, as CIFAR-10 batches."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        labels = np.arange(40) % 10
        colours = np.stack([25 * labels, 250 - 25 * labels, 125 + 0 * labels], axis=1)[:, :, None]
        pixels = np.clip(colours + rng.normal(0, 20, (40, 3, 1024)), 0, 255).reshape(40, -1)
        (folder / f"{name}.bin").write_bytes(np.column_stack([labels, pixels]).astype(np.uint8).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    return folder


def smooth_to_rough(rng, count):
    """Images from smooth to rough, torch float32 [count, 3, 16, 16] in [0, 1]."""
    import torch

    coarse, rough = (
        torch.from_numpy(rng.random((count, 3, side, side)).astype(np.float32)) for side in (4, 16)
    )
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    return smooth.lerp(rough, torch.linspace(0, 1, count).view(-1, 1, 1, 1))


def purifier_among(images, classes=2, **options):
    """Six clusters, each around the latent of one of the images; the first are likelier."""
    import torch

    from srdfast.networks import ResNet

    torch.manual_seed(0)
    encoder = ResNet(depth=10, width=4, classes=2).eval()
    with torch.no_grad():
        latents = encoder.latents(images).numpy()
    spread = np.broadcast_to(latents.var(0) + 1e-4, (6, encoder.latent)).astype(np.float32)
    priors = np.log(np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1], np.float32))
    means = latents[:: len(latents) // 6][:6].copy()
    gaussians = srdfast.Gaussians(means, spread, priors, np.arange(6) % classes)
    made = bank(np.random.default_rng(3), latent=encoder.latent, clusters=7)  # the last is of all images
    made = replace(made, gaussians=gaussians)
    return srdfast.Purifier(made, encoder, **options).eval()
