# SPDX-License-Identifier: Apache-2.0
"""`srdfast video` on files: what is kept, what is refused, and that no half file is left."""

import json
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")
import videos  # noqa: E402

UNEVEN = [0, 40, 70, 200, 210, 333, 1000, 1001]


@pytest.fixture
def call(monkeypatch):
    """The command line with a purifier, by default one that inverts."""

    def run(*arguments, purifier=None):
        return videos.run(monkeypatch, purifier or videos.Inverting(), *arguments)

    return run


@pytest.fixture
def fails(call, capsys, tmp_path):
    """The one line of a failure; checks that it is one, and that no output is left."""

    def run(*arguments, purifier=None):
        before = sorted(tmp_path.iterdir())
        capsys.readouterr()
        assert call(*arguments, purifier=purifier) == 2
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if not line.startswith("srdfast: note: ")]
        assert len(lines) == 1 and lines[0].startswith("srdfast: error: "), captured.err
        assert captured.out == ""
        assert sorted(tmp_path.iterdir()) == before
        return lines[0]

    return run


@pytest.mark.parametrize(
    ("format", "size"),
    [
        ("yuv420p", (64, 48)),
        ("yuv420p", (35, 27)),
        ("yuv422p", (35, 27)),
        ("yuv444p", (35, 27)),
        ("yuv420p10le", (35, 27)),
        ("gray", (35, 27)),
    ],
)
def test_every_frame_is_purified_bit_for_bit(call, tmp_path, capsys, format, size):
    frames = videos.noise(5, *size, format=format)
    source, target = videos.make(tmp_path / "in.mkv", frames, format), tmp_path / "out.mkv"
    assert call(source, target, "--codec", "ffv1") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (f"{target}\n", "")
    top = 1023 if "10" in format else 255
    assert videos.equal(videos.read(target)[0], [tuple(top - plane for plane in planes) for planes in frames])


def test_uneven_time_stamps_are_kept(call, tmp_path):
    source = videos.make(tmp_path / "in.mkv", videos.noise(8), times=UNEVEN)
    for name in ("out.mkv", "out.mp4"):
        assert call(source, tmp_path / name) == 0
        assert videos.read(tmp_path / name)[1] == [Fraction(time, 1000) for time in UNEVEN]


