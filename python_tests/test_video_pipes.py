# SPDX-License-Identifier: Apache-2.0
"""`srdfast video` in a pipe: nothing but frames on stdout, and its ends going away."""

import os
import pty
import signal
import time

import pytest

pytest.importorskip("av")
import videos

SIZE = 64 * 48


def y4m(frames, header=b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 Cmono\n"):
    return header + b"".join(b"FRAME\n" + planes[0].tobytes() for planes in frames)


@pytest.fixture
def frames():
    return videos.noise(4, format="gray")


@pytest.fixture
def negatives(frames):
    return [(255 - planes[0],) for planes in frames]


def talk(process, data=b""):
    """What a process says when it is given `data`: exit code, stdout, lines of stderr."""
    out, err = process.communicate(data, timeout=60)
    return process.returncode, out, err.decode().splitlines()


def test_y4m_in_y4m_out(frames, negatives):
    assert talk(videos.start("-", "-"), y4m(frames)) == (0, y4m(negatives), [])


def test_raw_in_raw_out(frames, negatives):
    code, out, err = talk(
        videos.start("--raw", "64x48:gray", "-", "-"), y4m(frames).replace(b"FRAME\n", b"")[38:]
    )
    assert (code, out, err) == (0, b"".join(planes[0].tobytes() for planes in negatives), [])


def test_a_file_becomes_y4m_and_y4m_a_file(frames, negatives, tmp_path):
    source = videos.make(tmp_path / "in.mkv", frames, "gray")
    code, out, err = talk(videos.start(source, "-"))
    assert (code, err) == (0, []) and out.endswith(y4m(negatives)[38:])
    target = tmp_path / "out.mkv"
    assert talk(videos.start("-", target, "--codec", "ffv1"), out)[0] == 0
    assert videos.equal(videos.read(target)[0], frames)


def test_y4m_files(frames, negatives, tmp_path, monkeypatch):
    (tmp_path / "in.y4m").write_bytes(y4m(frames))
    assert videos.run(monkeypatch, videos.Inverting(), tmp_path / "in.y4m", tmp_path / "out.y4m") == 0
    assert (tmp_path / "out.y4m").read_bytes() == y4m(negatives)
    (tmp_path / "cut.y4m").write_bytes(y4m(frames)[:-9])
    assert videos.run(monkeypatch, videos.Same(), tmp_path / "cut.y4m", tmp_path / "cut-out.y4m") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.y4m", "in.y4m", "out.y4m"]


def test_a_truncated_pipe_gives_its_whole_frames_and_one_error(frames, negatives):
    code, out, err = talk(videos.start("-", "-"), y4m(frames)[:-9])
    assert (code, out) == (2, y4m(negatives[:-1]))
    assert len(err) == 1 and "truncated" in err[0]


@pytest.mark.parametrize("data", [b"", b"no video at all", b"YUV4MPEG2 W999999 H999999\n"])
def test_no_video_in_the_pipe(data):
    code, out, err = talk(videos.start("-", "-"), data)
    assert (code, out) == (2, b"") and len(err) == 1 and err[0].startswith("srdfast: error: ")


def test_the_reader_may_go_away(frames):
    with videos.start("-", "-") as process:
        process.stdin.write(y4m(frames))
        process.stdin.flush()
        assert process.stdout.read(100).startswith(b"YUV4MPEG2")
        process.stdout.close()
        with pytest.raises(BrokenPipeError):
            while True:
                process.stdin.write(y4m(frames * 100)[38:])
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_frames_are_not_written_to_a_terminal(tmp_path, frames):
    source = videos.make(tmp_path / "in.mkv", frames, "gray")
    leader, follower = pty.openpty()
    try:
        code, _, err = talk(videos.start(source, "-", stdout=follower))
        assert code == 2 and "terminal" in err[0]
        code, _, err = talk(videos.start("-", tmp_path / "out.mkv", stdin=follower), None)
        assert code == 2 and "terminal" in err[0]
    finally:
        os.close(leader)
        os.close(follower)


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("nothing happened in 30 seconds")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_file_is_absent(number, code, tmp_path):
    source, target = videos.make(tmp_path / "in.mkv", videos.noise(200)), tmp_path / "out.mkv"
    with videos.start(source, target, purifier="Slow(0.05)") as process:
        wait_for(target.with_name("out.mkv.partial").exists)
        time.sleep(0.3)
        process.send_signal(number)
        found, out, err = talk(process, None)
    assert (found, out, len(err)) == (code, b"", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]


def test_an_interrupted_pipe_ends_with_a_whole_frame(frames):
    with videos.start("-", "-", purifier="Slow(0.05)") as process:
        process.stdin.write(y4m(frames))
        process.stdin.flush()
        out = process.stdout.read(38 + SIZE + 6)
        process.send_signal(signal.SIGINT)
        out += process.stdout.read()
        assert process.wait(60) == 130
        assert (len(out) - 38) % (SIZE + 6) == 0
        process.stdin.close()


def test_an_interrupted_recording_is_whole(frames, tmp_path):
    """What a camera has given is worth keeping."""
    target = tmp_path / "out.mkv"
    with videos.start("-", target, "--live", "--late", "block", "--codec", "ffv1") as process:
        process.stdin.write(y4m(frames))
        process.stdin.flush()
        assert any(line.startswith(b"in 4, out 4") for line in process.stderr)  # one a second
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        process.stdin.close()
    assert len(videos.read(target)[0]) == 4


def test_a_stuck_reader_does_not_hold_an_interrupted_run():
    with videos.start("-", "-") as process:
        process.stdin.write(y4m(videos.noise(8, 640, 480, "gray"), b"YUV4MPEG2 W640 H480 F25:1 Cmono\n"))
        process.stdin.close()
        time.sleep(1)  # stdout is full, and nobody reads it
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_the_whole_of_a_pipeline(frames, tmp_path):
    """Two of it, one after the other, give back what went in."""
    first = videos.start("-", "-")
    second = videos.start("-", "-", stdin=first.stdout)
    first.stdout.close()
    first.stdin.write(y4m(frames))
    first.stdin.close()
    assert second.stdout.read() == y4m(frames)
    assert [first.wait(60), second.wait(60)] == [0, 0]
    for process in (first, second):
        process.stderr.close()
    second.stdout.close()


def test_importing_srdfast_and_the_help_need_no_av(python):
    done = python("""
import sys
sys.modules["av"] = None
import srdfast
assert "srdfast.video" not in sys.modules
srdfast.video.Stream
from srdfast.cli import main
try:
    main(["video", "--help"])
except SystemExit as stop:
    assert stop.code == 0
""")
    assert "NOT PURIFIED" in done.stdout


def test_without_av_the_error_names_the_extra(tmp_path, python):
    (tmp_path / "in.mp4").write_bytes(b"")
    done = python("""
import sys
sys.modules["av"] = None
from srdfast.video import command
command.make_purifier = lambda options: None
from srdfast.cli import main
sys.exit(main(["video", "in.mp4", "out.mp4"]))
""", check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == 'srdfast: error: this needs av: pip install "srdfast[video]"\n'


def test_chunks_of_noise_survive_a_subprocess_pipe(tmp_path):
    """Frames larger than any pipe's buffer."""
    frames = videos.noise(3, 640, 480)
    header = b"YUV4MPEG2 W640 H480 F25:1 Ip A1:1 C420jpeg\n"
    data = header + b"".join(b"FRAME\n" + b"".join(plane.tobytes() for plane in planes) for planes in frames)
    code, out, err = talk(videos.start("-", "-", purifier="Same()"), data)
    assert (code, err) == (0, []) and out == data
