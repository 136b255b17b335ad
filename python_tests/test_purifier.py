# SPDX-License-Identifier: Apache-2.0
"""The purifier: what goes in comes out purified, the chosen clusters, gradients, files, threads."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import cases
import numpy as np
import pytest
import reference

import srdfast

torch = pytest.importorskip("torch")
from srdfast.files import load_tensors, save_tensors  # noqa: E402
from srdfast.networks import ResNet  # noqa: E402

CODERS = [
    srdfast.OMP(max_atoms=3, tolerance=0.01, selection="correlation"),
    srdfast.Lasso(penalty=0.05, gap_tolerance=1e-4, max_sweeps=500),
    srdfast.LISTA(steps=2),
]
coders = pytest.mark.parametrize("coder", CODERS, ids=lambda coder: type(coder).__name__)


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Small networks: more threads only disturb the other tests of this machine."""
    torch.set_num_threads(1)


def purifier(coder=CODERS[2], grad_mode="bpda", clusters=4, **options):
    """A Purifier for 12x12 images with a random encoder of two classes."""
    torch.manual_seed(0)
    encoder = ResNet(depth=10, width=2, classes=2).eval()
    bank = cases.bank(np.random.default_rng(3), coder, latent=encoder.latent, clusters=clusters, **options)
    return srdfast.Purifier(bank, encoder, grad_mode=grad_mode).eval()


@pytest.fixture
def images(rng):
    """Five images [5, 3, 12, 12] in [0, 1]."""
    return torch.from_numpy(rng.random((5, 3, 12, 12)).astype(np.float32))


def expected(purifier_, images, clusters):
    """The reference pipeline, float64: split, code the high band, add, clip."""
    bank = purifier_.bank
    low, high = reference.split(images.numpy(), bank.split_strength)

    def encode(signals, index):
        if isinstance(bank.coder, srdfast.LISTA):
            return reference.lista(
                signals, bank.analysis, bank.thresholds, bank.synthesis, bank.coder.steps, index
            )
        if isinstance(bank.coder, srdfast.Lasso):
            return reference.lasso(signals, bank.synthesis, bank.coder.penalty, index)
        settings = bank.coder.max_atoms, bank.coder.tolerance, bank.coder.selection
        codes = reference.omp(signals, bank.synthesis, *settings, index)
        return reference.dense(*codes[:2], bank.synthesis.shape[1])

    rebuilt = reference.purify_patches(high, bank.synthesis, encode, clusters, bank.patch, bank.stride)
    return np.clip(low + rebuilt, 0, 1)


@coders
def test_the_reference_pipeline_is_matched(images, coder):
    defence = purifier(coder)
    clean, info = defence.purify(images, return_info=True)
    clusters = np.asarray(info.clusters)
    np.testing.assert_allclose(clean.numpy(), expected(defence, images, clusters), atol=3e-3)
    assert torch.equal(defence(images).detach(), clean)


@coders
def test_shape_type_kind_and_range_are_kept(images, coder):
    defence = purifier(coder)
    clean = defence.purify(images)
    assert isinstance(clean, torch.Tensor) and clean.shape == images.shape and clean.dtype == torch.float32
    assert clean.min() >= 0 and clean.max() <= 1
    as_numpy = defence.purify(images.numpy())
    assert isinstance(as_numpy, np.ndarray) and as_numpy.dtype == np.float32
    np.testing.assert_array_equal(as_numpy, clean.numpy())
    for storage in (torch.float16, torch.bfloat16):
        half = images.to(storage)
        assert torch.equal(defence.purify(half), defence.purify(half.float()).to(storage))


@coders
def test_bytes_in_bytes_out(images, coder):
    defence = purifier(coder)
    pixels = (images * 255).round().to(torch.uint8)
    clean = defence.purify(pixels)
    assert clean.dtype == torch.uint8 and clean.shape == pixels.shape
    wide = defence.purify(pixels.float() / 255)
    assert torch.equal(clean, (wide * 255).round().to(torch.uint8))
    as_numpy = defence.purify(pixels.numpy())
    assert as_numpy.dtype == np.uint8
    np.testing.assert_array_equal(as_numpy, clean.numpy())


