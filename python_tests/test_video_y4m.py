# SPDX-License-Identifier: Apache-2.0
"""Frames without a container: the y4m header and its limits, raw pixels, and damaged streams."""

import io
import os
import resource
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from srdfast import DataError
from srdfast.video import y4m
from srdfast.video.formats import Colour
from srdfast.video.pipes import FrameReader, FrameWriter, parse_raw
from srdfast.video.pixels import RAW

HEADER = b"YUV4MPEG2 W6 H4 F30000:1001 It A4:3 C420mpeg2 XCOLORRANGE=LIMITED"


def stream(frames=3, header=HEADER, frame=b"FRAME\n", payload=36):
    rng = np.random.default_rng(3)
    return header + b"\n" + b"".join(frame + rng.bytes(payload) for _ in range(frames))


def written(reader, raw=False):
    """What a writer makes of what the reader reads."""
    read_end, write_end = os.pipe()
    writer = FrameWriter(write_end, reader.format, raw)
    for frame in reader:
        writer.write(frame.planes)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        return pipe.read()


def test_a_header_is_understood():
    format = y4m.parse_header(HEADER)
    assert (format.width, format.height, format.pixels.name) == (6, 4, "yuv420p")
    assert (format.rate, format.time_base) == (Fraction(30000, 1001), Fraction(1001, 30000))
    assert (format.aspect, format.interlacing) == (Fraction(4, 3), "t")
    assert format.colour == Colour(full_range=False)
    assert y4m.header(format) == HEADER + b"\n"


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("420jpeg", "yuv420p"),
        ("420paldv", "yuv420p"),
        ("420", "yuv420p"),
        ("422", "yuv422p"),
        ("444", "yuv444p"),
        ("mono", "gray"),
        ("mono10", "gray10le"),
        ("420p10", "yuv420p10le"),
        ("422p12", "yuv422p12le"),
        ("444p16", "yuv444p16le"),
    ],
)
def test_colour_spaces(name, pixels):
    format = y4m.parse_header(f"YUV4MPEG2 W5 H3 F25:1 C{name}".encode())
    assert format.pixels.name == pixels
    again = y4m.parse_header(y4m.header(format).rstrip(b"\n"))
    assert again == format


def test_a_header_need_not_tell_all():
    format = y4m.parse_header(b"YUV4MPEG2 W6 H4 F0:0 A0:0 Xanything=1 ")
    assert (format.rate, format.aspect, format.pixels.name) == (Fraction(25), None, "yuv420p")
    assert format.colour.full_range is None


@pytest.mark.parametrize(
    ("header", "fragment"),
    [
        (b"", "YUV4MPEG2"),
        (b"RIFF....AVI ", "YUV4MPEG2"),
        (b"YUV4MPEG22 W6 H4", "YUV4MPEG2"),
        (b"YUV4MPEG2 H4", "W"),
        (b"YUV4MPEG2 W6 H-4", "H"),
        (b"YUV4MPEG2 W6 H4 W7", "twice"),
        (b"YUV4MPEG2 W0 H4", "0x4"),
        (b"YUV4MPEG2 W999999999 H999999999", "999999999x999999999"),
        (b"YUV4MPEG2 W32768 H32768", "32768x32768"),
        (b"YUV4MPEG2 W9999999999999999999 H4", "W"),
        (b"YUV4MPEG2 W6 H4 F25:0", "F25:1"),
        (b"YUV4MPEG2 W6 H4 F25", "F25:1"),
        (b"YUV4MPEG2 W6 H4 C444alpha", "444alpha"),
        (b"YUV4MPEG2 W6 H4 C420p9", "420p9"),
        (b"YUV4MPEG2 W6 H4 Iz", "Iz"),
        (b"YUV4MPEG2 W6\xff H4", "W"),
    ],
)
def test_absurd_headers_are_refused(header, fragment):
    with pytest.raises(DataError, match=fragment):
        y4m.parse_header(header)


def test_an_endless_header_is_refused():
    endless = io.BytesIO(b"YUV4MPEG2 " + b"W1 " * 10_000_000)
    with pytest.raises(DataError, match="1024 bytes"):
        FrameReader(endless, "in")
    assert endless.tell() < 2000


def test_nothing_is_allocated_for_an_absurd_size():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100):
        with pytest.raises(DataError):
            FrameReader(io.BytesIO(b"YUV4MPEG2 W30000 H30000 C444p16\n"), "in")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KiB


@pytest.mark.parametrize("frame", [b"FRAME\n", b"FRAME It\n", b"FRAME Ip Xa=b\n"])
def test_frames_come_back_as_they_were(frame):
    assert written(FrameReader(io.BytesIO(stream(frame=frame)), "in")) == stream()


class Dribble(io.BytesIO):
    """Gives what a pipe may give: a few bytes at a time."""

    def readinto(self, buffer, /):
        return super().readinto(memoryview(buffer)[:5])


def test_a_slow_pipe_changes_nothing():
    assert written(FrameReader(Dribble(stream()), "in")) == stream()


@pytest.mark.parametrize("cut", [1, 30, 36, 37, 41, 42])
def test_a_truncated_stream_gives_its_whole_frames_first(cut):
    reader = FrameReader(io.BytesIO(stream(3)[:-cut]), "in")
    frames = iter(reader)
    assert [next(frames).pts, next(frames).pts] == [0, 1]
    if cut == 42:  # the third frame is missing with its FRAME
        assert list(frames) == []
    else:
        with pytest.raises(DataError, match="in"):
            next(frames)


