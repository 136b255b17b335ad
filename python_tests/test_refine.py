# SPDX-License-Identifier: Apache-2.0
"""From clusters to a refined purifier: the last training stages, interrupted at every epoch of them."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
from cases import write_data
from PIL import Image

import srdfast
from srdfast import pretrained

torch = pytest.importorskip("torch")
from programs import export  # noqa: E402
from torch.nn import functional  # noqa: E402

from srdfast.attacks import ATTACKS, attack_batches  # noqa: E402
from srdfast.classifiers import load_classifier  # noqa: E402
from srdfast.cli import _models  # noqa: E402
from srdfast.errors import ModelFormatError, UserError  # noqa: E402
from srdfast.files import load_tensors  # noqa: E402
from srdfast.nearest import NearestCluster  # noqa: E402
from srdfast.networks import ResNet, load_network, save_network  # noqa: E402
from srdfast.pretrained import pack  # noqa: E402
from srdfast.rival_networks import (  # noqa: E402
    Denoiser,
    load_opponent,
    multiply_adds,
    purifier_multiply_adds,
)
from srdfast.stages.calibrate import Calibration, attacked_views, calibrate  # noqa: E402
from srdfast.stages.learned import dual_frame, everywhere_of  # noqa: E402
from srdfast.stages.pairs import PROTECTED, SINGLE, Attacked, Choices, attacked_images  # noqa: E402
from srdfast.stages.refine import _protected, settings  # noqa: E402
from srdfast.stages.run import (  # noqa: E402
    Config,
    Context,
    get_stage,
    run_stage,
    train,
)
from srdfast.stages.task import Terms, _listener, task_loss  # noqa: E402
from srdfast.study import Subject, _rows  # noqa: E402
from srdfast.torch_ops import rebuild  # noqa: E402
from srdfast.training import Batch  # noqa: E402

STAGES = "baseline,latents,clusters,distributions,dictionaries,robust,refine"
TINY = Config(
    depth=10,
    width=2,
    batch=20,
    epochs=1,
    robust_epochs=1,
    validation=0.1,
    min_size=5,
    components=2,
    max_clusters=2,
    atoms=24,
    dictionary_patches=300,
    refine_steps=2,
    refine_images=60,
    refine_epochs=2,
    refine_batch=20,
    refine_label_weight=1.0,
    refine_sources=3,
    refine_source_epochs=1,
    refine_encoder_epochs=1,
    refine_denoiser=True,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("refine") / "data")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run that nothing interrupted."""
    return train(data, tmp_path_factory.mktemp("refine") / "run", TINY, STAGES, progress=False)


def test_the_dictionaries_are_one_a_cluster_and_one_for_all(finished):
    bank = srdfast.SRDBank.load(finished.path("dictionaries", "bank.safetensors"))
    everywhere = srdfast.SRDBank.load(finished.path("dictionaries", "global.safetensors"))
    assert bank.clusters == len(finished.gaussians) and everywhere.clusters == 1
    norms = np.linalg.norm(bank.synthesis, axis=2)
    assert norms.max() <= 1 + 1e-5
    np.testing.assert_array_equal(bank.gaussians.means, finished.gaussians.means)


def test_the_refined_purifier_works_and_leaves_nothing_behind(finished):
    purifier = srdfast.Purifier.load(finished.path("refine", "purifier.safetensors"))
    assert purifier.bank.coder == srdfast.LISTA(steps=2) and purifier.image_size == 32
    images = torch.from_numpy(finished.test.images[:4])
    clean = purifier(images)
    assert clean.shape == images.shape and clean.dtype == torch.uint8
    files = {path.name for path in finished.path("refine").iterdir()}
    models = {f"{name}.safetensors" for name in ("purifier", "global", "classifier", "denoiser")}
    assert files == {*models, "started.json", "done.json"}


def test_the_denoiser_costs_as_much_as_the_purifier_and_was_trained(finished):
    denoiser, _ = load_opponent(finished.path("refine", "denoiser.safetensors"))
    purifier = srdfast.Purifier.load(finished.path("refine", "purifier.safetensors"))
    shape = finished.train.images.shape[1:]
    cost, wider = (multiply_adds(Denoiser(denoiser.spec["width"] + more), shape) for more in (0, 1))
    assert cost <= purifier_multiply_adds(purifier, shape) < wider
    images, _ = finished.test.tensors(0, 4)
    assert not torch.equal(denoiser(images), images)  # as they are before training


