"""Colours a reader can read: contrast by WCAG 2.2, and the nearest readable shade of an accent.

Which colour a category has belongs in the editorial catalogue, how it is used in ``static/site.css``.
"""

import re

PAPER, INK = "#fbf8f3", "#171512"
"""The backgrounds of the light and the dark scheme, as in ``static/site.css``."""

AA_TEXT = 4.5
"""Least contrast of body text (WCAG 2.2, success criterion 1.4.3)."""

_FALLBACK = "#8a3a12"


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two ``#rrggbb`` colours, 1 to 21."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def readable(colour: str, background: str, least: float = AA_TEXT + 0.4) -> str:
    """``colour`` mixed with black or white just until it reads on ``background``; a default if it is no colour."""
    target = "#000000" if _luminance(background) > 0.2 else "#ffffff"
    start = colour.lower() if re.fullmatch(r"#[0-9a-fA-F]{6}", colour) else _FALLBACK
    shades = (_mix(start, target, step / 40) for step in range(41))
    return next((shade for shade in shades if contrast(shade, background) >= least), target)


def _mix(colour: str, target: str, share: float) -> str:
    pairs = zip(_channels(colour), _channels(target), strict=True)
    return "#" + "".join(f"{round(start + (end - start) * share):02x}" for start, end in pairs)


def _luminance(colour: str) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(colour: str) -> list[int]:
    return [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
