# SPDX-License-Identifier: Apache-2.0
"""The options of `srdfast video`."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from .backlog import LATE
from .defaults import CHOOSE_EVERY, HYSTERESIS

DEFAULT = " (default: %(default)s)"
EPILOG = """\
IN and OUT are files of any kind that FFmpeg knows, URLs, y4m files, or - for a pipe (y4m, or raw with --raw):
  ffmpeg -i a.mp4 -f yuv4mpegpipe - | srdfast video - - | ffmpeg -i - b.mp4
A file is written as OUT.partial and renamed when it is whole. Nothing but frames goes to stdout.
Exit codes: 0 done, or the reader of the pipe has gone; 2 a mistake, told in one line; 130 and 143 for
SIGINT and SIGTERM."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("source", metavar="IN", help="file, URL, or - for stdin")
    parser.add_argument("target", metavar="OUT", help="file, URL, or - for stdout")
    parser.add_argument("-y", "--yes", action="store_true", help="overwrite OUT if it exists")
    parser.add_argument("--model", default="natural", help="file or shipped model" + DEFAULT)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N" + DEFAULT)
    parser.add_argument(
        "--luma-only", action="store_true", help="leave chroma as it is, NOT PURIFIED: faster"
    )
    parser.add_argument(
        "--no-reuse", action="store_true", help="purify what has not changed since the last frame, too"
    )
    parser.add_argument(
        "--tolerance",
        type=int,
        default=0,
        metavar="CODES",
        help="keep the result of a block while no pixel around it differs by more (of 255 codes): the noise "
        "of a static camera then costs little, and what is shown lags behind by no more" + DEFAULT,
    )
    parser.add_argument(
        "--no-warm-start",
        action="store_true",
        help="where a model's coder is the lasso: let its codes start from zero, not from those of the frame "
        "before",
    )
    parser.add_argument(
        "--hysteresis",
        type=float,
        default=HYSTERESIS,
        metavar="NATS",
        help="by how much another cluster must be likelier to replace the present one, against flicker"
        + DEFAULT,
    )
    parser.add_argument(
        "--choose-every",
        type=int,
        default=CHOOSE_EVERY,
        metavar="N",
        help="the encoder chooses the cluster anew after N frames, sooner where a frame differs much, and "
        "(unless N is 1) after 8 N where nothing happens" + DEFAULT,
    )
    parser.add_argument(
        "--progress",
        default="auto",
        choices=("auto", "bar", "json", "lines", "off"),
        help="on stderr: a bar with rate and time left, statistics every second as JSON or as lines, or "
        "nothing (auto: a bar on a terminal, lines with --live)",
    )
    parser.add_argument("--stats", type=Path, metavar="FILE", help="write statistics as JSON at the end")

    reading = parser.add_argument_group("reading")
    reading.add_argument("--raw", metavar="WxH:PIX_FMT", help="IN is raw frames, as is OUT if it is a pipe")
    reading.add_argument("--fps", type=_rate, help="frames a second of raw frames, such as 30000/1001 (25)")
    reading.add_argument("--input-format", metavar="NAME", help="FFmpeg's name of the format, such as mpegts")
    reading.add_argument(
        "--input-option",
        type=_pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an FFmpeg option for reading; any number of them",
    )
    reading.add_argument("--stream", type=int, default=0, help="which of the video streams" + DEFAULT)
    reading.add_argument("--frames", type=int, metavar="N", help="stop after N frames")
    reading.add_argument("--accept-damage", action="store_true", help="go on after damaged or missing parts")

    writing = parser.add_argument_group("writing")
    writing.add_argument("--codec", metavar="NAME", help="FFmpeg's encoder (libx264 where OUT can hold it)")
    writing.add_argument("--crf", type=float, help="quality of the encoder, smaller is better (18)")
    writing.add_argument("--preset", help="speed of the encoder (veryfast for libx264 and libx265)")
    writing.add_argument("--pix-fmt", metavar="NAME", help="pixel format to encode (as the source has it)")
    writing.add_argument(
        "--codec-option",
        type=_pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an FFmpeg option for the encoder; any number of them",
    )
    writing.add_argument("--format", metavar="NAME", help="FFmpeg's name of the container (by OUT's ending)")
    writing.add_argument("--no-audio", action="store_true", help="leave sound out")
    writing.add_argument("--no-subtitle", action="store_true", help="leave subtitles out")

    live = parser.add_argument_group("live", "for cameras and streams, which do not wait")
    live.add_argument("--live", action="store_true", help="do not let latency grow: see --late")
    live.add_argument(
        "--late",
        choices=LATE,
        help="what happens to a frame too many: the source waits, the oldest or the newest frame is dropped, "
        "the last purified frame is repeated, or (pass) the frame goes through NOT PURIFIED, a hole in the "
        "defence that only you can choose (drop-oldest)",
    )
    live.add_argument("--queue", type=int, default=4, help="frames that may wait for the purifier" + DEFAULT)
    live.add_argument("--timeout", type=float, help="seconds without a frame that end it with an error (10)")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    return key, value


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 100_000:
        raise argparse.ArgumentTypeError(f"expected frames a second such as 25 or 30000/1001, got {text!r}")
    return rate
