# SPDX-License-Identifier: Apache-2.0
"""Classifiers from files: networks of srdfast, and exported programs of other makes."""

import shutil

import pytest
import torch
from devices import cuda_or_skip
from programs import BATCH, export
from torch import nn

from srdfast.classifiers import (
    load_classifier,
    require_fits,
    save_classifier,
    saved_classifier,
)
from srdfast.defences import fingerprint
from srdfast.errors import DataError, ModelFormatError
from srdfast.networks import ResNet, save_network


class Foreign(nn.Module):
    """A classifier with its own normalisation, as other libraries' have, and batch normalisation."""

    def __init__(self, mean=0.4, classes=10):
        super().__init__()
        torch.manual_seed(0)
        self.mean = mean
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, classes),
        )

    def forward(self, images):
        return self.layers((images - self.mean) / 0.2)


@pytest.fixture
def file(tmp_path):
    return export(Foreign(), tmp_path / "foreign.pt2")


def test_a_program_answers_and_differentiates_as_the_module_did(file):
    module, program = Foreign().eval(), load_classifier(file)
    assert (program.classes, program.image_shape) == (10, (3, 32, 32)) and not program.training
    for count in (0, 1, 5):
        images = torch.rand(count, 3, 32, 32)
        slopes = []
        for network in (module, program):
            inputs = images.clone().requires_grad_()
            logits = network(inputs)
            (slope,) = torch.autograd.grad(logits.square().sum(), inputs)
            slopes += [logits.detach(), slope]
        torch.testing.assert_close(slopes[2:], slopes[:2])
    assert not any(parameter.requires_grad for parameter in program.parameters())


def test_a_program_stays_as_it_was_exported(file):
    program = load_classifier(file)
    images = torch.rand(4, 3, 32, 32)
    before = program(images)
    nn.Sequential(program).train()(images)
    nn.Sequential(program).eval()
    torch.testing.assert_close(program(images), before, rtol=0, atol=0)


def test_classifiers_are_written_and_found_again(file, tmp_path):
    images = torch.rand(3, 3, 32, 32)
    save_network(tmp_path / "own.safetensors", ResNet(depth=10, width=2))
    for source in (file, tmp_path / "own.safetensors"):
        classifier, place = load_classifier(source), tmp_path / source.stem / "classifier.of.mine"
        place.parent.mkdir()
        assert saved_classifier(place).name == "classifier.of.mine.safetensors"
        written = save_classifier(place, classifier)
        assert written == saved_classifier(place) and written.suffix == source.suffix
        assert len(list(place.parent.iterdir())) == 1
        torch.testing.assert_close(load_classifier(written)(images), classifier(images), rtol=0, atol=0)


def test_a_classifier_of_the_other_kind_is_replaced(file, tmp_path):
    place = tmp_path / "classifier"
    for classifier in (load_classifier(file), ResNet(depth=10, width=2), load_classifier(file)):
        written = save_classifier(place, classifier)
        assert [path for path in tmp_path.iterdir() if path.stem == "classifier"] == [written]


