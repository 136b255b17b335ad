# SPDX-License-Identifier: Apache-2.0
"""Online dictionary learning: better than its start, as good as scikit-learn, decided by the seed."""

import numpy as np
import pytest
import reference

from srdfast.dictionaries import high_band_patches, learn_dictionary

PENALTY = 0.1
ATOMS, FEATURES = 24, 16


@pytest.fixture(scope="module")
def patches():
    """Signals of three out of 24 hidden unit atoms, with noise: 3000 to learn from and 200 held out."""
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(ATOMS, FEATURES))
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    codes = np.zeros((3200, ATOMS))
    for row in codes:
        row[rng.choice(ATOMS, 3, replace=False)] = rng.normal(size=3)
    noisy = (codes @ truth + 0.02 * rng.normal(size=(3200, FEATURES))).astype(np.float32)
    return noisy[:3000], noisy[3000:], truth


def held_out_objective(dictionary, signals):
    """The mean lasso objective at its optimum."""
    signals, dictionary = signals.astype(np.float64), dictionary.astype(np.float64)
    codes = reference.lasso(signals, dictionary, PENALTY, gap_tolerance=1e-6)
    return reference.lasso_objective(signals, dictionary, codes, PENALTY).mean()


def learn(signals, **options):
    """`learn_dictionary` at the sizes of this file."""
    settings = {"atoms": ATOMS, "penalty": PENALTY, "passes": 4, "batch": 128, "seed": 0}
    return learn_dictionary(signals, **{**settings, **options})


def test_learning_lowers_the_objective_on_held_out_patches(patches):
    train, test, truth = patches
    start = train[:ATOMS] / np.linalg.norm(train[:ATOMS], axis=1, keepdims=True)
    before = held_out_objective(start, test)
    one_pass, four_passes = (held_out_objective(learn(train, passes=passes), test) for passes in (1, 4))
    assert one_pass < 0.9 * before
    assert four_passes <= one_pass * 1.001
    assert four_passes < 1.15 * held_out_objective(truth, test)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_finds_nothing_better(patches):
    decomposition = pytest.importorskip("sklearn.decomposition")
    train, test, _ = patches
    theirs = decomposition.MiniBatchDictionaryLearning(
        n_components=ATOMS, alpha=PENALTY, fit_algorithm="cd", batch_size=128, max_iter=4, random_state=0
    ).fit(train)
    ours = held_out_objective(learn(train), test)
    assert ours <= 1.02 * held_out_objective(theirs.components_, test)


def test_atoms_have_at_most_unit_norm_and_the_type_and_shape_asked_for(patches):
    dictionary = learn(patches[0], passes=1)
    assert dictionary.dtype == np.float32 and dictionary.shape == (ATOMS, FEATURES)
    assert np.all(np.isfinite(dictionary))
    norms = np.linalg.norm(dictionary, axis=1)
    assert np.all(norms <= 1 + 1e-6) and np.all(norms > 0.5)


def test_the_seed_decides(patches):
    one, same, other = (learn(patches[0], passes=1, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


def test_few_patches_and_many_atoms(patches):
    for count in (1, 5, ATOMS):
        dictionary = learn(patches[0][:count], passes=2)
        assert dictionary.shape == (ATOMS, FEATURES) and np.all(np.isfinite(dictionary))
    dark = np.zeros((50, FEATURES), np.float32)
    dark[7] = 1
    assert np.all(np.isfinite(learn(dark)))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"patches": np.zeros((10, 4), np.float32)}, "patches"),
        ({"patches": np.zeros((0, 4), np.float32)}, "patches"),
        ({"patches": np.zeros(4, np.float32)}, "patches"),
        ({"patches": np.full((10, 4), np.nan, np.float32)}, "patches|signals"),
        ({"atoms": 0}, "atoms"),
        ({"batch": 0}, "batch"),
        ({"passes": 0}, "passes"),
        ({"penalty": 0.0}, "penalty"),
        ({"penalty": -1.0}, "penalty"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_by_name(patches, change, message):
    options = {"patches": patches[0][:50], "atoms": 4, **change}
    with pytest.raises(ValueError, match=message):
        learn_dictionary(**options)


def test_high_band_patches_are_a_seeded_draw_of_the_high_band(rng):
    images = rng.integers(0, 256, (6, 3, 12, 14), dtype=np.uint8)
    drawn = high_band_patches(images, 50, patch=4, stride=2, split_strength=5.0, seed=1)
    assert drawn.shape == (50, 48) and drawn.dtype == np.float32
    _, high = reference.split(images / 255, 5.0)
    every = reference.extract_patches(high, 4, 2).reshape(-1, 48)
    distances = np.abs(drawn[:, None] - every).max(axis=2)
    assert np.all(distances.min(axis=1) < 1e-5), "each drawn patch is one of the images' patches"
    assert len(set(distances.argmin(axis=1))) == 50, "none twice"
    np.testing.assert_array_equal(high_band_patches(images, 50, 4, 2, 5.0, seed=1), drawn)
    assert np.any(high_band_patches(images, 50, 4, 2, 5.0, seed=2) != drawn)
    assert len(high_band_patches(images, 10_000, 4, 2)) == len(every)