def test_a_truncated_stream_may_be_accepted():
    reader = FrameReader(io.BytesIO(stream(3)[:-7]), "in", accept_damage=True)
    assert [frame.pts for frame in reader] == [0, 1]


def test_pipes_that_do_not_block():
    """Both ends may have been made non-blocking by whoever gave them to us."""
    data = stream(40, b"YUV4MPEG2 W64 H48 F25:1 Ip A0:0 C444 XCOLORRANGE=FULL", payload=3 * 64 * 48)
    ends = [os.pipe(), os.pipe()]
    for descriptor in (ends[0][0], ends[1][1]):
        os.set_blocking(descriptor, False)
    found = []

    def bring():
        for start in range(0, len(data), 50_000):
            time.sleep(0.002)
            with_all = memoryview(data)[start : start + 50_000]
            while with_all:
                with_all = with_all[os.write(ends[0][1], with_all) :]
        os.close(ends[0][1])

    def fetch():
        while chunk := os.read(ends[1][0], 1 << 16):
            time.sleep(0.0005)
            found.append(chunk)
        os.close(ends[1][0])

    threads = [threading.Thread(target=work, daemon=True) for work in (bring, fetch)]
    for thread in threads:
        thread.start()
    reader = FrameReader(io.FileIO(ends[0][0]), "in")
    writer = FrameWriter(ends[1][1], reader.format, raw=False)
    for frame in reader:
        writer.write(frame.planes)
    os.close(ends[1][1])
    for thread in threads:
        thread.join(30)
    reader.close()
    assert b"".join(found) == data


def test_no_frame_at_all_is_an_error():
    with pytest.raises(DataError, match="no frame"):
        list(FrameReader(io.BytesIO(HEADER + b"\n"), "in"))
    with pytest.raises(DataError, match="no frame"):
        list(FrameReader(io.BytesIO(), "in", parse_raw("6x4:gray", None)))


def test_damaged_streams_are_data_errors(rng):
    """Five thousand streams with bytes changed, cut, doubled or removed: frames or a DataError."""
    whole = np.frombuffer(stream(2), np.uint8)
    refused = 0
    for _ in range(5_000):
        data = whole.copy()
        for place in rng.integers(0, 80, rng.integers(1, 5)):  # the header and the first FRAME
            data[place] = rng.choice(np.frombuffer(b" \n0123456789WHFIACX:=pt\x00\xff", np.uint8))
        kind = rng.integers(4)
        place = int(rng.integers(0, len(data)))
        if kind == 1:
            data = data[:place]
        elif kind == 2:
            data = np.concatenate([data[:place], data[max(place - 20, 0) :]])
        elif kind == 3:
            data = np.delete(data, slice(place, place + 3))
        try:
            reader = FrameReader(io.BytesIO(data.tobytes()), "in")
            size = reader.format.pixels.frame_bytes(reader.format.width, reader.format.height)
            if size > 1 << 24:
                continue  # sane, but a frame of it would only take time here
            for frame in reader:
                shapes = reader.format.pixels.shapes(reader.format.width, reader.format.height)
                assert tuple(plane.shape for plane in frame.planes) == shapes
        except DataError:
            refused += 1
    assert 2_500 < refused < 5_000


@pytest.mark.parametrize("name", [name for name, pixels in RAW.items() if not pixels.is_rgb])
def test_raw_frames_come_back_bit_for_bit(name, rng):
    format = parse_raw(f"5x3:{name}", Fraction(30))
    count = format.pixels.frame_bytes(5, 3)
    chroma = {"gray": 0, "yuv422p": 2 * 9, "yuv444p": 2 * 15}.get(name.removesuffix("10le"), 2 * 6)
    assert count == (15 + chroma) * (2 if "10" in name else 1)
    values = rng.integers(0, 1024, 2 * count // 2, np.uint16)
    data = values.astype("<u2").tobytes() if "10" in name else rng.bytes(2 * count)
    assert written(FrameReader(io.BytesIO(data), "in", format), raw=True) == data


def test_nv12_is_taken_apart():
    data = bytes(range(8)) + b"uvUV"
    (frame,) = FrameReader(io.BytesIO(data), "in", parse_raw("4x2:nv12", None))
    assert [plane.tolist() for plane in frame.planes] == [
        [[0, 1, 2, 3], [4, 5, 6, 7]],
        [[ord("u"), ord("U")]],
        [[ord("v"), ord("V")]],
    ]


def test_values_above_the_depth_are_brought_down():
    data = np.array([0, 1023, 1024, 65535], "<u2").tobytes()
    (frame,) = FrameReader(io.BytesIO(data), "in", parse_raw("2x2:gray10le", None))
    assert frame.planes[0].tolist() == [[0, 1023], [1023, 1023]]


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_raw_rgb_changes_by_two_at_most(order, rng):
    data = rng.bytes(40 * 30 * 3)
    found = written(FrameReader(io.BytesIO(data), "in", parse_raw(f"40x30:{order}24", None)), raw=True)
    change = np.frombuffer(data, np.uint8).astype(int) - np.frombuffer(found, np.uint8)
    assert np.abs(change).max() <= 2


@pytest.mark.parametrize("text", ["", "64x48", "64:gray", "x48:gray", "64x48:abc", "0x4:gray", "-1x4:gray"])
def test_raw_sizes_are_checked(text):
    with pytest.raises(DataError):
        parse_raw(text, None)
