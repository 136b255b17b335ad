# SPDX-License-Identifier: Apache-2.0
"""Frames: blocks that are functions of their windows, exact reuse, steady clusters, every kind of plane."""

import threading

import numpy as np
import pytest

import srdfast
from srdfast import LISTA, OMP, Gaussians, Lasso, SRDBank
from srdfast.planes import Levels, from_rgb, to_rgb
from srdfast.video import blocks
from srdfast.video.frames import FramePurifier

torch = pytest.importorskip("torch")
from srdfast.networks import ResNet  # noqa: E402
from srdfast.purifier import Purifier  # noqa: E402
from srdfast.video.choice import ClusterChoice, seen  # noqa: E402

LAYOUTS = {"gray": None, "420": (2, 2), "422": (1, 2), "444": (1, 1)}


def one_channel_bank(coder=None, clusters=1, latent=16, stride=4, strength=5.0, seed=0, channels=1):
    """Random dictionaries of 8 x 8 patches."""
    source, atoms, features = np.random.default_rng(seed), 32, 64 * channels
    synthesis = source.standard_normal((clusters, atoms, features)).astype(np.float32)
    synthesis /= np.linalg.norm(synthesis, axis=2, keepdims=True)
    learned = isinstance(coder, LISTA)
    return SRDBank(
        Gaussians(
            source.standard_normal((clusters, latent)).astype(np.float32),
            np.ones((clusters, latent), np.float32),
            np.zeros(clusters, np.float32),
            np.zeros(clusters, np.int64),
        ),
        synthesis,
        coder or OMP(2),
        ("anything",),
        analysis=synthesis / 2 if learned else None,
        thresholds=np.full((clusters, atoms), 0.01, np.float32) if learned else None,
        channels=channels,
        stride=stride,
        split_strength=strength,
    )


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Small networks: more threads only disturb the other tests of this machine."""
    torch.set_num_threads(1)


def picture(height, width, layout="gray", bit_depth=8, seed=0):
    """Planes of smooth random content."""
    source = np.random.default_rng(seed)
    shapes = [(height, width)]
    if LAYOUTS[layout]:
        down, across = LAYOUTS[layout]
        shapes += [(-(-height // down), -(-width // across))] * 2
    planes = []
    for shape in shapes:
        noise = source.standard_normal(shape)
        for axis in (0, 1):
            noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)
        codes = (128 + 12 * noise).clip(0, 255) / 255 * ((1 << bit_depth) - 1)
        planes.append(codes.astype(np.uint8 if bit_depth == 8 else np.uint16))
    return tuple(planes)


def clip_of(height, width, count, layout="420", bit_depth=8):
    """A static scene in which a small square moves, and a cut to another in the middle."""
    frames = []
    for number in range(count):
        planes = [
            plane.copy() for plane in picture(height, width, layout, bit_depth, seed=number > count // 2)
        ]
        at = 5 * number % max(1, height - 8)
        planes[0][at : at + 8, 3:11] = 200
        frames.append(tuple(planes))
    return frames


def two_cluster_purifier(seed=0, **options):
    torch.manual_seed(seed)
    encoder = ResNet(depth=10, width=2, classes=2, stem="small", **options).eval()
    return Purifier(one_channel_bank(clusters=2, latent=16), encoder, image_size=32).eval()


def steered(purifier, scores):
    """A purifier of frames whose clusters' scores are given, one pair a look."""
    frames = FramePurifier(purifier, hysteresis=3.0, choose_every=1)
    queue = [np.array([pair], np.float32) for pair in scores]
    frames._choice._encoding.nearest.scores = lambda latents: queue.pop(0)
    return frames


