# SPDX-License-Identifier: Apache-2.0
"""Every attack of the registry: in its ball, stronger than noise, by the seed, exact where theory says so."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from srdfast.attacks import ATTACKS, LINF_ATTACKS, apgd_ce, auto_attack, deepfool, fab_t, fgsm, pgd_l2, square
from srdfast.attacks.apgd import targeted_dlr
from srdfast.attacks.balls import start_l2
from srdfast.attacks.fab import project_on_boundary
from srdfast.attacks.low_band import low_pass, pgd_low_band

LINF, L2 = 24 / 255, 0.8
QUICK = {
    "vmi_fgsm": {"neighbours": 3},
    "apgd_ce": {"steps": 20},
    "apgd_t": {"steps": 20},
    "fab_t": {"steps": 10},
    "square": {"queries": 100},
    "auto_attack": {"steps": 10, "queries": 50},
    "carlini_wagner": {"steps": 40, "searches": 3, "first_weight": 1.0},
}


class Affine(nn.Module):
    """Logits images . weights + bias: every attack has a closed form."""

    def __init__(self, classes: int, shape: tuple[int, ...] = (3, 4, 4)) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(5)
        self.weights = torch.randn(math.prod(shape), classes, generator=source, dtype=torch.float64)
        self.bias = torch.randn(classes, generator=source, dtype=torch.float64)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weights + self.bias


@pytest.fixture(scope="module")
def batch():
    """Eight-by-eight images of four classes, each a pattern in noise."""
    source = torch.Generator().manual_seed(2)
    patterns = torch.rand(4, 3, 8, 8, generator=source)
    labels = torch.arange(256) % 4
    noise = torch.randn(256, 3, 8, 8, generator=source)
    return (0.5 + 0.25 * (patterns[labels] - 0.5) + 0.08 * noise).clamp(0, 1), labels


@pytest.fixture(scope="module")
def trained(batch):
    """A small network that knows the patterns."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(128, 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(net(batch[0]), batch[1]).backward()
        optimizer.step()
    net.requires_grad_(False)
    assert (net(batch[0]).argmax(1) == batch[1]).float().mean() > 0.95
    return net.eval()


@pytest.fixture(scope="module")
def few(batch):
    return batch[0][:24], batch[1][:24]


def attack(name, model, images, labels, **options):
    epsilon = LINF if name in LINF_ATTACKS else L2
    return ATTACKS[name](model, images, labels, epsilon=epsilon, **{**QUICK.get(name, {}), **options})


def right(model, images, labels):
    return float((model(images).argmax(1) == labels).float().mean())


@pytest.mark.parametrize("name", ATTACKS)
def test_in_the_ball_stronger_than_noise_and_by_the_seed(name, trained, few):
    images, labels = few
    before = images.clone()
    found = attack(name, trained, images, labels, seed=3)
    assert found.shape == images.shape and found.dtype == images.dtype and not found.requires_grad
    assert 0 <= found.min() and found.max() <= 1 and torch.equal(images, before)
    change = (found - images).flatten(1)
    length = change.abs().amax(1) if name in LINF_ATTACKS else change.norm(dim=1)
    assert length.max() <= (LINF if name in LINF_ATTACKS else L2) + 1e-5
    assert torch.equal(found, attack(name, trained, images, labels, seed=3))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).sign()
    noisy = (images + LINF * noise).clamp(0, 1)
    most = 1.0 if name == "pgd_low_band" else 0.75  # eight pixels hold little of a low band
    assert right(trained, found, labels) <= min(most, right(trained, noisy, labels))


@pytest.mark.parametrize("name", ATTACKS)
def test_larger_budgets_break_more(name, trained, few):
    images, labels = few
    options = QUICK.get(name, {})
    scale = 1 if name in LINF_ATTACKS else L2 / LINF
    small, large = (
        right(trained, ATTACKS[name](trained, images, labels, epsilon=epsilon * scale, **options), labels)
        for epsilon in (0.0, 0.5)
    )
    assert small == right(trained, images, labels) and large <= 0.25


@pytest.mark.parametrize("name", ["apgd_t", "square", "fab_t", "auto_attack", "deepfool"])
def test_images_already_wrong_are_no_trouble(name, trained, few):
    images, labels = few
    assert right(trained, attack(name, trained, images, (labels + 1) % 4), (labels + 1) % 4) <= 0.25
    assert attack(name, trained, images[:0], labels[:0]).shape == (0, 3, 8, 8)


