# SPDX-License-Identifier: Apache-2.0
"""The purifier under torch.compile and torch.export: one graph, the images and gradients of eager."""

import cases
import numpy as np
import pytest

import srdfast

torch = pytest.importorskip("torch")
from srdfast.networks import ResNet  # noqa: E402

CODERS = [
    srdfast.OMP(max_atoms=3, tolerance=0.01),
    srdfast.Lasso(penalty=0.05, gap_tolerance=1e-4, max_sweeps=500),
    srdfast.LISTA(steps=2),
]
coders = pytest.mark.parametrize("coder", CODERS, ids=lambda coder: type(coder).__name__)


@pytest.fixture(autouse=True)
def a_fresh_compiler():
    """One thread, and no graphs of earlier tests."""
    torch.set_num_threads(1)
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def images():
    """Six images [6, 3, 12, 12] of two kinds, flat and noisy."""
    rng = np.random.default_rng(5)
    images = rng.random((6, 3, 12, 12)) * np.array([0.1, 1, 0.1, 1, 0.1, 1])[:, None, None, None]
    return torch.from_numpy(images.astype(np.float32))


def purifier(images, coder=CODERS[2], channels=3, **options):
    """A Purifier whose clusters are the latents of the first four images, so that images choose several."""
    torch.manual_seed(0)
    encoder = ResNet(depth=10, width=2, classes=2).eval()
    bank = cases.bank(np.random.default_rng(3), coder, latent=encoder.latent, channels=channels)
    with torch.no_grad():
        means = encoder.latents(images[:4]).numpy()
    gaussians = srdfast.Gaussians(
        means, np.full_like(means, means.var()), bank.gaussians.log_priors, bank.gaussians.labels
    )
    return srdfast.Purifier(
        srdfast.SRDBank(**{**vars(bank), "gaussians": gaussians}), encoder, **options
    ).eval()


def compiled(module):
    return torch.compile(module, fullgraph=True, backend="aot_eager")


def exported(module, images):
    return torch.export.export(module, (images,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}})


@coders
def test_an_exported_program_gives_the_same_images_for_any_batch(images, coder):
    defence = purifier(images, coder)
    with torch.no_grad():
        expected, info = defence.purify(images, return_info=True)
        assert len(set(info.clusters.tolist())) > 1
        program = exported(defence, images).module()
        for rows in (slice(0, 6), slice(0, 1), slice(2, 5)):
            assert torch.equal(program(images[rows]), expected[rows])
            torch.testing.assert_close(defence(images[rows]), expected[rows], rtol=0, atol=0)


def test_dictionaries_of_one_channel_purify_rgb_in_a_graph_too(images):
    defence = purifier(images, channels=1)
    with torch.no_grad():
        program = exported(defence, images).module()
        for rows in (slice(0, 6), slice(2, 5)):
            torch.testing.assert_close(program(images[rows]), defence(images[rows]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("coder", "grad_mode"),
    [(CODERS[0], "bpda"), (CODERS[1], "exact"), (CODERS[2], "exact"), (CODERS[2], "none")],
    ids=["OMP-bpda", "Lasso-exact", "LISTA-exact", "LISTA-none"],
)
def test_a_compiled_purifier_gives_the_same_images_and_gradients(images, coder, grad_mode):
    defence = purifier(images, coder, grad_mode=grad_mode)
    weights = torch.linspace(-1, 1, images.numel()).view_as(images)
    found = []
    for module in (defence, compiled(defence)):
        leaf = images.clone().requires_grad_()
        clean = module(leaf)
        if grad_mode == "none":
            assert not clean.requires_grad
        else:
            (clean * weights).sum().backward()
        found.append((clean.detach(), leaf.grad))
    (eager, slopes), (graph, graph_slopes) = found
    assert torch.equal(eager, graph)
    if slopes is not None:
        torch.testing.assert_close(graph_slopes, slopes)


def test_bytes_are_purified_in_the_graph_as_outside(images):
    defence = purifier(images)
    pixels = (images * 255).to(torch.uint8)
    with torch.no_grad():
        assert torch.equal(compiled(defence)(pixels), defence(pixels))


def test_a_classifier_behind_it_is_in_the_graph(images):
    model = srdfast.PurifiedModel(purifier(images, CODERS[0]), ResNet(depth=10, width=2, classes=2)).eval()
    with torch.no_grad():
        torch.testing.assert_close(exported(model, images).module()(images), model(images))


def test_sizes_stay_free_where_asked(images):
    large = torch.nn.functional.interpolate(images, (20, 17))
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    with torch.no_grad():
        defence = purifier(images)
        program = torch.export.export(defence, (large,), dynamic_shapes={"images": sizes}).module()
        assert torch.equal(program(images[:2]), defence(images[:2]))
        resizing = purifier(images, image_size=12)
        assert torch.equal(exported(resizing, large).module()(large[:4]), resizing(large[:4]))


def test_wrong_images_are_refused_while_the_graph_is_made(images):
    with pytest.raises(ValueError, match=r"images: expected \[batch, 3, height, width\]"):
        torch.export.export(purifier(images), (images[:, :2],))
    with pytest.raises(ValueError, match="latents: expected finite"), torch.no_grad():
        compiled(purifier(images))(images * torch.nan)
    with pytest.raises(TypeError, match="images: expected floating"):
        torch.export.export(purifier(images), (images.long(),))


def test_a_saved_program_runs_where_srdfast_was_imported_before_torch(images, tmp_path, python):
    defence = purifier(images)
    with torch.no_grad():
        torch.export.save(exported(defence, images), tmp_path / "purifier.pt2")
        expected = defence(images)
    torch.save((images, expected), tmp_path / "images.pt")
    done = python("""
import srdfast, sys
assert "torch" not in sys.modules
import torch
images, expected = torch.load("images.pt")
program = torch.export.load("purifier.pt2").module()
print(torch.equal(program(images), expected), "srdfast.purifier" in sys.modules)
""")
    assert done.stdout.split() == ["True", "False"]