def test_a_program_that_insists_on_its_types_runs_under_autocast(tmp_path):
    class Insisting(Foreign):
        def forward(self, images):
            return self.layers[5](self.layers[:5](images).float().to(torch.float32))

    program = load_classifier(export(Insisting(), tmp_path / "insisting.pt2"))
    images = torch.rand(3, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        found = program(images.bfloat16().float())
    expected = Insisting().eval()(images.bfloat16().float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_programs_of_the_same_weights_are_told_apart(file, tmp_path):
    """What an evaluation keeps belongs to one classifier; the mean is a number in the program."""
    other = load_classifier(export(Foreign(mean=0.5), tmp_path / "other.pt2"))
    same = load_classifier(shutil.copy(file, tmp_path / "copy.pt2"))
    assert fingerprint(load_classifier(file)) == fingerprint(same) != fingerprint(other)


@pytest.mark.gpu
def test_a_program_runs_on_a_gpu(monkeypatch, tmp_path):
    """Numbers that the program makes itself move with it."""
    device = cuda_or_skip(monkeypatch)
    if device.type != "cuda":
        pytest.skip("threads of the CPU run programs as the CPU does")

    class Shifted(Foreign):
        def forward(self, images):
            return super().forward(images) + torch.arange(10.0, device=images.device)

    file, images = export(Shifted(), tmp_path / "shifted.pt2"), torch.rand(5, 3, 32, 32)
    program, expected = load_classifier(file, device), load_classifier(file)(images)
    torch.testing.assert_close(program(images.to(device)).cpu(), expected, atol=1e-4, rtol=1e-4)
    written = save_classifier(tmp_path / "written", program)
    torch.testing.assert_close(load_classifier(written)(images), expected)  # for machines without a GPU too
    torch.testing.assert_close(program(images.to(device)).cpu(), expected, atol=1e-4, rtol=1e-4)


def test_a_program_of_any_size_takes_any_size(tmp_path):
    sides = (dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO),)
    program = load_classifier(export(Foreign(), tmp_path / "any.pt2", shapes=sides))
    assert program.image_shape == (3, None, None)
    assert program(torch.rand(2, 3, 16, 24)).shape == (2, 10)
    require_fits(program, (3, 16, 24), 10, "any.pt2")


def test_what_does_not_fit_is_told(file, tmp_path):
    program = load_classifier(file)
    require_fits(program, (3, 32, 32), 10, "f")
    with pytest.raises(DataError, match=r"classifier: expected one of 4 classes, got 10 \(f\)"):
        require_fits(program, (3, 32, 32), 4, "f")
    for use in (
        lambda: require_fits(program, (3, 16, 16), 10, "f"),
        lambda: program(torch.rand(2, 3, 16, 16)),
    ):
        with pytest.raises(DataError, match=r"takes images of \[3, 32, 32\], got \[3, 16, 16\]"):
            use()
    with pytest.raises(DataError, match=r"expected one of 4 classes, got 10 \(own\)"):
        require_fits(ResNet(depth=10, width=2), (3, 32, 32), 4, "own")


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(3), nn.Dropout()])
def test_a_program_of_a_module_in_training_is_refused(tmp_path, layer):
    module = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = (torch.rand(2, 3, 8, 8),)
    for training, file in ((False, tmp_path / "eval.pt2"), (True, tmp_path / "train.pt2")):
        program = torch.export.export(module.train(training), images, dynamic_shapes=BATCH)
        torch.export.save(program, file)
    assert load_classifier(tmp_path / "eval.pt2").classes == 3
    with pytest.raises(ModelFormatError, match=r"one that was training; call eval\(\) and export it"):
        load_classifier(tmp_path / "train.pt2")


class Two(nn.Module):
    def forward(self, images):
        return images.mean((2, 3)), images


class Halves(nn.Module):
    def forward(self, images):
        return images.mean((2, 3)).half()


@pytest.mark.parametrize(
    ("module", "shapes", "message"),
    [
        (Foreign(), None, r"any number of images, got 2 alone; export with dynamic_shapes="),
        (nn.ReLU(), BATCH, r"to logits \[batch, classes\], got \[any, 3, 32, 32\] to \[any, 3, 32, 32\]"),
        (Two(), BATCH, r"expected one output, got 2"),
        (Halves(), BATCH, r"expected float32 as output, got torch.float16"),
    ],
)
def test_programs_that_are_no_classifiers_are_refused(tmp_path, module, shapes, message):
    path = export(module, tmp_path / "other.pt2", shapes=shapes)
    with pytest.raises(ModelFormatError, match=message):
        load_classifier(path)


def test_a_program_without_finite_weights_is_refused(tmp_path):
    module = Foreign()
    module.layers[-1].bias.data[3] = float("nan")
    with pytest.raises(ModelFormatError, match=r"nan.pt2: expected finite weights"):
        load_classifier(export(module, tmp_path / "nan.pt2"))


def test_damaged_programs_are_refused(file, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_classifier(tmp_path / "nowhere.pt2")
    weights = tmp_path / "weights.pt2"
    torch.save(Foreign().state_dict(), weights)
    short, text = tmp_path / "short.pt2", tmp_path / "text.pt2"
    short.write_bytes(file.read_bytes()[:2000])
    text.write_text("no program")
    for path in (short, text, weights):
        with pytest.raises(ModelFormatError, match=f"{path.name}: damaged, not a program of torch.export"):
            load_classifier(path)