def test_the_last_frame_is_shown_as_long_as_before(call, tmp_path):
    source = videos.make(tmp_path / "in.mp4", videos.noise(8), codec="libx264", times=UNEVEN)
    assert call(source, tmp_path / "out.mp4") == 0
    durations = []
    for path in (source, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            durations.append(container.streams.video[0].duration * container.streams.video[0].time_base)
    assert durations[0] == durations[1]


def packets(path, kind):
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return stream.language, [
            (bytes(packet), packet.pts * packet.time_base)
            for packet in container.demux(stream)
            if packet.size
        ]


def test_sound_and_subtitles_are_copied(call, tmp_path):
    (tmp_path / "words.srt").write_text(
        "1\n00:00:00,100 --> 00:00:00,700\nHello\n\n2\n00:00:00,800 --> 00:00:00,900\nBye\n"
    )
    source = videos.make(tmp_path / "in.mkv", videos.noise(25), audio=1.0, subtitles=tmp_path / "words.srt")
    assert call(source, tmp_path / "out.mkv") == 0
    for kind in ("audio", "subtitle"):
        assert packets(source, kind) == packets(tmp_path / "out.mkv", kind)
        assert len(packets(source, kind)[1]) >= 2
    assert call(source, tmp_path / "mute.mkv", "--no-audio", "--no-subtitle") == 0
    with av.open(str(tmp_path / "mute.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_a_container_that_cannot_hold_a_stream_is_refused(fails, tmp_path):
    (tmp_path / "words.srt").write_text("1\n00:00:00,100 --> 00:00:00,700\nHello\n")
    source = videos.make(tmp_path / "in.mkv", videos.noise(5), subtitles=tmp_path / "words.srt")
    assert "--no-subtitle" in fails(source, tmp_path / "out.mp4")


def test_colour_aspect_rotation_and_titles_are_kept(call, tmp_path):
    def prepare(stream):
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 2, 9, 9, 14
        context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(90)
        stream.container.metadata["title"] = "A title"
        stream.container.set_chapters(
            [{"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}]
        )

    source = videos.make(tmp_path / "in.mp4", videos.noise(5), codec="libx264", prepare=prepare)
    same = videos.Same()
    assert call(source, tmp_path / "out.mp4", purifier=same) == 0
    assert same.told == [(8, True, "bt2020")] * 5 and same.resets == 1
    found = []
    for path in (source, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            stream, picture = container.streams.video[0], next(container.decode(video=0))
            found.append(
                (
                    (picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc),
                    (picture.rotation, stream.sample_aspect_ratio, container.metadata["title"]),
                    [chapter["metadata"] for chapter in container.chapters()],
                )
            )
    assert found[0] == found[1]
    assert found[0] == ((2, 9, 9, 14), (90, Fraction(4, 3), "A title"), [{"title": "One"}])


@pytest.mark.parametrize(("height", "matrix"), [(576, "bt601"), (720, "bt709")])
def test_an_unnamed_matrix_goes_by_the_height(call, tmp_path, height, matrix):
    source, same = videos.make(tmp_path / "in.mkv", videos.noise(1, 16, height)), videos.Same()
    assert call(source, tmp_path / "out.mkv", purifier=same) == 0
    assert same.told == [(8, False, matrix)]


def test_options_reach_the_encoder(call, fails, tmp_path):
    source = videos.make(tmp_path / "in.mkv", videos.noise(10))
    sizes = []
    for number, crf in enumerate((5, 45)):
        target = tmp_path / f"{number}.mkv"
        quiet = ["--preset", "ultrafast", "--codec-option", "x265-params=log-level=error"]
        asked = ["--codec", "libx265", "--crf", crf, "--pix-fmt", "yuv444p"]
        assert call(source, target, *asked, *quiet) == 0
        sizes.append(target.stat().st_size)
        with av.open(str(target)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt) == ("hevc", "yuv444p")
    assert sizes[0] > 2 * sizes[1]
    assert "--codec" in fails(source, tmp_path / "x.mkv", "--codec", "h999")
    assert "--crf" in fails(source, tmp_path / "x.mkv", "--codec", "ffv1", "--crf", "3")
    assert "--pix-fmt" in fails(source, tmp_path / "x.mkv", "--pix-fmt", "pal8")
    assert "preset" in fails(source, tmp_path / "x.mkv", "--preset", "hasty")


def test_other_pixels_are_converted(call, tmp_path):
    """RGB becomes Y, U, V of BT.709, and the grey of the middle stays where it was."""
    grey = [(np.full((16, 16), 128, np.uint8),) * 3] * 2
    source = videos.make(tmp_path / "in.nut", grey, "gbrp", codec="utvideo")
    same = videos.Same()
    assert call(source, tmp_path / "out.mkv", "--codec", "ffv1", purifier=same) == 0
    assert same.told == [(8, True, "bt709")] * 2
    frames, _ = videos.read(tmp_path / "out.mkv")
    assert all(np.all(plane == 128) for planes in frames for plane in planes)


def test_statistics_and_progress(call, tmp_path, capsys):
    source = videos.make(tmp_path / "in.mkv", videos.noise(6))
    slow = videos.Slow(0.25)
    assert (
        call(
            source, tmp_path / "out.mkv", "--stats", tmp_path / "s.json", "--progress", "json", purifier=slow
        )
        == 0
    )
    report = json.loads((tmp_path / "s.json").read_text())
    assert report["frames"] == {
        "in": 6, "out": 6, "purified": 6, "passed": 0, "repeated": 0, "dropped": 0
    }  # fmt: skip
    assert {"decode", "wait", "purify", "encode", "total"} <= set(report["latency_ms"])
    assert report["latency_ms"]["purify"]["p50"] >= 240
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(json.loads(line)["frames"]["in"] <= 6 for line in lines)


def test_a_number_of_frames(call, tmp_path):
    source = videos.make(tmp_path / "in.mkv", videos.noise(9), audio=0.3)
    assert call(source, tmp_path / "out.mkv", "--frames", 4) == 0
    assert len(videos.read(tmp_path / "out.mkv")[0]) == 4


def test_nothing_is_overwritten_unless_asked(call, fails, tmp_path):
    source, target = videos.make(tmp_path / "in.mkv", videos.noise(3)), tmp_path / "out.mkv"
    target.write_text("precious")
    assert "-y" in fails(source, target)
    assert target.read_text() == "precious"
    (tmp_path / "other.mkv.partial").write_text("of another run")
    assert "partial" in fails(source, tmp_path / "other.mkv")
    assert call(source, target, "-y") == 0 and len(videos.read(target)[0]) == 3
    assert "same file" in fails(source, source, "-y")


def test_a_failing_run_leaves_the_old_file(fails, tmp_path):
    source, target = videos.make(tmp_path / "in.mkv", videos.noise(5)), tmp_path / "out.mkv"
    target.write_text("precious")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(source.read_bytes()[:-4000])
    assert fails(tmp_path / "missing.mkv", target, "-y")
    assert target.read_text() == "precious"


def test_an_error_of_the_purifier_is_no_half_file(call, tmp_path):
    source = videos.make(tmp_path / "in.mkv", videos.noise(9))
    with pytest.raises(RuntimeError, match="third frame"):
        call(source, tmp_path / "out.mkv", purifier=videos.Failing())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4"])
def test_truncated_files(call, fails, tmp_path, name):
    options = {"movflags": "faststart"} if name.endswith("mp4") else None
    source = videos.make(tmp_path / name, videos.noise(100), codec="libx264", audio=4.0, options=options)
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    assert "truncated" in fails(cut, tmp_path / "out.mkv")
    assert call(cut, tmp_path / "out.mkv", "--accept-damage") == 0
    assert 20 < len(videos.read(tmp_path / "out.mkv")[0]) < 90


def test_files_that_are_no_video(fails, tmp_path):
    (tmp_path / "words.mp4").write_text("no video at all")
    assert "words.mp4" in fails(tmp_path / "words.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        container.mux(videos._tone(stream, 0.2))
    assert "no video" in fails(tmp_path / "sound.mkv", tmp_path / "out.mkv")
    with av.open(str(tmp_path / "empty.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="mono")
        container.mux(videos._tone(sound, 0.2))
    assert "no frame" in fails(tmp_path / "empty.mkv", tmp_path / "out.mkv")
    source = videos.make(tmp_path / "in.mkv", videos.noise(2))
    assert "--format" in fails(source, tmp_path / "out.unknown")
    assert "--stream" in fails(source, tmp_path / "out.mkv", "--stream", 1)


def test_a_change_of_size_is_refused(fails, tmp_path):
    parts = [
        videos.make(tmp_path / f"{width}.h264", videos.noise(5, width, 48), codec="libx264").read_bytes()
        for width in (64, 96)
    ]
    (tmp_path / "both.h264").write_bytes(b"".join(parts))
    error = fails(tmp_path / "both.h264", tmp_path / "out.mkv")
    assert "64x48" in error and "96x48" in error


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--late", "pass"], "--live"),
        (["--queue", "0"], "--queue"),
        (["--frames", "0"], "--frames"),
        (["--timeout", "0"], "--timeout"),
        (["--fps", "25"], "--raw"),
        (["--fps", "0"], "frames a second"),
        (["--raw", "64x48:yuv999"], "yuv420p"),
        (["--raw", "99999x99999:gray"], "99999"),
        (["--codec-option", "crf"], "KEY=VALUE"),
    ],
)
def test_mistakes_are_named(fails, tmp_path, arguments, fragment):
    (tmp_path / "in.mkv").write_bytes(b"")
    assert fragment in fails(tmp_path / "in.mkv", tmp_path / "out.mkv", *arguments)


def test_a_real_clip_cut_short(call, shared_data, tmp_path):
    source = shared_data / "video" / "torchcodec_nasa_13013.mp4"
    assert call(source, tmp_path / "out.mp4", "--frames", 30, purifier=videos.Same()) == 0
    frames, times = videos.read(source)
    found, when = videos.read(tmp_path / "out.mp4")
    assert when == times[:30]
    error = np.mean(
        [np.abs(one[0].astype(int) - two[0]).mean() for one, two in zip(frames, found, strict=False)]
    )
    assert error < 2
