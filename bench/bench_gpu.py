# SPDX-License-Identifier: Apache-2.0
"""The kernels on a GPU beside torch on the same GPU.

Skipped where there is none; with --quick the CPU then stands in for it, so that every case can be tried.

A timed call is `REPEATS` calls and one wait for the GPU. Dictionaries are prepared, as in a pipeline.
"""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from bench_lasso import Fista, mean_objective
from bench_lista import in_torch as lista_in_torch
from bench_purify import describe
from bench_purify import in_torch as purify_in_torch
from bench_support_gradient import on_supports, supports_of
from conftest import REPEATS

import srdfast
from srdfast import LISTA, OMP, Lasso
from srdfast.microbench import lasso_work, lista_work, omp_work, purify_work, support_gradient_work
from srdfast.networks import ResNet

IMAGES = [  # images, channels, height, width, stride, coder
    *((4096, 3, 32, 32, 2, coder) for coder in (LISTA(1), LISTA(3), OMP(4))),
    *((16, 1, 1080, 1920, 4, coder) for coder in (LISTA(1), OMP(4))),
    (4, 1, 2160, 3840, 4, LISTA(1)),
]


@pytest.fixture
def many(problem, sized, gpu):
    """Signals of the photograph over and over, and the dictionary learned from them, on the GPU."""

    def make(features, atoms):
        signals, dictionary = problem(features, atoms)
        repeated = np.tile(signals, (sized(64, 1), 1))
        return torch.from_numpy(repeated).to(gpu), torch.from_numpy(dictionary).to(gpu)

    return make


@pytest.mark.parametrize("selection", ["correlation", "residual"])
@pytest.mark.parametrize(("features", "max_atoms"), [(64, 4), (64, 8), (192, 4)])
def bench_omp(timed_on_gpu, many, features, max_atoms, selection):
    signals, dictionary = many(features, 256)
    few, coded = signals[:999], functools.partial(srdfast.omp, max_atoms=max_atoms, selection=selection)
    found, on_cpu = coded(few, dictionary), coded(few.cpu(), dictionary.cpu())
    left = mean_residual(few, dictionary, found)
    assert left == pytest.approx(mean_residual(few.cpu(), dictionary.cpu(), on_cpu), rel=1e-4)
    # But for ties within rounding, and for signals that are atoms: rounding is left of them, and coded on.
    assert (found.indices.cpu() == on_cpu.indices).float().mean() > 0.99
    prepared = srdfast.prepare(dictionary)
    timed_on_gpu(
        lambda: srdfast.omp(signals, prepared, max_atoms, selection=selection),
        "gpu: omp", f"{features} features, 256 atoms, L={max_atoms}, {selection}", "srdfast", len(signals),
        "signals", work=omp_work(features, 256, max_atoms, selection),
    )  # fmt: skip


def mean_residual(signals, dictionary, codes):
    """What codes leave of the signals: the mean of the squared norms."""
    return (signals - codes.reconstruct(dictionary)).square().sum(1).double().mean().item()


