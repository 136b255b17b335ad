# SPDX-License-Identifier: Apache-2.0
from srdfast import _core


def test_cuda_info_names_the_devices_or_says_why_there_are_none():
    info = _core.cuda_info()
    assert bool(info["devices"]) != bool(info["why_none"])
    assert all(device["memory"] > 0 and device["multiprocessors"] > 0 for device in info["devices"])


def test_a_build_with_cuda_tells_toolkit_and_architectures():
    info = _core.cuda_info()
    assert info["built"] == bool(info["toolkit"]) == bool(info["architectures"])
    if info["built"]:
        assert tuple(map(int, info["toolkit"].split("."))) >= (12, 8)
