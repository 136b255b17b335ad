# SPDX-License-Identifier: Apache-2.0
"""The command line: what it prints, what it writes, and how it fails."""

import dataclasses
import json
import re
import shutil
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from programs import export

import srdfast
from srdfast import cli, pretrained
from srdfast.clusters import Gaussians
from srdfast.networks import ResNet, load_network, save_network
from srdfast.stages.config import Config

COMMANDS = ("demo", "train", "purify", "video", "evaluate", "bench", "info")
shipped = pytest.mark.skipif(
    not (pretrained.FOLDER / "cifar10.safetensors").is_file(), reason="no pretrained model in this checkout"
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The networks here are too small to share out among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a tiny purifier, `tiny.safetensors`, and a tiny classifier beside it."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    encoder, classifier = (ResNet(depth=10, width=2, classes=2).eval() for _ in range(2))
    rng = np.random.default_rng(0)
    gaussians = Gaussians(
        means=rng.normal(size=(2, 16)).astype(np.float32),
        variances=np.ones((2, 16), np.float32),
        log_priors=np.log([0.5, 0.5]).astype(np.float32),
        labels=np.array([0, 1]),
    )
    atoms = rng.normal(size=(2, 8, 192)).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=-1, keepdims=True)
    bank = srdfast.SRDBank(
        gaussians=gaussians, synthesis=atoms, coder=srdfast.OMP(max_atoms=2), classes=("dark", "bright")
    )
    srdfast.Purifier(bank, encoder).save(folder / "tiny.safetensors")
    save_network(folder / "tiny-classifier.safetensors", classifier)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A tree of pictures, three of each of two classes, 16 x 16."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    for split in ("train", "val"):
        for name, level in (("bright", 180), ("dark", 20)):
            (folder / split / name).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(level, level + 60, (16, 16, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture
def pictures(tmp_path):
    """A folder with an RGB picture, a transparent one in a subfolder, a grey JPEG and a text file."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(2)
    Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(folder / "rgb.png")
    Image.fromarray(rng.integers(0, 256, (16, 16, 4), np.uint8)).save(folder / "sub" / "alpha.png")
    Image.fromarray(rng.integers(0, 256, (32, 16), np.uint8)).save(folder / "grey.jpg")
    (folder / "notes.txt").write_text("no picture")
    return folder


def run(*arguments: object) -> int:
    """The exit code of a command line."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def fails(capsys, *arguments: object) -> str:
    """The one line that a mistaken command line ends with; checks the exit code and that it is one line."""
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("srdfast: error: "), captured.err
    assert captured.out == ""
    return lines[0]


def test_help_names_the_commands_and_nothing_else(capsys):
    assert run("--help") == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert tuple(name for name in listed if name.isalpha() and name != "COMMAND") == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert run(command, "--help") == 0
    assert command in capsys.readouterr().out


def test_help_is_quick_and_needs_no_torch(python):
    found = python(
        "import sys; sys.modules['torch'] = None; from srdfast.cli import main; main(['--help'])", check=False
    )
    assert found.returncode == 0 and "purify" in found.stdout, found.stderr


@pytest.mark.parametrize(
    "command", ["demo", "train --data a --out b", "purify a --out b", "evaluate a --data b"]
)
def test_without_torch_the_error_names_the_extra(python, command):
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from srdfast.cli import main\n"
        f"sys.exit(main({command.split()!r}))"
    )
    found = python(program, check=False)
    assert found.returncode == 2
    assert found.stderr == 'srdfast: error: this needs torch: pip install "srdfast[train]"\n'


def test_the_module_is_the_command(python):
    program = (
        "import runpy, sys; sys.argv = ['srdfast', '--version']\n"
        "runpy.run_module('srdfast', run_name='__main__')"
    )
    assert python(program, check=False).stdout.strip() == f"srdfast {srdfast.__version__}"


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "required"),
        (["dance"], "invalid choice"),
        (["purify", "a.png"], "--out"),
        (["train", "--data", "nowhere", "--out", "run"], "nowhere"),
        (["train", "--data", "d", "--out", "r", "--epochs", "many"], "--epochs"),
        (["train", "--data", "d", "--out", "r", "--stages", "cooking"], "cooking"),
        (["purify", "nowhere.png", "--out", "o", "--device", "cpu"], "nowhere.png"),
        (["purify", "a.png", "--out", "o", "--device", "gpu"], "expected auto, cpu, cuda or cuda:N"),
        (["evaluate", "nowhere", "--data", "d"], "no pretrained model is called 'nowhere'"),
        (["evaluate", "run/nowhere", "--data", "d"], "no file at run/nowhere"),
        (["evaluate", "nowhere.safetensors", "--data", "d"], "no file at nowhere.safetensors"),
        (["evaluate", "nowhere", "--data", "d", "--images", "0"], "--images"),
        (["evaluate", "nowhere", "--data", "d", "--stl", "-1"], "--stl: expected 0 or more, got -1"),
        (["evaluate", "nowhere", "--data", "d", "--seed", "-1"], "seed: expected 0 or more, got -1"),
        (["evaluate", "nowhere", "--data", "d", "--attacks", "pgd,none_such"], "attacks"),
        (["evaluate", "nowhere", "--data", "d", "--epsilon", "2"], "epsilon: expected 0 to 1"),
        (["evaluate", "nowhere", "--data", "d", "--epsilon", "4/0"], "--epsilon"),
        (["evaluate", "nowhere", "--data", "d", "--epsilon-l2", "nan"], "epsilon_l2"),
        (["demo", "--images", "0"], "1 to 500"),
        (["demo", "--images", "501"], "1 to 500"),
    ],
)
def test_mistakes_are_one_line(arguments, fragment, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fragment in fails(capsys, *arguments)


@pytest.mark.skipif(srdfast.build_info()["cuda"], reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
@pytest.mark.parametrize(
    "command", [["demo"], ["purify", "a", "--out", "b"], ["train", "--data", "a", "--out", "b"]]
)
def test_cuda_where_there_is_none_is_refused(command, device, capsys):
    assert "CUDA" in fails(capsys, *command, "--device", device)


def test_an_interruption_exits_with_130(capsys, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_info", interrupted)
    assert run("info") == 130
    assert capsys.readouterr().err == "srdfast: interrupted\n"


def test_info_as_text_and_json(capsys):
    assert run("info") == 0
    text = capsys.readouterr().out
    assert re.search(rf"^versions: srdfast +{re.escape(srdfast.__version__)}$", text, re.MULTILINE)
    assert "build: cpu_level" in text and "gpu" in text
    assert run("info", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["build"]["cpu_level"] in facts["build"]["available_cpu_levels"]
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["threads"]["srdfast"] >= 1 and facts["gpu"] and facts["faiss"]["build"]


def test_purify_keeps_names_sizes_and_transparency(models, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("purify", pictures, "--model", models / "tiny.safetensors", "--out", out) == 0
    written = capsys.readouterr().out.split()
    assert sorted(written) == sorted(str(out / name) for name in ("rgb.png", "grey.png", "sub/alpha.png"))
    before, after = np.asarray(Image.open(pictures / "rgb.png")), np.asarray(Image.open(out / "rgb.png"))
    purifier = srdfast.Purifier.load(models / "tiny.safetensors")
    np.testing.assert_array_equal(after.transpose(2, 0, 1), purifier(before.transpose(2, 0, 1)[None])[0])
    assert Image.open(out / "grey.png").size == (16, 32)
    alpha = [np.asarray(Image.open(folder / "sub" / "alpha.png"))[..., 3] for folder in (pictures, out)]
    np.testing.assert_array_equal(*alpha)


def test_purify_can_keep_the_format(models, pictures, tmp_path):
    arguments = (
        "purify",
        pictures / "grey.jpg",
        "--model",
        models / "tiny.safetensors",
        "--out",
        tmp_path / "out",
    )
    assert run(*arguments, "--keep-format") == 0
    assert Image.open(tmp_path / "out" / "grey.jpg").format == "JPEG"


def test_purify_does_the_others_when_some_cannot_be_read(models, pictures, tmp_path, capsys):
    whole = (pictures / "rgb.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "tiny.png").unlink(missing_ok=True)
    Image.new("RGB", (5, 40)).save(pictures / "narrow.png")
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(pictures / "deep.png")
    code = run(
        "purify",
        pictures,
        pictures / "notes.txt",
        "--model",
        models / "tiny.safetensors",
        "--out",
        tmp_path / "o",
    )
    captured = capsys.readouterr()
    assert code == 2 and len(captured.out.splitlines()) == 3
    complaints = captured.err.splitlines()
    assert len(complaints) == 4 and all(line.startswith("srdfast: error: ") for line in complaints)
    for name in ("cut.png", "narrow.png", "deep.png", "notes.txt"):
        assert any(name in line for line in complaints), name
    assert sorted(file.name for file in (tmp_path / "o").rglob("*.*")) == ["alpha.png", "grey.png", "rgb.png"]


def test_purify_overwrites_only_when_told(models, pictures, tmp_path, capsys):
    arguments = ("purify", pictures, "--model", models / "tiny.safetensors", "--out", tmp_path / "out")
    assert run(*arguments) == 0
    first = (tmp_path / "out" / "rgb.png").read_bytes()
    capsys.readouterr()
    assert "-y" in fails(capsys, *arguments)
    assert run(*arguments, "-y") == 0
    assert (tmp_path / "out" / "rgb.png").read_bytes() == first


def test_purify_refuses_two_sources_for_one_result(models, pictures, tmp_path, capsys):
    (pictures / "rgb.bmp").write_bytes((pictures / "rgb.png").read_bytes())
    arguments = ("purify", pictures, "--model", models / "tiny.safetensors", "--out", tmp_path / "out")
    assert "both become" in fails(capsys, *arguments)


def test_purify_refuses_a_folder_without_pictures(models, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    arguments = (
        "purify",
        tmp_path / "empty",
        "--model",
        models / "tiny.safetensors",
        "--out",
        tmp_path / "out",
    )
    assert "no image" in fails(capsys, *arguments)


def test_a_damaged_model_is_refused(models, pictures, dataset, tmp_path, capsys):
    whole = (models / "tiny.safetensors").read_bytes()
    damaged = tmp_path / "tiny.safetensors"
    for content in (whole[: len(whole) // 2], whole[:5], b"", b"PK\x03\x04" + bytes(100)):
        damaged.write_bytes(content)
        assert "tiny.safetensors" in fails(
            capsys, "purify", pictures, "--model", damaged, "--out", tmp_path / "o"
        )
    network = models / "tiny-classifier.safetensors"
    arguments = ("evaluate", damaged, "--classifier", network, "--data", dataset)
    assert "tiny.safetensors" in fails(capsys, *arguments)


def test_evaluate_prints_a_table_or_json(models, dataset, tmp_path, capsys, monkeypatch):
    from srdfast.evaluation.presets import PRESETS, QUICK

    brief = dict.fromkeys(
        ("steps", "long_steps", "adaptive_steps", "auto_steps", "carlini_steps", "queries"), 2
    )
    brief["attacks"], brief["adaptive"] = ("fgsm", "pgd_l2", "contrast"), ("bpda", "exact", "joint", "square")
    monkeypatch.setitem(PRESETS, "quick", (100, dataclasses.replace(QUICK, **brief)))
    arguments = ("evaluate", models / "tiny.safetensors", "--data", dataset, "--size", 16, "--images", 4)
    arguments += ("--adaptive", 2, "--epsilon", "4/255", "--epsilon-l2", 0.25, "--out", tmp_path / "report")
    assert run(*arguments) == 0
    table = capsys.readouterr().out
    for word in ("no defence", "encoder alone", "random dictionary", "gray-box", "black box"):
        assert word in table
    files = {"report.json", "report.md", "pictures.png", "outcomes.jsonl", "strengths.json"}
    assert {file.name for file in (tmp_path / "report").iterdir()} == files
    kept = (tmp_path / "report" / "outcomes.jsonl").read_bytes()
    assert run(*arguments, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "report" / "report.json").read_text())
    assert (tmp_path / "report" / "outcomes.jsonl").read_bytes() == kept  # nothing was measured again
    (part,) = printed["parts"].values()
    attack = part["settings"]["attacks"]
    assert attack["epsilon"] == pytest.approx(4 / 255) and attack["step"] == pytest.approx(1 / 255)
    assert attack["epsilon_l2"] == 0.25
    assert part["settings"]["data"]["images"] == 4 and set(part["checks"]) == {
        row["name"] for row in part["rows"]
    }
    assert sum(name.startswith(("JPEG", "median", "total")) for name in part["checks"]) == 3


@pytest.mark.parametrize("name", ["cifar10", "imagenet10"])
def test_a_shipped_purifier_is_evaluated_with_what_ships_beside_it(name):
    found, rivals = cli._models(name, None, "cpu"), {"one_dictionary", "denoiser"}
    assert found.keys() == {"purifier", "classifier", *rivals}
    side = found["purifier"].image_size
    images = torch.linspace(0.2, 0.8, side).expand(1, 3, side, side).contiguous()
    with torch.no_grad():
        purified = found["purifier"](images)
        assert (purified - images).abs().mean() < 0.1  # a smooth picture stays one
        assert found["classifier"](purified).shape == (1, 10)
        for rival in rivals:
            assert found[rival](images).shape == images.shape


def test_an_exported_classifier_is_evaluated_as_the_network_is(models, dataset, tmp_path, capsys):
    tables = []
    network = load_network(models / "tiny-classifier.safetensors")
    export(network, tmp_path / "tiny-classifier.pt2", images=(2, 3, 16, 16))
    shutil.copy(models / "tiny.safetensors", tmp_path)
    arguments = ("--data", dataset, "--size", 16, "--adaptive", 2, "--attacks", "fgsm", "--json")
    for folder in (models, tmp_path):
        assert run("evaluate", folder / "tiny.safetensors", *arguments, "--adaptive-attacks", "exact") == 0
        (part,) = json.loads(capsys.readouterr().out)["parts"].values()
        tables.append(part["rows"])
    assert tables[0] == tables[1]

    arguments = ("evaluate", models / "tiny.safetensors", "--data", dataset, "--size", 32, "--classifier")
    line = fails(capsys, *arguments, tmp_path / "tiny-classifier.pt2")
    assert "the program takes images of [3, 16, 16], got [3, 32, 32]" in line
    torch.save(network.state_dict(), tmp_path / "weights.pt2")
    assert "not a program of torch.export" in fails(capsys, *arguments, tmp_path / "weights.pt2")


def test_data_of_other_classes_are_refused_before_anything_is_made(models, dataset, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(dataset, data)
    for split in ("train", "val"):
        shutil.copytree(data / split / "dark", data / split / "grey")
    arguments = ("evaluate", models / "tiny.safetensors", "--data", data, "--size", 16, "--out", out)
    arguments += ("--opponents", tmp_path / "opponents")
    assert "purifier: expected one of 3 classes, got 2" in fails(capsys, *arguments)
    network = ResNet(depth=10, width=2, classes=3)
    save_network(tmp_path / "three.safetensors", network)
    arguments = ("evaluate", models / "tiny.safetensors", "--data", dataset, "--size", 16, "--out", out)
    line = fails(capsys, *arguments, "--classifier", tmp_path / "three.safetensors")
    assert "classifier: expected one of 2 classes, got 3" in line
    assert not out.exists() and not (tmp_path / "opponents").exists()


def test_no_part_at_all_is_refused(models, dataset, tmp_path, capsys):
    arguments = ("evaluate", models / "tiny.safetensors", "--data", dataset, "--size", 16)
    line = fails(capsys, *arguments, "--parts", ",", "--out", tmp_path / "out")
    assert "parts: expected at least one name out of untouched" in line


def test_stl_without_sporco_is_refused_before_anything_is_measured(
    models, dataset, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "sporco", None)
    arguments = ("evaluate", models / "tiny.safetensors", "--data", dataset, "--size", 16)
    line = fails(capsys, *arguments, "--stl", 1, "--out", tmp_path / "out")
    assert line == 'srdfast: error: this needs sporco: pip install "srdfast[bench]"'
    assert not (tmp_path / "out").exists()


@shipped
def test_a_shipped_network_can_be_protected(models):
    found = cli._models(str(models / "tiny.safetensors"), "cifar10-classifier", "cpu")["classifier"]
    expected = load_network(pretrained.path("cifar10-classifier"))
    assert torch.equal(found.head.weight, expected.head.weight)


@pytest.mark.parametrize("stage", ["1_baseline", "7_refine"])
def test_a_run_that_was_interrupted_is_not_evaluated(models, dataset, stage, tmp_path, capsys):
    folder = tmp_path / "run" / stage
    folder.mkdir(parents=True)
    shutil.copy(models / "tiny.safetensors", folder / "purifier.safetensors")
    shutil.copy(models / "tiny-classifier.safetensors", folder / "classifier.safetensors")
    line = fails(capsys, "evaluate", tmp_path / "run", "--data", dataset)
    assert "run: the run has not come to its end; srdfast train goes on with it" in line


def test_evaluate_needs_a_classifier(models, dataset, tmp_path, capsys):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((models / "tiny.safetensors").read_bytes())
    assert "--classifier" in fails(capsys, "evaluate", alone, "--data", dataset)


def test_train_offers_every_setting_with_its_help(capsys):
    assert run("train", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(Config):
        assert f"--{field.name.replace('_', '-')}" in text
        assert field.metadata["help"].split(",")[0].split("(")[0].strip() in text


@pytest.mark.parametrize("option", ["mirror", "refine", "bf16", "refine_calibrate"])
def test_a_setting_that_is_yes_or_no_takes_no_value(option):
    words, name = ["train", "--data", "d", "--out", "o"], option.replace("_", "-")
    for given, expected in (
        ([], getattr(Config(), option)),
        ([f"--{name}"], True),
        ([f"--no-{name}"], False),
    ):
        assert getattr(cli._parser().parse_args([*words, *given]), option) is expected


@shipped
def test_demo_runs_end_to_end(tmp_path, capsys):
    started = time.monotonic()
    assert run("demo", "--out", tmp_path / "demo", "--images", 20, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    accuracy = {
        row["name"]: {c: cell["accuracy"] for c, cell in row["columns"].items()} for row in report["rows"]
    }
    assert accuracy["no defence"]["pgd"] <= 0.1 < accuracy["srdfast"]["pgd"]
    assert {file.name for file in (tmp_path / "demo").iterdir()} == {
        "report.json",
        "report.md",
        "pictures.png",
    }
    assert time.monotonic() - started < 60
