# SPDX-License-Identifier: Apache-2.0
"""The kernels on a GPU beside this package on two cores of a CPU and beside convolutional pursuit."""

import numpy as np
import pytest
import torch
from bench_convolutional import near
from convolutional import ConvAdmm

import srdfast
from srdfast.microbench import omp_work

PENALTY = 0.2
EXCESS = 1e-3  # of the objective over that of SPORCO, at which the other solver stops


@pytest.mark.parametrize("selection", ["correlation", "residual"])
@pytest.mark.parametrize(("features", "max_atoms"), [(64, 4), (64, 8), (192, 4)])
def bench_omp_on_cpu(timed, problem, gpu, features, max_atoms, selection):
    """The rows beside those of `bench_omp` in bench_gpu.py."""
    signals, dictionary = problem(features, 256)
    prepared = srdfast.prepare(dictionary)
    srdfast.set_num_threads(2)
    timed(
        lambda: srdfast.omp(signals, prepared, max_atoms, selection=selection),
        "gpu: omp", f"{features} features, 256 atoms, L={max_atoms}, {selection}", "srdfast, two CPU cores",
        len(signals), "signals", work=omp_work(features, 256, max_atoms, selection),
    )  # fmt: skip


@pytest.fixture
def task(problem, crops, sized, gpu):
    """Images [batch, 3, 32, 32], their low and high bands, and 64 filters [64, 3, 8, 8], on the GPU."""
    images = torch.from_numpy(crops(sized(256, 2), 3, 32, 32)).to(gpu)
    filters = torch.from_numpy(problem(192, 256)[1][:64].reshape(64, 3, 8, 8)).to(gpu)
    return images, *srdfast.split(images), filters


def sporco_solver(filters, high, steps=None):
    """SPORCO's ADMM on the GPU through cupy, or on numpy where sporco finds no GPU; its own stopping rule."""
    cbpdn, sporco_cupy = pytest.importorskip("sporco.cupy.admm.cbpdn"), pytest.importorskip("sporco.cupy")
    if high.is_cuda and not sporco_cupy.cupy_enabled():
        pytest.skip("sporco.cupy finds no cupy for this GPU")
    put = sporco_cupy.np2cp if sporco_cupy.cupy_enabled() else np.asarray
    atoms = np.ascontiguousarray(filters.cpu().numpy().transpose(2, 3, 1, 0))  # [8, 8, channels, filters]
    pixels = np.ascontiguousarray(high.cpu().numpy().transpose(2, 3, 1, 0))  # [..., channels, batch]
    options = cbpdn.ConvBPDN.Options({} if steps is None else {"MaxMainIter": steps})
    return cbpdn.ConvBPDN(put(atoms), put(pixels), PENALTY, options, dimK=1)


def codes_of(solver):
    """The sparse codes of SPORCO [batch, filters, height, width]."""
    codes = solver.Y.get() if hasattr(solver.Y, "get") else solver.Y  # [height, width, 1, batch, filters]
    return torch.from_numpy(np.ascontiguousarray(codes[:, :, 0].transpose(2, 3, 0, 1)))


def name(images):
    return f"{len(images)} images of 32x32x3"


def bench_purify(timed_on_gpu, task, problem, gpu):
    images = task[0]
    prepared = srdfast.prepare(torch.from_numpy(problem(192, 256)[1]).to(gpu))

    def purify():
        low, high = srdfast.split(images)
        return low + srdfast.purify_patches(high, prepared, srdfast.OMP(4))

    near(images.cpu().numpy(), purify().cpu().numpy())
    timed_on_gpu(
        purify, "gpu: convolutional", name(images), "srdfast", len(images), "images",
        notes="split and OMP(4), stride 2",
    )  # fmt: skip


def bench_sporco(timed_on_gpu, task, quick):
    images, _, high, filters = task
    steps = 20 if quick else None
    solver = sporco_solver(filters, high, steps)
    solver.solve()
    objective = ConvAdmm(filters, high, PENALTY).objective(codes_of(solver).to(high))
    timed_on_gpu(
        lambda: sporco_solver(filters, high, steps).solve(),
        "gpu: convolutional", name(images), "sporco ConvBPDN", len(images), "images", repeats=1,
        notes=f"64 filters 8x8x3, another method; {solver.k} steps, objective {objective:.4g}",
    )  # fmt: skip


def bench_torch(timed_on_gpu, task, sized):
    images, low, high, filters = task
    solver = sporco_solver(filters.cpu(), high[:4].cpu(), sized(1000, 20))
    solver.solve()
    judge = ConvAdmm(filters, high[:4], PENALTY)
    target, steps, excess = judge.objective(codes_of(solver).to(high)), 0, np.inf
    while steps < sized(1000, 60) and excess > EXCESS:
        steps += 10
        excess = judge.objective(judge.run(10)) / target - 1
    near(images[:4].cpu().numpy(), (low[:4] + judge.rebuilt(judge.codes)).cpu().numpy())
    timed_on_gpu(
        lambda: ConvAdmm(filters, high, PENALTY).run(steps),
        "gpu: convolutional", name(images), "torch ADMM", len(images), "images", repeats=1,
        notes=f"the same problem; {steps} steps, objective {excess:+.1e} from SPORCO's on four images",
    )  # fmt: skip
