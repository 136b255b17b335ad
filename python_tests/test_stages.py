# SPDX-License-Identifier: Apache-2.0
"""The training loop and the stages: resumed to the bit, skipped when done, refused when they do not fit."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from cases import write_data
from torch import nn

from srdfast.data import Dataset
from srdfast.errors import UserError
from srdfast.files import load_tensors
from srdfast.networks import ResNet
from srdfast.stages import robust
from srdfast.stages.run import ORDER, Config, Context, train
from srdfast.training import Schedule, augment, cross_entropy, fit, generator, learning_rate_at

STAGES = "baseline,latents,clusters,distributions,robust"
TINY = Config(
    depth=10,
    width=4,
    batch=16,
    epochs=2,
    robust_epochs=2,
    validation=0.1,
    min_size=5,
    components=2,
    bf16=True,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("stages") / "data")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("run")
    return train(data, out, TINY, STAGES)


def outputs(out):
    """Every tensor that a run wrote: {file: {name: array}}."""
    return {str(path.relative_to(out)): load_tensors(path)[0] for path in sorted(out.rglob("*.safetensors"))}


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for file, tensors in first.items():
        assert tensors.keys() == second[file].keys()
        for name, array in tensors.items():
            assert array.tobytes() == second[file][name].tobytes(), f"{file}: {name}"


def test_every_stage_writes_its_output(finished):
    assert set(outputs(finished.out)) == {
        "1_baseline/model.safetensors",
        "2_latents/latents.safetensors",
        "3_clusters/clusters.safetensors",
        "4_distributions/gaussians.safetensors",
        "6_robust/model.safetensors",
    }
    latents, labels = finished.latents
    assert latents.shape == (200, 32) and latents.dtype == np.float32
    np.testing.assert_array_equal(labels, finished.train.labels)
    assignment, owners = finished.clusters
    np.testing.assert_array_equal(owners[assignment], labels)
    assert len(finished.gaussians) == len(owners) and owners.tolist() == sorted(owners)
    report = json.loads(finished.path("clusters", "clusters.json").read_text())
    assert list(report) == list("abcdefghij")
    assert sum(found["clusters"] for found in report.values()) == len(owners)
    assert finished.network("robust").spec == finished.network("baseline").spec


@pytest.mark.parametrize("stage", ["baseline", "robust"])
def test_a_killed_run_resumes_to_the_same_bits(data, finished, tmp_path, stage):
    def kill(name, epoch, measures):
        if (name, epoch) == (stage, 0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path, TINY, STAGES, after_epoch=kill)
    assert any(path.name == "checkpoint.safetensors" for path in tmp_path.rglob("*"))
    epochs = []
    train(
        data, tmp_path, TINY, STAGES, after_epoch=lambda name, epoch, measures: epochs.append((name, epoch))
    )
    assert epochs[0] == (stage, 1)
    assert_same_bits(outputs(tmp_path), outputs(finished.out))


def test_a_run_killed_within_an_epoch_resumes_to_the_same_bits(data, finished, tmp_path, monkeypatch):
    calls, loss = [], robust.adversarial_loss

    def failing(context):
        inner = loss(context)

        def step(net, batch):
            calls.append(len(calls))
            if len(calls) == 17:  # 11 steps an epoch
                raise MemoryError
            return inner(net, batch)

        return step

    monkeypatch.setattr(robust, "adversarial_loss", failing)
    with pytest.raises(MemoryError):
        train(data, tmp_path, TINY, STAGES)
    monkeypatch.undo()
    train(data, tmp_path, TINY, STAGES)
    assert_same_bits(outputs(tmp_path), outputs(finished.out))


def test_done_stages_are_skipped(data, finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.out.rglob("*")}
    train(data, finished.out, TINY, STAGES)
    assert before == {path: path.stat().st_mtime_ns for path in finished.out.rglob("*")}
    assert capsys.readouterr().err.count(": done") == 5


def test_other_settings_are_refused_and_redone_on_request(data, tmp_path):
    train(data, tmp_path, TINY, "baseline,latents")
    other = replace(TINY, epochs=1)
    with pytest.raises(UserError, match=r"1_baseline.*--out.*--redo"):
        train(data, tmp_path, other, "baseline")
    with pytest.raises(UserError, match="needs stage baseline"):
        train(data, tmp_path, other, "latents")
    train(data, tmp_path, replace(TINY, robust_epochs=9), "baseline")  # not a setting of the baseline
    train(data, tmp_path, other, "baseline", redo=True)
    with pytest.raises(UserError, match=r"2_latents"):
        train(data, tmp_path, other, "latents")
    train(data, tmp_path, other, "latents", redo=True)


def test_other_data_are_refused(data, finished, tmp_path):
    with pytest.raises(UserError, match="other settings or data"):
        train(write_data(tmp_path / "data", seed=1), finished.out, TINY, "baseline")


def test_an_interrupted_stage_of_other_settings_is_not_continued(data, tmp_path):
    def kill(name, epoch, measures):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path, TINY, "baseline", after_epoch=kill)
    with pytest.raises(UserError, match="1_baseline"):
        train(data, tmp_path, replace(TINY, seed=1), "baseline")


def test_unknown_stages_are_named(data, tmp_path):
    with pytest.raises(UserError, match="purify"):
        train(data, tmp_path, TINY, "baseline,purify")
    with pytest.raises(UserError, match="needs stage"):
        train(data, tmp_path, TINY, ["robust"])


def test_config_explains_itself():
    assert all(option.metadata["help"] for option in fields(Config))
    assert len(ORDER) == len(set(ORDER)) == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("seed", -1),
        ("images", 0),
        ("validation", 0.9),
        ("epsilon", 8.0),
        ("beta", float("nan")),
        ("attack", "fsgm"),
        ("distance", "far"),
        ("depth", 12),
        ("stride", 9),
        ("refine_encoder_own_share", 0.7),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        Config(**{name: value})


def test_split_is_a_partition(finished):
    rows, aside = finished.split
    assert len(aside) == 20
    np.testing.assert_array_equal(np.sort(np.concatenate([rows, aside])), np.arange(200))


def test_the_validation_of_the_robust_network_has_images_of_every_class(data, finished, monkeypatch):
    """The images of a folder lie class after class."""
    context, seen = Context(data, finished.out, TINY, torch.device("cpu"), False), []
    order = np.argsort(context.train.labels, kind="stable")
    watch = lambda attack, net, images, labels, **options: (seen.append(labels), images)[1]  # noqa: E731
    monkeypatch.setattr(robust, "attack_batches", watch)
    monkeypatch.setattr(robust, "VALIDATION_IMAGES", 20)
    robust.robust_measures(context.network("robust"), context, order)
    assert torch.bincount(seen[0]).tolist() == [2] * 10


def test_without_validation_images_there_is_nothing_to_measure(finished):
    assert robust.robust_measures(finished.network("robust"), finished, np.empty(0, np.int64)) == {}


def test_likelihood_distance_is_the_gaussian_one():
    source = torch.Generator().manual_seed(0)
    latents, means = torch.randn(5, 3, generator=source), torch.randn(2, 3, generator=source)
    variances, clusters = torch.rand(2, 3, generator=source) + 0.1, torch.tensor([0, 1, 1, 0, 1])
    gaussian = torch.distributions.Normal(means[clusters], variances[clusters].sqrt())
    expected = -gaussian.log_prob(latents).mean()
    torch.testing.assert_close(robust.likelihood_distance(latents, clusters, means, variances), expected)


def test_moment_distance_compares_mean_and_deviation():
    source = torch.Generator().manual_seed(0)
    latents, means = torch.randn(6, 3, generator=source), torch.randn(4, 3, generator=source)
    variances, clusters = torch.rand(4, 3, generator=source) + 0.1, torch.tensor([3, 1, 1, 3, 1, 0])
    expected = []
    for cluster in (0, 1, 3):
        own = latents[clusters == cluster]
        apart = (own.mean(0) - means[cluster]) ** 2
        if len(own) > 1:
            apart = apart + (own.std(0) - variances[cluster].sqrt()) ** 2
        expected.append(apart)
    found = robust.moment_distance(latents.requires_grad_(), clusters, means, variances)
    torch.testing.assert_close(found, torch.stack(expected).mean())
    found.backward()
    assert torch.isfinite(latents.grad).all()


@pytest.mark.parametrize("options", [{"attack": "pgd", "attack_steps": 2}, {"distance": "moments"}])
def test_other_losses_train(data, finished, options):
    context = Context(data, finished.out, replace(TINY, **options), torch.device("cpu"))
    loss, net = robust.adversarial_loss(context), context.network("baseline")
    images, labels = context.train.tensors(0, 8)
    value, logits = loss(net, robust.Batch(images, labels, torch.arange(8), generator(0)))
    value.backward()
    assert logits.shape == (8, 10) and torch.isfinite(value) and net.head.weight.grad is not None


def test_the_learning_rate_rises_and_falls():
    schedule = Schedule(epochs=1, learning_rate=2.0, warmup=0.25)
    rates = [learning_rate_at(step, 100, schedule) for step in range(100)]
    assert max(rates) == rates[24] == pytest.approx(2.0)
    assert all(np.diff(rates[:25]) > 0) and all(np.diff(rates[24:]) < 0) and rates[-1] == pytest.approx(0)


def test_augmented_images_are_windows():
    images = torch.arange(1, 1 + 5 * 3 * 16 * 16).view(5, 3, 16, 16).float()
    moved = augment(images, generator(1))
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    for number in range(5):
        windows = [padded[number, :, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
        both = windows + [window.flip(2) for window in windows]
        assert any(torch.equal(moved[number], window) for window in both)
    assert torch.equal(moved, augment(images, generator(1)))
    assert not torch.equal(moved, augment(images, generator(2)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_fit_learns_and_keeps_the_best_epoch(tmp_path, optimizer):
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = np.clip(60 + 120 * labels[:, None, None, None] + rng.normal(0, 30, (64, 3, 8, 8)), 0, 255)
    dataset = Dataset(images.astype(np.uint8), labels, ("dark", "light"), "made")
    schedule = Schedule(epochs=4, batch=16, learning_rate=0.01, optimizer=optimizer, bf16=False)
    scores = iter([0.1, 0.9, 0.5, 0.9])
    kept = []

    def validate(net):
        kept.append(net.head.weight.detach().clone())
        return {"score": next(scores)}

    torch.manual_seed(0)
    net = ResNet(10, 4, 2)
    for epochs in (3, 4):  # the second call continues the first
        net = net if epochs == 3 else ResNet(10, 4, 2)
        history = fit(
            net,
            dataset,
            np.arange(64),
            replace(schedule, epochs=epochs),
            checkpoint=tmp_path / "checkpoint.safetensors",
            validate=validate,
            keep_best="score",
            progress=False,
        )
        assert torch.equal(net.head.weight, kept[1]) and not net.training
    assert len(history) == 4 and history[-1]["accuracy"] > 0.7 and history[-1]["loss"] < history[0]["loss"]


def test_an_unknown_optimizer_is_named(tmp_path):
    dataset = Dataset(np.zeros((2, 3, 8, 8), np.uint8), np.zeros(2, np.int64), ("a",), "made")
    with pytest.raises(ValueError, match="optimizer"):
        fit(ResNet(10, 4, 1), dataset, np.arange(2), Schedule(1, optimizer="x"), checkpoint=tmp_path / "c")


@pytest.mark.parametrize(("capability", "fast"), [("DEFAULT", False), ("AVX2", False), ("AVX512", True)])
def test_bfloat16_is_left_to_processors_that_compute_in_it(capability, fast, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    seen = []

    def loss(net, batch):
        seen.append(torch.is_autocast_enabled("cpu"))
        return cross_entropy(net, batch)

    images = np.zeros((8, 3, 8, 8), np.uint8)
    data = Dataset(images, np.arange(8) % 2, ("a", "b"), "zeros")
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    for wanted in (True, False):
        schedule = Schedule(epochs=1, batch=8, bf16=wanted)
        path = tmp_path / f"{wanted}.safetensors"
        fit(net, data, np.arange(8), schedule, loss=loss, checkpoint=path, progress=False)
    assert seen == [fast, False]
