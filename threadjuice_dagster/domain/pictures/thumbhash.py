"""ThumbHash, the placeholder of a picture in about 25 bytes (https://evanw.github.io/thumbhash/).

The algorithm only, both ways; choosing and encoding pictures belongs in ``domain/pictures/images.py``. Pictures
this small need no numpy, which would cost a run more to import than all its placeholders.
"""

import base64
import binascii
import functools
import io
import math
from collections.abc import Iterator
from operator import mul
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 100
"""Pixels. A larger picture must be shrunk first, as the format's own encoders require."""

_PREVIEW_SIDE = 32
_SATURATION = 1.25


class _Channel(NamedTuple):
    """A channel's average level, the scale of its waves, and their number across and down."""

    steady: float
    scale: float
    across: int
    down: int


def encode(image: "Image") -> bytes:
    """Return the hash of a picture with sides of 1 to ``MAX_SIDE`` pixels. Raises ``ValueError`` for another size."""
    width, height = image.size
    if not 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
        raise ValueError(f"expected at most {MAX_SIDE}x{MAX_SIDE} pixels, got {width}x{height}")
    *bands, alpha = ([level / 255 for level in band.tobytes()] for band in image.convert("RGBA").split())
    has_alpha, weight = min(alpha) < 1, max(sum(alpha), 1e-9)
    averages = [sum(map(mul, band, alpha)) / weight for band in bands]
    pixels = [
        [average * (1 - a) + level * a for average, level in zip(averages, levels, strict=True)]
        for *levels, a in zip(*bands, alpha, strict=True)
    ]
    limit = 5 if has_alpha else 7
    across, down = (max(1, _round(limit * side / max(width, height))) for side in (width, height))
    waves = [
        _transform([(red + green + blue) / 3 for red, green, blue in pixels], width, max(3, across), max(3, down)),
        _transform([(red + green) / 2 - blue for red, green, blue in pixels], width, 3, 3),
        _transform([red - green for red, green, _ in pixels], width, 3, 3),
    ]
    waves += [_transform(alpha, width, 5, 5)] if has_alpha else []
    return _pack(waves, has_alpha, down if width > height else across, landscape=width > height)


def decode(placeholder: str, side: int = _PREVIEW_SIDE) -> "Image":
    """Return the preview of a base64 hash: RGBA, the longer side ``side`` pixels. Raises ``ValueError``."""
    from PIL import Image

    channels, digits, ratio = _read(placeholder)
    width = side if ratio > 1 else max(1, _round(side * ratio))
    height = side if ratio <= 1 else max(1, _round(side / ratio))
    planes = [_plane(channel, digits, width, height) for channel in channels]
    planes += [[1.0] * (width * height)] if len(planes) == 3 else []
    pixels = [
        (*_rgb(light, warm, red_green), _level(alpha)) for light, warm, red_green, alpha in zip(*planes, strict=True)
    ]
    return Image.frombytes("RGBA", (width, height), bytes(level for pixel in pixels for level in pixel))


def to_data_url(placeholder: str, side: int = _PREVIEW_SIDE) -> str:
    """Return the preview as a PNG data URI of at most ``side`` pixels a side. Raises ``ValueError``."""
    image, buffer = decode(placeholder, side), io.BytesIO()
    opaque = image.getchannel("A").getextrema() == (255, 255)
    (image.convert("RGB") if opaque else image).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _round(value: float) -> int:
    return int(value + 0.5)


def _level(value: float) -> int:
    return _round(255 * min(max(value, 0.0), 1.0))


def _rgb(light: float, warm: float, red_green: float) -> tuple[int, int, int]:
    blue = light - 2 / 3 * warm
    red = (3 * light - blue + red_green) / 2
    return _level(red), _level(red - red_green), _level(blue)


def _frequencies(across: int, down: int) -> Iterator[tuple[int, int]]:
    """Yield the kept (column, row) frequencies in the format's order, without the steady part."""
    for row in range(down):
        for column in range(across):
            if (column or row) and column * down < across * (down - row):
                yield column, row


