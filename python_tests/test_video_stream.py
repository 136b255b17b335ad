# SPDX-License-Identifier: Apache-2.0
"""`srdfast.video.Stream` and the line of frames under it: order, late frames, errors, colours."""

import itertools
import threading
import time

import numpy as np
import pytest

from srdfast.video import Stream
from srdfast.video.backlog import Backlog, Counts
from srdfast.video.colour import planes_to_rgb, rgb_to_planes
from srdfast.video.progress import Progress
from srdfast.video.statistics import Latencies, Statistics

pytest.importorskip("av")  # for the helpers
import videos


class Gate(videos.Inverting):
    """Waits at each frame for a permit; tells when it has one in hand."""

    def __init__(self, open=False):
        super().__init__()
        self.permits, self.holds = threading.Semaphore(0), threading.Semaphore(0)
        self.open = open

    def purify(self, planes, **settings):
        self.holds.release()
        if not self.open:
            assert self.permits.acquire(timeout=30)
        return super().purify(planes, **settings)


def plane(value):
    return np.full((4, 6), value, np.uint8)


def alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("srdfast-purify")]


def test_frames_come_back_in_order_with_what_was_put_beside_them():
    same = videos.Inverting()
    with Stream(same) as stream:
        found = []
        for value in range(50):
            stream.put(plane(value), pts=f"frame {value}")
            found += stream.ready()
        stream.end()
        found += stream
        assert [result.pts for result in found] == [f"frame {value}" for value in range(50)]
        assert all(np.array_equal(result.frame, plane(255 - value)) for value, result in enumerate(found))
        assert {result.status for result in found} == {"purified"}
        assert stream.get() is None
        with pytest.raises(ValueError, match="ended"):
            stream.put(plane(0))
    assert same.resets == 1 and not alive()


LATE = {"pass": "passed", "repeat": "repeated"}


@pytest.mark.parametrize(
    ("late", "values", "dropped"),
    [
        ("drop-oldest", [255, 251, 250], 3),
        ("drop-newest", [255, 254, 253], 3),
        ("pass", [255, 1, 2, 3, 251, 250], 0),
        ("repeat", [255, 255, 255, 255, 251, 250], 0),
    ],
)
def test_what_becomes_of_late_frames(late, values, dropped):
    gate = Gate()
    with Stream(gate, late=late, queue=2) as stream:
        stream.put(plane(0), pts=0)
        assert gate.holds.acquire(timeout=30)  # the first is in the purifier's hands
        for value in range(1, 6):
            stream.put(plane(value), pts=value)
        gate.permits.release(9)
        stream.end()
        found = list(stream)
        late_ones = ["purified", *[LATE[late]] * 3, "purified", "purified"] if late in LATE else None
        assert [result.status for result in found] == (late_ones or ["purified"] * 3)
        assert [int(result.frame[0, 0]) for result in found] == values
        if late in LATE:
            assert [result.pts for result in found] == list(range(6))
        counts = stream.counts
        assert (counts.came, counts.dropped) == (6, dropped)
        assert counts.purified + counts.passed + counts.repeated == len(found)


def test_a_full_stream_lets_put_wait():
    gate = Gate()
    with Stream(gate, late="block", queue=1) as stream:
        stream.put(plane(0))
        assert gate.holds.acquire(timeout=30)
        stream.put(plane(1))
        blocked = threading.Thread(target=lambda: stream.put(plane(2)), daemon=True)
        blocked.start()
        blocked.join(0.1)
        assert blocked.is_alive()
        gate.permits.release(9)
        blocked.join(30)
        assert not blocked.is_alive()
        stream.end()
        assert [int(result.frame[0, 0]) for result in stream] == [255, 254, 253]


@pytest.mark.parametrize("late", ["drop-oldest", "drop-newest", "pass", "repeat"])
def test_nothing_piles_up_when_nobody_takes_the_results(late):
    gate = Gate(open=True)
    line = Backlog(2, late)
    with Stream(gate, late=late, queue=2) as stream:
        for value in range(200):
            stream.put(plane(value))
        assert stream.counts.came == 200
        stream.end()
        assert len(list(stream)) <= 2 + 2 + 8 * 2
    for number in range(1000):  # and when nobody purifies
        line.put(number)
    assert len(line._line) <= 2 + 8 * 2


def test_latency_does_not_grow():
    """Frames come three times as fast as they are purified; each waits for a few frames at most."""
    with Stream(videos.Slow(0.015), late="drop-oldest", queue=2) as stream:
        found = []
        for number in range(120):
            stream.put(plane(0), pts=number)
            time.sleep(0.005)
            found += stream.ready()
        assert stream.counts.dropped > 20
        assert len(found) > 5 and all(one.pts < two.pts for one, two in itertools.pairwise(found))
    gate = Gate()  # and by the count of frames, which a busy machine does not change
    with Stream(gate, late="drop-oldest", queue=2) as stream:
        for number in range(100):
            stream.put(plane(0), pts=number)
            if number % 10 == 9:  # the purifier finishes one frame while ten come
                assert gate.holds.acquire(timeout=30)
                gate.permits.release()
                result = stream.get(timeout=30)
                assert result is not None
                assert number - result.pts <= 10 + 2


def test_an_error_reaches_whoever_puts_or_gets():
    with pytest.raises(RuntimeError, match="third frame"), Stream(videos.Failing()) as stream:
        while True:
            stream.put(plane(0))
            list(stream.ready())
    with pytest.raises(RuntimeError, match="third frame"), Stream(videos.Failing(), queue=5) as stream:
        for _ in range(3):
            stream.put(plane(0))
        list(stream)
    with pytest.raises(RuntimeError, match="third frame"), Stream(videos.Failing(), queue=5) as stream:
        for _ in range(3):
            stream.put(plane(0))
        for _ in range(200):
            if len(stream._purifier.told) == 3 and not stream._worker.is_alive():
                break
            time.sleep(0.02)  # and leaves without looking
    assert not alive()


