# SPDX-License-Identifier: Apache-2.0
"""Frames of files and network streams, through PyAV (FFmpeg)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import DataError
from .formats import RGB, Colour, Frame, Passenger, Planes, VideoFormat, check_size
from .pixels import PixelFormat, planar

MISSING_SECONDS = 1.0  # a file whose streams end this long before its stated duration is truncated
COPIED = ("audio", "subtitle")
LIVE_OPTIONS = {"rtsp_transport": "tcp"}  # packets lost on the way would be holes in the picture
_LAYOUTS = {"gray": "gray", "yuv420p": "420", "yuv422p": "422", "yuv444p": "444"}


@dataclass(frozen=True)
class Reading:
    """How a source is opened.

    Attributes:
        live: the source gives frames at its own pace: wait for none, go on after damaged ones.
        timeout: seconds without data after which a source counts as dead; None waits for ever.
        container: FFmpeg's name of the input format, where it cannot be guessed.
        options: FFmpeg's options for the input.
        stream: which of the video streams.
        copy: kinds of streams that travel along: "audio", "subtitle".
        accept_damage: go on after damaged frames and a missing end.
    """

    live: bool = False
    timeout: float | None = None
    container: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    stream: int = 0
    copy: tuple[str, ...] = COPIED
    accept_damage: bool = False


class ContainerSource:
    """Iterates over the frames of one video stream, and the packets of the streams that travel along.

    Attributes:
        format: of the frames.
        expected: how many frames there are, if that is known.
        companions: streams whose packets are given as `Passenger`.
        left_out: names of the streams that nobody asked for and that do not travel along: other video
            streams, which would not be purified, data and attachments.
        container: the open container: its metadata and chapters.
        damaged: packets that could not be decoded.

    Raises:
        DataError: it cannot be read, has no video or no frame, is damaged or truncated, its frames change
            in size, or nothing came for `timeout`.
    """

    def __init__(self, location: str, reading: Reading) -> None:
        self._location, self._reading = location, reading
        self.damaged = 0
        self.container = self._open()
        try:
            self._stream = self._choose_stream()
            streams = list(self.container.streams)
            self.companions = [stream for stream in streams if stream.type in reading.copy]
            self.left_out = [
                f"{stream.type} stream {stream.index}"
                for stream in streams
                if stream.index != self._stream.index and stream.type not in COPIED
            ]
            self._ends = 0.0  # seconds: the latest end of a packet
            self._items = self._read()
            self._first: list[Frame | Passenger] = []
            self.format = self._look_ahead()
        except BaseException:
            self.close()
            raise
        rate, duration = self.format.rate, self._duration()
        self.expected: int | None = self._stream.frames or (
            round(duration * rate) if duration and rate else None
        )

    def __iter__(self) -> Iterator[Frame | Passenger]:
        for item in self._first:
            if isinstance(item, Frame):  # it has waited for whoever iterates, not for the run
                item.arrived = time.perf_counter() - item.decode
            yield item
        self._first.clear()
        yield from self._items

    def close(self) -> None:
        """Closes the container; not while another thread iterates."""
        self.container.close()

    def _open(self) -> Any:
        import av

        reading = self._reading
        options = {**(LIVE_OPTIONS if reading.live else {}), **reading.options}
        try:
            return av.open(
                self._location, format=reading.container, options=options, timeout=reading.timeout, mode="r"
            )
        except av.error.FFmpegError as error:
            raise self._unreadable(error) from None

    def _choose_stream(self) -> Any:
        streams = [
            stream
            for stream in self.container.streams.video
            if not stream.disposition & stream.disposition.attached_pic
        ]
        if not streams:
            raise DataError(f"{self._location}: holds no video stream")
        if not 0 <= self._reading.stream < len(streams):
            raise DataError(f"{self._location}: has {len(streams)} video stream(s); --stream counts from 0")
        stream = streams[self._reading.stream]
        context = stream.codec_context
        if context is None:
            raise DataError(f"{self._location}: no decoder for its video")
        # Threads that work on different frames at once would hold each frame back for several more.
        context.thread_type = "SLICE" if self._reading.live else "AUTO"
        return stream

    def _look_ahead(self) -> VideoFormat:
        """Reads as far as the first frame, which knows more of the format than the container does."""
        for item in self._items:
            self._first.append(item)
            if isinstance(item, Frame):
                return self.format  # set by the first frame
        raise DataError(f"{self._location}: holds no frame of video that can be decoded")

    def _read(self) -> Iterator[Frame | Passenger]:
        for packet in self._packets():
            if packet.stream.index == self._stream.index:
                yield from self._decode(packet)
            elif packet.dts is not None and packet.stream.type in self._reading.copy:
                yield Passenger(packet)
        self._check_end()

    def _packets(self) -> Iterator[Any]:
        import av

        packets = self.container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                if self._reading.accept_damage and not self._reading.live:
                    return
                raise self._unreadable(error) from None
            if packet.is_corrupt and not (self._reading.live or self._reading.accept_damage):
                raise DataError(
                    f"{self._location}: damaged or truncated (--accept-damage takes what is there)"
                )
            if packet.pts is not None:
                self._ends = max(self._ends, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            yield packet

    def _decode(self, packet: Any) -> Iterator[Frame]:
        import av

        arrived = time.perf_counter()
        try:
            decoded = packet.decode()
        except av.error.FFmpegError as error:
            self.damaged += 1
            if self._reading.live or self._reading.accept_damage:
                return
            raise self._unreadable(error) from None
        for picture in decoded:
            yield self._frame(picture, arrived)
            arrived = time.perf_counter()

    def _frame(self, picture: Any, arrived: float) -> Frame:
        pixels, foreign = _pixels(picture.format.name)
        if not hasattr(self, "format"):
            self.format = self._describe(picture, pixels, foreign)
            self._picture_format = picture.format.name
            self._next_pts = 0
        found = (picture.width, picture.height, picture.format.name)
        expected = (self.format.width, self.format.height, self._picture_format)
        if found != expected:
            raise DataError(
                f"{self._location}: the frames change from {'{}x{} {}'.format(*expected)} to "
                f"{'{}x{} {}'.format(*found)}; cut the video there and purify its parts"
            )
        if foreign:
            picture = _converted(picture, pixels)
        planes = _planes(picture, pixels)
        step = round(1 / (self.format.rate * self.format.time_base)) if self.format.rate else 1
        pts = self._next_pts if picture.pts is None else picture.pts
        self._next_pts = pts + (picture.duration or step)
        return Frame(planes, pts, arrived, time.perf_counter() - arrived, picture.duration or 0)

    def _describe(self, picture: Any, pixels: PixelFormat, foreign: bool) -> VideoFormat:
        check_size(picture.width, picture.height, self._location)
        stream = self._stream
        colour = RGB if foreign and _is_rgb(picture.format) else _colour(picture)
        return VideoFormat(
            width=picture.width,
            height=picture.height,
            pixels=pixels,
            rate=Fraction(stream.guessed_rate or stream.average_rate or 0) or None,
            time_base=Fraction(picture.time_base or stream.time_base),
            colour=colour,
            aspect=Fraction(stream.sample_aspect_ratio or 0) or None,
            display_matrix=_display_matrix(picture),
        )

    def _duration(self) -> float | None:
        """Seconds that the container says it lasts."""
        if self.container.duration is None or self._reading.live:
            return None
        return self.container.duration / 1_000_000

    def _check_end(self) -> None:
        duration = self._duration()
        if duration is None or self._reading.accept_damage:
            return
        start = (self.container.start_time or 0) / 1_000_000
        missing = duration - (self._ends - start)
        if missing > max(MISSING_SECONDS, 0.02 * duration):
            raise DataError(
                f"{self._location}: truncated: it says that it lasts {duration:.1f} s, and its last "
                f"{missing:.1f} s are missing (--accept-damage takes what is there)"
            )

    def _unreadable(self, error: Any) -> DataError:
        import av

        if isinstance(error, av.error.ExitError):
            return DataError(f"{self._location}: nothing came for {self._reading.timeout:g} s (--timeout)")
        reason = error.strerror or type(error).__name__
        return DataError(f"{self._location}: cannot be read as a video: {reason}")


def _pixels(name: str) -> tuple[PixelFormat, bool]:
    """The planar format for FFmpeg's pixel format, and whether pictures must be converted to it."""
    import av

    found = av.VideoFormat(name)
    depth = max((component.bits for component in found.components), default=8)
    stem = name.replace("yuvj", "yuv").removesuffix(f"{depth}le")
    if stem in _LAYOUTS and (depth == 8 or name.endswith("le")):
        return planar(_LAYOUTS[stem], depth), False
    depth = next(offered for offered in (8, 10, 12, 16) if depth <= offered)
    packed = {"nv12": "420", "nv21": "420", "p010": "420", "nv16": "422", "yuyv": "422", "uyvy": "422"}
    layout = "gray" if len(found.components) == 1 and not _is_rgb(found) else packed.get(name[:4], "444")
    return planar(layout, depth), True


