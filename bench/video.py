# SPDX-License-Identifier: Apache-2.0
"""Video from end to end: frames a second of clips, and a long run's memory.

python bench/video.py clips FOLDER [--results FOLDER]    each clip decoded, purified and encoded
python bench/video.py reuse CLIP...                      what reuse saves where a camera stands still
python bench/video.py unchanged CLIP...                  how much of a clip stays the same, by size of block
python bench/video.py warm CLIP...                       what warm starts of the lasso save
python bench/video.py floor CLIP...                      the purification alone, beside its operations
python bench/video.py soak                               20,000 frames of 160x90: does anything leak?

The reports have the form of the other benches: python bench/table.py bench/results/video-<date>.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# The installed package is timed, not the folder of the same name beside this one.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE.parent]
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
import table  # noqa: E402
import video_alone  # noqa: E402

import srdfast  # noqa: E402
from srdfast.video.encoders import Encoding  # noqa: E402
from srdfast.video.formats import Frame, PlanePurifier, Planes, VideoFormat  # noqa: E402
from srdfast.video.partial import PartialFile  # noqa: E402
from srdfast.video.pipeline import Flow, Pipeline, Source  # noqa: E402
from srdfast.video.pixels import planar  # noqa: E402
from srdfast.video.sinks import ContainerSink  # noqa: E402
from srdfast.video.sources import ContainerSource, Reading  # noqa: E402

ENDINGS = (".mp4", ".mkv", ".mov", ".webm")
SOAK_FRAMES, SETTLED = 20_000, 1_000
MOST_GROWTH = 5 << 20  # bytes, from frame 1,000 to the last


class Nowhere:
    """A sink that takes frames and drops them."""

    def write(self, planes: Planes, pts: int, duration: int = 0) -> None:
        pass

    def carry(self, passenger: object) -> None:
        pass


def clips(options: argparse.Namespace) -> None:
    """Times every clip of a folder, and writes the report."""
    srdfast.set_num_threads(options.threads)
    purifier = make_purifier(options.model)
    files = sorted(
        path for path in options.folder.iterdir() if path.suffix in (".mp4", ".mkv", ".mov", ".webm")
    )
    rows = [row for path in files for row in clip_rows(path, purifier, options.frames)]
    tell("video", {"machine": table.describe(options.threads), "cases": rows}, options.results)


def tell(name: str, report: dict[str, Any], folder: Path | None) -> None:
    """Prints a report, and writes it where a folder is named."""
    print(table.text(report))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{datetime.date.today().isoformat()}.json"
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(f"\nwritten to {path}")


def alone(options: argparse.Namespace) -> None:
    """Times the purification alone in some of its ways."""
    machine = table.describe(options.threads)
    common, rows = (options.frames, options.rounds), []
    for path in options.clips:
        if options.kind == "reuse":
            rows += video_alone.reuse_rows(path, options.model, *common)
        elif options.kind == "warm":
            rows += video_alone.warm_rows(path, *common)
        else:
            rows += video_alone.floor_rows(path, options.model, *common, machine)
    tell(f"video-{options.kind}", {"machine": machine, "cases": rows}, options.results)


def clip_rows(path: Path, purifier: PlanePurifier, frames: int | None) -> Iterator[dict[str, Any]]:
    """A row with the encoder and a row without it."""
    with tempfile.TemporaryDirectory() as folder:
        for encoded in (True, False):
            source = ContainerSource(str(path), Reading(copy=()))
            sink: Any = Nowhere()
            if encoded:
                sink = ContainerSink(PartialFile(Path(folder) / "out.mp4", True), source.format, Encoding())
            statistics = run(source, purifier, sink, frames)
            if encoded:
                sink.close()
            source.close()
            yield row(path, source.format, statistics, encoded)


def run(source: Source, purifier: PlanePurifier, sink: Any, frames: int | None = None) -> dict[str, Any]:
    """Statistics of a run."""
    pipeline = Pipeline(source, purifier, Flow(frames=frames))
    pipeline.run(sink, lambda: None)
    if not pipeline.source_is_at_rest(10):
        raise RuntimeError("the source is still being read")
    return pipeline.statistics.as_dict(pipeline.counts)


def row(path: Path, format: VideoFormat, statistics: dict[str, Any], encoded: bool) -> dict[str, Any]:
    """A row of `table`: its median and p99 are those of purifying one frame."""
    steps = statistics["latency_ms"]
    told = [
        name
        for name in ("decode", "choose", "code", "encode")
        if name in steps and (encoded or name != "encode")
    ]
    return {
        "group": f"video, {format.width}x{format.height} {format.pixels.name}",
        "name": f"{path.name}, {'decoded, purified, encoded' if encoded else 'decoded, purified'}",
        "library": "srdfast",
        "median": steps["purify"]["p50"] / 1e3,
        "p99": steps["purify"]["p99"] / 1e3,
        "iqr": None,
        "rounds": statistics["frames"]["out"],
        "count": 1,
        "unit": "frames",
        "rate": statistics["fps"],
        "ratio": None,
        "flops": None,
        "bytes": None,
        "share_of_floor": None,
        "notes": "p50 in ms: "
        + ", ".join(f"{name} {steps[name]['p50']:.2f}" for name in told if name in steps),
    }


def unchanged(options: argparse.Namespace) -> None:
    """Prints how much of clips stays the same from frame to frame."""
    for path in options.clips:
        for line in video_alone.unchanged(path, options.frames):
            print(line, flush=True)


class Synthetic:
    """Frames of 160x90 that move."""

    format = VideoFormat(160, 90, planar("420", 8), Fraction(25), Fraction(1, 25))

    def __init__(self, frames: int) -> None:
        self._frames = frames
        rng = np.random.default_rng(0)
        shapes = self.format.pixels.shapes(160, 90)
        self._planes = tuple(rng.integers(0, 256, shape, np.uint8) for shape in shapes)

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self._frames):
            yield Frame(tuple(np.roll(plane, number, axis=1) for plane in self._planes), number)


def soak(options: argparse.Namespace) -> None:
    """Runs 20,000 frames through files, then opens and closes a file 100 times; fails on a leak."""
    purifier = make_purifier(options.model)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.mp4"
        write(Synthetic(options.frames), made)
        memory: dict[int, tuple[int, int]] = {}

        class Watching(ContainerSink):
            written = 0

            def write(self, planes: Planes, pts: int, duration: int = 0) -> None:
                super().write(planes, pts, duration)
                self.written += 1
                if self.written % SETTLED == 0:
                    memory[self.written] = resident(), descriptors()

        source = ContainerSource(str(made), Reading())
        sink = Watching(PartialFile(Path(folder) / "out.mp4", True), source.format, Encoding(), source)
        statistics = run(source, purifier, sink)
        sink.close()
        source.close()
        before = descriptors()
        for _ in range(100):
            ContainerSource(str(made), Reading()).close()
        reopened = descriptors() - before
    frames = sorted(memory)
    growth = memory[frames[-1]][0] - memory[frames[0]][0]
    opened = memory[frames[-1]][1] - memory[frames[0]][1]
    report = {
        "frames": statistics["frames"],
        "fps": statistics["fps"],
        "resident_growth_bytes": growth,
        "descriptors_growth": opened,
        "descriptors_after_100_openings": reopened,
    }
    print(json.dumps(report, indent=1))
    if growth > MOST_GROWTH or opened or reopened:
        raise SystemExit("something leaks")


def write(source: Synthetic, path: Path) -> None:
    """Encodes synthetic frames."""
    sink = ContainerSink(PartialFile(path, True), source.format, Encoding(preset="ultrafast"))
    for frame in source:
        sink.write(frame.planes, frame.pts)
    sink.close()


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Files that this process has open."""
    return len(os.listdir("/proc/self/fd"))


