# SPDX-License-Identifier: Apache-2.0
"""Banks of dictionaries: what a bank accepts, and files that are either whole or refused."""

import dataclasses
import pickle
import signal
import subprocess
import sys
import time

import cases
import numpy as np
import pytest

import srdfast
from srdfast.files import load_tensors, save_tensors

CODERS = [
    srdfast.OMP(max_atoms=3, tolerance=0.25, selection="residual"),
    srdfast.Lasso(penalty=0.2, gap_tolerance=1e-3, max_sweeps=50),
    srdfast.LISTA(steps=3),
]


def assert_same_bank(one, other):
    """Every field equal, arrays bit for bit."""
    for field in dataclasses.fields(one):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "gaussians":
            for part in dataclasses.fields(ours):
                np.testing.assert_array_equal(getattr(ours, part.name), getattr(theirs, part.name))
        elif isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert ours == theirs, field.name


@pytest.fixture
def saved(rng, tmp_path):
    """A bank and the file it was saved to."""
    bank = cases.bank(rng)
    bank.save(tmp_path / "bank.safetensors")
    return bank, tmp_path / "bank.safetensors"


@pytest.mark.parametrize("coder", CODERS, ids=lambda coder: type(coder).__name__)
def test_a_bank_comes_back_as_it_was(rng, tmp_path, coder):
    bank = cases.bank(rng, coder)
    bank.save(tmp_path / "bank.safetensors")
    assert_same_bank(srdfast.SRDBank.load(tmp_path / "bank.safetensors"), bank)
    assert_same_bank(srdfast.SRDBank.load(str(tmp_path / "bank.safetensors")), bank)
    assert [path.name for path in tmp_path.iterdir()] == ["bank.safetensors"]


@pytest.mark.parametrize("coder", CODERS, ids=lambda coder: type(coder).__name__)
def test_a_dictionary_of_all_images_comes_after_those_of_the_clusters(rng, tmp_path, coder):
    bank, one = cases.bank(rng, coder), cases.bank(rng, coder, clusters=1)
    both = bank.with_general(one)
    assert (bank.general, both.general, both.clusters) == (None, 4, 4)
    assert_same_bank(both.of_clusters(), bank)
    np.testing.assert_array_equal(both.of_all().synthesis, one.synthesis)
    assert both.of_all().clusters == 1
    assert_same_bank(both.with_general(one), both)  # it takes the place of the earlier one
    both.save(tmp_path / "bank.safetensors")
    assert_same_bank(srdfast.SRDBank.load(tmp_path / "bank.safetensors"), both)


def test_a_dictionary_of_all_images_that_is_none_is_refused(rng):
    bank, one = cases.bank(rng), cases.bank(rng, clusters=1)
    with pytest.raises(ValueError, match="everywhere: expected one dictionary, got 4"):
        bank.with_general(bank)
    with pytest.raises(ValueError, match="everywhere: expected the coder"):
        bank.with_general(dataclasses.replace(one, split_strength=9.0))
    with pytest.raises(ValueError, match="bank: expected a dictionary of all images"):
        bank.of_all()


def test_saving_twice_gives_the_same_bytes(rng, tmp_path):
    bank = cases.bank(rng)
    for name in ("a", "b"):
        bank.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_bank_is_frozen(rng):
    with pytest.raises(AttributeError):
        cases.bank(rng).patch = 16


