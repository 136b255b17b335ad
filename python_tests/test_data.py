# SPDX-License-Identifier: Apache-2.0
"""The dataset readers: every format gives the same images, and no file of a dataset runs code."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from srdfast.data import balanced_rows, load
from srdfast.errors import DataError

NAMES = [f"class{number}" for number in range(10)]


@pytest.fixture
def cifar(rng):
    """Five training batches of 20 images and a test batch of 20: [(images [20, 3, 32, 32], labels [20])]."""
    return [
        (rng.integers(0, 256, (20, 3, 32, 32), np.uint8), rng.permutation(np.arange(20) % 10))
        for _ in range(6)
    ]


def batch_names():
    return [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def write_python_batches(folder, cifar, protocol=2):
    folder.mkdir()
    for name, (images, labels) in zip(batch_names(), cifar, strict=True):
        content = {b"data": images.reshape(20, -1), b"labels": labels.tolist(), b"batch_label": name.encode()}
        (folder / name).write_bytes(pickle.dumps(content, protocol))
    (folder / "batches.meta").write_bytes(
        pickle.dumps({b"label_names": [n.encode() for n in NAMES]}, protocol)
    )
    return folder


def write_binary_batches(folder, cifar):
    folder.mkdir()
    for name, (images, labels) in zip(batch_names(), cifar, strict=True):
        records = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(20, -1)], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n")
    return folder


def write_sheets(folder, images, labels, classes):
    """Sheets of 50 x 40 images, as `load` reads them."""
    folder.mkdir()
    for number in range(len(images) // 2000):
        tiles = images[number * 2000 : (number + 1) * 2000].reshape(40, 50, *images.shape[1:])
        sheet = tiles.transpose(0, 3, 1, 4, 2).reshape(40 * images.shape[2], 50 * images.shape[3], 3)
        Image.fromarray(sheet).save(folder / f"train_{number:02d}.webp", lossless=True, method=0)
    np.save(folder / "train_labels.npy", labels.astype(np.uint8))
    (folder / "classes.json").write_text(json.dumps(classes))
    return folder


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_python_batches(tmp_path, cifar, protocol):
    folder = write_python_batches(tmp_path / "data", cifar, protocol)
    train, test = load(folder), load(folder, "test")
    np.testing.assert_array_equal(train.images, np.concatenate([images for images, _ in cifar[:5]]))
    np.testing.assert_array_equal(train.labels, np.concatenate([labels for _, labels in cifar[:5]]))
    np.testing.assert_array_equal(test.images, cifar[5][0])
    assert train.classes == tuple(NAMES)
    assert train.images.dtype == np.uint8 and train.labels.dtype == np.int64


def test_binary_and_python_batches_are_the_same_data(tmp_path, cifar):
    python = load(write_python_batches(tmp_path / "cifar-10-batches-py", cifar))
    binary = load(write_binary_batches(tmp_path / "bin", cifar))
    around = load(tmp_path)
    assert python.identity == binary.identity == around.identity
    assert python.identity != load(tmp_path, "test").identity


def test_a_pickle_that_names_code_is_refused_and_does_not_run(tmp_path, cifar):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    folder = write_python_batches(tmp_path / "data", cifar)
    (folder / "data_batch_3").write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}))
    with pytest.raises(DataError, match="exec"):
        load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", [b"", b"not a pickle", pickle.dumps([1]), pickle.dumps({b"data": 1})])
def test_a_damaged_pickle_is_a_data_error(tmp_path, cifar, damage):
    folder = write_python_batches(tmp_path / "data", cifar)
    (folder / "data_batch_1").write_bytes(damage)
    with pytest.raises(DataError):
        load(folder)


def test_a_truncated_binary_batch_is_a_data_error(tmp_path, cifar):
    folder = write_binary_batches(tmp_path / "data", cifar)
    (folder / "data_batch_2.bin").write_bytes((folder / "data_batch_2.bin").read_bytes()[:-5])
    with pytest.raises(DataError, match="CIFAR-10 binary batches"):
        load(folder)


def test_sheets(tmp_path, rng):
    images = rng.integers(0, 256, (4000, 3, 4, 4), np.uint8)
    labels = rng.integers(0, 3, 4000)
    folder = write_sheets(tmp_path / "data", images, labels, NAMES[:3])
    whole, part = load(folder), load(folder, limit=30)
    np.testing.assert_array_equal(whole.images, images)
    np.testing.assert_array_equal(whole.labels, labels)
    rows = balanced_rows(labels, 30)
    np.testing.assert_array_equal(part.images, images[rows])
    (folder / "train_01.webp").unlink()
    load(folder, limit=30)  # needs the first sheet alone
    with pytest.raises(DataError, match=r"train_01\.webp"):
        load(folder)


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_tree(tmp_path, held_out):
    for split in ("train", held_out):
        for number, name in enumerate(["ant", "bee"]):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("L", (40, 20), 100 * number + 50).save(tmp_path / split / name / "grey.png")
            Image.new("RGB", (16, 30), (200, 10, 100 * number)).save(tmp_path / split / name / "colour.JPEG")
            (tmp_path / split / name / "notes.txt").write_text("not a picture")
    data = load(tmp_path, "test", size=8)
    assert data.images.shape == (4, 3, 8, 8)
    assert data.labels.tolist() == [0, 0, 1, 1] and data.classes == ("ant", "bee")
    assert (data.images[1] == 50).all() and (data.images[3] == 150).all()
    assert load(tmp_path, "train", limit=2, size=8).labels.tolist() == [0, 1]
    (tmp_path / "classes.json").write_text(json.dumps({"ant": {"name": "an ant"}}))
    assert load(tmp_path, size=8).classes == ("an ant", "bee")
    (tmp_path / "train" / "bee" / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        load(tmp_path, size=8)


def test_limits_are_balanced_and_nested():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 0])
    assert balanced_rows(labels, 3).tolist() == [0, 4, 6]
    assert balanced_rows(labels, 5).tolist() == [0, 1, 4, 5, 6]
    assert balanced_rows(labels, 99).tolist() == balanced_rows(labels, None).tolist() == list(range(8))


def test_wrong_arguments(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load(tmp_path / "absent")
    with pytest.raises(DataError, match="no known dataset"):
        load(tmp_path)
    with pytest.raises(ValueError, match="split"):
        load(tmp_path, "val")
    with pytest.raises(ValueError, match="limit"):
        load(tmp_path, limit=0)


def test_a_size_that_the_data_does_not_have(tmp_path, cifar):
    folder = write_binary_batches(tmp_path / "data", cifar)
    assert load(folder, size=32).images.shape[2:] == (32, 32)
    with pytest.raises(DataError, match="not 64 pixels"):
        load(folder, size=64)


def test_tensors(tmp_path, cifar):
    images, labels = load(write_binary_batches(tmp_path / "data", cifar)).tensors(3, 7)
    assert images.shape == (4, 3, 32, 32) and labels.shape == (4,)
    np.testing.assert_allclose(images.numpy(), cifar[0][0][3:7] / 255, rtol=1e-6)


def test_real_cifar10(shared_data):
    data = load(shared_data / "cifar10", "test", limit=20)
    assert np.bincount(data.labels).tolist() == [2] * 10
    assert data.classes[:2] == ("airplane", "automobile")
    assert 100 < data.images.mean() < 145


def test_real_pictures(shared_data):
    data = load(shared_data / "imagenet10", "test", limit=10, size=32)
    assert data.images.shape == (10, 3, 32, 32) and data.classes[0] == "tench"
