# SPDX-License-Identifier: Apache-2.0
"""What is derived of tensors is made once, and again when one of them changes."""

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")
from srdfast.derived import Derived  # noqa: E402


@pytest.fixture
def counted():
    """A Derived of one tensor and the list of what it made."""
    made = []
    return Derived(), torch.ones(3), made


def get(derived, tensor, made, key=0):
    """The kept list of one entry, new with every make."""

    def make():
        made.append([float(tensor.sum())])
        return made[-1]

    return derived.of(key, [tensor], make)


def test_it_is_made_once(counted):
    derived, tensor, made = counted
    assert get(derived, tensor, made) is get(derived, tensor, made)
    assert made == [[3.0]]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.add_(1),
        lambda t: t.__setitem__(0, 5.0),
        lambda t: setattr(t, "data", torch.full((3,), 7.0)),
        lambda t: t.copy_(torch.zeros(3)),
    ],
    ids=["add", "entry", "data", "copy"],
)
def test_it_is_made_again_after_a_change(counted, change):
    derived, tensor, made = counted
    get(derived, tensor, made)
    change(tensor)
    assert get(derived, tensor, made) == [float(tensor.sum())]
    assert len(made) == 2


def test_it_is_made_again_for_a_tensor_in_the_place_of_another(counted):
    derived, tensor, made = counted
    for _ in range(20):
        get(derived, tensor.clone(), made)  # the one before is free, and its memory may be used again
    assert len(made) == 20


def test_another_key_is_another_thing(counted):
    derived, tensor, made = counted
    get(derived, tensor, made, key="a")
    get(derived, tensor, made, key="b")
    assert len(made) == 2


def test_copies_and_pickles_start_empty(counted):
    derived, tensor, made = counted
    get(derived, tensor, made)
    for twin in (copy.deepcopy(derived), pickle.loads(pickle.dumps(derived))):
        get(twin, tensor, made)
    assert len(made) == 3


def test_tensors_of_inference_mode_are_welcome(counted):
    derived, _, made = counted
    with torch.inference_mode():
        tensor = torch.ones(3)
        assert get(derived, tensor, made) is get(derived, tensor, made)