@pytest.mark.parametrize("coder", [OMP(2), Lasso(0.05), LISTA(1)], ids=["omp", "lasso", "lista"])
@pytest.mark.parametrize("shape", [(150, 200), (520, 530)], ids=["small blocks", "large blocks"])
def test_a_plane_is_purified_as_a_whole_image_is(coder, shape):
    bank = one_channel_bank(coder)
    (plane,) = picture(*shape)
    found = FramePurifier(bank).purify((plane,), full_range=True)[0].astype(float)
    image = plane[None, None].astype(np.float32) / 255
    low, high = srdfast.split(image, bank.split_strength)
    learned = {} if bank.analysis is None else {"analysis": bank.analysis, "thresholds": bank.thresholds}
    rebuilt = srdfast.purify_patches(high, bank.synthesis, coder, stride=bank.stride, **learned)
    wanted = 255 * np.clip(low + rebuilt, 0, 1)[0, 0]
    inside = np.s_[8:-10, 8:-10]  # at the borders fewer patches cover a pixel of the image
    apart = np.abs(found - wanted)[inside]
    if not isinstance(coder, OMP):  # which may choose another atom
        assert apart.max() < 1.5  # rounding, and what little the far pixels matter
    assert np.quantile(apart, 0.99) < 0.6


def test_the_low_band_of_a_window_is_that_of_the_whole_plane():
    (plane,) = picture(200, 170)
    image = np.ascontiguousarray(plane, np.float32)
    whole, _ = srdfast.split(image, 5.0)
    shape = blocks.Geometry.of(8, 4, 5.0, plane.shape)
    padded = np.pad(image, shape.halo + 64, "symmetric")
    for row in range(0, 200, shape.rows):
        for column in range(0, 170, shape.columns):
            window = padded[64 + row :, 64 + column :][: shape.window_rows, : shape.window_columns]
            band, _ = srdfast.split(np.ascontiguousarray(window), 5.0)
            wanted = whole[row : row + shape.rows, column : column + shape.columns]
            core = band[shape.halo :, shape.halo :][: wanted.shape[0], : wanted.shape[1]]
            assert np.abs(core - wanted).max() < 0.25  # of a code


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (360, 640), (540, 960), (1080, 1920), (2160, 3840)])
@pytest.mark.parametrize(("patch", "stride"), [(8, 4), (8, 3), (5, 5), (12, 1)])
def test_blocks_cover_a_plane_and_little_else(size, patch, stride):
    shape = blocks.Geometry.of(patch, stride, 5.0, size)
    for length, side in zip(size, (shape.rows, shape.columns), strict=True):
        count = -(-length // side)
        assert side % stride == 0 and side <= 128
        assert count * side < length + count * stride + 1
    assert shape.window_rows >= shape.rows + 2 * shape.halo
    assert shape.window_columns >= shape.columns + 2 * shape.halo


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (65, 131), (144, 97)])
def test_reuse_gives_the_same_bits(layout, bit_depth, height, width):
    bank = one_channel_bank()
    again, anew = FramePurifier(bank), FramePurifier(bank, reuse=False)
    for planes in clip_of(height, width, 6, layout, bit_depth):
        kept = [plane.copy() for plane in planes]
        for plane in planes:
            plane.setflags(write=False)
        purified = again.purify(planes, bit_depth=bit_depth)
        wanted = anew.purify(planes, bit_depth=bit_depth)
        for mine, other, plane, before in zip(purified, wanted, planes, kept, strict=True):
            assert mine.dtype == plane.dtype and mine.shape == plane.shape
            np.testing.assert_array_equal(mine, other)
            np.testing.assert_array_equal(plane, before)
        assert anew.last.reused == 0
        assert 0 <= again.last.reused <= 1


def test_a_frame_is_the_same_whatever_came_before():
    bank, frames = one_channel_bank(), clip_of(130, 190, 7)
    used = FramePurifier(bank)
    for planes in frames:
        found = used.purify(planes)
    for mine, wanted in zip(found, FramePurifier(bank).purify(frames[-1]), strict=True):
        np.testing.assert_array_equal(mine, wanted)


