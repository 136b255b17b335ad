# SPDX-License-Identifier: Apache-2.0
"""An output file that has its name only when it is whole."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..files import commit


class PartialFile:
    """A file that is written as NAME.partial and gets its name when it is whole.

    Raises:
        DataError: the file exists, or its partial does, and `overwrite` is not set; or it is no regular file.
    """

    def __init__(self, path: Path, overwrite: bool) -> None:
        self.path, self.partial = path, path.with_name(f"{path.name}.partial")
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: not a regular file; write to - and redirect")
        if path.exists() and not overwrite:
            raise DataError(f"{path} exists; choose another name, or allow it with -y")
        if self.partial.exists() and not overwrite:
            raise DataError(
                f"{self.partial} exists: another run is writing it, or one was killed; replace it with -y"
            )
        path.parent.mkdir(parents=True, exist_ok=True)

    def commit(self) -> None:
        """The file is whole."""
        commit(self.partial, self.path)

    def discard(self) -> None:
        """The file will never be whole."""
        self.partial.unlink(missing_ok=True)
