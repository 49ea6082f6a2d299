"""Draws title cards: pictures of a story's headline, for stories for which no photograph may be used.

A card needs no network and no licence, and equal stories have equal cards. Its soft background is drawn small and
enlarged, which saves time and bytes. Encoding belongs in ``domain/pictures/images.py``.
"""

import functools
import hashlib
import importlib.resources
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from threadjuice_dagster.domain.language.text import clean, cut, graphemes

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

WIDTH, HEIGHT = 1920, 1080
"""Pixels of a card."""

MAX_TITLE = 160
"""Characters of a headline on a card; a longer one is cut at a word."""

_MARGIN = 132
_TEXT_WIDTH = 1300
_TEXT_TOP, _TEXT_BOTTOM = 286, 890
_MAX_LINES = 5
_LEADING = 1.1
_SIZES = range(172, 59, -8)
_SCALE = 4
_CELL = 15
_STRAND = 16
_PAPER = (250, 246, 240)

_Colour = tuple[int, int, int]
_Face = Literal["serif", "sans", "light"]


class _Palette(NamedTuple):
    """sRGB colours of one hue: two for the background, two for its threads, one accent."""

    deep: _Colour
    ground: _Colour
    thread: _Colour
    glow: _Colour
    accent: _Colour


def draw_title_card(title: str, category_name: str, colour: str) -> "Image":
    """Draw the headline over flowing threads in the category's colour (``#rrggbb``): 1920 x 1080 RGB pixels.

    Characters that the typeface lacks are left out. A headline that has no others is replaced by the category's name.
    Equal arguments give equal pixels.
    """
    from PIL import Image, ImageDraw

    seed = hashlib.sha512(f"{title}\0{category_name}\0{colour}".encode("utf-8", "replace")).digest()
    palette = _palette(colour)
    category = _legible(category_name, "sans") or "Stories"
    size, lines = _fit(cut(_legible(title, "serif") or category, MAX_TITLE))
    leading = round(size * _LEADING)
    top = (_TEXT_TOP + _TEXT_BOTTOM - leading * len(lines)) // 2
    small = Image.composite(
        _threads(seed, palette),
        Image.new("RGB", (WIDTH // _SCALE, HEIGHT // _SCALE), palette.deep),
        _light([(top + leading * index, round(_length(line, size))) for index, line in enumerate(lines)], leading),
    )
    card = small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(card)
    for index, line in enumerate(lines):
        draw.text((_MARGIN, top + leading * index), line, _PAPER, _font("serif", size))
    _labels(draw, category, palette.accent)
    return card


def _threads(seed: bytes, palette: _Palette) -> "Image":
    """Draw the background at a quarter of the card's size: round strands side by side, bent along a field."""
    from PIL import Image

    width, height = WIDTH // _SCALE, HEIGHT // _SCALE
    field = _field(seed)
    nodes = {
        (x, y): field(x / height, y / height) for x in range(0, width + 1, _CELL) for y in range(0, height + 1, _CELL)
    }
    lowest = math.floor(min(nodes.values())) - 1
    strands = _strands(seed, palette, math.ceil(max(nodes.values())) - lowest + 1)
    mesh = []
    for left in range(0, width, _CELL):
        for top in range(0, height, _CELL):
            right, bottom = left + _CELL, top + _CELL
            corners = ((left, top), (left, bottom), (right, bottom), (right, top))
            quad = [value for corner in corners for value in (2.0, (nodes[corner] - lowest) * _STRAND)]
            mesh.append(((left, top, right, bottom), tuple(quad)))
    return strands.transform((width, height), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def _field(seed: bytes) -> Callable[[float, float], float]:
    """Return the field: a function of a point of the card, whose height is 1. A strand is as wide as a step of 1."""
    angle, density, bend, *phase = (value / 255 for value in seed[:6])
    angle, density = math.radians(-55 + 80 * angle), 9 + 7 * density
    phase = [math.tau * value for value in phase]

    def height(x: float, y: float) -> float:
        along, across = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
        warp = 0.16 * math.sin(3.1 * along + phase[0]) + 0.10 * math.sin(4.3 * across + 2.2 * along + phase[1])
        return (across + warp + (0.05 + 0.06 * bend) * math.sin(6.7 * along - 3.0 * across + phase[2])) * density

    return height


def _strands(seed: bytes, palette: _Palette, count: int) -> "Image":
    """Draw a column of straight strands, each lit along its middle; a few have the accent's colour."""
    from PIL import Image

    pixels = []
    for index in range(count):
        tone = seed[6 + index % (len(seed) - 6)] / 255
        yarn = palette.accent if tone > 0.94 else _mixed(palette.thread, palette.glow, tone**3)
        for step in range(_STRAND):
            light = math.sin(math.pi * (step + 0.5) / _STRAND) * (0.18 + 0.82 * tone)
            pixels.append(_mixed(palette.ground, yarn, light))
    column = Image.new("RGB", (1, len(pixels)))
    column.putdata(pixels)
    return column.resize((4, len(pixels)))


def _light(lines: list[tuple[int, int]], leading: int) -> "Image":
    """Return a mask of the threads: hidden at the left edge, faint behind the text, full at the right edge."""
    from PIL import Image, ImageChops, ImageDraw, ImageFilter

    size = (WIDTH // _SCALE, HEIGHT // _SCALE)
    rising = Image.linear_gradient("L").rotate(90).resize(size).point(lambda value: round(255 * _smooth(value / 255)))
    shade = Image.new("L", size, 255)
    for top, width in lines:
        box = (_MARGIN, top, _MARGIN + width, top + leading)
        ImageDraw.Draw(shade).rectangle([edge // _SCALE for edge in box], 70)
    return ImageChops.multiply(rising, shade.filter(ImageFilter.GaussianBlur(16)))


def _smooth(share: float) -> float:
    step = min(max((share - 0.12) / 0.75, 0.0), 1.0)
    return step * step * (3 - 2 * step)


def _mixed(first: _Colour, second: _Colour, share: float) -> _Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _palette(colour: str) -> _Palette:
    from PIL import ImageColor

    try:
        rgb = ImageColor.getrgb(colour.strip())
    except ValueError:
        rgb = (194, 65, 12)
    chroma, hue = _chroma_and_hue(rgb)
    chroma = min(max(chroma, 0.02), 0.16)
    return _Palette(
        deep=_from_oklch(0.16, chroma * 0.42, hue),
        ground=_from_oklch(0.27, chroma * 0.72, hue),
        thread=_from_oklch(0.58, chroma, hue),
        glow=_from_oklch(0.80, chroma * 0.85, hue + 0.5),
        accent=_from_oklch(0.82, min(chroma * 0.9, 0.13), hue + 0.35),
    )


# Oklab, in which lightness means the same for every hue (https://bottosson.github.io/posts/oklab/).


def _chroma_and_hue(rgb: tuple[int, ...]) -> tuple[float, float]:
    red, green, blue = (c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb[:3])
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    medium = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    a = 1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short
    b = 0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short
    return math.hypot(a, b), math.atan2(b, a)


def _from_oklch(lightness: float, chroma: float, hue: float) -> _Colour:
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red, green, blue = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return _level(red), _level(green), _level(blue)


def _level(linear: float) -> int:
    """Return the 8-bit sRGB level of a linear one, clipped."""
    linear = min(max(linear, 0.0), 1.0)
    return round(255 * (linear * 12.92 if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055))


@functools.cache
def _font(face: _Face, size: int) -> "FreeTypeFont":
    from PIL import ImageFont

    file = {"serif": "serif-bold", "sans": "sans-semibold", "light": "sans-regular"}[face]
    path = importlib.resources.files("threadjuice_dagster") / "fonts" / f"card-{file}.woff2"
    # The basic layout is in every build of Pillow; a better one where present would change the pixels.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(4096)
def _has_glyph(face: _Face, char: str) -> bool:
    font = _font(face, 32)
    return char == " " or bytes(font.getmask(char)) != bytes(font.getmask("\uffff"))


def _legible(text: str, face: _Face) -> str:
    """Return the text on one line without characters that the typeface lacks; empty if no letter or digit is left."""
    kept = "".join(char if _has_glyph(face, char) else " " for char in " ".join(clean(text).split())[:2000])
    kept = " ".join(kept.split())
    return kept if any(char.isalnum() for char in kept) else ""


def _fit(headline: str) -> tuple[int, list[str]]:
    """Return the largest type size at which the headline fits into its box, and its lines at that size."""
    words = headline.split()
    for size in _SIZES:
        lines = _wrapped(words, size, _TEXT_WIDTH)
        fits = len(lines) <= _MAX_LINES and len(lines) * size * _LEADING <= _TEXT_BOTTOM - _TEXT_TOP
        if fits and max(_length(line, size) for line in lines) <= _TEXT_WIDTH:
            return size, _balanced(words, size, len(lines))
    return _SIZES[-1], _wrapped(_broken(words, _SIZES[-1]), _SIZES[-1], _TEXT_WIDTH)[:_MAX_LINES]


def _balanced(words: list[str], size: int, count: int) -> list[str]:
    """Wrap the words to ``count`` lines of about equal length."""
    narrow, wide = 0, _TEXT_WIDTH
    while wide - narrow > 8:
        middle = (narrow + wide) // 2
        if len(_wrapped(words, size, middle)) <= count:
            wide = middle
        else:
            narrow = middle
    return _wrapped(words, size, wide)


def _wrapped(words: list[str], size: int, width: int) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and _length(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _broken(words: list[str], size: int) -> list[str]:
    """Return the words with those wider than a line cut into pieces that fit."""
    pieces: list[str] = []
    for word in words:
        while _length(word, size) > _TEXT_WIDTH:
            parts = graphemes(word)
            fitting = (
                n for n in range(len(parts), 0, -1) if n == 1 or _length("".join(parts[:n]), size) <= _TEXT_WIDTH
            )
            end = next(fitting)
            pieces, word = [*pieces, "".join(parts[:end])], "".join(parts[end:])
        pieces.append(word)
    return pieces


def _length(text: str, size: int) -> float:
    return _font("serif", size).getlength(text)


def _labels(draw: "ImageDraw", category: str, accent: _Colour) -> None:
    """Draw the category in spaced capitals under a short rule, and the wordmark at the foot."""
    draw.rectangle((_MARGIN, 132, _MARGIN + 96, 139), accent)
    _spaced(draw, (_MARGIN, 164), cut(category, 40).upper(), _font("sans", 40), accent, 5)
    end = _spaced(draw, (_MARGIN, HEIGHT - 132), "Thread", _font("sans", 38), _PAPER, 1)
    _spaced(draw, (end, HEIGHT - 132), "Juice", _font("light", 38), accent, 1)


def _spaced(
    draw: "ImageDraw", at: tuple[float, float], text: str, font: "FreeTypeFont", fill: _Colour, gap: int
) -> float:
    """Draw letters with ``gap`` more pixels between them; return where the text ends."""
    x, y = at
    for char in text:
        draw.text((x, y), char, fill, font)
        x += font.getlength(char) + gap
    return x