def make_purifier(model: str) -> PlanePurifier:
    """The purifier that is timed."""
    from srdfast.video import FramePurifier

    purifier: PlanePurifier = FramePurifier(model)
    return purifier


def main() -> None:
    """The command line."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Time video from end to end.")
    commands = parser.add_subparsers(required=True)
    timed = commands.add_parser("clips", help="frames a second of the clips of a folder")
    timed.add_argument("folder", type=Path)
    timed.add_argument("--threads", type=int, default=cores, help=f"of the kernels (default {cores})")
    timed.add_argument("--frames", type=int, help="of each clip (default: all)")
    timed.add_argument("--results", type=Path, help="folder for video-<date>.json")
    timed.set_defaults(run=clips)
    kinds = []
    for kind, text in (
        ("reuse", "what reuse saves"),
        ("warm", "what warm starts of the lasso save"),
        ("floor", "the purification alone, beside its operations at peak"),
    ):
        some = commands.add_parser(kind, help=text)
        some.add_argument("clips", type=Path, nargs="+")
        some.add_argument("--threads", type=int, default=cores, help=f"of the kernels (default {cores})")
        some.add_argument("--frames", type=int, default=60, help="of each clip (default 60)")
        some.add_argument("--rounds", type=int, default=3, help="of which the best time counts (default 3)")
        some.add_argument("--results", type=Path, help=f"folder for video-{kind}-<date>.json")
        some.set_defaults(run=alone, kind=kind)
        kinds.append(some)
    same = commands.add_parser("unchanged", help="how much of a clip stays the same, by size of block")
    same.add_argument("clips", type=Path, nargs="+")
    same.add_argument("--frames", type=int, default=60, help="of each clip (default 60)")
    same.set_defaults(run=unchanged)
    long = commands.add_parser("soak", help="a long run's memory and descriptors")
    long.add_argument("--frames", type=int, default=SOAK_FRAMES)
    long.set_defaults(run=soak)
    for command in (timed, long, *kinds):
        command.add_argument("--model", default="natural", help="file or shipped model (default natural)")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
