# SPDX-License-Identifier: Apache-2.0
"""Every column of the tables, in their order: clean, gray-box, adaptive, black box, worst."""

from __future__ import annotations

from dataclasses import dataclass

from .adaptive import ADAPTIVE
from .gray_box import CORRUPTION, GRAY_BOX


@dataclass(frozen=True)
class Column:
    """How a column is shown.

    Attributes:
        heading: its name.
        group: the threat model over it; empty: none.
        meaning: what its attacker does, where the group does not say it.
        effort: how much, with names of settings in braces, where the group tells it of each column.
    """

    heading: str
    group: str = ""
    meaning: str = ""
    effort: str = ""


COLUMNS: dict[str, Column] = {
    "clean": Column("clean"),
    **{
        name: Column(column.heading, column.group, effort=column.effort)
        for name, column in GRAY_BOX.items()
        if column.group != CORRUPTION
    },
    "worst_gray_box": Column("worst", "gray-box"),
    **{
        name: Column(column.heading, column.group)
        for name, column in GRAY_BOX.items()
        if column.group == CORRUPTION
    },
    **{name: Column(column.heading, column.group, column.meaning) for name, column in ADAPTIVE.items()},
    "worst": Column("worst"),
}