def test_a_run_is_evaluated_beside_its_one_dictionary_and_its_denoiser(finished):
    found = _models(str(finished.out), None, "cpu")
    assert found.keys() == {"purifier", "classifier", "one_dictionary", "denoiser"}
    assert found["one_dictionary"].bank.clusters == 1 and isinstance(found["denoiser"], Denoiser)
    rows = [row.name for row in _rows(Subject(**found, test=finished.test, train=finished.train), {}, None)]
    assert rows[2:6] == [
        "srdfast, one dictionary",
        "convolutional denoiser",
        "random dictionary",
        "srdfast",
    ]


class KilledError(Exception):
    """Raised where a run is to be interrupted."""


def test_a_refinement_killed_after_every_epoch_ends_with_the_same_bits(data, finished, tmp_path):
    out = tmp_path / "run"
    train(data, out, TINY, STAGES.removesuffix(",refine"), progress=False)

    def kill(stage, epoch, measures):
        raise KilledError

    kills = 0
    while True:
        context = Context(data, out, TINY, torch.device("cpu"), False, kill)
        try:
            run_stage(get_stage("refine"), context)
            break
        except KilledError:
            kills += 1
    # One epoch of each source and of the encoder, two of the dictionary for all and of the clusters', four of
    # the denoiser.
    assert kills == 12
    for name in ("purifier", "global", "denoiser"):
        expected, _ = load_tensors(finished.path("refine", f"{name}.safetensors"))
        found, _ = load_tensors(context.path("refine", f"{name}.safetensors"))
        assert expected.keys() == found.keys()
        for key, array in expected.items():
            np.testing.assert_array_equal(found[key], array, err_msg=key)


def test_the_tuned_encoder_chooses_and_is_not_the_robust_network(finished):
    purifier = srdfast.Purifier.load(finished.path("refine", "purifier.safetensors"))
    robust = finished.network("robust")
    assert purifier.encoder.spec == robust.spec
    pairs = zip(purifier.encoder.parameters(), robust.parameters(), strict=True)
    assert any(not torch.equal(tuned, before) for tuned, before in pairs)


@pytest.fixture
def own(tmp_path):
    """The file of a classifier of the user's own."""
    file = tmp_path / "own.safetensors"
    torch.manual_seed(5)
    save_network(file, ResNet(depth=10, width=3))
    return file


def test_training_goes_on_from_an_earlier_purifier(data, finished, own, tmp_path):
    path = finished.path("refine", "purifier.safetensors")
    config = replace(
        TINY,
        classifier=str(own),
        refine_start=str(path),
        refine_steps=3,
        refine_encoder_epochs=0,
        refine_denoiser=False,
        split_strength=20.0,
        temperature=3.0,
        mirror=True,
    )
    context = train(data, tmp_path / "run", config, "all", progress=False)
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["7_refine", "8_evaluate"]
    before, after, one = (
        srdfast.Purifier.load(file)
        for file in (path, *(context.path("refine", f"{n}.safetensors") for n in ("purifier", "global")))
    )
    assert after.bank.coder == srdfast.LISTA(steps=3) and after.bank.split_strength == 20
    assert (after.temperature, after.mirror) == (3, True)
    assert (before.temperature, before.mirror) == (0, False)
    for name, array in vars(before.bank.gaussians).items():
        np.testing.assert_array_equal(getattr(after.bank.gaussians, name), array)
    for old, new in zip(before.encoder.parameters(), after.encoder.parameters(), strict=True):
        assert torch.equal(old, new)
    moved = np.abs(after.bank.synthesis - before.bank.synthesis)
    assert 0 < moved.mean() < 0.5 * np.abs(before.bank.synthesis).mean()  # it starts where that one ended
    assert one.bank.clusters == 1
    np.testing.assert_array_equal(after.bank.synthesis[after.bank.general :], one.bank.synthesis)


def test_a_run_is_packed_as_it_was_trained(finished, trained, tmp_path):
    pack(finished.out, tmp_path, "mine")
    packed = srdfast.Purifier.load(tmp_path / "mine.safetensors")
    assert packed.bank.settings() == trained.bank.settings() and packed.temperature == trained.temperature
    np.testing.assert_array_equal(packed.bank.synthesis, trained.bank.synthesis.astype(np.float16))
    assert load_network(tmp_path / "mine-classifier.safetensors").spec == trained.encoder.spec
    found = _models(str(tmp_path / "mine.safetensors"), None, "cpu")
    assert found["one_dictionary"].bank.clusters == 1 and isinstance(found["denoiser"], Denoiser)


