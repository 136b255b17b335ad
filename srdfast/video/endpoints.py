# SPDX-License-Identifier: Apache-2.0
"""What IN and OUT of the command line name, and opening it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

from .encoders import Encoding
from .partial import PartialFile
from .pipes import FrameReader, parse_raw, widen
from .sinks import ContainerSink, PipeSink
from .sources import COPIED, ContainerSource, Reading

Input = ContainerSource | FrameReader
Output = ContainerSink | PipeSink
PIPE, Y4M = "-", ".y4m"
LIVE_TIMEOUT = 10.0


def timeout(options: argparse.Namespace) -> float | None:
    """Seconds after which a silent source is dead: 10 by default if it is live, else for ever."""
    if options.timeout is None:
        return LIVE_TIMEOUT if options.live else None
    return float(options.timeout)


def find_target(options: argparse.Namespace) -> PartialFile | int | str:
    """The file, the descriptor or the URL to write."""
    if options.target == PIPE:
        sys.stdout.flush()
        return sys.stdout.fileno()
    if "://" in options.target:
        return str(options.target)
    return PartialFile(Path(options.target), options.yes)


def open_source(options: argparse.Namespace) -> Input:
    """Opens IN.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be read as what it seems to be.
    """
    name = options.source
    if name != PIPE and "://" not in name and options.input_format is None and not os.path.exists(name):
        raise FileNotFoundError(f"{name}: no such file")
    if name == PIPE or name.endswith(Y4M) or options.raw is not None:
        raw = None if options.raw is None else parse_raw(options.raw, options.fps)
        file = io.FileIO(sys.stdin.fileno(), closefd=False) if name == PIPE else io.FileIO(name)
        widen(file.fileno())
        return FrameReader(file, "stdin" if name == PIPE else name, raw, options.accept_damage)
    reading = Reading(
        live=options.live,
        timeout=timeout(options),
        container=options.input_format,
        options=dict(options.input_option),
        stream=options.stream,
        copy=_companions(options),
        accept_damage=options.accept_damage,
    )
    source = ContainerSource(name, reading)
    for left_out in source.left_out:
        print(f"srdfast: note: {name}: {left_out} is not copied", file=sys.stderr)
    return source


def open_sink(options: argparse.Namespace, source: Input, target: PartialFile | int | str) -> Output:
    """Opens OUT for what the source gives.

    Raises:
        DataError: it cannot be written as it should.
    """
    if isinstance(target, int):
        widen(target)
        return PipeSink(target, source.format, raw=options.raw is not None)
    if isinstance(target, PartialFile) and options.target.endswith(Y4M):
        return PipeSink(target, source.format, raw=False)
    encoding = Encoding(
        codec=options.codec,
        crf=options.crf,
        preset=options.preset,
        pixel_format=options.pix_fmt,
        options=dict(options.codec_option),
        container=options.format,
        live=options.live,
    )
    companions = source if isinstance(source, ContainerSource) else None
    return ContainerSink(target, source.format, encoding, companions)


def _companions(options: argparse.Namespace) -> tuple[str, ...]:
    if options.target == PIPE or options.target.endswith(Y4M):
        return ()
    unwanted = {"audio": options.no_audio, "subtitle": options.no_subtitle}
    return tuple(kind for kind in COPIED if not unwanted[kind])
