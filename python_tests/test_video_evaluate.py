# SPDX-License-Identifier: Apache-2.0
"""The evaluation of frames: what is counted, what is attacked, and its command line."""

import json

import cases
import numpy as np
import pytest

import srdfast

torch = pytest.importorskip("torch")
from srdfast.data import Dataset  # noqa: E402
from srdfast.networks import ResNet, save_network  # noqa: E402
from srdfast.purifier import Purifier  # noqa: E402
from srdfast.video.evaluate import adaptive_decisions, clip_quality, decisions, main, table  # noqa: E402
from srdfast.video.frames import FramePurifier  # noqa: E402


@pytest.fixture(autouse=True)
def one_torch_thread():
    torch.set_num_threads(1)


def network():
    torch.manual_seed(1)
    return ResNet(depth=10, width=2, classes=10).eval()


def purifier():
    encoder = network()
    bank = cases.bank(np.random.default_rng(1), srdfast.LISTA(1), latent=encoder.latent, channels=1)
    return Purifier(bank, encoder, image_size=32).eval()


def images(classifier, count=12):
    """Random images, labelled by what the classifier says of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32)).astype(np.uint8)
    with torch.no_grad():
        labels = classifier(torch.from_numpy(pixels).float() / 255).argmax(1).numpy()
    return Dataset(pixels, labels, tuple("abcdefghij"), "noise")


def test_the_undefended_classifier_is_right_until_it_is_attacked():
    classifier = network()
    seen = {}

    def notes(images):
        seen[len(seen)] = images
        return images

    data = images(classifier)
    counts = decisions(classifier, data, {"none": None, "notes": notes}, (2 / 255, 32 / 255))
    assert list(counts["none"]) == ["clean", "PGD 2/255", "PGD 32/255"]
    assert counts["none"]["clean"] == (12, 12)
    assert counts["none"] == counts["notes"]
    assert counts["none"]["PGD 32/255"][0] < 12
    clean, weak, strong = (seen[i] * 255 for i in range(3))
    torch.testing.assert_close(strong, strong.round())
    assert (weak - clean).abs().max() <= 2.001 and 30 < (strong - clean).abs().max() <= 32.001
    lines = table(counts).splitlines()
    assert lines[0] == "| defence | clean | PGD 2/255 | PGD 32/255 |" and lines[2].startswith(
        "| none | 100.0 |"
    )


def test_adaptive_attacks_aim_at_both_gradients_and_leave_the_purifier_as_it_was():
    model, classifier = purifier(), network()
    found = adaptive_decisions(model, FramePurifier(model), classifier, images(classifier, 4), 8 / 255)
    assert set(found) == {"bpda", "exact"} and all(total == 4 for _, total in found.values())
    assert model.grad_mode == "bpda"


def test_the_command_line_reports_everything(tmp_path, capsys):
    from PIL import Image

    data = cases.write_data(tmp_path / "data")
    purifier().save(tmp_path / "model.safetensors")
    save_network(tmp_path / "classifier.safetensors", network())
    picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    options = [
        "--classifier",
        tmp_path / "classifier.safetensors",
        "--data",
        data,
        "--size",
        "32",
        "--images",
        "10",
    ]
    more = ["--adaptive", "0", "--clips", tmp_path / "picture.png"]
    assert main([str(option) for option in (tmp_path / "model.safetensors", *options, *more)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["decisions"]["srdfast"]["clean"][1] == 10
    quality = clip_quality(FramePurifier(tmp_path / "model.safetensors"), tmp_path / "picture.png", 5)
    found = report["clips"]["picture.png"]
    assert set(found) == {"srdfast", "JPEG, quality 75", "JPEG, quality 50"}
    assert found["JPEG, quality 75"]["psnr"] > found["JPEG, quality 50"]["psnr"]
    mine = found["srdfast"]
    assert mine["frames"] == 1 and mine["psnr"] == quality["srdfast"]["psnr"] and 0 < mine["ssim"] < 1