def test_extreme_images_stay_in_the_range():
    defence = purifier()
    checker = (torch.arange(144).reshape(1, 1, 12, 12) % 2).float().expand(1, 3, 12, 12).clone()
    for images in (checker, torch.zeros(1, 3, 12, 12), torch.ones(1, 3, 12, 12)):
        clean = defence.purify(images)
        assert torch.all((clean >= 0) & (clean <= 1))
    assert defence.purify(torch.zeros(0, 3, 12, 12)).shape == (0, 3, 12, 12)


@coders
def test_an_image_does_not_depend_on_its_batch(rng, images, coder):
    defence = purifier(coder)
    clusters = np.array([3, 1, 0, 1, 2])
    together = defence.purify(images, clusters=clusters)
    assert torch.equal(defence.purify(images, clusters=clusters), together)
    order = rng.permutation(5)
    assert torch.equal(defence.purify(images[order], clusters=clusters[order]), together[order])
    for row in range(5):
        alone = defence.purify(images[row : row + 1], clusters=clusters[row : row + 1])
        assert torch.equal(alone[0], together[row])


def test_the_chosen_cluster_decides_and_may_be_given(images):
    defence = purifier()
    clean, info = defence.purify(images, return_info=True)
    chosen = np.asarray(info.clusters)
    assert chosen.shape == (5,) and np.asarray(info.log_likelihood).shape == (5,)
    assert torch.equal(defence.purify(images, clusters=chosen), clean)
    other, other_info = defence.purify(images, return_info=True, clusters=(chosen + 1) % 4)
    np.testing.assert_array_equal(np.asarray(other_info.clusters), (chosen + 1) % 4)
    assert torch.all(torch.amax((other - clean).abs(), dim=(1, 2, 3)) > 1e-3)
    for bad in ([0, 1, 2, 3, 4], [-1, 0, 0, 0, 0], [0, 1]):
        with pytest.raises(ValueError, match="clusters"):
            defence.purify(images, clusters=np.array(bad))


def test_assignment_is_the_most_likely_cluster(images):
    defence = purifier()
    gaussians = defence.bank.gaussians
    with torch.no_grad():
        latents = defence.encoder.latents(images).double().numpy()
    difference = latents[:, None] - gaussians.means
    scores = gaussians.log_priors - 0.5 * np.sum(
        difference**2 / gaussians.variances + np.log(gaussians.variances), -1
    )
    np.testing.assert_array_equal(np.asarray(defence.assign(images)), np.argmax(scores, axis=1))
    labels = np.array([0, 1, 0, 1, 1])
    within = np.where(gaussians.labels == labels[:, None], scores, -np.inf)
    np.testing.assert_array_equal(np.asarray(defence.assign(images, labels)), np.argmax(within, axis=1))


def test_many_threads_get_what_one_gets(images):
    defence = purifier()
    alone = defence.purify(images)
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: defence.purify(images), range(24)):
            assert torch.equal(answer, alone)


# --- gradients ---------------------------------------------------------------------------------------------


def test_bpda_is_the_gradient_of_the_identity(rng, images):
    leaf = images.clone().requires_grad_()
    weights = torch.from_numpy(rng.normal(size=images.shape).astype(np.float32))
    clean = purifier(grad_mode="bpda")(leaf)
    (clean * weights).sum().backward()
    assert torch.equal(leaf.grad, weights)


def test_without_a_gradient_nothing_flows(images):
    assert not purifier(grad_mode="none")(images.clone().requires_grad_()).requires_grad


def test_an_unknown_gradient_mode_is_refused():
    with pytest.raises(ValueError, match="grad_mode"):
        purifier(grad_mode="straight")


