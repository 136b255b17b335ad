# SPDX-License-Identifier: Apache-2.0
"""The adaptive attacks on defences whose weak place is known, their checks, the record to resume from."""

import json
from dataclasses import replace

import cases
import numpy as np
import pytest
import torch
from torch import nn

from srdfast import Purifier, attacks, pretrained, split
from srdfast.attacks import ATTACKS
from srdfast.attacks.base import is_right
from srdfast.data import Dataset
from srdfast.defences import (
    Pipeline,
    Row,
    fixed_dictionary_row,
    module_row,
    purifier_row,
    random_dictionary_row,
)
from srdfast.evaluate import Settings, evaluate
from srdfast.evaluation import measuring
from srdfast.evaluation.adaptive import ADAPTIVE, Case, Selector
from srdfast.evaluation.checks import check_gradients, check_outcomes
from srdfast.evaluation.columns import COLUMNS
from srdfast.evaluation.gray_box import GRAY_BOX
from srdfast.evaluation.outcomes import FILE, Outcomes
from srdfast.evaluation.presets import PRESETS
from srdfast.networks import ResNet, load_network

SETTINGS = Settings(adaptive_steps=3, queries=10, auto_steps=3, targets=2, adaptive_images=4)
shipped = pytest.mark.skipif(
    not (pretrained.FOLDER / "cifar10.safetensors").is_file(), reason="no pretrained model is here"
)