@pytest.fixture(scope="module")
def trained(finished):
    return srdfast.Purifier.load(finished.path("refine", "purifier.safetensors"))


def test_a_calibration_scales_what_it_says_and_no_more(finished, trained):
    images = torch.from_numpy(finished.test.images[:8])
    bank = trained.bank
    same = Calibration(bank.split_strength, 1.0, False, trained.temperature).of(trained)
    assert torch.equal(same(images), trained(images))
    other = Calibration(20.0, 1.5, True, 8.0).of(trained)
    assert (other.bank.split_strength, other.temperature, other.image_size) == (20, 8, trained.image_size)
    assert other.mirror and not same.mirror
    np.testing.assert_array_equal(other.bank.thresholds, bank.thresholds * np.float32(1.5))
    np.testing.assert_array_equal(other.bank.synthesis, bank.synthesis)
    assert other.encoder is trained.encoder


@pytest.mark.parametrize(
    "wanted", [{"split_strength": 15.0}, {"thresholds": 1.5}, {"mirror": True}, {"temperature": 12.0}]
)
def test_the_calibration_that_serves_the_classifier_is_found(finished, trained, wanted):
    images, labels = finished.test.tensors(0, 40)
    gaussians = trained.bank.gaussians
    with torch.no_grad():  # clusters around images, so that one and its mirror image may be in two of them
        latents = trained.encoder.latents(images)
    means = latents[: len(gaussians)].numpy()
    variances = np.broadcast_to(latents.var(0).numpy() + 1e-4, means.shape).astype(np.float32)
    around = replace(gaussians, means=means, variances=variances, log_priors=np.zeros_like(means[:, 0]))
    trained = srdfast.Purifier(replace(trained.bank, gaussians=around), trained.encoder, image_size=32)
    start = Calibration(trained.bank.split_strength, 1.0, False, trained.temperature)
    target = replace(start, **wanted).of(trained)(images)
    assert not torch.equal(target, trained(images))

    def classifier(purified):
        """Sees the true class in the images of `target` alone."""
        right = (purified - target).flatten(1).norm(dim=1) < 1e-5
        return functional.one_hot(torch.where(right, labels, (labels + 1) % 10), 10)

    lines = []
    found = calibrate(trained, classifier, [images], labels, lines.append)
    assert found == replace(start, **wanted)
    assert lines[-1].endswith("1.0000") and not lines[0].endswith("1.0000")


def test_attacks_count_as_much_as_clean_images(finished, trained):
    lines = []
    classifier = finished.network("baseline")
    images, labels = finished.test.tensors()
    found = attacked_views(classifier, images, labels, 8 / 255, progress=False)
    calibrate(trained, classifier, found, labels, lines.append)
    views = [images] + [
        attack_batches(ATTACKS[name], classifier, images, labels, progress=False, epsilon=8 / 255, **options)
        for name, options in (("fgsm", {}), ("pgd", {"steps": 10, "seed": 0}), ("mi_fgsm", {}))
    ]
    with torch.no_grad():
        right = torch.stack([classifier(trained(view)).argmax(1) == labels for view in views])
    expected = (right[0].float().mean() + right.all(0).float().mean()) / 2
    assert float(lines[0].removeprefix("as trained: ")) == pytest.approx(float(expected), abs=0.03)


def test_a_run_is_calibrated_without_training(data, finished, trained, own, tmp_path, monkeypatch):
    def found(purifier, *arguments):
        return Calibration(15.0, 1.5, True, 0.0 if purifier.bank.general is None else 8.0)

    monkeypatch.setattr("srdfast.stages.refine.calibrate", found)
    config = replace(
        TINY,
        classifier=str(own),
        refine_start=str(finished.path("refine", "purifier.safetensors")),
        refine_epochs=0,
        refine_sources=0,
        refine_encoder_epochs=0,
        refine_denoiser=False,
        refine_calibrate=True,
    )
    monkeypatch.setattr("srdfast.stages.refine.attacked_images", None)  # nothing learns from them
    context = train(data, tmp_path / "run", config, "refine", progress=False)
    after = srdfast.Purifier.load(context.path("refine", "purifier.safetensors"))
    assert (after.bank.split_strength, after.temperature, after.mirror) == (15, 8, True)
    np.testing.assert_array_equal(after.bank.synthesis, trained.bank.synthesis)
    np.testing.assert_array_equal(after.bank.thresholds, trained.bank.thresholds * np.float32(1.5))