def test_only_blocks_near_a_change_are_coded_again():
    purifier = FramePurifier(one_channel_bank(), chroma=False)
    (plane,) = picture(64 * 6, 64 * 7)
    purifier.purify((plane,))
    assert purifier.last.reused == 0
    purifier.purify((plane.copy(),))
    assert purifier.last.reused == 1
    moved = plane.copy()
    moved[64 * 3 + 32, 64 * 3 + 32] ^= 1  # the middle of a block, further than a halo from the others
    purifier.purify((moved,))
    assert purifier.last.reused == pytest.approx(1 - 1 / 42)
    moved = moved.copy()
    moved[64 * 3, 64 * 3] ^= 1  # a corner where four blocks meet
    purifier.purify((moved,))
    assert purifier.last.reused == pytest.approx(1 - 4 / 42)


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_a_tolerance_keeps_what_hardly_moves(bit_depth):
    step, (plane,) = 1 << (bit_depth - 8), picture(64 * 3, 64 * 3, bit_depth=bit_depth)
    plane = plane // 2 + 10 * step
    purifier = FramePurifier(one_channel_bank(), tolerance=3)
    (first,) = purifier.purify((plane,), bit_depth=bit_depth)
    for near in (plane + 3 * step, plane - 3 * step, plane + 2 * step):
        (found,) = purifier.purify((near,), bit_depth=bit_depth)
        assert purifier.last.reused == 1
        np.testing.assert_array_equal(found, first)
    moved = plane.copy()
    moved[96, 96] += 4 * step  # in the middle block alone
    (found,) = purifier.purify((moved,), bit_depth=bit_depth)
    assert purifier.last.reused == pytest.approx(8 / 9)
    (wanted,) = FramePurifier(one_channel_bank()).purify((moved,), bit_depth=bit_depth)
    np.testing.assert_array_equal(found, wanted)
    purifier.purify((plane + 2 * step,), bit_depth=bit_depth)
    assert purifier.last.reused == 1  # compared with what was coded, not with the frame before
    purifier.purify((plane + 4 * step,), bit_depth=bit_depth)
    assert purifier.last.reused == 0


def test_a_change_of_any_pixel_is_seen():
    source = np.random.default_rng(0)
    plane = source.integers(0, 1024, (70, 101)).astype(np.uint16)
    geometry = blocks.Geometry.of(8, 4, 5.0, plane.shape)
    memory = blocks.Plane(plane.shape, plane.dtype, geometry)
    memory.advance(plane)
    earlier = plane
    for _ in range(50):
        y, x = source.integers(0, 70), source.integers(0, 101)
        plane = plane.copy()
        plane[y, x] ^= 1 << source.integers(0, 10)
        changed = {tuple(map(int, place)) for place in memory.advance(plane)}
        padded = np.pad(plane, geometry.halo + 64, "symmetric")[64:, 64:]
        before = np.pad(earlier, geometry.halo + 64, "symmetric")[64:, 64:]
        near = {
            (row, column)
            for row in range(0, 70, geometry.rows)
            for column in range(0, 101, geometry.columns)
            if (padded != before)[row:, column:][: geometry.rows + 32, : geometry.columns + 32].any()
        }
        assert near <= changed  # a window may reach a little further to the right
        earlier = plane


@pytest.mark.parametrize("stride", [1, 3, 5, 8])
def test_every_stride_covers_every_pixel(stride):
    bank = one_channel_bank(LISTA(1), stride=stride)
    identity = np.eye(64, dtype=np.float32)[None]
    exact = SRDBank(
        bank.gaussians,
        identity,
        LISTA(1),
        bank.classes,
        identity,
        np.zeros((1, 64), np.float32),
        1,
        8,
        stride,
    )
    planes = picture(150, 133, "420")
    for found, plane in zip(FramePurifier(exact).purify(planes), planes, strict=True):
        np.testing.assert_array_equal(found, plane)  # what keeps the whole high band changes nothing


@pytest.mark.parametrize("bit_depth", [8, 10, 12, 16])
@pytest.mark.parametrize("full_range", [False, True])
def test_codes_keep_their_meaning_at_every_depth(bit_depth, full_range):
    bank = one_channel_bank(LISTA(1))
    eight = picture(80, 90, "444")
    step = 1 << (bit_depth - 8)
    planes = tuple(
        (plane.astype(np.uint16) * step).astype(plane.dtype if step == 1 else np.uint16) for plane in eight
    )
    found = FramePurifier(bank).purify(planes, bit_depth=bit_depth, full_range=full_range)
    wanted = FramePurifier(bank).purify(eight, full_range=full_range)
    for mine, other in zip(found, wanted, strict=True):
        assert np.abs(mine / step - other).max() <= (1.1 if full_range else 0.51)


