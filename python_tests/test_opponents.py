# SPDX-License-Identifier: Apache-2.0
"""The trained opponents: of the stated cost, on the right images, resumable; the strengths of the others."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import srdfast.study
from srdfast import LISTA, Purifier, SRDBank, pretrained
from srdfast.clusters import Gaussians
from srdfast.data import Dataset
from srdfast.errors import ModelFormatError
from srdfast.evaluate import Settings
from srdfast.networks import ResNet
from srdfast.opponents import strengths, training
from srdfast.opponents.recipes import Recipe
from srdfast.opponents.training import Opponents
from srdfast.rival_networks import (
    Denoiser,
    PlainNet,
    denoiser_of_cost,
    load_denoiser,
    load_opponent,
    multiply_adds,
    purifier_multiply_adds,
    save_opponent,
)
from srdfast.stages.config import Config
from srdfast.stages.learned import dual_frame
from srdfast.study import PARTS, Subject, study, validation_rows
from srdfast.training import split_rows

RECIPE = Recipe(
    pairs=8, denoiser_epochs=1, dictionary_epochs=1, tuning_epochs=1, second_images=30, validation=0.2
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The networks here are too small to share out among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def purifier():
    """Two clusters of eight atoms of 8 x 8 x 3, one shrinkage step, a tiny encoder."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    gaussians = Gaussians(
        means=rng.normal(size=(2, 16)).astype(np.float32),
        variances=np.ones((2, 16), np.float32),
        log_priors=np.log([0.5, 0.5]).astype(np.float32),
        labels=np.array([0, 1]),
    )
    atoms = rng.normal(size=(2, 8, 192)).astype(np.float32) / 14
    bank = SRDBank(
        gaussians,
        atoms,
        LISTA(1),
        ("dark", "bright"),
        analysis=dual_frame(atoms),
        thresholds=np.full((2, 8), 0.01, np.float32),
    )
    return Purifier(bank, ResNet(depth=10, width=2, classes=2)).eval()


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(1)
    return ResNet(depth=10, width=2, classes=2).eval()


@pytest.fixture(scope="module")
def train():
    rng = np.random.default_rng(1)
    labels = np.arange(20) % 2
    images = rng.integers(0, 60, (20, 3, 16, 16)) + 150 * labels[:, None, None, None]
    return Dataset(images.astype(np.uint8), labels, ("dark", "bright"), "made up")


def test_the_denoiser_starts_as_the_identity_and_stays_in_the_range():
    images = torch.rand(2, 3, 9, 7)
    denoiser = Denoiser(5)
    torch.testing.assert_close(denoiser(images), images)
    nn.init.normal_(denoiser.layers[-1].weight)
    found = denoiser(images)
    assert found.shape == images.shape and 0 <= found.min() and found.max() <= 1


def test_costs_are_those_of_pencil_and_paper(purifier):
    inner = 6 * 9 * 5 * 5 + 2 * 9 * 5 * 3  # six inner layers, the first and the last
    assert multiply_adds(Denoiser(5), (3, 16, 16)) == 16 * 16 * inner
    patches = 5 * 5  # 16 x 16 pixels, patches of 8 at a stride of 2
    expected = multiply_adds(purifier.encoder, (3, 16, 16)) + patches * 2 * 8 * 192
    assert purifier_multiply_adds(purifier, (3, 16, 16)) == expected
    patches = 6 * 5  # the last patch of 17 pixels overlaps more
    assert purifier_multiply_adds(purifier, (3, 17, 16)) == patches * 2 * 8 * 192 + multiply_adds(
        purifier.encoder, (3, 17, 16)
    )
    denoiser = denoiser_of_cost(400_000, (3, 16, 16))
    width = int(denoiser.spec["width"])
    assert multiply_adds(denoiser, (3, 16, 16)) <= 400_000
    assert multiply_adds(Denoiser(width + 1), (3, 16, 16)) > 400_000


