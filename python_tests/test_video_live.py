# SPDX-License-Identifier: Apache-2.0
"""`srdfast video --live`: late frames, dead sources, statistics; sources that never wait."""

import json
import socket
import subprocess
import sys
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")
import videos  # noqa: E402

from srdfast import DataError  # noqa: E402
from srdfast.video.formats import VideoFormat  # noqa: E402
from srdfast.video.pipeline import Flow, Pipeline  # noqa: E402
from srdfast.video.pixels import planar  # noqa: E402
from srdfast.video.sources import ContainerSource, Reading  # noqa: E402

HEADER = b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 Cmono\n"


class Memory:
    """A sink that keeps what it gets."""

    def __init__(self):
        self.frames = []

    def write(self, planes, pts, duration=0):
        self.frames.append((planes, pts))

    def carry(self, passenger):
        pass


def as_y4m(values):
    return HEADER + b"".join(b"FRAME\n" + bytes([value]) * 64 * 48 for value in values)


def levels(stream):
    """The first value of each frame."""
    return np.frombuffer(stream[len(HEADER) :], np.uint8).reshape(-1, 6 + 64 * 48)[:, 6].astype(int)


def test_late_frames_are_dropped_and_counted(tmp_path):
    """Forty frames at once, for a purifier that takes its time."""
    process = videos.start("-", "-", "--live", "--stats", tmp_path / "s.json", purifier="Slow(0.05)")
    out, err = process.communicate(as_y4m(range(40)), timeout=60)
    assert process.returncode == 0, err
    report = json.loads((tmp_path / "s.json").read_text())
    frames = report["frames"]
    assert frames["in"] == 40 and frames["dropped"] > 10
    assert frames["out"] == frames["purified"] == 40 - frames["dropped"]
    values = levels(out)
    assert len(values) == frames["out"]
    assert np.all(np.diff(values) < 0) and values[-1] == 255 - 39


def test_unpurified_frames_pass_only_where_asked():
    process = videos.start("-", "-", "--live", "--late", "pass", purifier="Slow(0.05)")
    out, err = process.communicate(as_y4m([200] * 12), timeout=60)
    values = levels(out)
    report = json.loads(err.splitlines()[-1])  # without --stats it is the last line of stderr
    assert len(values) == 12
    assert int((values == 200).sum()) == report["frames"]["passed"] > 0
    assert int((values == 55).sum()) == report["frames"]["purified"] > 0


def test_a_silent_pipe_is_dead():
    with videos.start("-", "-", "--live", "--late", "block", "--timeout", "0.5") as process:
        process.stdin.write(as_y4m([1, 2, 3]))
        process.stdin.flush()
        assert process.stdout.read() == as_y4m([254, 253, 252])
        assert process.wait(60) == 2
        assert b"0.5 s" in process.stderr.read()
        process.stdin.close()


@pytest.fixture
def server():
    """Serves bytes once on a port; the connection stays open until the test ends."""
    opened = []

    def serve(data):
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)

        def answer():
            try:
                connection, _ = listener.accept()
                opened.append(connection)
                connection.sendall(data)
            except OSError:
                pass

        threading.Thread(target=answer, daemon=True).start()
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for thing in opened:
        thing.close()


def transport_stream(tmp_path, count=50):
    path = videos.make(tmp_path / "in.ts", videos.noise(count), codec="libx264")
    return path.read_bytes()


def test_the_recording_of_a_stream_that_dies_is_whole(server, tmp_path, monkeypatch, capsys):
    url = server(transport_stream(tmp_path))
    target = tmp_path / "out.mkv"
    code = videos.run(monkeypatch, videos.Same(), url, target, "--live", "--late", "block", "--timeout", "1")
    assert code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("srdfast: error: ") and "1 s (--timeout)" in lines[-1]
    assert len(videos.read(target)[0]) > 30


def test_a_server_that_says_nothing(server, monkeypatch, capsys, tmp_path):
    start = time.perf_counter()
    assert (
        videos.run(
            monkeypatch, videos.Same(), server(b""), tmp_path / "out.mkv", "--live", "--timeout", "0.5"
        )
        == 2
    )
    assert "--timeout" in capsys.readouterr().err and time.perf_counter() - start < 30
    assert list(tmp_path.iterdir()) == []


def test_damaged_packets_do_not_end_a_live_stream(tmp_path):
    data = bytearray(transport_stream(tmp_path, 60))
    for packet in range(40 * 188, len(data), 188 * 29):
        data[packet + 60 : packet + 120] = bytes(60)
    (tmp_path / "bad.ts").write_bytes(data)
    source = ContainerSource(str(tmp_path / "bad.ts"), Reading(live=True))
    pipeline, sink = Pipeline(source, videos.Same(), Flow()), Memory()
    pipeline.run(sink, lambda: None)
    assert len(sink.frames) > 20
    assert pipeline.source_is_at_rest()
    source.close()


def test_a_recording_begins_at_nought(tmp_path, monkeypatch):
    """A camera's clock begins anywhere; sound and picture are moved together."""
    times = [3_600_000 + 40 * number for number in range(10)]
    source = videos.make(tmp_path / "in.mkv", videos.noise(10), times=times)
    assert (
        videos.run(monkeypatch, videos.Same(), source, tmp_path / "out.mkv", "--live", "--late", "block") == 0
    )
    assert [float(time) for time in videos.read(tmp_path / "out.mkv")[1]] == pytest.approx(
        np.arange(10) * 0.04
    )


def test_a_dead_source_of_any_kind():
    """One that neither ends nor gives a frame."""

    class Dead:
        format = VideoFormat(64, 48, planar("gray", 8), Fraction(25), Fraction(1, 25))

        def __iter__(self):
            threading.Event().wait(5)
            return iter(())

    with pytest.raises(DataError, match="dead"):
        Pipeline(Dead(), videos.Same(), Flow(timeout=0.1)).run(Memory(), lambda: None)


def test_memory_does_not_grow():
    """A thousand frames, and then as many again in the same memory."""
    program = f"""
import io, resource, sys
sys.path.insert(0, {str(videos.HERE)!r})
import videos, test_video_live
from srdfast.video.formats import VideoFormat  # noqa: E402
from srdfast.video.pipeline import Flow, Pipeline
from srdfast.video.pipes import FrameReader
frame = b"FRAME\\n" + bytes(160 * 90)
data = b"YUV4MPEG2 W160 H90 Cmono\\n" + frame * 2000
sink = test_video_live.Memory()
peaks = []
def write(planes, pts, duration=0):
    if pts in (999, 1999):
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sink.write = write
Pipeline(FrameReader(io.BytesIO(data), "in"), videos.Same(), Flow()).run(sink, lambda: None)
print(peaks[1] - peaks[0])
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2000  # KiB, of the 28,000 that the frames have