def test_flat_planes_pass_unchanged_at_both_ends():
    purifier = FramePurifier(one_channel_bank())
    for code in (0, 16, 128, 235, 255):
        planes = (np.full((33, 40), code, np.uint8),) * 3
        for found in purifier.purify(planes):
            np.testing.assert_array_equal(found, code)


def test_chroma_can_be_left_alone():
    planes = picture(70, 70, "420")
    found = FramePurifier(one_channel_bank(), chroma=False).purify(planes)
    assert (found[0] != planes[0]).any()
    for mine, plane in zip(found[1:], planes[1:], strict=True):
        np.testing.assert_array_equal(mine, plane)
        assert not np.shares_memory(mine, plane)


def test_a_result_is_not_written_to_later():
    purifier = FramePurifier(one_channel_bank())
    first, second = clip_of(70, 80, 2)
    found = purifier.purify(first)
    kept = [plane.copy() for plane in found]
    purifier.purify(second)
    for plane, before in zip(found, kept, strict=True):
        np.testing.assert_array_equal(plane, before)


def test_another_size_or_format_starts_anew():
    bank = one_channel_bank()
    purifier = FramePurifier(bank)
    for planes, options in (
        (picture(64, 70, "420"), {}),
        (picture(40, 30, "420"), {}),
        (picture(40, 30, "444"), {}),
        (picture(40, 30, "444"), {"full_range": True}),
        (picture(40, 30, "444", 10), {"bit_depth": 10}),
        (picture(40, 30), {}),
    ):
        found = purifier.purify(planes, **options)
        assert purifier.last.reused == 0
        for mine, other in zip(found, FramePurifier(bank).purify(planes, **options), strict=True):
            np.testing.assert_array_equal(mine, other)
    purifier.reset()
    purifier.purify(planes)
    assert purifier.last.reused == 0


def drifting(height, width, count, seed=0):
    """A scene whose light changes a little from frame to frame, with a cut before the last one."""
    source, first = np.random.default_rng(seed), picture(height, width, seed=seed)[0]
    frames = [(first + source.integers(0, 3, first.shape)).astype(np.uint8) for _ in range(count - 1)]
    return [(plane,) for plane in (*frames, picture(height, width, seed=seed + 1)[0])]


@pytest.mark.parametrize("shape", [(70, 100), (150, 130)])
def test_a_warm_start_gives_the_answer_of_a_cold_one(shape):
    bank = one_channel_bank(Lasso(0.05, gap_tolerance=1e-6))
    warm, cold = FramePurifier(bank), FramePurifier(bank, warm_start=False)
    for planes in drifting(*shape, 6):
        found, wanted = warm.purify(planes)[0], cold.purify(planes)[0]
        apart = np.abs(found.astype(int) - wanted)
        assert apart.max() <= 1 and (apart > 0).mean() < 0.01  # a half that is rounded up or down


def test_a_warm_start_keeps_unchanged_patches_to_the_bit():
    bank = one_channel_bank(Lasso(0.05))
    again, anew = FramePurifier(bank), FramePurifier(bank, reuse=False)
    for planes in clip_of(130, 100, 6):
        for mine, other in zip(again.purify(planes), anew.purify(planes), strict=True):
            np.testing.assert_array_equal(mine, other)
    assert again.last.reused > 0


def test_a_warm_start_forgets_the_codes_of_another_cluster():
    purifier = two_cluster_purifier()
    bank = one_channel_bank(Lasso(0.05), clusters=2)
    frames = steered(Purifier(bank, purifier.encoder, image_size=32).eval(), [(0, 9), (9, 0)])
    first, second, _ = drifting(70, 90, 3)
    frames.purify(first)
    found = frames.purify(second)[0]
    assert frames.last.cluster == 0
    alone = steered(Purifier(bank, purifier.encoder, image_size=32).eval(), [(9, 0)])
    wanted = alone.purify(second)[0]
    np.testing.assert_array_equal(found, wanted)


def test_a_cluster_changes_only_by_a_margin():
    frames = steered(two_cluster_purifier(), [(0, 1), (1, 0), (4.1, 1), (4, 6), (4, 7.5)])
    seen_clusters = []
    for planes in clip_of(48, 48, 5):
        frames.purify(planes)
        seen_clusters.append(frames.last.cluster)
    assert seen_clusters == [1, 1, 0, 0, 1]
    assert frames.last.log_likelihood == pytest.approx(7.5)


