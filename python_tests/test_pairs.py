# SPDX-License-Identifier: Apache-2.0
"""The attacked training images of the refinement: each once, in the shares asked for, within their radius."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srdfast.stages.pairs import (  # noqa: E402
    PROTECTED,
    SINGLE,
    Diet,
    attack_in_shares,
    mean_logits,
    several,
)

QUIET = {"epsilon": 8 / 255, "device": torch.device("cpu"), "bf16": False, "progress": False}


def linear(seed):
    """Logits [batch, 4] of images [batch, 3, 8, 8]."""
    weights = torch.randn(192, 4, generator=torch.Generator().manual_seed(seed))
    return lambda images: images.flatten(1).float() @ weights


@pytest.fixture
def images(rng):
    return torch.from_numpy(rng.integers(60, 190, (200, 3, 8, 8)).astype(np.uint8))


@pytest.fixture
def labels(rng):
    return torch.from_numpy(rng.integers(0, 4, 200))


def changes(images, attacked):
    """Largest change of a pixel of each image, in levels."""
    return (attacked.int() - images.int()).abs().flatten(1).amax(1)


@pytest.mark.parametrize("diet", [SINGLE, several(["shallow"]), several(["shallow", "isotropic"])])
def test_the_shares_of_a_diet_add_up_to_one(diet):
    for shares in (diet.sources, diet.attacks, diet.strengths):
        assert sum(shares.values()) == pytest.approx(1)
    assert sum(share for *_, share in diet.combinations()) == pytest.approx(1)


def test_every_image_is_attacked_within_the_radius_of_its_share(images, labels):
    diet = Diet({PROTECTED: 1.0}, {"fgsm": 1.0}, {1.0: 0.5, 0.5: 0.3, 1.5: 0.2})
    attacked = attack_in_shares({PROTECTED: linear(0)}, images, labels, diet=diet, seed=0, **QUIET)
    values, counts = changes(images, attacked).unique(return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {8: 100, 4: 60, 12: 40}


def test_each_source_is_attacked_in_its_share(images, labels):
    models = {"one": linear(1), "other": linear(2)}
    diet = Diet({"one": 0.75, "other": 0.25}, {"fgsm": 1.0}, {1.0: 1.0})
    attacked = attack_in_shares(models, images, labels, diet=diet, seed=0, **QUIET)
    for name, share in diet.sources.items():
        alone = Diet({name: 1.0}, {"fgsm": 1.0}, {1.0: 1.0})
        expected = attack_in_shares(models, images, labels, diet=alone, seed=0, **QUIET)
        same = (attacked == expected).flatten(1).all(1).float().mean()
        assert same == pytest.approx(share)


def test_the_same_seed_gives_the_same_images_and_another_one_others(images, labels):
    models = {name: linear(number) for number, name in enumerate((PROTECTED, "a", "together", "robust"))}

    def attacked(seed):
        return attack_in_shares(models, images, labels, diet=several(["a"]), seed=seed, **QUIET)

    assert torch.equal(attacked(3), attacked(3)) and not torch.equal(attacked(3), attacked(4))


def test_the_mean_of_models_is_that_of_their_logits(images):
    inputs = images.float() / 255
    mean = mean_logits([linear(1), linear(2), linear(3)])(inputs)
    expected = sum(linear(seed)(inputs).double() for seed in (1, 2, 3)) / 3
    torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-5)


def test_images_taken_some_at_a_time_are_attacked_alike(images, labels, monkeypatch):
    """The seed of each batch of 256 is its place among all images of its share."""
    images, labels = images.repeat(4, 1, 1, 1), labels.repeat(4)
    diet = Diet({PROTECTED: 1.0}, {"pgd": 0.75, "vmi_fgsm": 0.25}, {1.0: 1.0})
    together = attack_in_shares({PROTECTED: linear(0)}, images, labels, diet=diet, seed=3, **QUIET)
    monkeypatch.setattr("srdfast.stages.pairs.ATTACKED_TOGETHER", 256)
    apart = attack_in_shares({PROTECTED: linear(0)}, images, labels, diet=diet, seed=3, **QUIET)
    assert torch.equal(together, apart)