def test_a_shipped_purifier_is_gone_on_from_by_name(data):
    config = replace(TINY, classifier="cifar10-classifier", refine_start="cifar10", refine_encoder_epochs=0)
    files = [str(pretrained.path(name)) for name in (config.refine_start, config.classifier)]
    assert settings(config) == settings(replace(config, refine_start=files[0], classifier=files[1]))
    context = Context(data, data, config, torch.device("cpu"))
    assert context.start.bank.clusters == 41 and _protected(context).spec["width"] == 32


def test_what_an_earlier_purifier_chose_stays_unless_something_is_given(data, finished, own, tmp_path):
    """Split, steps, temperature and mirror, without a word of them in the settings."""
    made = srdfast.Purifier.load(finished.path("refine", "purifier.safetensors"))
    bank = replace(made.bank, split_strength=17.0, coder=srdfast.LISTA(steps=1))
    start = tmp_path / "start.safetensors"
    srdfast.Purifier(bank, made.encoder, image_size=32, temperature=9.0, mirror=True).save(start)
    config = replace(
        TINY, classifier=str(own), refine_start=str(start), refine_encoder_epochs=0, refine_sources=0
    )
    config = replace(config, refine_epochs=0, refine_steps=None, refine_images=1, refine_denoiser=False)
    images = torch.from_numpy(finished.test.images[:4])
    expected = srdfast.Purifier.load(start)
    found = train(data, tmp_path / "run", config, "refine", progress=False)
    after = srdfast.Purifier.load(found.path("refine", "purifier.safetensors"))
    assert torch.equal(after(images), expected(images)) and after.bank.settings() == expected.bank.settings()
    assert (after.temperature, after.mirror) == (9, True)
    config = replace(config, split_strength=5.0, temperature=0.0, mirror=False, refine_steps=2)
    found = train(data, tmp_path / "other", config, "refine", progress=False)
    after = srdfast.Purifier.load(found.path("refine", "purifier.safetensors"))
    assert (after.bank.split_strength, after.temperature, after.mirror) == (5, 0, False)
    assert after.bank.coder == srdfast.LISTA(steps=2)


@pytest.mark.parametrize("change", [{"validation": 0.2}, {"width": 8}, {"batch": 30}, {"mirror": False}])
def test_what_a_refinement_from_a_start_depends_on_is_in_its_settings(own, change):
    """With a start there is no earlier stage whose settings these are."""
    config = replace(TINY, classifier=str(own), refine_start="cifar10")
    assert settings(config) != settings(replace(config, **change))


def test_a_refinement_killed_once_it_is_done_goes_on_as_done(data, finished, tmp_path):
    """What it would go on from is removed last, and by the next run if it was not."""
    shutil.copytree(finished.out, tmp_path / "run")
    context = Context(data, tmp_path / "run", TINY, torch.device("cpu"), False)
    context.scratch("refine").mkdir()
    context.scratch("refine", "source-1.safetensors").write_bytes(b"")
    assert not run_stage(get_stage("refine"), context)
    assert not context.scratch("refine").exists()