def test_networks_come_back_from_their_files(tmp_path):
    for network in (Denoiser(3), PlainNet(2, classes=3, pairs=2), PlainNet(2, pairs=2, stem=4)):
        images = torch.rand(2, 3, 32, 32)
        save_opponent(tmp_path / "net.safetensors", network.eval(), {"mark": "x"})
        found, about = load_opponent(tmp_path / "net.safetensors")
        torch.testing.assert_close(found(images), network(images))
        assert about["mark"] == "x" and not found.training
    bad = Denoiser(3)
    bad.spec = {"kind": "denoiser", "width": 4, "channels": 3}
    save_opponent(tmp_path / "bad.safetensors", bad, {})
    with pytest.raises(ModelFormatError, match="do not fit"):
        load_opponent(tmp_path / "bad.safetensors")
    save_opponent(tmp_path / "plain.safetensors", PlainNet(4), {})
    with pytest.raises(ModelFormatError, match="expected a denoiser"):
        load_denoiser(tmp_path / "plain.safetensors")


def test_a_stem_of_stride_four_is_for_images_of_four_times_the_side():
    images = torch.rand(2, 3, 32, 32)
    small, large = (PlainNet(2, pairs=2, stem=stem).eval().layers for stem in (1, 4))
    assert small(images).shape == large(images.repeat(1, 1, 4, 4)).shape == (2, 4, 8, 8)


def test_opponents_are_trained_once_on_the_right_images(purifier, classifier, train, tmp_path, monkeypatch):
    seen, passes = {}, []

    def watch(network, dataset, rows, schedule, *args, **options):
        seen[len(seen)] = (dataset.images[rows], dataset.labels[rows])
        passes.append(schedule.epochs)
        return real(network, dataset, rows, schedule, *args, **options)

    real = training.fit
    monkeypatch.setattr(training, "fit", watch)
    names = ("behind", "control", "denoiser", "one_dictionary", "second")
    opponents = Opponents(tmp_path, train, purifier, classifier, RECIPE, progress=False)
    first = [getattr(opponents, name) for name in names]
    rows, attacked = opponents.attacked.rows, opponents.attacked.versions[0]
    assert len(rows) == 8 and not set(rows) & set(opponents.validation)
    assert np.abs(attacked.astype(int) - train.images[rows]).max() in (7, 8)
    both = np.concatenate([train.images[rows], attacked])
    np.testing.assert_array_equal(seen[1][0], both)  # control
    assert seen[0][0].shape == both.shape and not np.array_equal(seen[0][0], both)
    np.testing.assert_array_equal(seen[0][1], np.tile(train.labels[rows], 2))
    np.testing.assert_array_equal(seen[4][0], train.images[opponents.learned])
    assert passes[4] == round(RECIPE.second_images / len(opponents.learned)) > 1

    assert not list(tmp_path.glob("checkpoint-*"))
    monkeypatch.setattr(training, "fit", lambda *a, **k: pytest.fail("trained again"))
    (tmp_path / "attacked.safetensors").unlink()  # nobody who has learned from them needs them
    again = Opponents(tmp_path, train, purifier, classifier, RECIPE, progress=False)
    images = torch.rand(3, 3, 16, 16)
    for name, before in zip(names, first, strict=True):
        assert torch.equal(getattr(again, name)(images), before(images))
    other = Opponents(
        tmp_path, train, purifier, classifier, Recipe(**{**RECIPE.__dict__, "second_images": 60})
    )
    assert other.denoiser is not None
    with pytest.raises(pytest.fail.Exception):
        other.second  # noqa: B018


def test_strengths_are_chosen_by_what_they_reach(monkeypatch):
    class Dark(nn.Module):
        def forward(self, images):
            return torch.stack([images.mean((1, 2, 3)), torch.full((len(images),), 0.5)], 1)

    monkeypatch.setattr(
        strengths, "CANDIDATES", {"add": (lambda value: lambda images: images + value, (0.0, 0.3, 0.1))}
    )
    images = torch.full((4, 3, 4, 4), 0.45)
    scores = strengths.measure_strengths(Dark(), images, torch.zeros(4, dtype=torch.long))
    assert scores == {"add": {0.0: (0.0, 0.0), 0.3: (1.0, 1.0), 0.1: (1.0, 1.0)}}
    ((name, rival),) = strengths.best_rivals(scores).items()
    assert name == "add 0.3"
    torch.testing.assert_close(rival(images), images + 0.3)


