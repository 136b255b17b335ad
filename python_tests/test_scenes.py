# SPDX-License-Identifier: Apache-2.0
"""Crops of photographs and videos: true to the pixels, shared out evenly, and the same for the same seed."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
from srdfast.errors import DataError
from srdfast.scenes import draw_crops

SIZE = 24


def photograph(path, rng, height=40, width=60):
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def clip(path, frames=5, height=32, width=48):
    """Every frame of one grey: 10, 50, 90, ..."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for number in range(frames):
            pixels = np.full((height, width, 3), 10 + 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def is_part(crop, pixels):
    """Whether a crop [3, size, size] lies somewhere in pixels [height, width, 3]."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels.transpose(2, 0, 1), crop.shape)
    return (windows == crop).all((-3, -2, -1)).any()


def test_crops_are_parts_of_the_photographs_shared_out_evenly(tmp_path, rng):
    pictures = [photograph(tmp_path / f"{name}.png", rng) for name in "abc"]
    crops = draw_crops([tmp_path], 7, SIZE)
    assert crops.shape == (7, 3, SIZE, SIZE) and crops.dtype == np.uint8
    owners = [[is_part(crop, pixels) for pixels in pictures].index(True) for crop in crops]
    assert owners == sorted(owners)
    assert max(np.bincount(owners)) - min(np.bincount(owners)) <= 1
    assert not (crops[0] == crops[1]).all(), "places are drawn anew"


def test_the_same_seed_draws_the_same_places(tmp_path, rng):
    photograph(tmp_path / "a.png", rng)
    first, second, other = (draw_crops([tmp_path / "a.png"], 3, SIZE, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_small_pictures_are_enlarged_until_they_fill_a_crop(tmp_path):
    Image.fromarray(np.full((6, 11, 3), 77, np.uint8)).save(tmp_path / "small.png")
    assert (draw_crops([tmp_path], 2, SIZE) == 77).all()


@pytest.mark.parametrize(
    ("count", "greys"), [(1, [10]), (2, [10, 170]), (3, [10, 90, 170]), (5, None), (9, None)]
)
def test_frames_lie_evenly_over_a_video(tmp_path, count, greys):
    clip(tmp_path / "clip.mkv")
    crops = draw_crops([tmp_path], count, SIZE)
    found = crops[:, 0, 0, 0].tolist()
    assert all((crop == crop[0, 0, 0]).all() for crop in crops)
    if greys is None:
        assert set(found) == {10, 50, 90, 130, 170} and found == sorted(found)
    else:
        assert found == greys


def test_what_cannot_be_used_is_named(tmp_path, rng):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        draw_crops([tmp_path / "nowhere"], 1, SIZE)
    with pytest.raises(DataError, match="no file in"):
        draw_crops([tmp_path], 1, SIZE)
    photograph(tmp_path / "a.png", rng)
    photograph(tmp_path / "b.png", rng)
    with pytest.raises(DataError, match="at least 2 crops, one of each file, got 1"):
        draw_crops([tmp_path], 1, SIZE)
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture"):
        draw_crops([tmp_path], 2, SIZE)
    pytest.importorskip("av")
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"a\.mp4: cannot be read as a video"):
        draw_crops([tmp_path], 2, SIZE)
