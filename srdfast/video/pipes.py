# SPDX-License-Identifier: Apache-2.0
"""Frames without a container, read from and written to pipes: y4m and raw."""

from __future__ import annotations

import fcntl
import os
import select
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from ..errors import DataError
from . import y4m
from .formats import RGB, Colour, Frame, Planes, VideoFormat, check_size
from .pixels import RAW

PIPE_BYTES = 1 << 20
DEFAULT_RATE = Fraction(25)


class Bytes(Protocol):
    """What is read from: an unbuffered file, or `io.BytesIO`."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fills a part of the buffer, and says how much of it; 0 at the end, None if nothing is there yet."""

    def fileno(self) -> int:
        """The descriptor, to wait for more."""

    def close(self) -> None:
        """Nothing more will be read."""


class FrameReader:
    """Iterates over the frames of a y4m or raw stream.

    Args:
        stream: where the bytes come from.
        name: of the stream, for errors.
        raw: the format of raw frames; without it, the stream begins with a y4m header.
        accept_damage: take a stream that ends in the middle of a frame for one that ends before it.

    Raises:
        DataError: there is no sane header, or, once all whole frames were given, the stream ends in the
            middle of one.
    """

    def __init__(
        self, stream: Bytes, name: str, raw: VideoFormat | None = None, accept_damage: bool = False
    ) -> None:
        self._stream, self._name, self._raw = stream, name, raw is not None
        self._accept_damage = accept_damage
        self.format = raw or y4m.parse_header(self._line(b""))
        size = self.format.width, self.format.height
        self._frame_bytes = self.format.pixels.frame_bytes(*size)
        self._count = 0
        self.expected: int | None = None  # a pipe does not tell how many frames will come

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._next()) is not None:
            yield frame
        if self._count == 0:
            raise DataError(f"{self._name}: holds no frame")

    def close(self) -> None:
        """Closes the stream; not while another thread iterates."""
        self._stream.close()

    def _next(self) -> Frame | None:
        if not self._raw and not self._frame_line():
            return None
        data = np.empty(self._frame_bytes, np.uint8)
        begun = self._fill(data.data[:1]) if self._raw else 0  # until then it waits for whoever writes
        arrived = time.perf_counter()
        got = begun + self._fill(data.data[begun:])
        if got < self._frame_bytes and (self._accept_damage or (self._raw and got == 0)):
            return None
        if got < self._frame_bytes:
            raise DataError(
                f"{self._name}: truncated: the stream ends {got} bytes into frame {self._count + 1}, "
                f"which has {self._frame_bytes}"
            )
        planes = self.format.pixels.unpack(data, self.format.width, self.format.height)
        frame = Frame(planes, self._count, arrived, time.perf_counter() - arrived)
        self._count += 1
        return frame

    def _frame_line(self) -> bool:
        """Reads the line before a frame; False at the end of the stream."""
        start = bytearray(len(y4m.FRAME))
        got = self._fill(memoryview(start))
        if got == 0:
            return False
        line = bytes(start[:got]) if got < len(start) else self._line(bytes(start))
        if line.split(b" ")[0] != y4m.FRAME:
            raise DataError(
                f"{self._name}: expected FRAME before frame {self._count + 1}, got {line[:16]!r}; truncated, "
                "damaged, or not of the size that its header gives"
            )
        return True

    def _line(self, start: bytes) -> bytes:
        """The rest of a line, after its `start`, without the line feed; one byte a read: lines are short."""
        line, byte = bytearray(start), bytearray(1)
        while self._fill(memoryview(byte)) and byte != b"\n":
            line += byte
            if len(line) > y4m.LONGEST_LINE:
                raise DataError(f"{self._name}: a line of over {y4m.LONGEST_LINE} bytes; not a y4m stream")
        if byte != b"\n":
            raise DataError(f"{self._name}: empty, or it ends in the middle of a line: {bytes(line[:16])!r}")
        return bytes(line)

    def _fill(self, buffer: memoryview) -> int:
        """Fills the buffer as far as the stream goes; how far that is."""
        done = 0
        while done < len(buffer):
            got = self._stream.readinto(buffer[done:])
            if got is None:  # somebody made the pipe non-blocking
                select.select([self._stream], [], [])
                continue
            if got == 0:
                break
            done += got
        return done


class FrameWriter:
    """Writes frames as y4m or raw.

    Args:
        descriptor: where to write.
        format: of the frames.
        raw: write the bare bytes of the frames, in `format.pixels`; otherwise y4m, in planes.
    """

    def __init__(self, descriptor: int, format: VideoFormat, raw: bool) -> None:
        self._descriptor, self._format, self._raw = descriptor, format, raw
        if not raw:
            self._write([y4m.header(format)])

    def write(self, planes: Planes) -> None:
        """Writes one frame whole.

        Raises:
            BrokenPipeError: the reader has gone.
        """
        if self._raw:
            self._write(self._format.pixels.pack(planes))
        else:
            self._write([y4m.FRAME + b"\n", *map(np.ascontiguousarray, planes)])

    def _write(self, parts: Sequence[Any]) -> None:
        left = [memoryview(part).cast("B") for part in parts]
        while left:
            try:
                written = os.writev(self._descriptor, left)
            except BlockingIOError:  # somebody made the pipe non-blocking
                select.select([], [self._descriptor], [])
                continue
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left:
                left[0] = left[0][written:]


def parse_raw(text: str, rate: Fraction | None) -> VideoFormat:
    """The format that "WxH:PIX_FMT" describes; 25 frames a second unless told.

    Raises:
        DataError: it is not of that form, or the pixel format is unknown.
    """
    size, _, name = text.partition(":")
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and len(size) < 16) or name not in RAW:
        raise DataError(f"--raw: expected WIDTHxHEIGHT:PIX_FMT with one of {', '.join(RAW)}, got {text!r}")
    check_size(int(width), int(height), "--raw")
    rate = rate or DEFAULT_RATE
    pixels = RAW[name]
    colour = RGB if pixels.is_rgb else Colour()
    return VideoFormat(int(width), int(height), pixels, rate=rate, time_base=1 / rate, colour=colour)


def widen(descriptor: int) -> None:
    """Lets a pipe hold more than the usual 64 KiB, for fewer switches between its two ends; where it may."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (OSError, AttributeError):
        pass  # not a pipe, or not Linux, or above the user's limit