@coders
def test_the_exact_gradient_is_the_slope(rng, coder):
    """Central differences in float64; a support that changes within the step may spoil a few."""
    if isinstance(coder, srdfast.Lasso):
        coder = srdfast.Lasso(penalty=0.05, gap_tolerance=1e-14, max_sweeps=100_000)
    defence = purifier(coder, grad_mode="exact", clusters=1).double()
    images = torch.from_numpy(0.3 + 0.4 * rng.random((1, 3, 8, 8)))
    weights = torch.from_numpy(rng.normal(size=images.shape))
    leaf = images.clone().requires_grad_()
    (defence(leaf) * weights).sum().backward()
    step, agreed = 1e-6, 0
    for pixel in range(0, images.numel(), 17):
        change = torch.zeros_like(images)
        change.view(-1)[pixel] = step
        with torch.no_grad():
            slope = ((defence(images + change) - defence(images - change)) * weights).sum() / (2 * step)
        agreed += bool(abs(slope - leaf.grad.view(-1)[pixel]) < 1e-4 * max(1, abs(slope)))
    assert agreed >= 10, f"{agreed} of 12 slopes agree"


def test_a_purified_model_is_attackable_end_to_end(images):
    defence = purifier()
    torch.manual_seed(1)
    classifier = ResNet(depth=10, width=2, classes=2).eval()
    model = srdfast.PurifiedModel(defence, classifier).eval()
    leaf = images.clone().requires_grad_()
    logits = model(leaf)
    assert logits.shape == (5, 2)
    torch.testing.assert_close(logits, classifier(defence.purify(images)))
    logits.sum().backward()
    assert torch.any(leaf.grad != 0)
    assert all(parameter.grad is None for parameter in defence.parameters() if not parameter.requires_grad)


# --- a module among modules --------------------------------------------------------------------------------


def test_copies_and_pickles_purify_alike(images):
    defence = purifier()
    clean = defence.purify(images)
    for twin in (copy.deepcopy(defence), pickle.loads(pickle.dumps(defence))):
        assert torch.equal(twin.purify(images), clean)


def test_the_state_of_the_module_is_the_state_of_its_encoder(images):
    defence, other = purifier(), purifier()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    other.load_state_dict(defence.state_dict())
    assert torch.equal(other.purify(images), defence.purify(images))
    assert torch.equal(torch.nn.Sequential(defence).eval()(images), defence(images))


def fresh(defence):
    """The same purifier, with nothing kept from earlier calls."""
    return pickle.loads(pickle.dumps(defence))


@torch.no_grad()
def test_what_is_kept_between_calls_follows_the_weights(images):
    defence = purifier()
    latents = defence._latents(images)
    np.testing.assert_allclose(latents, defence.encoder.latents(images).numpy(), rtol=1e-4, atol=1e-5)
    defence.encoder.stem[0].weight.mul_(-1.5)
    changed = defence._latents(images)
    assert np.abs(changed - latents).max() > 1e-3
    np.testing.assert_allclose(changed, defence.encoder.latents(images).numpy(), rtol=1e-4, atol=1e-5)
    defence.encoder.load_state_dict(purifier().encoder.state_dict())
    np.testing.assert_array_equal(defence._latents(images), latents)
    defence.encoder.stem[1].running_mean.add_(0.5)
    np.testing.assert_array_equal(defence._latents(images), fresh(defence)._latents(images))
    defence.encoder.double()
    np.testing.assert_allclose(defence._latents(images), defence.encoder.latents(images.double()), rtol=1e-5)
    defence.encoder = purifier().encoder
    np.testing.assert_array_equal(defence._latents(images), latents)


@coders
@torch.no_grad()
def test_what_is_kept_between_calls_follows_the_atoms(images, coder):
    defence = purifier(coder)
    before = defence.purify(images)
    torch.testing.assert_close(defence.purify(images.double()).float(), before, rtol=0, atol=1e-4)
    assert torch.equal(defence.purify(images), before)
    defence.synthesis.copy_(defence.synthesis.roll(1, dims=-1))
    after = defence.purify(images)
    assert not torch.equal(after, before)
    assert torch.equal(after, fresh(defence).purify(images))