def test_leaving_early_stops_the_thread():
    with pytest.raises(KeyError), Stream(videos.Slow(0.02), late="drop-oldest") as stream:
        for _ in range(5):
            stream.put(plane(0))
        raise KeyError
    with Stream(videos.Same()) as stream, pytest.raises(TimeoutError):
        stream.get(timeout=0.01)
    assert not alive()


def test_two_threads(rng):
    frames = [rng.integers(0, 256, (8, 8), np.uint8) for _ in range(200)]
    with Stream(videos.Inverting(), queue=1) as stream:

        def bring():
            for frame in frames:
                stream.put(frame)
            stream.end()

        producer = threading.Thread(target=bring, daemon=True)
        producer.start()
        found = [result.frame for result in stream]
        producer.join(30)
    assert len(found) == 200 and all(map(np.array_equal, found, [255 - frame for frame in frames]))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_colours_are_those_of_the_standard(order, rng):
    """Against FFmpeg's conversion to full-range BT.709, to its rounding; and back."""
    import av

    picture = rng.integers(0, 256, (34, 50, 3), np.uint8)
    converted = av.VideoFrame.from_ndarray(picture, f"{order}24").reformat(
        format="yuv444p", dst_colorspace="ITU709", dst_color_range="JPEG", interpolation="BICUBIC"
    )
    planes = rgb_to_planes(picture, order)
    assert np.abs(converted.to_ndarray().astype(int) - np.stack(planes)).max() <= 2
    back = planes_to_rgb(planes, order)
    assert back.shape == picture.shape and np.abs(back.astype(int) - picture).max() <= 2
    float_y = picture[..., :: 1 if order == "rgb" else -1] @ np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(planes[0] - float_y).max() <= 0.5 + 1e-4


def test_pictures_of_a_program(rng):
    same = videos.Same()
    picture = rng.integers(0, 256, (20, 30, 3), np.uint8)
    with Stream(same, order="bgr") as stream:
        stream.put(picture)
        found = stream.get().frame
    assert found.shape == picture.shape and found.dtype == np.uint8
    assert np.abs(found.astype(int) - picture).max() <= 2
    assert same.told == [(8, True, "bt709")]


def test_planes_of_a_program(rng):
    same = videos.Same()
    planes = [rng.integers(0, 1024, shape, np.uint16) for shape in ((6, 8), (3, 4), (3, 4))]
    with Stream(same, bit_depth=10, full_range=False, matrix="bt2020") as stream:
        stream.put(planes)
        assert videos.equal([stream.get().frame], [planes])
    assert same.told == [(10, False, "bt2020")]


@pytest.mark.parametrize(
    ("frame", "error", "fragment"),
    [
        (np.zeros((4, 4, 4), np.uint8), ValueError, "height, width, 3"),
        (np.zeros((4, 4, 3), np.float32), TypeError, "uint8"),
        (np.zeros((4, 4), np.uint16), TypeError, "uint8"),
        ([np.zeros((4, 4), np.uint8)] * 2, ValueError, "2 planes"),
        (np.zeros(4, np.uint8), ValueError, "height, width"),
        (np.zeros((0, 4), np.uint8), ValueError, "height, width"),
        ("frame", (TypeError, ValueError), "frame"),
        (None, TypeError, "None"),
    ],
)
def test_wrong_frames_are_named_where_they_are_put(frame, error, fragment):
    with Stream(videos.Same()) as stream, pytest.raises(error, match=fragment):
        stream.put(frame)


@pytest.mark.parametrize("settings", [{"late": "never"}, {"queue": 0}, {"order": "hsv"}, {"bit_depth": 7}])
def test_wrong_settings_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Stream(videos.Same(), **settings)
    assert not alive()


def test_percentiles_are_right_to_a_percent(rng):
    values = rng.lognormal(-5, 1, 20_000)
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    for share in (50, 90, 99):
        exact = np.percentile(values, share, method="inverted_cdf")
        assert abs(latencies.percentile(share) / exact - 1) < 0.011
    assert latencies.as_dict()["max"] == pytest.approx(1e3 * values.max(), abs=1e-3)
    assert Latencies().as_dict() == {"p50": 0, "p90": 0, "p99": 0, "max": 0}


def test_the_bar_tells_share_rate_and_time_left(capsys, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("srdfast.video.progress.time.perf_counter", lambda: now)
    progress, statistics = Progress("bar", expected=400), Statistics()
    for _ in range(100):
        statistics.add({"total": 0.01})
    now = 1000.5
    progress.glance(statistics, Counts())
    assert capsys.readouterr().err == ""  # once a second is enough
    now = 1010.0
    progress.glance(statistics, Counts())
    progress.close()
    assert (
        capsys.readouterr().err
        == "\r[######                  ]  25% 100 frames, 10.0 frames/s, 0:30 left\x1b[K\n"
    )


@pytest.mark.parametrize("style", ["auto", "off"])
def test_nothing_is_told_where_nobody_looks(style, capsys, monkeypatch):
    progress = Progress(style, expected=None)
    monkeypatch.setattr("srdfast.video.progress.time.perf_counter", lambda: 1e9)
    progress.glance(Statistics(), Counts())
    progress.close()
    assert capsys.readouterr().err == ""