def _is_rgb(format: Any) -> bool:
    return bool(format.is_rgb or format.has_palette)


def _converted(picture: Any, pixels: PixelFormat) -> Any:
    from av.video.reformatter import ColorRange, Colorspace

    if not _is_rgb(picture.format):
        return picture.reformat(format=pixels.name)
    return picture.reformat(
        format=pixels.name, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.JPEG
    )


def _planes(picture: Any, pixels: PixelFormat) -> Planes:
    """Copies of the planes: the decoder still reads its own."""
    planes = []
    shapes = pixels.shapes(picture.width, picture.height)
    for plane, (rows, columns) in zip(picture.planes, shapes, strict=False):
        if plane.line_size <= 0:
            raise DataError(f"{picture.format.name} stored upside down is not supported")
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        planes.append(lines[:rows, : columns * pixels.dtype.itemsize].copy().view(pixels.dtype))
    return tuple(planes)


def _colour(picture: Any) -> Colour:
    full = picture.color_range == 2 or picture.format.name.startswith("yuvj")
    return Colour(
        matrix=int(picture.colorspace),
        primaries=int(picture.color_primaries),
        transfer=int(picture.color_trc),
        full_range=True if full else False if picture.color_range == 1 else None,
    )


def _display_matrix(picture: Any) -> tuple[int, ...] | None:
    from av.sidedata.sidedata import Type

    data = picture.side_data.get(Type.DISPLAYMATRIX)
    return None if data is None else tuple(np.frombuffer(data, np.int32).tolist())