def test_a_new_cluster_codes_everything_again():
    frames = steered(two_cluster_purifier(), [(0, 9), (0, 9), (9, 0)])
    planes = picture(96, 96)
    outputs = [frames.purify(planes)[0] for _ in range(3)]
    assert frames.last.reused == 0
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert (outputs[1] != outputs[2]).any()


def test_the_encoder_looks_when_it_must():
    choice = ClusterChoice(two_cluster_purifier(), 1.0, 4)
    looks, seen_frames = [], []
    choice._look = lambda *arguments: looks.append(len(seen_frames))
    (plane,), other = picture(64, 64, seed=1), picture(64, 64, seed=2)
    brighter = (plane + 3,)  # enough to look when it is time, not enough to look before
    for planes in [(plane,)] + [brighter] * 5 + [other] * 2:
        choice.update(planes, [Levels.of(8, False, False)], "bt709")
        seen_frames.append(planes)
    assert looks == [0, 4, 6]


def test_the_encoder_seldom_looks_where_nothing_happens():
    choice = ClusterChoice(two_cluster_purifier(), 1.0, 2)
    looks, source, (plane,) = [], np.random.default_rng(0), picture(64, 64, seed=1)
    for number in range(40):
        choice._look = lambda *arguments, number=number: looks.append(number)
        noise = (source.random(plane.shape) < 0.3).astype(np.uint8)  # a code here and there
        choice.update((plane ^ noise,), [Levels.of(8, False, False)], "bt709")
    assert looks == [0, 16, 32]


def test_the_encoder_sees_the_colours():
    red, green, blue = 0.8, 0.4, 0.1
    for matrix in ("bt601", "bt709", "bt2020"):
        for full_range in (False, True):
            levels = [Levels.of(8, full_range, chroma) for chroma in (False, True, True)]
            values = from_rgb(red, green, blue, matrix)
            codes = [
                round(level.zero + level.span * value) for level, value in zip(levels, values, strict=True)
            ]
            shapes = (90, 70), (45, 35), (45, 35)
            planes = [np.full(*pair, np.uint8) for pair in zip(shapes, codes, strict=True)]
            view = seen(planes, levels, matrix, 32)
            assert view.shape == (1, 3, 32, 32)
            np.testing.assert_allclose(view[0, :, 5, 5], (red, green, blue), atol=0.01)
            np.testing.assert_allclose(to_rgb(*values, matrix), (red, green, blue), atol=1e-12)


def test_an_encoder_of_grey_sees_the_luma():
    planes = picture(60, 60, "420")
    grey = two_cluster_purifier(mean=[0.5], std=[0.25])
    for some in (planes, planes[:1]):
        frames = FramePurifier(grey)
        frames.purify(some)
        view = seen(planes[:1], [Levels.of(8, False, False)], "bt709", 32)[:, :1]
        assert frames.last.cluster == int(grey.assign(view)[0])


def test_the_encoder_sees_a_reduced_frame():
    from PIL import Image

    (plane,) = picture(700, 900)
    view = seen((plane,), [Levels.of(8, True, False)], "bt709", 64)[0, 0].numpy()
    wanted = np.asarray(Image.fromarray(plane).resize((64, 64), Image.Resampling.BILINEAR)) / 255
    assert np.abs(view - wanted).mean() < 0.01


def test_purifiers_run_beside_each_other():
    bank, frames = one_channel_bank(), clip_of(100, 120, 4)
    wanted = [FramePurifier(bank).purify(planes) for planes in frames]
    found = {}

    def work(name):
        purifier = FramePurifier(bank)
        found[name] = [purifier.purify(planes) for planes in frames]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outputs in found.values():
        for mine, other in zip(outputs, wanted, strict=True):
            for left, right in zip(mine, other, strict=True):
                np.testing.assert_array_equal(left, right)