@pytest.mark.parametrize(
    "field, change",
    [
        ("synthesis", lambda bank: bank.synthesis[:, :, :-1]),
        ("synthesis", lambda bank: bank.synthesis[0]),
        ("synthesis", lambda bank: bank.synthesis[:-1]),
        ("analysis", lambda bank: bank.analysis[:, :-1]),
        ("thresholds", lambda bank: bank.thresholds[:, :-1]),
        ("analysis", lambda bank: None),
        ("thresholds", lambda bank: None),
        ("patch", lambda bank: 5),
        ("stride", lambda bank: 0),
        ("synthesis", lambda bank: np.full_like(bank.synthesis, np.nan)),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(rng, field, change):
    bank = cases.bank(rng)
    with pytest.raises(ValueError, match=rf"{field}|synthesis"):
        dataclasses.replace(bank, **{field: change(bank)})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        srdfast.SRDBank.load(tmp_path / "nothing.safetensors")


def test_every_truncation_is_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    for length in [*range(0, 64), *range(64, len(whole), 499), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(srdfast.ModelFormatError, match=r"bank\.safetensors"):
            srdfast.SRDBank.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(srdfast.ModelFormatError):
        srdfast.SRDBank.load(path)


def test_a_flipped_byte_in_the_header_never_does_anything_but_refuse_or_load(saved):
    bank, path = saved
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for position in range(header):
        for flip in (0x01, 0x80):
            damaged = bytearray(whole)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            try:
                other = srdfast.SRDBank.load(path)  # a digit of the strength, a letter of a class name ...
                assert other.synthesis.shape == bank.synthesis.shape
            except srdfast.ModelFormatError:
                refused += 1
    assert refused > header


def rewritten(path, tensors=None, metadata=None):
    """Save the file again with some tensors and some metadata replaced (None removes)."""
    old_tensors, old_metadata = load_tensors(path)
    old_tensors.update(tensors or {})
    old_metadata.update(metadata or {})
    save_tensors(
        path,
        {name: array for name, array in old_tensors.items() if array is not None},
        {name: value for name, value in old_metadata.items() if value is not None},
    )


def test_tensors_of_wrong_shape_type_or_value_are_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    tensors, _ = load_tensors(path)
    for name, array in tensors.items():
        infinite = np.full_like(array, np.inf) if array.dtype.kind == "f" else np.full_like(array, -7)
        for bad in (array[:-1], array[..., :-1], array[None], infinite, None):
            path.write_bytes(whole)
            rewritten(path, {name: bad})
            with pytest.raises(srdfast.ModelFormatError):
                srdfast.SRDBank.load(path)
    path.write_bytes(whole)
    rewritten(path, {"labels": tensors["labels"].astype(np.float32)})
    with pytest.raises(srdfast.ModelFormatError, match="labels"):
        srdfast.SRDBank.load(path)
    path.write_bytes(whole)
    rewritten(path)
    srdfast.SRDBank.load(path)


@pytest.mark.parametrize(
    "coder",
    [
        {"name": "omp", "max_atoms": 0},
        {"name": "omp", "max_atoms": "many"},
        {"name": "omp", "selection": "best"},
        {"name": "lasso", "penalty": -1},
        {"name": "lista", "steps": 0},
        {"name": "lista", "speed": 3},
        {"name": "magic"},
        {"name": ["omp"]},
        {},
        7,
    ],
    ids=str,
)
def test_a_coder_that_cannot_run_is_refused_when_the_file_is_read(saved, coder):
    _, path = saved
    rewritten(path, metadata={"coder": coder})
    with pytest.raises(srdfast.ModelFormatError):
        srdfast.SRDBank.load(path)


def test_metadata_that_are_missing_or_nonsense_are_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    _, metadata = load_tensors(path)
    for name in metadata:
        for bad in (None, "nonsense", -3, [], {}):
            path.write_bytes(whole)
            rewritten(path, metadata={name: bad})
            try:
                srdfast.SRDBank.load(path)
            except srdfast.ModelFormatError:
                continue
            assert bad != "nonsense" or name not in ("coder", "patch", "stride", "channels", "split_strength")


def test_files_of_other_kinds_are_refused_and_run_nothing(rng, tmp_path):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('code ran')",)

    path = tmp_path / "model.safetensors"
    plain = {"a": np.zeros(3, np.float32)}
    from safetensors.numpy import save

    for content in (
        pickle.dumps(Bomb()),
        b"",
        b"{}",
        b"\xff" * 4096,
        (2**63 - 1).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        save(plain),
        save(plain, metadata={"srdfast": "not json"}),
        save(plain, metadata={"srdfast": "[1, 2]"}),
        save(plain, metadata={"srdfast": "{}"}),
    ):
        path.write_bytes(content)
        with pytest.raises(srdfast.ModelFormatError, match=r"model\.safetensors"):
            srdfast.SRDBank.load(path)


def test_a_kill_while_saving_leaves_the_old_file_or_the_new_one(rng, tmp_path):
    path = tmp_path / "bank.safetensors"
    banks = [cases.bank(np.random.default_rng(seed), atoms=400) for seed in (0, 1)]
    banks[0].save(path)
    program = f"""
import cases, numpy as np
banks = [cases.bank(np.random.default_rng(seed), atoms=400) for seed in (0, 1)]
print("ready", flush=True)
while True:
    for bank in banks:
        bank.save({str(path)!r})
"""
    sys_path = [entry for entry in sys.path if entry]
    for turn in range(4):
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", f"import sys; sys.path[:0] = {sys_path!r}\n{program}"],
            stdout=subprocess.PIPE,
        )
        child.stdout.readline()
        time.sleep(0.03 + 0.017 * turn)
        child.send_signal(signal.SIGKILL)
        child.wait()
        loaded = srdfast.SRDBank.load(path)
        assert any(np.array_equal(loaded.synthesis, bank.synthesis) for bank in banks)


def test_a_save_that_fails_leaves_the_old_file(saved, monkeypatch):
    bank, path = saved
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="disk is full"):
        dataclasses.replace(bank, split_strength=1.0).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