def test_a_temperature_needs_the_refinement(data, tmp_path):
    with pytest.raises(UserError, match="temperature: needs the refinement"):
        train(data, tmp_path / "run", replace(TINY, refine=False, temperature=2.0), "all", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_calibration_needs_validation_images(data, tmp_path):
    config = replace(TINY, validation=0.0, refine_calibrate=True)
    with pytest.raises(UserError, match="refine_calibrate: needs validation images"):
        train(data, tmp_path / "run", config, "all", progress=False)


def test_one_dictionary_goes_on_from_that_of_all_images(trained):
    bank = trained.bank
    one = everywhere_of(bank)
    for name in ("synthesis", "analysis", "thresholds"):
        np.testing.assert_array_equal(getattr(one, name), getattr(bank, name)[bank.general :])


def test_one_dictionary_starts_from_the_mean_where_there_is_none_of_all_images(trained):
    bank = trained.bank.of_clusters()
    mean = everywhere_of(bank)
    for name in ("synthesis", "analysis", "thresholds"):
        expected = getattr(bank, name).astype(np.float64).mean(0, keepdims=True)
        np.testing.assert_allclose(getattr(mean, name), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier": ""}, "refine_start: needs --classifier"),
        ({"refine_encoder_epochs": 1}, "refine_encoder_epochs: expected 0 with refine_start"),
        ({"refine": False}, "refine_start: needs the refinement"),
        ({"refine_epochs": 0}, "refine_denoiser: needs refine_epochs of 1 or more"),
    ],
)
def test_what_does_not_go_with_an_earlier_purifier_is_told_first(
    data, finished, own, tmp_path, changes, message
):
    start = str(finished.path("refine", "purifier.safetensors"))
    config = replace(TINY, classifier=str(own), refine_start=start, refine_encoder_epochs=0)
    with pytest.raises(UserError, match=message):
        train(data, tmp_path / "run", replace(config, **changes), "all", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda bank: {"bank": replace(bank, coder=srdfast.OMP(), analysis=None, thresholds=None)},
            "coder LISTA",
        ),
        (lambda bank: {"image_size": 40}, "expected an encoder of 32 pixels a side, got 40"),
        (
            lambda bank: {"bank": replace(bank, classes=(*bank.classes, "other"))},
            "expected 10 classes, got 11",
        ),
    ],
)
def test_a_purifier_that_does_not_fit_cannot_be_gone_on_from(data, finished, own, tmp_path, change, message):
    made = srdfast.Purifier.load(finished.path("refine", "purifier.safetensors"))
    start = tmp_path / "start.safetensors"
    srdfast.Purifier(**{"bank": made.bank, "encoder": made.encoder, **change(made.bank)}).save(start)
    config = replace(TINY, classifier=str(own), refine_start=str(start), refine_encoder_epochs=0)
    with pytest.raises(UserError, match=f"refine_start: .*{message}"):
        train(data, tmp_path / "run", config, "all", progress=False)


