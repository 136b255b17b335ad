# SPDX-License-Identifier: Apache-2.0
"""The shipped purifier as a whole: how its time divides between the choice of clusters and the kernels."""

import numpy as np
import pytest

import srdfast
from srdfast import pretrained
from srdfast.microbench import purify_work


@pytest.fixture
def purifier():
    if not (pretrained.FOLDER / "cifar10.safetensors").is_file():
        pytest.skip("no pretrained model in this checkout")
    return srdfast.Purifier.from_pretrained("cifar10")


def sample(count):
    """Test images of CIFAR-10: how many of them are rebuilt twice depends on what they show."""
    return pretrained.sample(count).tensors()[0]


def bench_batch(timed, purifier, sized):
    images = sample(sized(256, 8))
    choice, _ = purifier._choose(images)
    np.testing.assert_array_equal(purifier.purify(images).numpy(), purifier._mixed(images, choice).numpy())
    beside = {
        "choice": lambda: purifier._choose(images),
        "kernels": lambda: purifier._mixed(images, choice),
    }

    def describe(found):
        shares = ", ".join(f"{part} {found[part] / found['call']:.0%}" for part in beside)
        mixed = float((choice.share < 1).float().mean())
        return f"{1e3 * found['call'] / len(images):.3f} ms an image; {shares}; {mixed:.0%} rebuilt twice"

    timed(
        lambda: purifier.purify(images), "purifier cifar10", f"batch of {len(images)}", "srdfast",
        len(images), "images", beside=beside, describe=describe,
    )  # fmt: skip


def bench_dictionaries(timed, purifier, sized):
    """The kernels in the setting that ships, each image by the dictionary of its cluster."""
    bank, images = purifier.bank, sample(sized(256, 8)).numpy()
    high, clusters = srdfast.split(images, bank.split_strength)[1], purifier.assign(images)
    prepared = srdfast.prepare(bank.synthesis, bank.analysis, bank.thresholds)
    dictionaries, atoms, _ = bank.synthesis.shape
    case = f"{dictionaries} dictionaries of {atoms} atoms, stride {bank.stride}, LISTA({bank.coder.steps})"
    timed(
        lambda: srdfast.purify_patches(high, prepared, bank.coder, index=clusters, stride=bank.stride),
        "purifier cifar10", case, "srdfast", len(images), "images",
        work=purify_work(images.shape[1:], atoms, bank.coder, stride=bank.stride),
    )  # fmt: skip


def bench_one(timed, purifier):
    images = sample(1)
    assert purifier.purify(images).shape == images.shape
    timed(
        lambda: purifier.purify(images), "purifier cifar10", "batch of 1", "srdfast", 1, "images", rounds=300,
    )  # fmt: skip
