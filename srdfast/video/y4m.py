# SPDX-License-Identifier: Apache-2.0
"""YUV4MPEG2 (y4m): a text header, then a line FRAME and the planes of each frame.

The format is that of mjpegtools (yuv4mpeg(5)) with FFmpeg's additions: colour spaces of more than 8 bits and
XCOLORRANGE. Nothing is allocated before the header is known to be sane.
"""

from __future__ import annotations

import re
from fractions import Fraction

from ..errors import DataError
from .formats import Colour, VideoFormat, check_size
from .pixels import PixelFormat, planar

MAGIC = b"YUV4MPEG2"
LONGEST_LINE = 1024
FRAME = b"FRAME"

_SITED = re.compile(r"420(jpeg|mpeg2|paldv)")
_COLOUR_SPACE = re.compile(r"(420|422|444|mono)(?:p?(10|12|14|16))?")
_POSITIVE = re.compile(r"[0-9]{1,9}")
_RATIO = re.compile(r"([0-9]{1,10}):([0-9]{1,10})")


def parse_header(line: bytes) -> VideoFormat:
    """The format that the first line of a stream, without its line feed, describes.

    A stream that gives no frame rate is taken to have 25 frames a second.

    Raises:
        DataError: the line is no y4m header, a field is malformed, missing, absurd or not supported.
    """
    if line[: len(MAGIC) + 1].rstrip(b" ") != MAGIC:
        raise DataError(f"y4m: expected a stream that begins with YUV4MPEG2, got {line[:16]!r}")
    fields: dict[str, str] = {}
    range_name = ""
    for token in line[len(MAGIC) :].decode("ascii", "replace").split(" "):
        if token.startswith("XCOLORRANGE="):
            range_name = token.partition("=")[2]
        elif token and token[0] != "X":
            if token[0] in fields:
                raise DataError(f"y4m: the header gives {token[0]} twice")
            fields[token[0]] = token[1:]
    width, height = _size(fields, "W"), _size(fields, "H")
    check_size(width, height, "y4m")
    rate = _ratio(fields, "F") or Fraction(25)
    interlacing = fields.get("I", "p")
    if interlacing not in ("p", "t", "b", "m", "?"):
        raise DataError(f"y4m: interlacing I{interlacing[:16]}; expected Ip, It, Ib, Im or I?")
    full_range = {"FULL": True, "LIMITED": False}.get(range_name)
    sited = _SITED.fullmatch(fields.get("C", "420jpeg"))
    return VideoFormat(
        width=width,
        height=height,
        pixels=planar("420", 8) if sited else _pixels(fields["C"]),
        rate=rate,
        time_base=1 / rate,
        colour=Colour(full_range=full_range),
        aspect=_ratio(fields, "A"),
        interlacing=interlacing,
        chroma_site=sited[1] if sited else "jpeg",
    )


def header(format: VideoFormat) -> bytes:
    """The first line of a stream of this format, with its line feed."""
    rate, aspect = format.rate or Fraction(25), format.aspect or Fraction(0)
    tokens = [
        MAGIC.decode(),
        f"W{format.width}",
        f"H{format.height}",
        f"F{rate.numerator}:{rate.denominator}",
        f"I{format.interlacing}",
        f"A{aspect.numerator}:{aspect.denominator if aspect else 0}",
        f"C{_colour_space(format)}",
    ]
    if format.colour.full_range is not None:
        tokens.append(f"XCOLORRANGE={'FULL' if format.colour.full_range else 'LIMITED'}")
    return " ".join(tokens).encode() + b"\n"


def _pixels(name: str) -> PixelFormat:
    match = _COLOUR_SPACE.fullmatch(name)
    if match is None:
        raise DataError(
            f"y4m: colour space C{name[:32]} is not supported; expected mono, 420, 422 or 444, with p10 to "
            "p16 for more than 8 bits"
        )
    layout, depth = match.groups()
    return planar("gray" if layout == "mono" else layout, int(depth or 8))


def _colour_space(format: VideoFormat) -> str:
    pixels = format.pixels
    if pixels.layout == "gray":
        return "mono" + (str(pixels.depth) if pixels.depth > 8 else "")
    if pixels.depth > 8:
        return f"{pixels.layout}p{pixels.depth}"
    return f"420{format.chroma_site}" if pixels.layout == "420" else pixels.layout


def _size(fields: dict[str, str], key: str) -> int:
    text = fields.get(key, "")
    if not _POSITIVE.fullmatch(text):
        raise DataError(f"y4m: expected the header to give {key} and a number, got {key}{text[:16]!r}")
    return int(text)


def _ratio(fields: dict[str, str], key: str) -> Fraction | None:
    """A ratio of the header; None where it is missing or 0:0, which means unknown."""
    if key not in fields:
        return None
    match = _RATIO.fullmatch(fields[key])
    numerator, denominator = map(int, match.groups()) if match else (1, 0)
    if numerator == denominator == 0 or (key == "A" and numerator == 0):
        return None
    if numerator == 0 or denominator == 0:
        raise DataError(
            f"y4m: expected {key} and two positive numbers as in {key}25:1, got {fields[key][:24]!r}"
        )
    return Fraction(numerator, denominator)