def test_a_failed_frame_is_forgotten(monkeypatch):
    purifier, (first, second) = FramePurifier(one_channel_bank()), clip_of(64, 64, 2)
    purifier.purify(first)
    with monkeypatch.context() as broken:
        broken.setattr(purifier, "_code", lambda work: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            purifier.purify(second)
    purifier.purify(second)
    assert purifier.last.reused == 0


def test_models_come_as_files(tmp_path):
    bank, purifier = one_channel_bank(), two_cluster_purifier()
    bank.save(tmp_path / "bank.safetensors")
    purifier.save(tmp_path / "purifier.safetensors")
    planes = picture(50, 60, "420")
    for model, file in ((bank, "bank.safetensors"), (purifier, "purifier.safetensors")):
        wanted = FramePurifier(model).purify(planes)
        for mine, other in zip(FramePurifier(tmp_path / file).purify(planes), wanted, strict=True):
            np.testing.assert_array_equal(mine, other)


U8, U16 = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint16)


@pytest.mark.parametrize(
    ("planes", "options", "error", "text"),
    [
        ((U8, U8), {}, ValueError, "planes: .* 2 planes"),
        (U8, {}, ValueError, "planes: .* ndarray"),
        ((U16,), {}, TypeError, "planes: .* uint8"),
        ((U8,), {"bit_depth": 10}, TypeError, "planes: .* uint16"),
        ((U8,), {"bit_depth": 7}, ValueError, "bit_depth"),
        ((U8,), {"matrix": "rec709"}, ValueError, "matrix"),
        ((U16 + 1024,), {"bit_depth": 10}, ValueError, "planes: .* 10 bits, got 1024"),
        ((U8[None],), {}, TypeError, "planes: .* \\[1, 16, 16\\]"),
        ((U8[:0],), {}, TypeError, "planes"),
        ((U8, U8[:8, :8], U8), {}, ValueError, "planes: expected U and V"),
        ((U8, U8[:4, :4], U8[:4, :4]), {}, ValueError, "got 4 x 4"),
    ],
)
def test_frames_are_checked(planes, options, error, text):
    with pytest.raises(error, match=text):
        FramePurifier(one_channel_bank()).purify(planes, **options)


def test_settings_are_checked():
    bank = one_channel_bank()
    for options, text in (
        ({"hysteresis": -1}, "hysteresis"),
        ({"hysteresis": np.nan}, "hysteresis"),
        ({"choose_every": 0}, "choose_every"),
        ({"tolerance": -1}, "tolerance"),
        ({"tolerance": 0.5}, "tolerance"),
    ):
        with pytest.raises(ValueError, match=text):
            FramePurifier(bank, **options)
    with pytest.raises(srdfast.DeviceError, match="device"):
        FramePurifier(bank, device="cuda")
    with pytest.raises(ValueError, match="channels"):
        FramePurifier(one_channel_bank(channels=3))
    with pytest.raises(ValueError, match="bank of 2"):
        FramePurifier(one_channel_bank(clusters=2))
    with pytest.raises(ValueError, match="split_strength"):
        FramePurifier(one_channel_bank(strength=1e4))
    with pytest.raises(TypeError, match="model"):
        FramePurifier(3)
    with pytest.raises(FileNotFoundError):
        FramePurifier("no-such-model")


def test_the_shipped_model_purifies_video():
    from srdfast import pretrained

    if not (pretrained.FOLDER / "natural.safetensors").is_file():
        pytest.skip("no natural.safetensors in this checkout")
    assert pretrained.path("natural").stat().st_size <= 6_000_000
    purifier = FramePurifier("natural")
    y, x = np.mgrid[:120, :160]
    shapes = 60 * np.sin(x / 25) * np.cos(y / 19) + 50 * (
        np.hypot(y - 60, x - 80) < 35
    )  # shading and an edge
    luma = (110 + shapes).astype(np.uint8)
    planes = (luma, luma[::2, ::2] // 4 + 90, luma[::2, ::2] // 8 + 100)
    source = np.random.default_rng(0)
    noisy = tuple((plane + source.choice([-8, 8], plane.shape)).astype(np.uint8) for plane in planes)
    purified, clean = purifier.purify(noisy), purifier.purify(planes)
    error = [np.abs(found[0].astype(int) - planes[0]).mean() for found in (noisy, purified, clean)]
    assert error[2] < error[1] < 0.75 * error[0]