@torch.no_grad()
def test_tensors_put_in_the_place_of_others_are_seen(images):
    defence = purifier()
    clusters = np.zeros(5, np.int64)
    latents, clean = defence._latents(images), defence.purify(images, clusters=clusters)
    weights = {name: 1.5 * tensor for name, tensor in defence.encoder.state_dict().items()}
    defence.encoder.load_state_dict(weights, assign=True)
    assigned = defence._latents(images)
    assert np.abs(assigned - latents).max() > 1e-3
    np.testing.assert_array_equal(assigned, fresh(defence)._latents(images))
    defence.encoder.stem[0].weight = torch.nn.Parameter(-defence.encoder.stem[0].weight)
    replaced = defence._latents(images)
    assert np.abs(replaced - assigned).max() > 1e-3
    np.testing.assert_array_equal(replaced, fresh(defence)._latents(images))
    defence.synthesis = defence.synthesis.roll(1, dims=-1)
    rolled = defence.purify(images, clusters=clusters)
    assert not torch.equal(rolled, clean)
    assert torch.equal(rolled, fresh(defence).purify(images, clusters=clusters))


@torch.no_grad()
def test_many_threads_see_a_change_at_once(images):
    defence = purifier()
    defence.purify(images)
    defence.encoder.stem[0].weight.mul_(-1.5)
    defence.synthesis.copy_(defence.synthesis.roll(1, dims=-1))
    changed = fresh(defence).purify(images)
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: defence.purify(images), range(24)):
            assert torch.equal(answer, changed)


@torch.no_grad()
def test_copies_of_a_used_purifier_go_their_own_way(images):
    defence = purifier()
    latents = defence._latents(images)
    for twin in (copy.deepcopy(defence), fresh(defence)):
        np.testing.assert_array_equal(twin._latents(images), latents)
        twin.encoder.stem[0].weight.mul_(-1.5)
        assert np.abs(twin._latents(images) - latents).max() > 1e-3
        np.testing.assert_array_equal(defence._latents(images), latents)
    assert defence.state_dict().keys() == purifier().state_dict().keys()


@torch.no_grad()
def test_the_shipped_encoder_chooses_as_its_plain_form_does():
    from srdfast import pretrained

    defence = srdfast.Purifier.from_pretrained("cifar10", mirror=False)
    pictures = pretrained.sample(500).tensors()[0]
    plain = np.concatenate([defence.encoder.latents(some).numpy() for some in pictures.split(50)])
    np.testing.assert_allclose(defence._latents(pictures), plain, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(defence.assign(pictures), defence._nearest(plain)[0])


def test_a_purifier_comes_back_from_its_file(tmp_path, images):
    defence = purifier()
    defence.save(tmp_path / "purifier.safetensors")
    clean = defence.purify(images)
    for load in (srdfast.Purifier.load, srdfast.Purifier.from_pretrained):
        again = load(tmp_path / "purifier.safetensors")
        assert not again.training
        assert torch.equal(again.purify(images), clean)
    whole = (tmp_path / "purifier.safetensors").read_bytes()
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "short.safetensors").write_bytes(whole[:length])
        with pytest.raises(srdfast.ModelFormatError, match=r"short\.safetensors"):
            srdfast.Purifier.load(tmp_path / "short.safetensors")
    cases.bank(np.random.default_rng(0)).save(tmp_path / "bank.safetensors")
    with pytest.raises(srdfast.ModelFormatError, match="bank"):
        srdfast.Purifier.load(tmp_path / "bank.safetensors")


