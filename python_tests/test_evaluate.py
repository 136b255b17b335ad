# SPDX-License-Identifier: Apache-2.0
"""The table, on a linear classifier whose accuracy under every attack is known by hand."""

import json
from dataclasses import replace

import cases
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import nn

import srdfast
from srdfast import pretrained
from srdfast.data import Dataset
from srdfast.defences import Pipeline, Row, purifier_row, standard_rows
from srdfast.evaluate import Settings, evaluate, page
from srdfast.networks import ResNet
from srdfast.pictures import View, draw, perturbation
from srdfast.report import Cell, Report, wilson
from srdfast.rival_networks import multiply_adds, purifier_multiply_adds

SETTINGS = Settings(steps=10, adaptive_steps=10, adaptive_images=10, batch=7)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The images here are too small to share out among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Brightness(nn.Module):
    """Logits (0, mean - 1/2): class 1 is "bright". An attack of radius epsilon moves the mean by epsilon."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.sign = nn.Parameter(torch.tensor(sign))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        score = self.sign * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.fixture
def dataset() -> Dataset:
    """Ten dark and ten bright images; in each class 6 lie within 8/255 of the boundary and 4 far from it."""
    values = [124] * 3 + [90] * 2 + [131] * 3 + [165] * 2
    images = np.tile(np.array(values * 2, np.uint8)[:, None, None, None], (1, 3, 8, 8))
    labels = np.array(([0] * 5 + [1] * 5) * 2)
    return Dataset(images=images, labels=labels, classes=("dark", "bright"), name="greys")


def accuracies(report: Report, row: str) -> dict[str, float]:
    return {column: cell.accuracy for column, cell in report.cells[row].items()}


def test_without_a_defence_the_near_images_fall(dataset):
    report = evaluate(Brightness(), [Row("none")], dataset, SETTINGS)
    assert accuracies(report, "none") == {
        "clean": 1.0,
        "fgsm": 0.4,
        "pgd": 0.4,
        "mi_fgsm": 0.4,
        "worst_gray_box": 0.4,
        "bpda": 0.4,
        "worst": 0.4,
    }
    assert {column: cell.images for column, cell in report.cells["none"].items()} == {
        "clean": 20,
        "fgsm": 20,
        "pgd": 20,
        "mi_fgsm": 20,
        "worst_gray_box": 20,
        "bpda": 10,
        "worst": 10,
    }


def test_the_epsilon_decides(dataset):
    settings = Settings(epsilon=2 / 255, step=1 / 255, adaptive_images=0)
    assert accuracies(evaluate(Brightness(), [Row("none")], dataset, settings), "none") == dict.fromkeys(
        ("clean", "fgsm", "pgd", "mi_fgsm", "worst"), 1.0
    )


def test_a_defence_that_knows_the_labels_gets_them(dataset):
    row = Row("told", lambda images, labels: labels.float().view(-1, 1, 1, 1).expand_as(images))
    found = accuracies(evaluate(Brightness(), [row], dataset, SETTINGS), "told")
    assert set(found.values()) == {1.0}


def test_the_exact_gradient_breaks_what_the_identity_does_not(dataset):
    """Inverting the image before an inverted network: the identity backward pushes the wrong way."""
    row = Row("invert", lambda images, labels: 1 - images, network=Brightness(-1.0))
    assert accuracies(evaluate(Brightness(), [row], dataset, SETTINGS), "invert")["bpda"] == 1.0
    row = Row("invert", row.defend, network=Brightness(-1.0), exact=row.defend)
    found = accuracies(evaluate(Brightness(), [row], dataset, SETTINGS), "invert")
    assert (found["bpda"], found["exact"], found["worst"]) == (1.0, 0.4, 0.4)
    assert found["pgd"] == 0.4  # gray-box images are made on the classifier, whatever the defence


def test_a_network_of_its_own_is_attacked_itself(dataset):
    """A constant network cannot be attacked; the gray-box images made on the other do not matter to it."""

    class Constant(Brightness):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(0 * images)

    found = accuracies(evaluate(Brightness(), [Row("alone", network=Constant())], dataset, SETTINGS), "alone")
    assert set(found.values()) == {0.5}


def test_worst_is_taken_image_by_image(dataset):
    """Defences that fail on different images in different columns have a worst below every column."""
    calls = iter(range(100))

    def flaky(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        answer = labels.clone()
        answer[next(calls) % len(labels)] ^= 1  # one image wrong, another one at every call
        return answer.float().view(-1, 1, 1, 1).expand_as(images)

    settings = Settings(attacks=("fgsm", "pgd"), adaptive_images=0, batch=20)
    found = accuracies(evaluate(Brightness(), [Row("flaky", flaky)], dataset, settings), "flaky")
    assert found == {"clean": 0.95, "fgsm": 0.95, "pgd": 0.95, "worst": 0.85}


def test_purifiers_of_other_settings_are_told_apart():
    rng, encoder = np.random.default_rng(0), ResNet(10, 4, classes=2)
    bank = cases.bank(rng, latent=32).with_general(cases.bank(rng, latent=32, clusters=1))
    changes = ({}, {}, {"temperature": 2.0}, {"image_size": 8}, {"mirror": True})
    made = [srdfast.Purifier(bank, encoder, **options) for options in changes]
    made.append(srdfast.Purifier(replace(bank, split_strength=9.0), encoder))
    same, *others = (purifier_row("row", purifier).identity for purifier in made)
    assert others[0] == same and len({same, *others}) == 5
    weak, strong = ({row.name: row for row in standard_rows(each)} for each in (made[0], made[-1]))
    assert weak["low band only"].identity != strong["low band only"].identity
    assert [rows["low band only"].split_strength for rows in (weak, strong)] == [5.0, 9.0]


def test_extra_rows_stand_before_srdfast():
    rng = np.random.default_rng(0)
    purifier = srdfast.Purifier(cases.bank(rng, latent=32), ResNet(10, 4, classes=2))
    usual, more = (
        [row.name for row in standard_rows(purifier, extra=rows)] for rows in ([], [Row("a"), Row("b")])
    )
    place = usual.index("srdfast")
    assert more == [*usual[:place], "a", "b", *usual[place:]]


def test_a_purifier_of_planes_costs_what_luma_and_chroma_cost():
    encoder = ResNet(10, 4, classes=2)
    bank = cases.bank(
        np.random.default_rng(0), srdfast.LISTA(3), latent=32, atoms=20, patch=4, stride=2, channels=1
    )
    purifier = srdfast.Purifier(bank, encoder)
    patches = 8 * 7 + 2 * 4 * 3  # of 18 x 15 pixels, and of two planes of 9 x 8
    found = purifier_multiply_adds(purifier, (3, 18, 15)) - multiply_adds(encoder, (3, 18, 15))
    assert found == patches * 2 * 3 * 20 * 16


def test_the_pipeline_takes_the_purifiers_gradient_as_the_identity():
    images = torch.rand(3, 3, 8, 8, requires_grad=True)
    pipeline = Pipeline(Row("round", lambda x, y: x.round()), Brightness(), torch.zeros(3, dtype=torch.long))
    gradient = torch.autograd.grad(pipeline(images)[:, 1].sum(), images)[0]
    torch.testing.assert_close(gradient, torch.full_like(images, 1 / 192))
    torch.testing.assert_close(pipeline(images), Brightness()(images.round()))


def test_the_same_seed_gives_the_same_report(dataset):
    first, second = (evaluate(Brightness(), [Row("none")], dataset, SETTINGS).as_dict() for _ in range(2))
    assert first == second


def test_what_makes_no_sense_is_refused(dataset):
    with pytest.raises(ValueError, match="distinct names"):
        evaluate(Brightness(), [Row("a"), Row("a")], dataset)
    empty = Dataset(dataset.images[:0], dataset.labels[:0], dataset.classes, "none")
    with pytest.raises(ValueError, match="at least one image"):
        evaluate(Brightness(), [Row("a")], empty)
    more = Dataset(dataset.images, dataset.labels, ("dark", "bright", "grey"), "greys")
    with pytest.raises(ValueError, match="expected 2 classes, as the network knows, got 3"):
        evaluate(Brightness(), [Row("a")], more)
    for option in ("attacks", "adaptive"):
        with pytest.raises(ValueError, match=f"{option}: expected names"):
            Settings(**{option: ("shallowfool",)})
    with pytest.raises(ValueError, match="queries: expected 1 or more, got 0"):
        Settings(queries=0)


@pytest.mark.parametrize(("correct", "images"), [(0, 1), (0, 50), (17, 50), (50, 50), (9_999, 10_000)])
def test_the_interval_is_scipys_wilson(correct, images):
    expected = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    assert wilson(correct, images) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="got 2, 1"):
        wilson(2, 1)


@pytest.fixture
def report(dataset) -> Report:
    rows = [Row("none"), Row("halve", lambda x, y: x.round(), exact=lambda x, y: x)]
    return evaluate(Brightness(), rows, dataset, SETTINGS)


def test_the_table_is_aligned_and_states_the_threat_models(report):
    lines = report.table().splitlines()
    rules = [number for number, line in enumerate(lines) if line and set(line) == {"-"}]
    head, body = lines[rules[0] - 1], lines[rules[0] + 1 : rules[1]]
    assert head.split() == "defence clean FGSM PGD MI-FGSM worst BPDA exact worst".split()
    assert [line.split()[0] for line in body] == ["none", "halve"]
    assert body[0].split()[1:] == ["100.0", *["40.0"] * 6]  # no exact column
    assert all(len(line) == len(head) for line in body)
    groups = lines[rules[0] - 2]
    assert groups.index("gray-box") < groups.index("adaptive")
    assert "knows a network and not the defence" in report.table().replace("\n  ", " ")
    assert "knows everything" in report.table()


def test_the_steps_of_every_attack_are_told(dataset):
    attacks = ("fgsm", "pgd", "pgd_long", "mi_fgsm", "auto_attack", "pgd_l2", "deepfool", "carlini_wagner")
    numbers = dict(steps=3, long_steps=4, auto_steps=5, targets=1, queries=6, carlini_steps=2)
    settings = Settings(attacks=attacks, adaptive_images=0, **numbers)
    meanings = evaluate(Brightness(), [Row("none")], dataset, settings).meanings()
    told = (
        "FGSM: one step; PGD: 3 steps; PGD, long: 4 steps; MI-FGSM: 10 steps; AutoAttack: 5 steps, 6 queries"
    )
    assert f"({told})" in meanings["gray-box"]
    assert (
        "(PGD: 3 steps; DeepFool: at most 50 steps; C&W: 2 steps for each weight)" in meanings["gray-box L2"]
    )


def test_the_json_is_complete(report, tmp_path):
    report.save_json(tmp_path / "new" / "report.json")
    found = json.loads((tmp_path / "new" / "report.json").read_text())
    cell = found["rows"][0]["columns"]["pgd"]
    assert cell["correct"] == 8 and cell["images"] == 20 and cell["accuracy"] == 0.4
    assert cell["interval"] == pytest.approx(wilson(8, 20))
    assert "exact" not in found["rows"][0]["columns"]
    settings = found["settings"]
    assert settings["attacks"]["norm"] == "Linf" and settings["attacks"]["seed"] == 0
    assert settings["attacks"]["epsilon"] == 8 / 255 and settings["data"]["images"] == 20
    assert {"python", "torch", "numpy"} <= settings["versions"].keys()
    assert found["threat_models"].keys() == {"gray-box", "adaptive", "worst"} and found["checks"] == {}


def test_the_markdown_has_a_line_a_row(report, tmp_path):
    report.save_markdown(tmp_path / "report.md")
    lines = (tmp_path / "report.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 2 and len({line.count("|") for line in table}) == 1
    assert "gray-box: PGD" in table[0] and "adaptive: BPDA" in table[0]
    low, high = wilson(8, 20)
    assert f"40.0 [{100 * low:.1f}, {100 * high:.1f}]" in table[2]


def test_a_failed_write_leaves_the_old_report(report, tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    report.save_json(path)
    before = path.read_text()
    broken = Report({"bad": {"clean": Cell(2, 1)}}, report.settings)
    with pytest.raises(ValueError):
        broken.save_json(path)
    assert path.read_text() == before and [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_perturbations_are_shown_around_grey():
    clean = np.full((1, 3, 2, 2), 0.5)
    assert np.all(perturbation(clean, clean) == 0.5)
    np.testing.assert_allclose(perturbation(clean, clean + 0.01), 0.6)
    assert np.all(perturbation(clean, clean - 0.5) == 0)


def test_the_page_shows_every_pixel_and_colours_the_predictions(tmp_path):
    images = np.zeros((2, 3, 4, 4))
    images[0, 0], images[1, 2] = 1, 1  # red, blue
    view = View("clean", images, np.array([0, 0]))
    draw(tmp_path / "page.png", [view], np.array([0, 1]), ("cat", "dog"), "Title")
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).reshape(-1, 3)
    for colour in [(255, 0, 0), (0, 0, 255), (0x1A, 0x7F, 0x37), (0xCF, 0x22, 0x2E)]:
        assert (pixels == colour).all(1).any()


def test_the_page_of_a_defence(dataset, tmp_path):
    page(tmp_path / "page.png", Brightness(), Row("round", lambda x, y: x.round()), dataset)
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.format == "PNG" and picture.width > 400


def test_the_sample_is_balanced_small_and_as_recorded():
    sample = pretrained.sample()
    assert sample.images.shape == (500, 3, 32, 32) and sample.images.dtype == np.uint8
    assert np.bincount(sample.labels).tolist() == [50] * 10
    assert np.bincount(pretrained.sample(30).labels).tolist() == [3] * 10
    assert (pretrained.FOLDER / "cifar10-sample.webp").stat().st_size <= 1_500_000
    for count in (0, 501):
        with pytest.raises(ValueError, match="1 to 500"):
            pretrained.sample(count)


def test_the_sample_is_what_its_positions_say(shared_data, tmp_path):
    from srdfast.data import load

    test = load(shared_data / "cifar10", "test")
    filled = np.load(shared_data / "cifar10" / "jpeg_filled_test_idx.npy").tolist()
    shipped = json.loads((pretrained.FOLDER / "cifar10-sample.json").read_text())
    positions = shipped["positions"]
    assert not set(positions) & set(filled)
    np.testing.assert_array_equal(pretrained.sample().images, test.images[positions])
    np.testing.assert_array_equal(pretrained.sample().labels, test.labels[positions])
    drawn = pretrained.draw_sample(test, 5, filled, tmp_path)
    assert drawn.tolist() == positions[:50]
    with Image.open(tmp_path / "cifar10-sample.webp") as picture:
        sheet = np.asarray(picture)  # [2 * 32, 25 * 32, 3]
    np.testing.assert_array_equal(sheet[32:, :32], test.images[drawn[25]].transpose(1, 2, 0))
