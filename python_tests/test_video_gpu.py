# SPDX-License-Identifier: Apache-2.0
"""Frames purified as whole planes where they lie: the results of blocks, steady clusters, any library."""

import dataclasses

import numpy as np
import pytest
from test_frames import clip_of, one_channel_bank, picture

torch = pytest.importorskip("torch")

from devices import EMULATED, cuda_or_skip  # noqa: E402

import srdfast  # noqa: E402
from srdfast import LISTA, OMP  # noqa: E402
from srdfast.networks import ResNet  # noqa: E402
from srdfast.planes import Levels  # noqa: E402
from srdfast.purifier import Purifier  # noqa: E402
from srdfast.video import FramePurifier, GpuFramePurifier  # noqa: E402
from srdfast.video.choice import seen  # noqa: E402

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def one_torch_thread():
    torch.set_num_threads(1)


def purifier(clusters=3, seed=4):
    """A Purifier whose cluster means are spread around the latents of a grey picture."""
    torch.manual_seed(seed)
    encoder = ResNet(depth=10, width=2, classes=2).eval()
    bank = one_channel_bank(LISTA(1), clusters, encoder.latent)
    return Purifier(bank, encoder, image_size=32).eval()


def tensors(planes, device="cpu"):
    return tuple(torch.from_numpy(plane).to(device) for plane in planes)


@pytest.mark.parametrize("coder", [OMP(2), LISTA(1)], ids=["omp", "lista"])
@pytest.mark.parametrize(
    ("size", "layout", "bit_depth"),
    [((70, 90), "420", 8), ((64, 64), "444", 10), ((33, 47), "422", 8), ((16, 16), "gray", 12)],
    ids=str,
)
def test_whole_planes_agree_with_blocks(coder, size, layout, bit_depth):
    bank = one_channel_bank(coder)
    planes = picture(*size, layout, bit_depth)
    expected = FramePurifier(bank).purify(planes, bit_depth=bit_depth)
    found = GpuFramePurifier(bank, device="cpu").purify(tensors(planes), bit_depth=bit_depth)
    for mine, theirs in zip(found, expected, strict=True):
        apart = np.abs(mine.numpy().astype(int) - theirs.astype(int)) / (1 << (bit_depth - 8))
        assert mine.dtype == getattr(torch, theirs.dtype.name) and apart.max() <= 1
        assert (apart >= 1).mean() < 0.01 or bit_depth > 8


def test_clusters_are_those_of_the_other_purifier_and_as_steady():
    model = purifier()
    frames = clip_of(48, 64, 6)
    one = FramePurifier(model, choose_every=1, hysteresis=0.5)
    other = GpuFramePurifier(model, device="cpu", choose_every=1, hysteresis=0.5)
    for planes in frames:
        one.purify(planes)
        other.purify(tensors(planes))
        assert one.last.cluster == other.last.cluster
        assert abs(one.last.log_likelihood - other.last.log_likelihood) < 0.05 * abs(one.last.log_likelihood)


def test_a_cluster_that_is_hardly_likelier_does_not_replace_the_present_one():
    model, pictures = purifier(2), [picture(48, 64, "420", seed=seed) for seed in (0, 1)]
    levels = [Levels.of(8, False, chroma) for chroma in (False, True, True)]
    views = torch.cat([seen(planes, levels, "bt709", 32) for planes in pictures])
    means = model.encoder.latents(views).detach().numpy()  # each picture is at the middle of one cluster
    spread = np.full_like(means, ((means[0] - means[1]) ** 2).mean())
    gaussians = dataclasses.replace(model.bank.gaussians, means=means, variances=spread)
    model = Purifier(dataclasses.replace(model.bank, gaussians=gaussians), model.encoder, image_size=32)

    def clusters(hysteresis):
        steady = GpuFramePurifier(model, device="cpu", choose_every=1, hysteresis=hysteresis)
        return [steady.purify(tensors(planes)) and steady.last.cluster for planes in (*pictures, *pictures)]

    assert clusters(0.0) == [0, 1, 0, 1] and clusters(1e9) == [0, 0, 0, 0]


def test_the_encoder_looks_every_so_many_frames():
    looks, steady = [], GpuFramePurifier(purifier(), device="cpu", choose_every=3)
    honest = steady._choice.look
    steady._choice.look = lambda *args: looks.append(1) or honest(*args)
    for planes in clip_of(48, 64, 7):
        steady.purify(tensors(planes))
    assert len(looks) == 3
    steady.reset()
    steady.purify(tensors(planes))
    assert len(looks) == 4


def test_numpy_frames_come_back_as_numpy_and_chroma_can_stay():
    planes = picture(40, 48, "420")
    found = GpuFramePurifier(one_channel_bank(), device="cpu", chroma=False).purify(planes)
    assert all(isinstance(plane, np.ndarray) for plane in found)
    assert not np.array_equal(found[0], planes[0])
    for mine, theirs in zip(found[1:], planes[1:], strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert not np.shares_memory(mine, theirs)


def test_what_is_no_frame_is_named():
    steady = GpuFramePurifier(one_channel_bank(), device="cpu")
    with pytest.raises(TypeError, match="planes: expected Y as uint8"):
        steady.purify((torch.zeros(20, 20),))
    with pytest.raises(ValueError, match="expected U and V of"):
        steady.purify((*tensors(picture(20, 20)), *[torch.zeros(3, 3, dtype=torch.uint8)] * 2))
    with pytest.raises(ValueError, match="choose_every"):
        GpuFramePurifier(one_channel_bank(), device="cpu", choose_every=0)
    if not torch.cuda.is_available():
        with pytest.raises(srdfast.DeviceError, match="device: torch finds no GPU"):
            GpuFramePurifier(one_channel_bank(), device="cuda")
    with pytest.raises(srdfast.DeviceError, match="GpuFramePurifier"):
        FramePurifier(one_channel_bank(), device="cuda")


def test_a_gpu_gives_the_frames_of_the_cpu_with_and_without_graphs(monkeypatch):
    device = cuda_or_skip(monkeypatch)
    frames = clip_of(40, 48, 2 if EMULATED else 12)
    bank = one_channel_bank(LISTA(1))
    expected = [FramePurifier(bank).purify(planes) for planes in frames]
    for graph in (False, True):
        steady = GpuFramePurifier(bank, device=device, graph=graph)
        for planes, theirs in zip(frames, expected, strict=True):
            for mine, plane in zip(steady.purify(tensors(planes, device)), theirs, strict=True):
                assert mine.device == device
                assert np.abs(mine.cpu().numpy().astype(int) - plane.astype(int)).max() <= 1
