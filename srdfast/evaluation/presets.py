# SPDX-License-Identifier: Apache-2.0
"""How much to measure: the same table on a small, a middling and the whole sample."""

from __future__ import annotations

from dataclasses import replace

from .adaptive import ADAPTIVE
from .gray_box import GRAY_BOX
from .settings import Settings

FULL = Settings(
    attacks=tuple(GRAY_BOX),
    adaptive=tuple(ADAPTIVE),
    checks=True,
    steps=20,
    adaptive_steps=100,
    adaptive_images=1000,
)
STANDARD = replace(FULL, adaptive_images=100, adaptive_steps=20, auto_steps=50, queries=1000)
QUICK = replace(
    STANDARD,
    adaptive_images=20,
    long_steps=50,
    auto_steps=20,
    targets=3,
    queries=200,
    neighbours=5,
    carlini_steps=50,
)

PRESETS: dict[str, tuple[int | None, Settings]] = {
    "quick": (100, QUICK),
    "standard": (1000, STANDARD),
    "full": (None, FULL),
}
"""By name: how many test images (None: all), and the settings of the attacks."""
