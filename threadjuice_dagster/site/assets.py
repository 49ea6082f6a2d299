"""Files every page shares: stylesheets, fonts, drawings, scripts. Each name carries its content's hash.

Which colour a category has belongs in the editorial catalogue; here it is made one that reads (WCAG 2.2).
"""

import hashlib
import importlib.resources
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from threadjuice_dagster.domain.story.stories import Category

_FONTS = (("regular", 400, "normal"), ("semibold", 600, "normal"), ("italic", 400, "italic"))
_FAMILY = "ThreadJuice Serif"

PAPER, INK = "#fbf8f3", "#171512"
"""The backgrounds of the light and the dark scheme, as in ``static/site.css``."""

AA_TEXT = 4.5
"""Least contrast of body text (WCAG 2.2, success criterion 1.4.3)."""

_FALLBACK = "#8a3a12"


@dataclass(frozen=True)
class Assets:
    """Shared files by their path in the site, and the paths pages link to.

    ``stylesheet`` is the light scheme, ``dark`` what differs in the dark one, ``fonts`` names the fonts; ``script``
    belongs to every page, ``engagement`` to stories.
    """

    files: dict[str, bytes]
    stylesheet: str
    dark: str
    fonts: str
    icon: str
    script: str
    engagement: str


def site_assets(categories: Iterable[Category]) -> Assets:
    """The shared files for these categories; the same categories give the same bytes."""
    categories = list(categories)
    files: dict[str, bytes] = {}

    def add(stem: str, extension: str, data: bytes) -> str:
        path = f"assets/{stem}.{hashlib.sha256(data).hexdigest()[:12]}.{extension}"
        files[path] = data
        return path

    fonts = [add(f"serif-{name}", "woff2", _font_file(f"serif-{name}.woff2")) for name, *_ in _FONTS]
    faces = "".join(_face(path, weight, style) for path, (_, weight, style) in zip(fonts, _FONTS, strict=True))
    drawn = add("drawn", "svg", _static("drawn.svg")).removeprefix("assets/")
    light = _static("site.css").decode().replace("drawn.svg", drawn) + _accents(categories, PAPER)
    files["assets/font-licence.txt"] = _font_file("OFL.txt")
    return Assets(
        files,
        stylesheet=add("site", "css", light.encode()),
        dark=add("dark", "css", (_static("dark.css").decode() + _accents(categories, INK)).encode()),
        fonts=add("fonts", "css", faces.encode()),
        icon=add("icon", "svg", _static("icon.svg")),
        script=add("site", "js", _static("site.js")),
        engagement=add("engagement", "js", _static("engagement.js")),
    )


@cache
def _font_file(name: str) -> bytes:
    return (importlib.resources.files("threadjuice_dagster") / "fonts" / name).read_bytes()


@cache
def _static(name: str) -> bytes:
    return (importlib.resources.files("threadjuice_dagster.site") / "static" / name).read_bytes()


def _face(path: str, weight: int, style: str) -> str:
    source = f"url({path.removeprefix('assets/')}) format('woff2')"
    properties = f"font-weight:{weight};font-style:{style};font-display:optional"
    return f"@font-face{{font-family:'{_FAMILY}';{properties};src:{source}}}\n"


def _accents(categories: Iterable[Category], ground: str) -> str:
    return "".join(
        f".category-{category.slug}{{--accent:{readable(category.colour, ground)}}}\n" for category in categories
    )


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
