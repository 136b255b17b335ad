# SPDX-License-Identifier: Apache-2.0
"""What is installed: the public names, what importing costs, what the extension needs."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import srdfast

PUBLIC = (
    "omp lasso lista lista_gradient support_gradient split extract_patches average_patches purify_patches "
    "OMP Lasso LISTA SRDBank Gaussians Purifier PurifiedModel DeviceError ModelFormatError "
    "set_num_threads get_num_threads build_info"
).split()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_explained(name):
    assert name in srdfast.__all__
    assert (getattr(srdfast, name).__doc__ or "").strip()


def test_the_installed_package_is_tested_not_the_source_tree():
    assert Path(__file__).resolve().parent.parent not in Path(srdfast.__file__).resolve().parents or (
        "site-packages" in srdfast.__file__
    )
    assert srdfast.__version__ == importlib.metadata.version("srdfast")
    assert (Path(srdfast.__file__).parent / "py.typed").exists()


def test_importing_and_coding_load_neither_torch_nor_faiss(python):
    done = python("""
import sys, numpy as np, srdfast
srdfast.omp(np.ones((2, 3), np.float32), np.eye(3, dtype=np.float32))
srdfast.SRDBank, srdfast.OMP
print(sorted({"torch", "faiss", "sklearn", "scipy", "matplotlib", "PIL", "tqdm"} & set(sys.modules)))
""")
    assert done.stdout.strip() == "[]"


def test_without_torch_the_purifier_says_what_to_install(python):
    done = python("""
import sys
sys.modules["torch"] = None
import srdfast
try:
    srdfast.Purifier
except ImportError as error:
    print(error)
""")
    assert "srdfast[train]" in done.stdout


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="omp2"):
        srdfast.omp2  # noqa: B018


def test_the_extension_needs_only_the_system_libraries():
    if sys.platform != "linux":
        pytest.skip("ldd is a Linux tool")
    (extension,) = Path(srdfast.__file__).parent.glob("_core*.so")
    needed = subprocess.run(["ldd", extension], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0].split("/")[-1].split(".so")[0] for line in needed.splitlines()}
    system = {"linux-vdso", "libc", "libm", "libstdc++", "libgcc_s", "libpthread", "libdl", "librt"}
    assert {name for name in names if not name.startswith("ld-")} <= system


def test_the_build_is_described():
    info = srdfast.build_info()
    assert isinstance(info, dict) and info
    assert any("cuda" in key for key in info) and any("level" in key for key in info)


def test_the_metadata_name_the_licence_and_the_extras():
    metadata = importlib.metadata.metadata("srdfast")
    assert "Apache-2.0" in (metadata["License-Expression"] or metadata["License"] or "")
    assert {"train", "test"} <= set(metadata.get_all("Provides-Extra"))
    core = [r for r in metadata.get_all("Requires-Dist") if "extra" not in r]
    assert sorted(r.split(">")[0].split("=")[0].strip() for r in core) == ["numpy", "safetensors"]
