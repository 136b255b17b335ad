# SPDX-License-Identifier: Apache-2.0
"""The wheel alone, with numpy and safetensors but no torch and no faiss: import it and compare one answer."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

import srdfast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python_tests"))
import reference  # noqa: E402

for absent in ("torch", "faiss"):
    assert importlib.util.find_spec(absent) is None, f"{absent} must not be installed here"
assert ROOT not in Path(srdfast.__file__).resolve().parents, "the source tree was imported, not the wheel"

rng = np.random.default_rng(0)
dictionary = rng.normal(size=(64, 48)).astype(np.float32)  # [atoms, features]
signals = rng.normal(size=(20, 48)).astype(np.float32)  # [batch, features]
codes = srdfast.omp(signals, dictionary, max_atoms=4)
indices, values, counts = reference.omp(signals, dictionary, max_atoms=4)
np.testing.assert_array_equal(codes.indices, indices)
np.testing.assert_array_equal(codes.counts, counts)
np.testing.assert_allclose(codes.values, values, rtol=1e-3, atol=1e-5)
print("the wheel works without torch and faiss:", srdfast.build_info())