def test_the_study_keeps_its_settings_apart(purifier, classifier, train, tmp_path):
    opponents = Opponents(tmp_path, train, purifier, classifier, RECIPE, progress=False)
    settings = Settings(attacks=("fgsm",), adaptive=("bpda",), adaptive_images=2, adaptive_steps=1)
    subject = Subject(purifier, classifier, train, train, opponents=opponents)
    found = study(subject, settings, tmp_path / "out")
    kept = (tmp_path / "out" / "strengths.json").read_bytes()
    assert study(subject, settings, tmp_path / "out").as_dict() == found.as_dict()
    assert (tmp_path / "out" / "strengths.json").read_bytes() == kept
    assert list(found.parts) == list(PARTS.values())
    assert list(found.parts[PARTS["tuned"]].cells) == ["fine-tuned behind srdfast", "fine-tuned, no purifier"]
    rows = list(found.parts[PARTS["untouched"]].cells)
    for name in (
        "no defence",
        "random dictionary",
        "convolutional denoiser",
        "srdfast, one dictionary",
        "srdfast",
    ):
        assert name in rows
    seconds = list(found.parts[PARTS["second"]].cells)
    assert seconds == [name for name in rows if name != "random dictionary"]  # which is of the first alone
    page = (tmp_path / "out" / "report.md").read_text()
    tuned = study(subject, settings, tmp_path / "other", parts=["tuned"])
    assert tuned.parts[PARTS["tuned"]].cells == found.parts[PARTS["tuned"]].cells
    with pytest.raises(ValueError, match="second needs opponents"):
        study(Subject(purifier, classifier, train, train), settings, parts=["second"])
    with pytest.raises(ValueError, match="parts: expected names"):
        study(subject, settings, parts=["C"])
    assert all(f"## {title}" in page for title in found.parts) and "Strengths of the rivals" in page


def test_stl_is_the_low_band_where_no_code_pays():
    pytest.importorskip("sporco", reason="sporco is not installed")
    from sporco.signal import tikhonov_filter

    from srdfast.opponents.stl import PADDING, STRENGTH, stl

    images = pretrained.sample(2).tensors()[0]
    filters = np.random.default_rng(0).standard_normal((8, 8, 3, 4)).astype(np.float32) / 14
    low = tikhonov_filter(images[1].permute(1, 2, 0).numpy(), STRENGTH, PADDING)[0].clip(0, 1)
    found = stl(filters, penalty=1e3, iterations=50)(images)[1].permute(1, 2, 0)
    np.testing.assert_allclose(found, low, atol=2e-3)
    assert float((stl(filters, penalty=1e-3, iterations=50)(images) - images).abs().mean()) > 0


def test_strengths_are_chosen_on_images_of_every_class_that_training_keeps_aside():
    labels = np.arange(50_000) // 5000  # as in folders, class after class
    rows = validation_rows(labels)
    assert np.bincount(labels[rows]).tolist() == [30] * 10
    learned, _ = split_rows(len(labels), Config().validation, Config().seed)
    assert not set(rows) & set(learned)
    assert len(set(rows)) == 300


def test_strengths_on_other_images_are_measured_anew(purifier, classifier, train, tmp_path, monkeypatch):
    def file_of(rows):
        monkeypatch.setattr(srdfast.study, "validation_rows", lambda labels: np.array(rows))
        study(Subject(purifier, classifier, train, train), settings, tmp_path)
        return json.loads((tmp_path / "strengths.json").read_text())

    settings = Settings(attacks=(), adaptive=(), adaptive_images=0)
    first = file_of([0, 1])
    assert file_of([0, 1]) == first
    assert file_of([2, 3])["mark"] != first["mark"]
