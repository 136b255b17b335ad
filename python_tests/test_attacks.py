# SPDX-License-Identifier: Apache-2.0
"""The attacks: inside the ball, effective, as published, and without side effects."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from srdfast.attacks import ATTACKS, attack_batches, fgsm, mi_fgsm, pgd, vmi_fgsm

EPSILON = 8 / 255
CLIMBERS = ("fgsm", "pgd", "mi_fgsm", "vmi_fgsm", "apgd_ce")  # they raise the loss, right or wrong


class Small(nn.Module):
    """A smooth classifier with batch normalisation."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 49, 4)

    def forward(self, images):
        return self.head(torch.tanh(4 * self.norm(self.convolution(images))).flatten(1))


@pytest.fixture
def model():
    return Small().eval()


@pytest.fixture
def batch():
    source = torch.Generator().manual_seed(1)
    images = torch.rand(6, 3, 16, 16, generator=source)
    images[0] = 0
    images[1] = 1
    return images, torch.randint(0, 4, (6,), generator=source)


def losses(model, images, labels):
    with torch.no_grad():
        return functional.cross_entropy(model(images), labels, reduction="none")


@pytest.mark.parametrize("name", CLIMBERS)
def test_in_the_ball_and_stronger_than_nothing(name, model, batch):
    images, labels = batch
    attacked = ATTACKS[name](model, images, labels, epsilon=EPSILON)
    assert attacked.shape == images.shape and attacked.dtype == images.dtype and not attacked.requires_grad
    assert 0 <= attacked.min() and attacked.max() <= 1
    assert (attacked - images).abs().max() <= EPSILON + 1e-6
    assert (losses(model, attacked, labels) > losses(model, images, labels)).all()


def test_pgd_is_no_weaker_than_fgsm(model, batch):
    images, labels = batch
    one, many = fgsm(model, images, labels), pgd(model, images, labels, random_start=False)
    assert losses(model, many, labels).mean() >= losses(model, one, labels).mean()


def test_fgsm_is_the_sign_of_the_gradient(model, batch):
    images, labels = batch
    inside = images.clamp(0.2, 0.8)
    free = inside.clone().requires_grad_()
    gradient = torch.autograd.grad(functional.cross_entropy(model(free), labels), free)[0]
    expected = inside + EPSILON * gradient.sign()
    torch.testing.assert_close(fgsm(model, inside, labels), expected)
    again = mi_fgsm(model, inside, labels, steps=1)
    torch.testing.assert_close(again, expected)


def test_momentum_accumulates_as_published(model, batch):
    """Algorithm 1 of arXiv 1710.06081, written out for two steps in float64."""
    images, labels = batch[0].double().clamp(0.2, 0.8), batch[1]
    model = model.double()
    current, momentum, decay = images, torch.zeros_like(images), 0.7
    for _ in range(2):
        free = current.clone().requires_grad_()
        loss = functional.cross_entropy(model(free), labels, reduction="sum")
        gradient = torch.autograd.grad(loss, free)[0]
        momentum = decay * momentum + gradient / gradient.flatten(1).norm(p=1, dim=1)[:, None, None, None]
        current = current + EPSILON / 2 * momentum.sign()
    torch.testing.assert_close(mi_fgsm(model, images, labels, steps=2, decay=decay), current)
    torch.testing.assert_close(vmi_fgsm(model, images, labels, steps=2, decay=decay, reach=0), current)


@pytest.mark.parametrize(
    "name", sorted(set(ATTACKS) - {"carlini_wagner", "square", "auto_attack", "vmi_fgsm"})
)
def test_the_model_is_left_as_it_was(name, model, batch):
    model.train()
    model.norm.eval()
    statistics = model.norm.running_mean.clone()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    in_eval_mode = ATTACKS[name](Small().eval(), *batch)
    assert torch.equal(ATTACKS[name](model, *batch), in_eval_mode)
    assert model.training and model.head.training and not model.norm.training
    assert torch.equal(model.norm.running_mean, statistics)
    assert (model.head.weight.grad == 1).all() and model.convolution.weight.grad is None


def test_random_starts_follow_the_seed(model, batch):
    assert torch.equal(pgd(model, *batch, seed=3), pgd(model, *batch, seed=3))
    start = [pgd(model, *batch, steps=0, seed=seed) for seed in (3, 4)]
    assert not torch.equal(*start)
    source = torch.Generator().manual_seed(3)
    assert torch.equal(pgd(model, *batch, steps=0, seed=source), start[0])


def test_no_gradient_needed_outside(model, batch):
    with torch.no_grad():
        inside = fgsm(model, *batch)
    assert torch.equal(inside, fgsm(model, *batch))
    assert torch.equal(fgsm(lambda images: model(images), *batch), inside)


def test_batches(model, batch):
    images, labels = batch
    whole = fgsm(model, images, labels)
    torch.testing.assert_close(attack_batches(fgsm, model, images, labels, batch=4, progress=False), whole)
    parts = attack_batches(pgd, model, images, labels, batch=3, progress=False, steps=2, seed=7)
    torch.testing.assert_close(parts[3:], pgd(model, images[3:], labels[3:], steps=2, seed=10))
    assert attack_batches(fgsm, model, images[:0], labels[:0], progress=False).shape == (0, 3, 16, 16)


def test_wrong_arguments_are_named(model, batch):
    images, labels = batch
    with pytest.raises(TypeError, match=r"images.*uint8"):
        fgsm(model, images.byte(), labels)
    with pytest.raises(ValueError, match=r"images.*batch"):
        pgd(model, images[0], labels)
    with pytest.raises(ValueError, match="labels"):
        mi_fgsm(model, images, labels[:-1])
    with pytest.raises(ValueError, match="epsilon"):
        pgd(model, images, labels, epsilon=8)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_agrees_with_art(name, model, batch):
    pytest.importorskip("art")
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    images, labels = batch
    classifier = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (3, 16, 16), 4, clip_values=(0, 1), device_type="cpu"
    )
    if name == "fgsm":
        theirs = FastGradientMethod(classifier, eps=EPSILON)
        ours = fgsm(model, images, labels)
    else:
        theirs = ProjectedGradientDescent(
            classifier, eps=EPSILON, eps_step=2 / 255, max_iter=5, verbose=False
        )
        ours = pgd(model, images, labels, steps=5, random_start=False)
    expected = theirs.generate(images.numpy(), labels.numpy())
    assert (np.abs(ours.numpy() - expected) < 1e-5).mean() > 0.99
