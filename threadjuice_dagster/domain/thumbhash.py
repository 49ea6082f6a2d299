"""ThumbHash, the placeholder of a picture in about 25 bytes (https://evanw.github.io/thumbhash/).

The algorithm only, both ways; choosing and encoding pictures belongs in ``domain/images.py``.
"""

import base64
import binascii
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MAX_SIDE = 100
"""Pixels; a larger picture is to be shrunk first, as the format's own encoders require."""

_PREVIEW_SIDE = 32
_SATURATION = 1.25


def encode(rgba: "np.ndarray") -> bytes:
    """The hash of an ``(height, width, 4)`` array of 8-bit values, each side 1 to ``MAX_SIDE``.

    Raises ``ValueError`` for another shape.
    """
    import numpy as np

    if rgba.ndim != 3 or rgba.shape[2] != 4 or not 1 <= max(rgba.shape[:2]) <= MAX_SIDE or not min(rgba.shape):
        raise ValueError(f"expected at most {MAX_SIDE}x{MAX_SIDE} RGBA pixels, got the shape {rgba.shape}")
    height, width = rgba.shape[:2]
    pixels = rgba.astype(np.float64) / 255
    alpha = pixels[..., 3]
    has_alpha = bool(alpha.min() < 1)
    average = (pixels[..., :3] * alpha[..., None]).sum((0, 1)) / max(alpha.sum(), 1e-9)
    red, green, blue = np.moveaxis(average * (1 - alpha[..., None]) + pixels[..., :3] * alpha[..., None], 2, 0)
    limit = 5 if has_alpha else 7
    across, down = (max(1, _round(limit * side / max(width, height))) for side in (width, height))
    channels = [((red + green + blue) / 3, max(3, across), max(3, down))]
    channels += [((red + green) / 2 - blue, 3, 3), (red - green, 3, 3)]
    channels += [(alpha, 5, 5)] if has_alpha else []
    waves = [_transform(*channel) for channel in channels]
    return _pack(waves, has_alpha, down if width > height else across, landscape=width > height)


def decode(hashed: bytes) -> "np.ndarray":
    """The preview a hash stands for: RGBA pixels, the longer side 32. Raises ``ValueError``."""
    import numpy as np

    steady, scales, sizes, has_alpha, ratio = _header(hashed)
    digits = iter([nibble / 7.5 - 1 for byte in hashed[6 if has_alpha else 5 :] for nibble in (byte & 15, byte >> 4)])
    width = _PREVIEW_SIDE if ratio > 1 else max(1, _round(_PREVIEW_SIDE * ratio))
    height = _PREVIEW_SIDE if ratio <= 1 else max(1, _round(_PREVIEW_SIDE / ratio))
    planes = []
    for level, scale, (across, down) in zip(steady, scales, sizes, strict=True):
        plane = np.full((height, width), level)
        for column, row in _frequencies(across, down):
            wave = next(digits, 0.0) * scale * 2
            plane += wave * np.outer(_cosine(row, height), _cosine(column, width))
        planes.append(plane)
    light, warm, red_green = planes[:3]
    blue = light - 2 / 3 * warm
    red = (3 * light - blue + red_green) / 2
    alpha = planes[3] if has_alpha else np.ones_like(light)
    stacked = np.stack([red, red - red_green, blue, alpha], axis=2)
    return (stacked.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def to_data_url(placeholder: str) -> str:
    """A PNG data URI of at most 32 pixels a side from a base64 hash, ready for ``background-image``.

    Raises ``ValueError`` where the text is no hash.
    """
    from PIL import Image

    buffer = io.BytesIO()
    pixels = decode(_bytes(placeholder))
    opaque = bool(pixels[..., 3].min() == 255)
    Image.fromarray(pixels[..., :3] if opaque else pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def average_colour(placeholder: str) -> str:
    """The picture's average colour as ``#rrggbb``, from a base64 hash. Raises ``ValueError``."""
    (light, warm, red_green, *_), *_ = _header(_bytes(placeholder))
    blue = light - 2 / 3 * warm
    red = (3 * light - blue + red_green) / 2
    levels = (red, red - red_green, blue)
    return "#" + "".join(f"{_round(255 * min(max(level, 0.0), 1.0)):02x}" for level in levels)


def _bytes(placeholder: str) -> bytes:
    try:
        return base64.b64decode(placeholder, validate=True)
    except binascii.Error as error:
        raise ValueError("the placeholder is not base64") from error


def _round(value: float) -> int:
    return int(value + 0.5)


def _frequencies(across: int, down: int) -> Iterator[tuple[int, int]]:
    """The (column, row) frequencies kept, in the format's order, the steady part left out."""
    for row in range(down):
        for column in range(across):
            if (column or row) and column * down < across * (down - row):
                yield column, row


def _cosine(frequency: int, length: int) -> "np.ndarray":
    import numpy as np

    return np.cos(np.pi / length * frequency * (np.arange(length) + 0.5))


def _transform(channel: "np.ndarray", across: int, down: int) -> tuple[float, list[float], float]:
    """Steady part, the waves scaled to 0..1, and their scale."""
    height, width = channel.shape
    waves = [
        float(_cosine(row, height) @ channel @ _cosine(column, width)) / channel.size
        for column, row in _frequencies(across, down)
    ]
    scale = max(map(abs, waves))
    return float(channel.mean()), [0.5 + 0.5 / scale * wave if scale else 0.0 for wave in waves], scale


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


def _header(
    hashed: bytes,
) -> tuple[list[float], list[float], list[tuple[int, int]], bool, float]:
    """Steady levels, wave scales, frequency counts per channel, whether alpha is held, width / height."""
    if len(hashed) < 5 or (hashed[2] >> 7 and len(hashed) < 6):
        raise ValueError("the placeholder is too short to be a ThumbHash")
    head, tail = int.from_bytes(hashed[:3], "little"), int.from_bytes(hashed[3:5], "little")
    has_alpha, landscape = bool(head >> 23), bool(tail >> 15)
    longer, shorter = 5 if has_alpha else 7, max(1, tail & 7)
    across, down = (longer, shorter) if landscape else (shorter, longer)
    steady = [(head & 63) / 63, (head >> 6 & 63) / 31.5 - 1, (head >> 12 & 63) / 31.5 - 1]
    scales = [(head >> 18 & 31) / 31, (tail >> 3 & 63) / 63 * _SATURATION, (tail >> 9 & 63) / 63 * _SATURATION]
    sizes = [(max(3, across), max(3, down)), (3, 3), (3, 3)]
    if has_alpha:
        steady, scales, sizes = [*steady, (hashed[5] & 15) / 15], [*scales, (hashed[5] >> 4) / 15], [*sizes, (5, 5)]
    return steady, scales, sizes, has_alpha, across / down
