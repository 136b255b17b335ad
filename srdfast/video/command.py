# SPDX-License-Identifier: Apache-2.0
"""The command `srdfast video`: what its options put together."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from ..errors import DataError
from ..files import atomic_write
from . import endpoints
from .backlog import Late
from .formats import PlanePurifier
from .partial import PartialFile
from .pipeline import Flow, Pipeline
from .progress import Progress, Style
from .signals import Signals


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    _check(options)
    with Signals() as signals:
        try:
            _run(options, signals)
        except KeyboardInterrupt:
            return signals.exit_code()
    return signals.exit_code() if signals.received else 0


def make_purifier(options: argparse.Namespace) -> PlanePurifier:
    """The purifier that the options name."""
    from ..machine import choose_device
    from .frames import FramePurifier

    common = {
        "chroma": not options.luma_only,
        "hysteresis": options.hysteresis,
        "choose_every": options.choose_every,
    }
    without_torch = options.device == "auto" and find_spec("torch") is None
    device = "cpu" if without_torch else choose_device(options.device)
    if device == "cpu":
        purifier: PlanePurifier = FramePurifier(
            options.model,
            reuse=not options.no_reuse,
            tolerance=options.tolerance,
            warm_start=not options.no_warm_start,
            **common,
        )
        return purifier
    from .gpu import GpuFramePurifier

    on_gpu: PlanePurifier = GpuFramePurifier(options.model, device=device, **common)
    return on_gpu


def _run(options: argparse.Namespace, signals: Signals) -> None:
    target = endpoints.find_target(options)
    purifier = make_purifier(options) if options.live else None  # a camera would not wait for it
    source = endpoints.open_source(options)
    purifier = purifier or make_purifier(options)
    pipeline = Pipeline(source, purifier, _flow(options))
    style: Style = "lines" if options.live and options.progress == "auto" else options.progress
    progress = Progress(style, options.frames or source.expected)
    signals.stop = pipeline.stopped.set  # from here on there is something to end in order
    sink = endpoints.open_sink(options, source, target)
    whole = False
    try:
        pipeline.run(sink, lambda: progress.glance(pipeline.statistics, pipeline.counts))
        whole = pipeline.statistics.written > 0 and (options.live or not signals.received)
    except DataError:
        whole = options.live and pipeline.statistics.written > 0  # what a dead camera gave is worth keeping
        raise
    finally:
        progress.close()
        _finish(sink, whole)
        if pipeline.source_is_at_rest():
            source.close()
        _report(options, pipeline)
    if whole and isinstance(target, PartialFile):
        print(target.path)


def _finish(sink: endpoints.Output, whole: bool) -> None:
    try:
        if whole:
            sink.close()
    except BaseException:
        whole = False
        raise
    finally:
        if not whole:
            sink.discard()


def _report(options: argparse.Namespace, pipeline: Pipeline) -> None:
    if not (options.stats or options.live):
        return
    report = pipeline.statistics.as_dict(pipeline.counts)
    if options.stats is None:
        print(json.dumps(report), file=sys.stderr)
        return
    with atomic_write(options.stats) as file:
        file.write_text(json.dumps(report, indent=2) + "\n")


def _check(options: argparse.Namespace) -> None:
    """Mistakes that can be told before anything is opened."""
    if options.late is not None and not options.live:
        raise DataError("--late is for --live: the frames of a file or a pipe wait")
    if options.queue < 1:
        raise DataError(f"--queue: expected 1 or more, got {options.queue}")
    if options.frames is not None and options.frames < 1:
        raise DataError(f"--frames: expected 1 or more, got {options.frames}")
    if options.timeout is not None and not options.timeout > 0:
        raise DataError(f"--timeout: expected seconds above 0, got {options.timeout:g}")
    if options.fps is not None and options.raw is None:
        raise DataError("--fps is for --raw: other sources know their rate")
    if options.source == "-" and sys.stdin.isatty():
        raise DataError("IN is the terminal; pipe y4m into it, or raw frames with --raw")
    if options.target == "-" and sys.stdout.isatty():
        raise DataError("OUT is the terminal; frames are not text: redirect them, or name a file")
    if options.source != "-" and "://" not in options.source:
        source, target = Path(options.source), Path(options.target)
        if source.exists() and target.exists() and source.samefile(target):
            raise DataError("IN and OUT are the same file")


def _flow(options: argparse.Namespace) -> Flow:
    late: Late = options.late or ("drop-oldest" if options.live else "block")
    return Flow(late, options.queue, endpoints.timeout(options), options.frames)