@pytest.mark.parametrize("library", ["srdfast", "torch FISTA"])
def bench_lasso(timed_on_gpu, many, sized, library):
    penalty = 0.1
    signals, dictionary = many(64, 256)
    codes = srdfast.lasso(signals[:2000], dictionary, penalty, 1e-6).values
    target = mean_objective(*back(signals[:2000], dictionary, codes), penalty)
    if library == "srdfast":
        prepared = srdfast.prepare(dictionary)
        call, notes = lambda: srdfast.lasso(signals, prepared, penalty, 1e-6), "gap 1e-6"
    else:
        fista, steps, excess = Fista(signals[:2000], dictionary, penalty), 0, np.inf
        while steps < sized(2000, 100) and excess > 1e-6:
            steps += 20
            found = fista.run(20)
            excess = mean_objective(*back(signals[:2000], dictionary, found), penalty) / target - 1
        signals = signals[: len(signals) // 8]  # still enough to fill a GPU
        call, notes = lambda: Fista(signals, dictionary, penalty).run(steps), f"{steps} steps, +{excess:.1e}"
    timed_on_gpu(
        call, "gpu: lasso", f"64 features, 256 atoms, penalty {penalty}", library, len(signals), "signals",
        work=lasso_work(64, 256), repeats=1, notes=notes,
    )  # fmt: skip


@pytest.mark.parametrize("library", ["srdfast", "torch"])
@pytest.mark.parametrize("coder", [OMP(4), OMP(8), Lasso(0.1, 1e-5)], ids=str)
def bench_support_gradient(timed_on_gpu, many, coder, library):
    signals, dictionary = many(64, 256)
    support, mean = supports_of(signals, dictionary, coder)
    prepared = srdfast.prepare(dictionary)
    calls = {
        "srdfast": lambda: srdfast.support_gradient(signals, support, prepared, rebuilt=True, nonfinite=None),
        "torch": lambda: on_supports(signals, support, dictionary, True),
    }
    torch.testing.assert_close(calls[library](), calls["srdfast"](), atol=1e-2, rtol=0)
    timed_on_gpu(
        calls[library], "gpu: support gradient", f"64 features, {coder}, of reconstructions", library,
        len(signals), "signals", work=support_gradient_work(64, round(mean), True),
        repeats=REPEATS if library == "srdfast" else 1, notes=f"{mean:.1f} atoms a signal",
    )  # fmt: skip


def back(*tensors):
    return [tensor.cpu().numpy() for tensor in tensors]


@pytest.mark.parametrize("library", ["srdfast", "torch"])
@pytest.mark.parametrize("steps", [1, 3])
def bench_lista(timed_on_gpu, learned, sized, gpu, steps, library):
    signals = np.random.default_rng(0).standard_normal((sized(1 << 18, 64), 192), np.float32)
    parts = [torch.from_numpy(array).to(gpu) for array in (signals, *learned(192, 256))]
    signals, synthesis, analysis, thresholds = parts
    calls = {
        "srdfast": lambda: srdfast.lista(signals, analysis, thresholds, synthesis, steps).values,
        "torch": lambda: lista_in_torch(signals, analysis, thresholds, synthesis, steps),
    }
    torch.testing.assert_close(calls[library](), calls["srdfast"](), atol=1e-4, rtol=0)
    timed_on_gpu(
        calls[library], "gpu: lista", f"192 features, 256 atoms, {steps} steps", library, len(signals),
        "signals", work=lista_work(192, 256, steps),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("count", "channels", "height", "width", "stride", "coder", "library"),
    [(*case, "srdfast") for case in IMAGES]
    + [(*case, "torch") for case in IMAGES if isinstance(case[-1], LISTA)],
)
def bench_purify(
    timed_on_gpu, learned, crops, quick, gpu, count, channels, height, width, stride, coder, library
):
    if quick:
        count, height, width = min(count, 4), min(height, 64), min(width, 96)
    parts = [torch.from_numpy(array).to(gpu) for array in learned(64 * channels, 256)]
    synthesis, analysis, thresholds = parts
    images = srdfast.split(torch.from_numpy(crops(count, channels, height, width)).to(gpu))[1]
    prepared = srdfast.prepare(*(parts if isinstance(coder, LISTA) else parts[:1]))
    calls = {
        "srdfast": lambda: srdfast.purify_patches(images, prepared, coder, stride=stride),
        "torch": lambda: purify_in_torch(images, analysis, thresholds, synthesis, coder.steps, stride),
    }
    torch.testing.assert_close(calls[library](), calls["srdfast"](), atol=1e-4, rtol=0)
    timed_on_gpu(
        calls[library], "gpu: purify patches", describe(channels, height, width, stride, coder), library,
        count, "images" if height < 100 else "frames", repeats=REPEATS if library == "srdfast" else 1,
        work=purify_work((channels, height, width), 256, coder, stride=stride),
    )  # fmt: skip


@pytest.mark.parametrize("size", [(1080, 1920), (32, 32)], ids=str)
def bench_split(timed_on_gpu, crops, quick, gpu, size):
    height, width = (64, 96) if quick else size
    count = 4096 if height == 32 else 4
    images = torch.from_numpy(crops(count, 3, height, width)).to(gpu)
    out = torch.empty_like(images), torch.empty_like(images)
    timed_on_gpu(
        lambda: srdfast.split(images, out=out),
        "gpu: split",
        f"{width}x{height}x3",
        "srdfast",
        count,
        "images",
    )


def with_resnet18():
    """The shipped purifier with an untrained ResNet-18 (512 latent features) for its encoder."""
    shipped, encoder = srdfast.Purifier.from_pretrained("cifar10"), ResNet(depth=18, width=64).eval()
    gaussians = shipped.bank.gaussians
    shape = len(gaussians), encoder.latent
    numbers = np.random.default_rng(0)
    gaussians = dataclasses.replace(
        gaussians,
        means=numbers.standard_normal(shape, np.float32),
        variances=np.ones(shape, np.float32),
    )
    return srdfast.Purifier(dataclasses.replace(shipped.bank, gaussians=gaussians), encoder)


@pytest.mark.parametrize("net", ["shipped", "ResNet-18"])
@pytest.mark.parametrize("encoder", ["float32", "bfloat16"])
def bench_purifier(timed_on_gpu, crops, sized, gpu, encoder, net):
    shipped = net == "shipped"
    purifier = (srdfast.Purifier.from_pretrained("cifar10") if shipped else with_resnet18()).to(gpu)
    images = torch.from_numpy(crops(sized(4096, 8), 3, 32, 32)).to(gpu)

    def call():
        with torch.autocast(gpu.type, torch.bfloat16, enabled=encoder == "bfloat16"):
            return purifier(images)

    call()
    timed_on_gpu(call, "gpu: purifier", f"{net} encoder in {encoder}", "srdfast", len(images), "images")


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "eager"])
def bench_frames(timed_on_gpu, crops, quick, gpu, graph):
    from srdfast.video import GpuFramePurifier

    height, width = (64, 96) if quick else (1080, 1920)
    luma = (255 * crops(1, 1, height, width)[0, 0]).astype(np.uint8)
    chroma = np.ascontiguousarray(luma[::2, ::2])
    planes = [torch.from_numpy(plane).to(gpu) for plane in (luma, chroma, chroma)]
    purifier = GpuFramePurifier("natural", device=gpu, graph=graph)
    for _ in range(3):
        purifier.purify(planes)
    case = f"{width}x{height} 4:2:0, {'graph' if graph else 'eager'}"
    timed_on_gpu(lambda: purifier.purify(planes), "gpu: frames", case, "srdfast", 1, "frames")


def bench_launch(timed_on_gpu, many, sized):
    """What Python and the driver take for a call of one signal."""
    signals, dictionary = many(64, 256)
    one, prepared = signals[:1].clone(), srdfast.prepare(dictionary)
    timed_on_gpu(
        lambda: srdfast.omp(one, prepared, 4), "gpu: launch", "omp of one signal", "srdfast", 1, "calls",
        repeats=sized(1000, 2),
    )  # fmt: skip