def test_what_is_no_purifier_is_told_before_anything_is_trained(data, own, tmp_path):
    config = replace(TINY, classifier=str(own), refine_start=str(own), refine_encoder_epochs=0)
    with pytest.raises(ModelFormatError, match="expected format srdfast-purifier"):
        train(data, tmp_path / "run", config, "all", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_dictionaries_of_the_clusters_have_a_rate_of_their_own(data, finished, tmp_path, monkeypatch):
    from srdfast.stages import refine

    rates, fit = {}, refine.fit

    def watch(module, dataset, rows, schedule, *, checkpoint, **options):
        rates[checkpoint.stem] = schedule.learning_rate
        return fit(module, dataset, rows, schedule, checkpoint=checkpoint, **options)

    monkeypatch.setattr(refine, "fit", watch)
    shutil.copytree(finished.out, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "7_refine")
    config = replace(
        TINY, refine_clusters_lr=2e-4, refine_sources=0, refine_encoder_epochs=0, refine_epochs=1
    )
    train(data, tmp_path / "run", config, "refine", progress=False)
    common = TINY.refine_lr
    assert rates == {
        "global-checkpoint": common,
        "clusters-checkpoint": 2e-4,
        "denoiser-checkpoint": common,
    }


def test_an_exported_classifier_is_protected_too(data, finished, own, tmp_path):
    network, file = load_network(own), tmp_path / "own.pt2"
    export(network, file)
    start = str(finished.path("refine", "purifier.safetensors"))
    config = replace(
        TINY, classifier=str(file), refine_start=start, refine_encoder_epochs=0, evaluate_images=10
    )
    config = replace(config, adaptive_images=2, refine_sources=0, refine_epochs=1, refine_denoiser=False)
    context = train(data, tmp_path / "run", config, "all", progress=False)
    assert (context.path("evaluate", "report.json")).is_file()
    assert not context.path("refine", "classifier.safetensors").exists()
    images = torch.rand(3, 3, 32, 32)
    kept = load_classifier(context.path("refine", "classifier.pt2"))
    torch.testing.assert_close(kept(images), network(images))


def test_a_classifier_of_the_users_own_is_protected(data, finished, own, tmp_path):
    """It is attacked and kept beside the purifier, and the baseline is one of the other networks."""
    config = replace(
        TINY,
        classifier=str(own),
        refine_sources=0,
        refine_encoder_epochs=0,
        refine_epochs=1,
        refine_denoiser=False,
    )
    shutil.copytree(finished.out, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "7_refine")
    context = train(data, tmp_path / "run", config, "refine", progress=False)
    kept, given = (
        load_network(path).state_dict() for path in (context.path("refine", "classifier.safetensors"), own)
    )
    assert all(torch.equal(kept[name], given[name]) for name in given)
    assert settings(config)["classifier"] == hashlib.sha256(own.read_bytes()).hexdigest()

    save_network(own, ResNet(depth=10, width=3, classes=4))
    with pytest.raises(UserError, match=r"classifier: expected one of 10 classes, got 4 \("):
        train(data, tmp_path / "run", config, "refine", progress=False, redo=True)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(data, tmp_path / "run", replace(config, classifier="nowhere"), "refine", progress=False)
    with pytest.raises(ModelFormatError, match=r"purifier\.safetensors: expected a network file"):
        other = str(finished.path("refine", "purifier.safetensors"))
        train(data, tmp_path / "new", replace(config, classifier=other), STAGES, progress=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_protected_classifier_is_listened_to_in_its_share(share):
    source = torch.Generator().manual_seed(0)
    drawn = np.bincount([_listener(4, share, source) for _ in range(3000)]) / 3000
    np.testing.assert_allclose(drawn, [share, *[(1 - share) / 3] * 3], atol=0.03)
    assert _listener(1, share, source) == 0


def test_every_version_of_the_attacked_images_is_seen(rng):
    clean, versions = np.zeros((4, 1, 2, 2), np.float32), np.zeros((3, 4, 1, 2, 2), np.uint8)
    versions += np.arange(3, dtype=np.uint8)[:, None, None, None, None] * 51
    clusters, seen = torch.arange(12).view(3, 4), {}
    attacked = Attacked(np.arange(4), versions)
    choices = Choices(torch.arange(4), torch.full((4,), 99), clusters)

    class Spy(torch.nn.Module):
        def forward(self, images, index):
            seen[round(5 * float(images[0].amax()))] = index.tolist()
            return images

    terms = Terms(clean_share=0.0)
    source = torch.Generator().manual_seed(0)
    for _ in range(20):
        batch = Batch(torch.from_numpy(clean), torch.zeros(4, dtype=torch.int64), torch.arange(4), source)
        task_loss([lambda images: images.flatten(1)], attacked, choices, terms)(Spy(), batch)
    assert seen == {version: clusters[version].tolist() for version in range(3)}


def test_versions_are_attacked_apart_and_only_once(data, finished, monkeypatch):
    context = Context(data, finished.out, replace(TINY, refine_versions=2), torch.device("cpu"), False)
    models = {PROTECTED: finished.network("baseline")}
    first = attacked_images(context, models, SINGLE)
    rows, versions = first.rows, first.versions
    assert versions.shape == (2, len(rows), 3, 32, 32) and (versions[0] != versions[1]).any()
    away = np.abs(versions.astype(int) - finished.train.images[rows])
    assert away.max(axis=(1, 2, 3, 4)).tolist() == [8, 8]
    monkeypatch.setattr("srdfast.stages.pairs.attack_in_shares", None)
    np.testing.assert_array_equal(attacked_images(context, models, SINGLE).versions, versions)
    shutil.rmtree(context.scratch("refine"))


def test_the_tuned_encoder_has_distributions_of_its_own(finished, trained):
    before = finished.gaussians
    after = trained.bank.gaussians
    np.testing.assert_array_equal(after.labels, before.labels)
    assert np.abs(after.means - before.means).max() > 0
    latents = trained.encoder.latents(finished.train.tensors()[0]).detach().numpy()
    likelier = [NearestCluster(gaussians)(latents)[1].mean() for gaussians in (after, before)]
    assert likelier[0] > likelier[1]


def test_an_option_left_alone_leaves_the_settings_of_a_run_alone():
    plain = settings(Config())
    unusual = {"sources", "source_epochs", "versions", "encoder_epochs", "label_weight", "start"}
    assert not unusual & plain.keys()
    for option in ("refine_sources", "refine_versions", "refine_encoder_epochs", "refine_label_weight"):
        chosen = settings(replace(Config(), **{option: 2}))
        assert chosen[option.removeprefix("refine_")] == 2 and plain.items() < chosen.items()


def test_the_loss_is_of_logits_pixels_and_labels(rng):
    images = torch.from_numpy(rng.random((6, 3, 8, 8)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 4, 6))
    weights = torch.from_numpy(rng.normal(size=(192, 4)).astype(np.float32))
    attacked = Attacked(np.arange(6), (images.numpy() * 255).round().astype(np.uint8)[None])

    class Darker(torch.nn.Module):
        def forward(self, images, index):
            return 0.5 * images

    def classifier(images):
        return images.flatten(1) @ weights

    batch = Batch(images, labels, torch.arange(6), torch.Generator().manual_seed(0))
    value, logits = task_loss([classifier, classifier], attacked, None, Terms(3.0, 2.0))(Darker(), batch)
    share = torch.nn.functional.cross_entropy(logits, labels)
    mean = images.mean()  # the attacked images are the clean ones, rounded to 8 bits
    expected = logits.square().mean() + 3 * 0.5 * mean + 2 * share
    torch.testing.assert_close(value, expected, rtol=0.02, atol=0.02)


def test_the_dual_frame_reconstructs(rng):
    atoms = rng.normal(size=(3, 40, 12)).astype(np.float32)
    signals = rng.normal(size=(5, 12)).astype(np.float32)
    for dictionary, analysis in zip(atoms, dual_frame(atoms), strict=True):
        rebuilt = signals @ analysis.T @ dictionary
        np.testing.assert_allclose(rebuilt, signals, atol=0.15 * np.abs(signals).max())


def test_the_gradient_of_chosen_dictionaries_is_the_same_on_many_threads():
    torch.manual_seed(0)
    torch.set_num_threads(2)
    analysis, synthesis = (0.05 * torch.randn(9, 64, 48, requires_grad=True) for _ in range(2))
    thresholds = torch.full((9, 64), 0.01, requires_grad=True)
    images, index = torch.randn(40, 3, 14, 14), torch.randint(0, 9, (40,))
    coder = srdfast.LISTA(steps=2)

    def gradients():
        rebuilt = rebuild(images, synthesis, coder, analysis, thresholds, index, patch=4, stride=2)
        return torch.autograd.grad(rebuilt.square().sum(), (analysis, thresholds, synthesis))

    first = gradients()
    for _ in range(20):
        assert all(torch.equal(one, other) for one, other in zip(first, gradients(), strict=True))
    torch.set_num_threads(1)


def test_planes_are_refined_in_dictionaries_of_one_channel(data, tmp_path):
    config = replace(TINY, planes=True, atoms=16, stride=4, refine_steps=1, refine_epochs=1)
    config = replace(config, refine_sources=0)
    context = train(data, tmp_path / "run", config, STAGES, progress=False)
    purifier = srdfast.Purifier.load(context.path("refine", "purifier.safetensors"))
    assert purifier.bank.channels == 1 and purifier.bank.synthesis.shape[1:] == (16, 64)
    images = torch.from_numpy(context.test.images[:4])
    clean = purifier(images)
    assert clean.shape == images.shape and (clean != images).any()


@pytest.mark.parametrize("absent", ["pictures", "refine_start"])
def test_what_a_late_stage_reads_is_missed_before_the_first_one(data, tmp_path, absent):
    nowhere = tmp_path / "nowhere"
    config = replace(TINY, refine_start=str(nowhere)) if absent == "refine_start" else TINY
    pictures = [nowhere] if absent == "pictures" else []
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(data, tmp_path / "run", config, STAGES, progress=False, pictures=pictures)
    assert not (tmp_path / "run").exists()


def test_dictionaries_learn_from_pictures_without_labels_too(data, finished, tmp_path, rng):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "ab":
        pixels = np.kron(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"{name}.png")
    config = replace(TINY, crops=40, refine_epochs=1)
    shutil.copytree(finished.out, tmp_path / "run")
    for stage in ("5_dictionaries", "7_refine"):
        shutil.rmtree(tmp_path / "run" / stage)
    context = train(data, tmp_path / "run", config, STAGES, progress=False, pictures=[folder])
    assert context.crops is not None and len(context.crops) == 40
    for name in ("global", "bank"):
        first, second = (
            load_tensors(out / "5_dictionaries" / f"{name}.safetensors")[0]["synthesis"]
            for out in (finished.out, tmp_path / "run")
        )
        assert first.shape == second.shape and (first != second).any()
    assert srdfast.Purifier.load(context.path("refine", "purifier.safetensors")).bank.clusters == len(first)
    with pytest.raises(UserError, match="other settings or data"):
        train(data, tmp_path / "run", config, STAGES, progress=False)