@pytest.mark.parametrize(
    "metadata",
    [{"image_size": -3}, {"image_size": "large"}, {"image_size": 1.5}, {"encoder": None}, {"bank": 3}],
    ids=str,
)
def test_a_file_with_nonsense_in_it_is_refused_when_it_is_read(tmp_path, metadata):
    path = tmp_path / "purifier.safetensors"
    purifier().save(path)
    tensors, good = load_tensors(path)
    save_tensors(path, tensors, {**good, **metadata})
    with pytest.raises(srdfast.ModelFormatError, match=r"purifier\.safetensors"):
        srdfast.Purifier.load(path)


def test_weights_that_are_not_finite_or_do_not_fit_are_refused_when_they_are_read(tmp_path):
    path = tmp_path / "purifier.safetensors"
    purifier().save(path)
    tensors, metadata = load_tensors(path)
    name = next(name for name in tensors if name.startswith("encoder/") and name.endswith("weight"))
    weight = tensors[name]
    for bad in (np.full_like(weight, np.nan), weight[:1], weight[None]):
        save_tensors(path, {**tensors, name: bad}, metadata)
        with pytest.raises(srdfast.ModelFormatError):
            srdfast.Purifier.load(path)
    save_tensors(path, {key: array for key, array in tensors.items() if key != name}, metadata)
    with pytest.raises(srdfast.ModelFormatError):
        srdfast.Purifier.load(path)


def test_an_unknown_pretrained_name_lists_what_there_is():
    with pytest.raises((ValueError, FileNotFoundError), match="no-such-model"):
        srdfast.Purifier.from_pretrained("no-such-model")


def test_an_encoder_whose_latents_do_not_fit_is_refused():
    encoder = ResNet(depth=10, width=2, classes=2)
    with pytest.raises(ValueError, match="latent"):
        srdfast.Purifier(cases.bank(np.random.default_rng(0), latent=encoder.latent + 1), encoder)


@pytest.mark.parametrize(
    "bad, error",
    [
        (torch.zeros(3, 12, 12), ValueError),
        (torch.zeros(1, 1, 12, 12), ValueError),
        (torch.zeros(1, 3, 3, 12), ValueError),
        (torch.full((1, 3, 12, 12), float("nan")), ValueError),
        (torch.zeros(1, 3, 12, 12, dtype=torch.int64), TypeError),
        ("image.png", TypeError),
        (None, TypeError),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_bad_images_are_refused_by_name(bad, error):
    with pytest.raises(error, match="images"):
        purifier().purify(bad)


def test_one_bad_image_is_named_and_its_neighbours_are_fine_without_it(images):
    defence = purifier()
    clean = defence.purify(images, clusters=np.zeros(5, np.int64))
    spoiled = images.clone()
    spoiled[2, 0, 0, 0] = float("inf")
    with pytest.raises(ValueError, match="2"):
        defence.purify(spoiled)
    kept = [0, 1, 3, 4]
    assert torch.equal(defence.purify(spoiled[kept], clusters=np.zeros(4, np.int64)), clean[kept])


def test_training_mode_leaves_the_encoder_alone(images):
    defence = purifier()
    before = {name: tensor.clone() for name, tensor in defence.encoder.state_dict().items()}
    clean = defence.purify(images)
    assert torch.equal(defence.train().purify(images), clean)
    assert all(torch.equal(tensor, before[name]) for name, tensor in defence.encoder.state_dict().items())


@coders
def test_no_images_are_described_too(coder):
    clean, info = purifier(coder).purify(torch.zeros(0, 3, 12, 12), return_info=True)
    assert clean.shape == (0, 3, 12, 12)
    assert len(info.clusters) == len(info.atoms_used) == 0


def test_equal_atoms_do_not_break_the_exact_gradient(images):
    defence = purifier(CODERS[1], grad_mode="exact")
    with torch.no_grad():
        defence.synthesis[:, 1] = defence.synthesis[:, 0]
    leaf = images.clone().requires_grad_()
    defence(leaf).sum().backward()
    assert torch.all(torch.isfinite(leaf.grad))
