# SPDX-License-Identifier: Apache-2.0
"""Which encoder, with which options, for which container: what FFmpeg offers and what we choose of it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import DataError

DEFAULT_CRF = 18
DEFAULT_PRESET = "veryfast"
PREFERRED = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
X26 = ("libx264", "libx265")
TAKE_H264 = ("avi", "flv", "mpegts", "nut")  # containers whose own choice is older than it needs to be


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded.

    Attributes:
        codec: FFmpeg's name of the encoder; by default H.264 where the container takes it, else its own.
        crf: constant rate factor, smaller is better; by default 18 for the encoders that know it.
        preset: of the encoder; by default veryfast for those of x264 and x265.
        pixel_format: FFmpeg's name; by default the source's.
        options: FFmpeg's options for the encoder.
        container: FFmpeg's name of the output format, where the file's ending does not tell.
        live: no frame is held back.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    container: str | None = None
    live: bool = False

    def options_of(self, codec: str) -> dict[str, str]:
        """FFmpeg's options for an encoder.

        Raises:
            DataError: it does not know one that was asked for.
        """
        import av

        options = dict(self.options)
        known = {option.name for option in av.CodecContext.create(codec, "w").supported_options.private}
        for name in ("crf", "preset"):
            if getattr(self, name) is not None and name not in known:
                raise DataError(f"--{name}: {codec} has no such option; see --codec-option")
        if "crf" in known:
            options.setdefault("crf", f"{DEFAULT_CRF if self.crf is None else self.crf:g}")
        if "preset" in known and (self.preset or codec in X26):
            options.setdefault("preset", self.preset or DEFAULT_PRESET)
        if self.live and codec in X26:
            options.setdefault("tune", "zerolatency")
        return options


def default_codec(container: Any, name: str) -> str:
    """The encoder for an open container: H.264 rather than something older, else the container's own.

    Raises:
        DataError: it holds no video.
    """
    if container.format.name in TAKE_H264:
        return PREFERRED["h264"]
    default = container.default_video_codec
    if default in (None, "none"):
        raise DataError(f"{name}: this container holds no video")
    return PREFERRED.get(default, default)


def pixel_formats(codec: str) -> list[str]:
    """What an encoder takes; empty where it does not say.

    Raises:
        DataError: there is no such encoder.
    """
    import av

    try:
        return [format.name for format in av.Codec(codec, "w").video_formats or ()]
    except av.codec.codec.UnknownCodecError:
        raise DataError(f"--codec: FFmpeg has no encoder {codec!r} here") from None


def guess_container(name: str) -> str:
    """FFmpeg's format for a file name.

    Raises:
        ValueError: the ending of the name is unknown.
    """
    import av

    unwritten = io.BytesIO()
    unwritten.name = os.path.basename(name)
    with av.open(unwritten, mode="w") as container:
        guessed: str = container.format.name
    return guessed