@functools.lru_cache(64)
def _cosines(count: int, length: int) -> list[list[float]]:
    return [[math.cos(math.pi / length * wave * (at + 0.5)) for at in range(length)] for wave in range(count)]


def _transform(levels: list[float], width: int, across: int, down: int) -> tuple[float, list[float], float]:
    """Return the steady part, the waves scaled to 0..1, and their scale."""
    lines = [levels[start : start + width] for start in range(0, len(levels), width)]
    columns = [[sum(map(mul, line, cosine)) for line in lines] for cosine in _cosines(across, width)]
    rows = _cosines(down, len(lines))
    waves = [sum(map(mul, columns[column], rows[row])) / len(levels) for column, row in _frequencies(across, down)]
    scale = max(map(abs, waves))
    return sum(levels) / len(levels), [0.5 + 0.5 / scale * wave if scale else 0.0 for wave in waves], scale


def _plane(channel: _Channel, digits: Iterator[float], width: int, height: int) -> list[float]:
    """Return one channel's levels, row by row."""
    columns, rows = _cosines(channel.across, width), _cosines(channel.down, height)
    levels = [channel.steady] * (width * height)
    for column, row in _frequencies(channel.across, channel.down):
        wave = next(digits, 0.0) * channel.scale * 2
        both = [down * across * wave for down in rows[row] for across in columns[column]]
        levels = [level + part for level, part in zip(levels, both, strict=True)]
    return levels


def _pack(waves: list[tuple[float, list[float], float]], has_alpha: bool, shorter: int, landscape: bool) -> bytes:
    (light, _, light_scale), (warm, _, warm_scale), (red_green, _, red_green_scale) = waves[:3]
    head = _round(63 * light) | _round(31.5 + 31.5 * warm) << 6 | _round(31.5 + 31.5 * red_green) << 12
    head |= _round(31 * light_scale) << 18 | has_alpha << 23
    tail = shorter | _round(63 * warm_scale) << 3 | _round(63 * red_green_scale) << 9 | landscape << 15
    packed = head.to_bytes(3, "little") + tail.to_bytes(2, "little")
    if has_alpha:
        packed += bytes([_round(15 * waves[3][0]) | _round(15 * waves[3][2]) << 4])
    digits = [_round(15 * wave) for _, scaled, _ in waves for wave in scaled]
    digits += [0] * (len(digits) % 2)
    return packed + bytes(low | high << 4 for low, high in zip(digits[::2], digits[1::2], strict=True))


def _read(placeholder: str) -> tuple[list[_Channel], Iterator[float], float]:
    """Return the channels of a base64 hash, the levels of all waves (-1 to 1) in order, and width / height."""
    try:
        hashed = base64.b64decode(placeholder, validate=True)
    except binascii.Error as error:
        raise ValueError("the placeholder is not base64") from error
    if len(hashed) < 5 or (hashed[2] >> 7 and len(hashed) < 6):
        raise ValueError("the placeholder is too short to be a ThumbHash")
    head, tail = int.from_bytes(hashed[:3], "little"), int.from_bytes(hashed[3:5], "little")
    has_alpha, longer, shorter = head >> 23, 5 if head >> 23 else 7, max(1, tail & 7)
    across, down = (longer, shorter) if tail >> 15 else (shorter, longer)
    channels = [
        _Channel((head & 63) / 63, (head >> 18 & 31) / 31, max(3, across), max(3, down)),
        _Channel((head >> 6 & 63) / 31.5 - 1, (tail >> 3 & 63) / 63 * _SATURATION, 3, 3),
        _Channel((head >> 12 & 63) / 31.5 - 1, (tail >> 9 & 63) / 63 * _SATURATION, 3, 3),
    ]
    channels += [_Channel((hashed[5] & 15) / 15, (hashed[5] >> 4) / 15, 5, 5)] if has_alpha else []
    digits = (nibble / 7.5 - 1 for byte in hashed[6 if has_alpha else 5 :] for nibble in (byte & 15, byte >> 4))
    return channels, digits, across / down
