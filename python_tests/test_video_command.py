# SPDX-License-Identifier: Apache-2.0
"""`srdfast video` with a real purifier: the command gives the bits that the function gives."""

import dataclasses

import numpy as np
import pytest

import srdfast
from srdfast import cli
from srdfast.clusters import Gaussians

pytest.importorskip("av")
frames_module = pytest.importorskip("srdfast.video.frames")
import videos  # noqa: E402


@pytest.fixture
def model(tmp_path, rng):
    """A bank of one dictionary of 8x8 atoms, which needs no encoder."""
    atoms = rng.normal(size=(1, 32, 64)).astype(np.float32)
    atoms -= atoms.mean(axis=-1, keepdims=True)
    atoms /= np.linalg.norm(atoms, axis=-1, keepdims=True)
    one = np.ones((1, 1), np.float32)
    gaussians = Gaussians(means=0 * one, variances=one, log_priors=0 * one[0], labels=np.array([0]))
    bank = srdfast.SRDBank(
        gaussians=gaussians,
        synthesis=atoms,
        coder=srdfast.OMP(max_atoms=2),
        classes=("all",),
        channels=1,
        patch=8,
        stride=4,
    )
    bank.save(tmp_path / "bank.safetensors")
    return tmp_path / "bank.safetensors"


@pytest.mark.parametrize(("option", "chroma"), [((), True), (("--luma-only",), False)])
def test_the_command_gives_the_bits_of_the_purifier(model, tmp_path, capsys, option, chroma):
    frames = videos.noise(3, 70, 50)
    source, target = videos.make(tmp_path / "in.mkv", frames), tmp_path / "out.mkv"
    line = ["video", source, target, "--model", model, "--codec", "ffv1", *option]
    assert cli.main(list(map(str, line))) == 0
    assert capsys.readouterr().out == f"{target}\n"
    purifier = srdfast.video.FramePurifier(model, chroma=chroma)
    expected = [purifier.purify(planes, matrix="bt601") for planes in frames]
    found, _ = videos.read(target)
    assert videos.equal(found, expected)
    assert not np.array_equal(found[0][0], frames[0][0])
    assert np.array_equal(found[0][1], frames[0][1]) != chroma


def test_tolerance_keeps_what_hardly_changes(model, tmp_path):
    first = videos.noise(1, 70, 50)[0]
    second = tuple(plane ^ 1 for plane in first)  # a code away everywhere
    source, target = videos.make(tmp_path / "in.mkv", [first, second]), tmp_path / "out.mkv"
    line = ["video", source, target, "--model", model, "--codec", "ffv1", "--tolerance", 1]
    assert cli.main(list(map(str, line))) == 0
    found, _ = videos.read(target)
    assert videos.equal(found[1:], found[:1])


@pytest.mark.parametrize(("option", "warm"), [((), True), (("--no-warm-start",), False)])
def test_warm_starts_can_be_switched_off(model, tmp_path, option, warm):
    bank = dataclasses.replace(srdfast.SRDBank.load(model), coder=srdfast.Lasso(0.1))
    bank.save(tmp_path / "lasso.safetensors")
    frames = videos.noise(3, 70, 50)
    source, target = videos.make(tmp_path / "in.mkv", frames), tmp_path / "out.mkv"
    line = ["video", source, target, "--model", tmp_path / "lasso.safetensors", "--codec", "ffv1", *option]
    assert cli.main(list(map(str, line))) == 0
    purifier = srdfast.video.FramePurifier(bank, warm_start=warm)
    expected = [purifier.purify(planes, matrix="bt601") for planes in frames]
    assert videos.equal(videos.read(target)[0], expected)


@pytest.mark.parametrize(
    ("option", "value"), [("--tolerance", "256"), ("--hysteresis", "-1"), ("--choose-every", "0")]
)
def test_settings_out_of_range_are_one_line(model, tmp_path, capsys, option, value):
    source = videos.make(tmp_path / "in.mkv", videos.noise(1))
    line = ["video", source, tmp_path / "out.mkv", "--model", model, option, value]
    assert cli.main(list(map(str, line))) == 2
    error = capsys.readouterr().err
    assert option.removeprefix("--").replace("-", "_") in error and error.count("\n") == 1
    assert not list(tmp_path.glob("out*"))


def test_a_model_that_is_missing_is_an_error(tmp_path, capsys):
    source = videos.make(tmp_path / "in.mkv", videos.noise(1))
    assert cli.main(["video", str(source), str(tmp_path / "out.mkv"), "--model", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "out.mkv").exists()