class Brightness(nn.Module):
    """Logits (0, mean - 1/2): class 1 is "bright"."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        score = self.scale * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.fixture
def greys():
    """Four grey images, two dark and two bright, each within 8/255 of the boundary."""
    return torch.tensor([125, 126, 129, 130]).view(4, 1, 1, 1).expand(4, 3, 8, 8) / 255, torch.tensor(
        [0, 0, 1, 1]
    )


@pytest.fixture(scope="module")
def cifar():
    """The shipped purifier and classifier, and five images that they see rightly."""
    images, labels = pretrained.sample(12).tensors()
    purifier = Purifier.from_pretrained("cifar10").eval().requires_grad_(False)
    classifier = load_network(pretrained.path("cifar10-classifier")).requires_grad_(False)
    rows = attacks.base.is_right(
        Pipeline(purifier_row("srdfast", purifier), classifier, labels), images, labels
    ).nonzero()[:5, 0]
    return purifier, classifier, images[rows], labels[rows]


def right(case, attacked):
    return float(attacks.base.is_right(case.pipeline(), attacked, case.labels).float().mean())


@pytest.mark.parametrize("name", [name for name, attack in ADAPTIVE.items() if attack.applies(Row("plain"))])
def test_each_breaks_an_open_classifier_within_its_budget(name, greys):
    case = Case(Row("plain"), Brightness(), *greys, Settings(queries=300, auto_steps=5), 0)
    attacked = ADAPTIVE[name].run(case)
    assert 0 <= attacked.min() and attacked.max() <= 1
    if ADAPTIVE[name].counts:
        assert (attacked - greys[0]).abs().max() <= 8 / 255 + 1e-6
    assert right(case, attacked) == 0


@pytest.mark.parametrize("strength", [5.0, 60.0])
def test_the_low_pass_backward_is_the_low_pass_of_the_gradient(strength):
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    weights = torch.randn(192, 2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2, bias=False))
    net[1].weight = nn.Parameter(weights.T)
    row = Row("round", lambda x, y: x.round(), split_strength=strength)
    pipeline = Pipeline(row, net, torch.zeros(2, dtype=torch.long), "low")
    gradient = torch.autograd.grad(pipeline(images)[:, 0].sum(), images)[0]
    expected = attacks.low_band.low_pass(weights[:, 0].view(1, 3, 8, 8), strength).expand_as(images)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="backward: expected"):
        Pipeline(Row("a"), net, torch.zeros(2), "sideways")


def test_the_low_band_attack_changes_the_band_of_the_split_and_a_wider_one_where_that_fails():
    """The gradient is a wave, eight pixels long, and ten times weaker one of no length.

    The low band of strength 5 holds more of the first, that of strength 60 more of the second.
    """
    bank = replace(cases.bank(np.random.default_rng(0), latent=32), split_strength=60.0)
    row = purifier_row("srdfast", Purifier(bank, ResNet(10, 4, classes=2)).eval())
    wave = torch.arange(32).mul(2 * torch.pi / 8).cos().expand(3, 32, 32)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    net[1].weight = nn.Parameter(torch.stack([-wave - 0.1, wave + 0.1]).flatten(1) / 100)
    net[1].bias = nn.Parameter(torch.zeros(2))
    images, labels = torch.full((1, 3, 32, 32), 0.5), torch.ones(1, dtype=torch.long)
    apart = (net(images)[0, 1] - net(images)[0, 0]).detach()

    def change_of(margin):
        """The share of its energy in the high band, and whether it breaks the defence."""
        net[1].bias.data[0] = apart - margin
        case = Case(replace(row, exact=None), net, images, labels, SETTINGS, 0)
        assert is_right(case.pipeline(), images, labels)
        change = ADAPTIVE["low_band"].run(case) - images
        assert change.abs().max() > 7 / 255
        share = split(change, 60.0)[1].square().sum() / change.square().sum()
        return float(share), not is_right(case.pipeline(), images + change, labels)

    own, broken = change_of(0.05)
    assert own < 0.1 and broken
    wide, _ = change_of(0.3)  # more than its own band can do
    assert wide > 0.3


def test_a_part_of_a_pipeline_keeps_its_labels(greys):
    told = Row("told", lambda images, labels: labels.float().view(-1, 1, 1, 1).expand_as(images))
    pipeline = Pipeline(told, Brightness(), greys[1])
    part = pipeline.select(torch.tensor([3, 0]))
    torch.testing.assert_close(part(greys[0][[3, 0]]), pipeline(greys[0])[[3, 0]])


@shipped
def test_the_selector_scores_as_the_purifier_chooses(cifar):
    purifier, _, images, _ = cifar
    logits = Selector(purifier, 10)(images)
    chosen = purifier.bank.gaussians.labels[purifier.assign(images).numpy()]
    assert logits.argmax(1).tolist() == chosen.tolist()


def test_the_selector_knows_the_densities_where_two_looks_decide():
    images = cases.smooth_to_rough(np.random.default_rng(1), 60)
    purifier = cases.purifier_among(images, temperature=1.5, mirror=True)
    gaussians, encoder = purifier.bank.gaussians, purifier.encoder
    one = encoder.latents(images.flip(3)).double()
    both = (one + encoder.latents(images).double()) / 2
    means, variances, priors = (
        torch.from_numpy(part).double()
        for part in (gaussians.means, gaussians.variances, gaussians.log_priors)
    )

    def logits(latents):
        density = torch.distributions.Normal(means, variances.sqrt()).log_prob(latents[:, None]).sum(2)
        scores = priors + density
        return torch.stack([scores[:, gaussians.labels == label].amax(1) for label in (0, 1)], 1)

    found = Selector(purifier, 2)(images) * encoder.latent
    apart = [(found - logits(latents)).abs().amax(1) < 1e-3 for latents in (one, both)]
    doubtful = (logits(one)[:, 0] - logits(one)[:, 1]).abs() < 1
    assert (apart[0] ^ apart[1]).all() and 5 < apart[1].sum() < 55 and apart[1][doubtful].all()
    given = images.clone().requires_grad_()
    assert torch.autograd.grad(Selector(purifier, 2)(given).sum(), given)[0].flatten(1).any(1).all()


@shipped
def test_attacks_on_the_choice_change_it(cifar):
    purifier, classifier, images, labels = cifar
    case = Case(purifier_row("srdfast", purifier), classifier, images, labels, Settings(adaptive_steps=4), 0)
    of_own_class = purifier.bank.gaussians.labels[purifier.assign(images).numpy()] == labels.numpy()
    attacked = ADAPTIVE["selector"].run(case)
    still = purifier.bank.gaussians.labels[purifier.assign(attacked).numpy()] == labels.numpy()
    assert still.mean() < of_own_class.mean()
    assert right(case, ADAPTIVE["joint"].run(case)) <= 0.5
    assert right(case, ADAPTIVE["each_dictionary"].run(case)) <= right(case, ADAPTIVE["exact"].run(case))


@shipped
def test_rows_of_dictionaries(cifar):
    purifier, _, images, labels = cifar
    fixed = fixed_dictionary_row(purifier, 5).defend(images, labels)
    torch.testing.assert_close(fixed, purifier.purify(images, clusters=torch.full((len(images),), 5)))
    random = random_dictionary_row("random", purifier)
    purified = random.defend(images, labels)
    assert purified.shape == images.shape and not torch.equal(purified, fixed)
    assert random.identity == random_dictionary_row("random", purifier).identity
    assert random.identity != random_dictionary_row("random", purifier, seed=1).identity


def test_randomness_and_vanishing_gradients_are_noticed(greys):
    def found(row):
        return {check.name: check.passed for check in check_gradients(row, Brightness(), *greys)}

    assert all(found(Row("plain")).values())
    noisy = Row("noisy", lambda images, labels: images + 0.1 * torch.rand_like(images))
    assert not found(noisy)["deterministic"]
    soft = nn.Sequential(Brightness(), nn.Softmax(1))
    answers = {check.name: check.passed for check in check_gradients(Row("plain"), soft, *greys)}
    assert not answers["outputs that are probabilities"]
    flat = module_row("flat", nn.Threshold(2.0, 0.5))
    assert not found(flat)["images without gradient"]


def test_a_black_box_that_wins_is_noticed():
    whole, half = np.ones(8, bool), np.arange(8) < 4
    first, second = check_outcomes({"exact": whole, "square": half, "unbounded": half})
    assert (first.passed, first.value, second.passed, second.value) == (False, 50.0, False, 50.0)
    assert all(
        check.passed for check in check_outcomes({"exact": half, "square": whole, "unbounded": half & 0})
    )
    assert all(check.passed for check in check_outcomes({"exact": half, "bpda": ~half, "square": half}))


@pytest.fixture
def dataset(greys):
    return Dataset((greys[0] * 255).round().to(torch.uint8).numpy(), greys[1].numpy(), ("d", "b"), "greys")


def test_what_was_measured_is_not_measured_again(dataset, tmp_path, monkeypatch):
    rows, settings = (
        [Row("plain"), Row("round", lambda x, y: x.round())],
        Settings(adaptive_images=4, batch=3),
    )
    first = evaluate(Brightness(), rows, dataset, settings, out=tmp_path)
    lines = (tmp_path / FILE).read_text().splitlines()
    assert {json.loads(line)["row"] for line in lines} == {"plain", "round"}
    monkeypatch.setattr(measuring, "_right", lambda *_: pytest.fail("measured again"))
    assert evaluate(Brightness(), rows, dataset, settings, out=tmp_path).as_dict() == first.as_dict()
    with pytest.raises(pytest.fail.Exception):
        evaluate(Brightness(), rows, dataset, Settings(adaptive_images=4, batch=3, seed=1), out=tmp_path)
    changed = [Row("plain", identity="of another kind")]
    with pytest.raises(pytest.fail.Exception):
        evaluate(Brightness(), changed, dataset, settings, out=tmp_path)


def test_outcomes_of_another_band_are_not_taken(dataset, tmp_path):
    def columns_measured(strength):
        before = len((tmp_path / FILE).read_text().splitlines()) if (tmp_path / FILE).exists() else 0
        rows = [Row("round", lambda x, y: x.round(), split_strength=strength)]
        settings = Settings(adaptive=("bpda", "bpda_low", "low_band"), adaptive_images=4, adaptive_steps=1)
        evaluate(Brightness(), rows, dataset, settings, out=tmp_path)
        lines = (tmp_path / FILE).read_text().splitlines()[before:]
        return [json.loads(line)["column"] for line in lines]

    assert {"clean", "bpda", "bpda_low", "low_band"} <= set(columns_measured(5.0))
    assert columns_measured(60.0) == ["bpda_low", "low_band"]


def test_an_interruption_loses_no_more_than_a_line(dataset, tmp_path):
    rows, settings = [Row("plain")], Settings(adaptive_images=4, batch=3)
    whole = evaluate(Brightness(), rows, dataset, settings, out=tmp_path)
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(text[: len(text) // 2])  # torn within a line
    assert evaluate(Brightness(), rows, dataset, settings, out=tmp_path).as_dict() == whole.as_dict()
    again = Outcomes(tmp_path / FILE)
    assert len(again.known) == len(text.splitlines())


def test_slow_rows_are_measured_on_a_sample(dataset):
    rows = [Row("plain"), Row("slow", lambda x, y: x, sample=3)]
    settings = Settings(adaptive=("bpda", "low_band"), adaptive_images=4, batch=2)
    cells = evaluate(Brightness(), rows, dataset, settings).cells
    assert {cell.images for cell in cells["plain"].values()} == {4}
    assert {cell.images for cell in cells["slow"].values()} == {3}
    assert "low_band" in cells["plain"] and "low_band" not in cells["slow"] and "bpda" in cells["slow"]


def test_gray_box_images_are_made_on_the_network_that_the_attacker_knows(dataset):
    class Deaf(Brightness):
        def forward(self, images):
            return super().forward(images.detach() * 1.0 + 0 * images)

    rows = [Row("plain"), Row("other", gray_box=Deaf())]
    cells = evaluate(Brightness(), rows, dataset, Settings(attacks=("fgsm",), adaptive_images=0)).cells
    assert cells["plain"]["fgsm"].accuracy == 0 and cells["other"]["fgsm"].accuracy == 1


def test_the_presets_measure_everything():
    sizes = [len(PRESETS) and (count or 10**6) for count, _ in PRESETS.values()]
    assert sizes == sorted(sizes)
    for _, settings in PRESETS.values():
        assert set(settings.attacks) == set(GRAY_BOX) and set(settings.adaptive) == set(ADAPTIVE)
    assert set(COLUMNS) == {"clean", *GRAY_BOX, "worst_gray_box", *ADAPTIVE, "worst"}
    assert {"fgsm", "pgd_l2", "deepfool", "carlini_wagner", "auto_attack"} <= set(GRAY_BOX) & set(ATTACKS)


def test_many_columns_become_tables_with_their_checks(dataset):
    settings = Settings(
        attacks=("fgsm", "pgd", "pgd_l2", "contrast", "brightness"),
        adaptive=("bpda", "exact", "low_band", "square", "unbounded"),
        adaptive_images=4,
        adaptive_steps=2,
        queries=3,
        checks=True,
    )
    report = evaluate(
        Brightness(), [Row("plain"), Row("random", lambda x, y: torch.rand_like(x))], dataset, settings
    )
    assert [part[0] for part in report.parts()] == ["clean"] * 3
    assert sum(len(part) for part in report.parts()) == len(report.columns) + 2
    assert any("deterministic" in text for text in report.failures())
    assert "warning: random: deterministic" in report.table() and "random: deterministic" in report.markdown()
    assert {check["name"] for check in report.as_dict()["checks"]["plain"]} >= {"deterministic"}