@pytest.fixture
def plane():
    """An affine classifier of three classes, and inner images with the labels it gives them."""
    model = Affine(3)
    images = 0.5 + 0.01 * torch.randn(
        5, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    return model, images, model(images).argmax(1)


def distances(model, images, labels, order):
    """Dual-norm distance of each image to its nearest boundary, and the class behind it."""
    logits = model(images)
    best = []
    for image in range(len(images)):
        label = int(labels[image])
        found = [
            (
                float(
                    (logits[image, label] - logits[image, other])
                    / torch.linalg.vector_norm(model.weights[:, label] - model.weights[:, other], order)
                ),
                other,
            )
            for other in range(3)
            if other != label
        ]
        best.append(min(found))
    return best


def test_deepfool_projects_on_the_nearest_boundary(plane):
    model, images, labels = plane
    found = deepfool(model, images, labels, overshoot=0.0, steps=1)
    for image, (distance, other) in enumerate(distances(model, images, labels, 2)):
        normal = model.weights[:, other] - model.weights[:, labels[image]]
        expected = images[image].flatten() + distance * normal / normal.norm()
        torch.testing.assert_close(found[image].flatten(), expected)


def test_fab_and_carlini_wagner_find_the_smallest_change(plane):
    model, images, labels = plane
    smallest = torch.tensor([distance for distance, _ in distances(model, images, labels, 1)])
    found = fab_t(model, images, labels, epsilon=1.0, steps=20)
    length = (found - images).abs().amax((1, 2, 3)).float()
    assert (length >= smallest - 1e-6).all()
    torch.testing.assert_close(length, smallest, rtol=0.1, atol=1e-6)
    smallest = torch.tensor([distance for distance, _ in distances(model, images, labels, 2)])
    found = ATTACKS["carlini_wagner"](model, images, labels, steps=150, first_weight=1.0)
    length = (found - images).flatten(1).norm(dim=1).float()
    assert (length >= smallest - 1e-6).all()
    torch.testing.assert_close(length, smallest, rtol=0.1, atol=1e-3)


def test_ascent_on_a_linear_function_ends_at_the_known_point():
    model = Affine(2)
    images = torch.full((2, 3, 4, 4), 0.5, dtype=torch.float64)
    labels = torch.tensor([0, 1])
    rise = (model.weights[:, 1] - model.weights[:, 0]).view(1, 3, 4, 4) * torch.tensor([1, -1]).view(
        2, 1, 1, 1
    )
    corner = images + 0.1 * rise.sign()
    torch.testing.assert_close(fgsm(model, images, labels, epsilon=0.1), corner)
    torch.testing.assert_close(
        pgd_l2(model, images, labels, epsilon=0.1, random_start=False),
        images + 0.1 * rise / rise[0].norm(),
    )
    model.bias[0] = 0.0
    model.bias[1] = float((model.weights[:, 0] - model.weights[:, 1]).sum()) / 2  # on the boundary
    hard = Affine(2)
    hard.weights, hard.bias = model.weights, torch.zeros(2, dtype=torch.float64)
    # Out of reach of either sign, so that the ascent cannot stop early at a success.
    hard.bias[0] = 1e3
    labels = torch.tensor([0, 0])
    rise = (model.weights[:, 1] - model.weights[:, 0]).view(1, 3, 4, 4)
    found = apgd_ce(lambda x: hard(x) / 1e3, images, labels, epsilon=0.1, steps=50)
    torch.testing.assert_close(found, images + 0.1 * rise.sign().expand_as(images), atol=1e-3, rtol=0)


def test_the_projection_on_a_plane_and_the_box_is_the_linear_programs():
    from scipy.optimize import linprog

    source = np.random.default_rng(4)
    for _ in range(5):
        point, normal = source.uniform(0, 1, 6), source.normal(size=6)
        level = float(normal @ source.uniform(0.2, 0.8, 6))
        # min t: |x - point| <= t, normal . x = level, 0 <= x <= 1
        ones = -np.ones((6, 1))
        bound = np.block([[np.eye(6), ones], [-np.eye(6), ones]])
        answer = linprog(
            [*[0] * 6, 1],
            A_ub=bound,
            b_ub=np.concatenate([point, -point]),
            A_eq=[[*normal, 0]],
            b_eq=[level],
            bounds=[(0, 1)] * 6 + [(0, None)],
        )
        shape = (1, 6, 1, 1)
        found = project_on_boundary(
            torch.from_numpy(point).view(shape),
            torch.from_numpy(normal).view(shape),
            torch.tensor([-level], dtype=torch.float64),
        ).flatten()
        assert np.abs(found.numpy() - point).max() == pytest.approx(answer.fun, abs=1e-7)
        assert float(found @ torch.from_numpy(normal)) == pytest.approx(level, abs=1e-7)


def test_the_targeted_ratio_ignores_shift_and_scale():
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, target = torch.arange(5), torch.arange(5) + 1
    value = targeted_dlr(target)(logits, labels)
    torch.testing.assert_close(targeted_dlr(target)(3 * logits + 7, labels), value)
    ranked = logits[0].sort(descending=True).values
    expected = (logits[0, 1] - logits[0, 0]) / (ranked[0] - (ranked[2] + ranked[3]) / 2)
    torch.testing.assert_close(value[0].double(), expected, rtol=1e-5, atol=1e-6)


def test_random_starts_fill_the_l2_ball():
    images = torch.full((400, 1, 2, 2), 0.5)
    radius = (start_l2(images, 0.3, 0) - images).flatten(1).norm(dim=1)
    assert radius.max() <= 0.3 + 1e-6
    assert float((radius / 0.3).pow(4).mean()) == pytest.approx(0.5, abs=0.05)  # uniform in volume


def test_the_low_band_attack_stays_in_the_low_band(trained, few):
    images, labels = few
    images = images.clamp(0.2, 0.8)
    change = pgd_low_band(trained, images, labels, epsilon=LINF) - images
    free = fgsm(trained, images, labels, epsilon=LINF) - images

    def high_share(x):
        return float((x - low_pass(x, 5.0)).norm() / x.norm())

    assert high_share(change) < 0.6 * high_share(free)
    assert change.abs().amax((1, 2, 3)).min() > 0.9 * LINF


def test_square_asks_no_gradient_and_no_more_than_its_queries(few):
    calls = []

    def model(images):
        calls.append(len(images))
        assert not torch.is_grad_enabled()
        return torch.stack([images.mean((1, 2, 3)), torch.full((len(images),), -9.0)], 1)

    square(model, few[0], torch.zeros_like(few[1]), queries=17)
    assert calls == [24] * 17


def test_auto_attack_is_no_weaker_than_its_parts(trained, few):
    images, labels = few
    whole = right(trained, attack("auto_attack", trained, images, labels), labels)
    assert whole <= right(trained, attack("apgd_ce", trained, images, labels, steps=10), labels)
    assert whole <= right(trained, attack("square", trained, images, labels, queries=50), labels)


@pytest.mark.parametrize("name", ATTACKS)
def test_wrong_budgets_are_named(name, trained, few):
    with pytest.raises(ValueError, match="epsilon"):
        ATTACKS[name](trained, *few, epsilon=-1.0)
    assert auto_attack(trained, *few, epsilon=0.0, queries=2, steps=1).shape == few[0].shape


ART = {
    "fgsm": ("FastGradientMethod", {"eps": LINF}),
    "pgd": ("ProjectedGradientDescent", {"eps": LINF, "eps_step": 2 / 255, "max_iter": 10}),
    "pgd_l2": ("ProjectedGradientDescent", {"eps": L2, "eps_step": L2 / 8, "max_iter": 20, "norm": 2}),
    "mi_fgsm": ("MomentumIterativeMethod", {"eps": LINF, "eps_step": LINF / 10, "max_iter": 10}),
    "apgd_ce": ("AutoProjectedGradientDescent", {"eps": LINF, "max_iter": 20, "nb_random_init": 1}),
    "square": ("SquareAttack", {"eps": LINF, "max_iter": 150, "nb_restarts": 1}),
}


@pytest.mark.parametrize("name", [*ART, "deepfool", "carlini_wagner"])
def test_success_is_that_of_art(name, trained, batch):
    """Success rates on 64 images within a tenth; the smallest changes as short as ART's within 15%."""
    pytest.importorskip("art", reason="adversarial-robustness-toolbox is not installed")
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    images, labels = batch[0][:64], batch[1][:64]
    classifier = PyTorchClassifier(
        trained, nn.CrossEntropyLoss(), (3, 8, 8), 4, clip_values=(0, 1), device_type="cpu"
    )
    if name == "deepfool":
        theirs = evasion.DeepFool(classifier, max_iter=50, epsilon=0.02, nb_grads=4, verbose=False)
    elif name == "carlini_wagner":
        theirs = evasion.CarliniL2Method(
            classifier, max_iter=40, binary_search_steps=3, initial_const=1.0, batch_size=128, verbose=False
        )
    else:
        kind, options = ART[name]
        theirs = getattr(evasion, kind)(classifier, **options)
    np.random.seed(0)  # the generator that ART draws from
    expected = torch.from_numpy(theirs.generate(images.numpy(), labels.numpy()))
    if name in ("deepfool", "carlini_wagner"):
        ours = ATTACKS[name](trained, images, labels, **QUICK.get(name, {}))
        lengths = [(x - images).flatten(1).norm(dim=1).median() for x in (ours, expected)]
        assert right(trained, ours, labels) <= right(trained, expected, labels) + 0.1
        assert lengths[0] <= 1.15 * lengths[1]
    else:
        ours = attack(name, trained, images, labels, **({"queries": 150} if name == "square" else {}))
        assert abs(right(trained, ours, labels) - right(trained, expected, labels)) <= 0.1
