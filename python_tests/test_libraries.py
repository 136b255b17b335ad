# SPDX-License-Identifier: Apache-2.0
"""What `srdfast info` says of faiss and CUDA, and when it warns."""

from importlib import metadata

import pytest

from srdfast import libraries

MAPS = """
7f00-7f01 r-xp 00000000 08:01 1 /env/nvidia/cu13/lib/libcudart.so.13
7f01-7f02 r-xp 00000000 08:01 2 /env/nvidia/cu13/lib/libcublas.so.13.1.0
7f02-7f03 r-xp 00000000 08:01 3 /env/nvidia/cu13/lib/libcublasLt.so.13
7f03-7f04 r-xp 00000000 08:01 4 /env/numpy.libs/libopenblas.so.0
"""
OLDER = "7f04-7f05 r-xp 00000000 08:01 5 /env/nvidia/cublas/lib/libcublas.so.12\n"


def test_the_loaded_libraries_of_cuda_are_found_with_their_major_versions():
    assert libraries.cuda_loaded(MAPS) == {"libcublas": ["13"], "libcudart": ["13"]}
    assert libraries.cuda_loaded(MAPS + OLDER)["libcublas"] == ["12", "13"]
    assert isinstance(libraries.cuda_loaded(), dict)


def test_one_of_everything_is_fine():
    assert libraries.warnings(["faiss-cpu 1.15.1"], libraries.cuda_loaded(MAPS)) == []


def test_two_packages_of_faiss_are_a_warning():
    (warning,) = libraries.warnings(["faiss-cpu 1.15.1", "faiss-cuda 1.14.1"], {})
    assert "faiss-cpu 1.15.1 and faiss-cuda 1.14.1" in warning and "uninstall" in warning


def test_two_versions_of_cuda_are_a_warning():
    (warning,) = libraries.warnings([], libraries.cuda_loaded(MAPS + OLDER))
    assert "libcublas of CUDA 12 and 13" in warning and "libcudart" not in warning


def test_the_packages_that_bring_faiss_are_named():
    pytest.importorskip("faiss")
    packages = libraries.faiss_packages()
    assert packages and all(metadata.version(entry.split()[0]) == entry.split()[1] for entry in packages)
