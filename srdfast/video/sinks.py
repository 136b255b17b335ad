# SPDX-License-Identifier: Apache-2.0
"""Where purified frames go: containers through PyAV (FFmpeg), and y4m or raw bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import DataError
from .encoders import Encoding, default_codec, guess_container, pixel_formats
from .formats import Passenger, Planes, VideoFormat
from .partial import PartialFile
from .pipes import FrameWriter
from .sources import ContainerSource


class PipeSink:
    """Writes y4m or raw frames to a descriptor, or to a file.

    Args:
        target: a descriptor of a pipe, or the file.
        format: of the frames.
        raw: the bare bytes of the frames; otherwise y4m.
    """

    def __init__(self, target: int | PartialFile, format: VideoFormat, raw: bool) -> None:
        self._file = target if isinstance(target, PartialFile) else None
        if isinstance(target, PartialFile):
            target = os.open(target.partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self._descriptor = target
        try:
            self._writer = FrameWriter(target, format, raw)
        except BaseException:
            self.discard()
            raise

    def write(self, planes: Planes, pts: int, duration: int = 0) -> None:
        """Writes a frame; the format has no room for its time stamp.

        Raises:
            BrokenPipeError: the reader has gone.
        """
        self._writer.write(planes)

    def carry(self, passenger: Passenger) -> None:
        """Nothing but frames is written."""

    def close(self) -> None:
        """Ends a whole file."""
        if self._file is not None:
            self._file.commit()
            os.close(self._descriptor)

    def discard(self) -> None:
        """Ends a file that will not be whole; what went to a pipe has gone."""
        if self._file is not None:
            self._file.discard()
            os.close(self._descriptor)


class ContainerSink:
    """Encodes frames into a container, with the packets that travel along.

    Args:
        target: the file, or a URL.
        format: of the frames.
        encoding: of the video.
        source: where metadata, chapters and companion streams come from.

    Raises:
        DataError: the container is unknown or cannot hold a stream, or the encoder is unknown or does not
            take the pixels, the size or an option.
    """

    def __init__(
        self,
        target: PartialFile | str,
        format: VideoFormat,
        encoding: Encoding,
        source: ContainerSource | None = None,
    ) -> None:
        self._file = target if isinstance(target, PartialFile) else None
        self._name = str(target.path if isinstance(target, PartialFile) else target)
        self._format, self._encoding = format, encoding
        self._last_pts: int | None = None
        self._origin = Fraction(0)
        self._durations: dict[int, int] = {}  # of frames that the encoder holds, by time stamp
        self._container = self._open(target)
        try:
            self._stream = self._add_video()
            self._companions = self._add_companions(source)
            self._start(encoding)
        except BaseException:
            self.discard()
            raise

    def write(self, planes: Planes, pts: int, duration: int = 0) -> None:
        """Encodes a frame.

        Raises:
            DataError: the encoder or the container fails.
        """
        base = self._format.time_base
        if self._last_pts is None and self._encoding.live:
            self._origin = pts * base  # a camera's clock begins anywhere
        pts -= int(self._origin / base)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)  # encoders refuse a time that does not advance
        self._last_pts = pts
        picture = self._picture(planes)
        picture.pts, picture.time_base = pts, base
        if duration > 0:
            self._durations[pts] = duration
        self._mux(picture)

    def carry(self, passenger: Passenger) -> None:
        """Copies a packet of sound or subtitles."""
        packet = passenger.packet
        stream = self._companions.get(packet.stream.index)
        if stream is None:
            return
        if self._encoding.live:
            shift = int(self._origin / packet.time_base)
            if self._last_pts is None or packet.pts is None or packet.dts < shift:
                return  # from before the first frame
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        packet.stream = stream
        with _told(self._name):
            self._container.mux(packet)

    def close(self) -> None:
        """Flushes the encoder and ends a whole file."""
        self._mux(None)
        with _told(self._name):
            self._container.close()
        if self._file is not None:
            self._file.commit()

    def discard(self) -> None:
        """Ends a file that will not be whole, and removes it."""
        import av

        try:
            self._container.close()
        except (av.error.FFmpegError, OSError, ValueError):
            pass  # a broken container is what is thrown away
        if self._file is not None:
            self._file.discard()

    def _open(self, target: PartialFile | str) -> Any:
        import av

        try:
            if isinstance(target, str):
                return av.open(target, mode="w", format=self._encoding.container)
            container = self._encoding.container or guess_container(self._name)
            return av.open(str(target.partial), mode="w", format=container)
        except (av.error.FFmpegError, ValueError) as error:
            raise DataError(f"{self._name}: no container of this name ({error}); see --format") from None

    def _add_video(self) -> Any:
        encoding, format = self._encoding, self._format
        codec = encoding.codec or default_codec(self._container, self._name)
        name = encoding.pixel_format or format.pixels.planar().name
        offered = pixel_formats(codec)
        if offered and name not in offered:
            raise DataError(
                f"{codec} does not encode {name}; choose with --pix-fmt one of {', '.join(offered)}"
            )
        with _told(self._name):
            stream = self._container.add_stream(
                codec, rate=format.rate or 25, options=encoding.options_of(codec)
            )
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = format.width, format.height, name
        context.time_base = format.time_base
        if self._container.format.name == "avi":
            context.max_b_frames = 0  # it has no room for an order of showing besides that of storing
        if format.aspect is not None:
            context.sample_aspect_ratio = format.aspect
        context.colorspace, context.color_primaries = format.colour.matrix, format.colour.primaries
        context.color_trc = format.colour.transfer
        context.color_range = {None: 0, False: 1, True: 2}[format.colour.full_range]
        if format.display_matrix is not None:
            stream.set_display_matrix(format.display_matrix)
        return stream

    def _add_companions(self, source: ContainerSource | None) -> dict[int, Any]:
        """The output stream of each companion, by the index of the input stream."""
        import av

        if source is None:
            return {}
        self._container.metadata.update(source.container.metadata)
        with _told(self._name):
            self._container.set_chapters(source.container.chapters())
        companions = {}
        for stream in source.companions:
            try:
                made = self._container.add_stream_from_template(stream)
            except (ValueError, av.error.FFmpegError):
                raise DataError(
                    f"{self._name}: this container cannot hold the {stream.type} stream "
                    f"({stream.codec_context.name}); choose one like the source's, or leave it out with "
                    f"--no-{stream.type}"
                ) from None
            made.metadata.update(stream.metadata)
            made.disposition = stream.disposition
            companions[stream.index] = made
        return companions

    def _start(self, encoding: Encoding) -> None:
        """Opens the encoder, and writes the header of the container."""
        import av

        context = self._stream.codec_context
        try:
            context.open()
        except av.error.FFmpegError as error:
            asked = ", ".join(f"{key}={value}" for key, value in encoding.options_of(context.name).items())
            raise DataError(
                f"{self._name}: {context.name} does not encode {context.width}x{context.height} "
                f"{context.pix_fmt} with {asked or 'these settings'} ({error.strerror})"
            ) from None
        with _told(self._name):
            self._container.start_encoding()

    def _picture(self, planes: Planes) -> Any:
        import av

        format = self._format
        pixels = format.pixels.planar()
        picture = av.VideoFrame(format.width, format.height, pixels.name)
        for plane, values in zip(picture.planes, planes, strict=True):
            data = np.ascontiguousarray(values).view(np.uint8)  # [rows, bytes of a row]
            lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            lines[: data.shape[0], : data.shape[1]] = data
        picture.colorspace, picture.color_primaries = format.colour.matrix, format.colour.primaries
        picture.color_trc, picture.color_range = (
            format.colour.transfer,
            self._stream.codec_context.color_range,
        )
        wanted = self._stream.pix_fmt
        return picture if wanted == pixels.name else picture.reformat(format=wanted)

    def _mux(self, picture: Any) -> None:
        with _told(self._name):
            for packet in self._stream.encode(picture):
                # An encoder knows the usual duration only, and the last frame's counts.
                packet.duration = self._durations.pop(packet.pts, packet.duration)
                self._container.mux(packet)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turns FFmpeg's errors into ours, which name the output."""
    import av

    try:
        yield
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{name}: cannot be written: {reason}") from error
