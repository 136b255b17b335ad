# SPDX-License-Identifier: Apache-2.0
"""Clips made by PyAV, stand-ins for the purifier, and the command line around them."""

from __future__ import annotations

import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from srdfast import cli
from srdfast.video import command

HERE = Path(__file__).resolve().parent
MILLISECONDS = Fraction(1, 1000)


class Same:
    """Gives back what it gets; remembers what it was told."""

    def __init__(self):
        self.told, self.resets = [], 0

    def purify(self, planes, *, bit_depth=8, full_range=False, matrix="bt709"):
        self.told.append((bit_depth, full_range, matrix))
        return planes

    def reset(self):
        self.resets += 1


class Inverting(Same):
    """Negatives, so that a frame tells whether it was purified."""

    def purify(self, planes, *, bit_depth=8, full_range=False, matrix="bt709"):
        top = (1 << bit_depth) - 1
        return tuple(top - plane for plane in planes)


class Slow(Inverting):
    """Takes some seconds for a frame."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def purify(self, planes, **settings):
        time.sleep(self.seconds)
        return super().purify(planes, **settings)


class Failing(Same):
    """Fails at the third frame."""

    def purify(self, planes, **settings):
        super().purify(planes, **settings)
        if len(self.told) == 3:
            raise RuntimeError("the third frame is too much")
        return planes


def shapes(width, height, format):
    """[height, width] of the planes of a planar format."""
    across = 1 if "444" in format else 2
    down = 2 if "420" in format else 1
    chroma = (-(-height // down), -(-width // across))
    return [(height, width)] if format.startswith("gray") else [(height, width), chroma, chroma]


def noise(count, width=64, height=48, format="yuv420p"):
    """Frames of random planes, uint8 or, for formats of 10 bits, uint16."""
    rng = np.random.default_rng(5)
    top, kind = (1024, np.uint16) if "10" in format else (256, np.uint8)
    return [
        tuple(rng.integers(0, top, shape, kind) for shape in shapes(width, height, format))
        for _ in range(count)
    ]


def as_picture(planes, format):
    height, width = planes[0].shape
    picture = av.VideoFrame(width, height, format)
    for plane, values in zip(picture.planes, planes, strict=True):
        data = values.view(np.uint8).reshape(len(values), -1)
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        lines[: data.shape[0], : data.shape[1]] = data
    return picture


def make(
    path,
    frames,
    format="yuv420p",
    codec="ffv1",
    times=None,
    prepare=None,
    audio=None,
    subtitles=None,
    options=None,
):
    """Writes a clip, by default lossless: `times` in milliseconds, 40 apart unless given."""
    times = [40 * number for number in range(len(frames))] if times is None else times
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        height, width = frames[0][0].shape
        stream.width, stream.height, stream.pix_fmt = width, height, format
        stream.codec_context.time_base = MILLISECONDS
        if prepare is not None:
            prepare(stream)
        sound = container.add_stream("aac", rate=48000, layout="mono") if audio else None
        words = None
        if subtitles is not None:
            with av.open(str(subtitles)) as source:
                words = container.add_stream_from_template(source.streams.subtitles[0])
                for packet in source.demux():
                    if packet.dts is not None:
                        packet.stream = words
                        container.mux(packet)
        if sound is not None:
            container.mux(_tone(sound, audio))
        for planes, time_stamp in zip(frames, times, strict=True):
            picture = as_picture(planes, format)
            picture.pts, picture.time_base = time_stamp, MILLISECONDS
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def _tone(stream, seconds):
    packets = []
    for number in range(int(seconds * 48000 / 1024)):
        wave = np.sin(np.arange(1024) / 20, dtype=np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, 1024 * number
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def read(path):
    """Frames (tuples of planes) and their times in seconds."""
    frames, times = [], []
    with av.open(str(path)) as container:
        for picture in container.decode(video=0):
            kind = np.uint16 if "10" in picture.format.name else np.uint8
            name = picture.format.name.replace("yuvj", "yuv")
            planes = []
            for plane, (rows, columns) in zip(
                picture.planes, shapes(picture.width, picture.height, name), strict=True
            ):
                lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                planes.append(lines[:rows, : columns * kind().itemsize].copy().view(kind))
            frames.append(tuple(planes))
            times.append(picture.pts * picture.time_base)
    return frames, times


def equal(left, right):
    return len(left) == len(right) and all(
        len(one) == len(other) and all(map(np.array_equal, one, other))
        for one, other in zip(left, right, strict=True)
    )


def run(monkeypatch, purifier, *arguments):
    """The exit code of `srdfast video` with this purifier."""
    monkeypatch.setattr(command, "make_purifier", lambda options: purifier)
    try:
        return cli.main(["video", *map(str, arguments)])
    except SystemExit as stop:
        return int(stop.code or 0)


def start(*arguments, purifier="Inverting()", **streams):
    """The command in a process of its own."""
    program = (
        "import sys, videos; from srdfast import cli; from srdfast.video import command\n"
        f"command.make_purifier = lambda options: videos.{purifier}\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    line = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\n{program}", "video"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*line, *map(str, arguments)], **pipes | streams)
