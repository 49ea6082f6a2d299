"""The title card: a picture drawn from a story's headline, for when no photograph may be used.

It needs no network and no licence. Everything in it follows from its arguments, so equal stories have
equal cards. Encoding it in other sizes belongs in ``domain/images.py``.
"""

import dataclasses
import functools
import hashlib
import io
import math
from typing import TYPE_CHECKING, Literal

from threadjuice_dagster.domain.text import clean, cut

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

WIDTH, HEIGHT = 1920, 1080
"""Pixels of a card."""

MAX_TITLE = 160
"""Characters of a headline set on a card; the rest is cut at a word."""

_MARGIN = 132
_TEXT_WIDTH = 1300
_TEXT_TOP, _TEXT_BOTTOM = 286, 890
_MAX_LINES = 5
_LEADING = 1.1
_LARGEST, _SMALLEST, _STEP = 172, 60, 4
_DEFAULT_COLOUR = "#c2410c"
_PAPER = (250, 246, 240)
_Face = Literal["serif", "sans", "light"]


@dataclasses.dataclass(frozen=True)
class _Palette:
    """sRGB colours, 0 to 255, of one hue: two grounds, two threads that catch the light, one accent."""

    deep: tuple[int, int, int]
    ground: tuple[int, int, int]
    thread: tuple[int, int, int]
    glow: tuple[int, int, int]
    accent: tuple[int, int, int]


def draw_title_card(title: str, category_name: str, colour: str, kicker: str = "") -> bytes:
    """A PNG of 1920 x 1080 pixels: the headline over threads in the category's colour (``#rrggbb``).

    Characters the typeface lacks are left out; a headline without any other is replaced by the
    category's name. Equal arguments give equal bytes.
    """
    from PIL import Image, ImageDraw

    seed = hashlib.sha256(f"{title}\0{category_name}\0{colour}".encode("utf-8", "replace")).digest()
    palette = _palette(colour)
    category = _legible(category_name, "sans") or "Stories"
    headline = cut(_legible(title, "serif") or category, MAX_TITLE)
    card = Image.fromarray(_threads(seed, palette))
    _set_headline(card, headline, palette)
    draw = ImageDraw.Draw(card)
    _label(draw, category, _legible(kicker, "sans"), palette)
    _wordmark(draw, palette)
    buffer = io.BytesIO()
    card.save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def _numbers(seed: bytes, count: int, low: float = 0.0, high: float = 1.0, salt: str = "") -> list[float]:
    """Evenly spread numbers that depend on nothing but their arguments."""
    stream = b"".join(hashlib.sha256(seed + f"{salt}{block}".encode()).digest() for block in range(count // 16 + 1))
    return [low + (high - low) * int.from_bytes(stream[2 * i : 2 * i + 2]) / 65535 for i in range(count)]


def _palette(colour: str) -> _Palette:
    _, chroma, hue = _to_oklch(_rgb(colour))
    chroma = min(max(chroma, 0.02), 0.16)
    return _Palette(
        deep=_from_oklch(0.16, chroma * 0.42, hue),
        ground=_from_oklch(0.27, chroma * 0.72, hue),
        thread=_from_oklch(0.58, chroma, hue),
        glow=_from_oklch(0.80, chroma * 0.85, hue + 0.5),
        accent=_from_oklch(0.82, min(chroma * 0.9, 0.13), hue + 0.35),
    )


def _rgb(colour: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(colour.strip())
    except ValueError:
        red, green, blue, *_ = ImageColor.getrgb(_DEFAULT_COLOUR)
    return red, green, blue


# Oklab, in which lightness means the same for every hue (https://bottosson.github.io/posts/oklab/).
_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def _to_oklch(rgb: tuple[int, int, int]) -> tuple[float, float, float]:
    """Lightness 0 to 1, chroma, hue in radians."""
    import numpy as np

    srgb = np.array(rgb) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lightness, a, b = np.array(_TO_LAB) @ np.cbrt(np.array(_TO_LMS) @ linear)
    return float(lightness), math.hypot(a, b), math.atan2(b, a)


def _from_oklch(lightness: float, chroma: float, hue: float) -> tuple[int, int, int]:
    import numpy as np

    lab = np.array([lightness, chroma * math.cos(hue), chroma * math.sin(hue)])
    linear = np.linalg.inv(_TO_LMS) @ (np.linalg.inv(_TO_LAB) @ lab) ** 3
    linear = linear.clip(0, 1)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(level) * 255) for level in srgb)
    return red, green, blue


def _threads(seed: bytes, palette: _Palette) -> "np.ndarray":
    """The ground: strands that run down a flowing field, dark where the headline stands."""
    import numpy as np

    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32) / HEIGHT
    field = _field(seed, x, y)
    strand, across = np.floor(field), field % 1
    slope = np.hypot(*np.gradient(field))
    tones = np.array(_numbers(seed, 256, salt="tone"), np.float32)[strand.astype(int) % 256]
    # A strand is round: light falls off towards both edges, which are softened over about a pixel.
    body = np.sqrt(np.clip(1 - (2 * across - 1) ** 2, 0, 1))
    edge = np.clip(np.minimum(across, 1 - across) / np.maximum(slope, 1e-4) / 1.5, 0, 1)
    light = np.clip(body * edge * (0.25 + 0.75 * tones), 0, 1)
    reach = _smooth(x + 0.18 * (field / 30 - 0.5), 0.45, 1.65)
    colours = [np.array(colour, np.float32) for colour in dataclasses.astuple(palette)]
    deep, ground, thread, glow, accent = colours
    base = deep + (ground - deep) * _smooth(x - 0.5 * y, -0.2, 1.5)[..., None]
    hot = np.where(tones > 0.93, 1.0, 0.0)[..., None]
    yarn = thread + (glow - thread) * (tones**3)[..., None]
    yarn = yarn + (accent - yarn) * hot
    mixed = base + (yarn - base) * (light * reach * 0.92)[..., None]
    grain = np.random.Generator(np.random.PCG64(int.from_bytes(seed[:8]))).random((HEIGHT, WIDTH, 1), np.float32)
    return (mixed + grain).clip(0, 255).astype(np.uint8)


def _field(seed: bytes, x: "np.ndarray", y: "np.ndarray") -> "np.ndarray":
    """Height over the card; one whole number is one strand's width."""
    import numpy as np

    phase = _numbers(seed, 8, 0, 2 * math.pi, "phase")
    angle, density, bend = _numbers(seed, 3, salt="shape")
    angle = math.radians(-55 + 80 * angle)
    along, across = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
    warp = 0.16 * np.sin(3.1 * along + phase[0]) + 0.10 * np.sin(4.3 * across + 2.2 * along + phase[1])
    warp += (0.05 + 0.06 * bend) * np.sin(6.7 * along - 3.0 * across + phase[2])
    return (across + warp) * (22 + 18 * density) + 64


def _smooth(value: "np.ndarray", low: float, high: float) -> "np.ndarray":
    """0 below ``low``, 1 above ``high``, an S between."""
    step = ((value - low) / (high - low)).clip(0, 1)
    return step * step * (3 - 2 * step)


@functools.cache
def _font(face: _Face, size: int) -> "FreeTypeFont":
    import font_source_sans_pro as sans
    import font_source_serif_pro as serif
    from PIL import ImageFont

    files = {
        "serif": serif.font_files_ttf["SourceSerifProBold"],
        "sans": sans.font_files_ttf["SourceSansProSemibold"],
        "light": sans.font_files_ttf["SourceSansPro"],
    }
    # The basic layout is in every build of Pillow; a better one where present would change the bytes.
    return ImageFont.truetype(files[face], size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(4096)
def _has_glyph(face: _Face, char: str) -> bool:
    font = _font(face, 32)
    return char == " " or bytes(font.getmask(char)) != bytes(font.getmask("\uffff"))


def _legible(text: str, face: _Face) -> str:
    """The text on one line without what the typeface cannot draw; empty if no letter or digit is left."""
    kept = "".join(char if _has_glyph(face, char) else " " for char in " ".join(clean(text).split())[:2000])
    kept = " ".join(kept.split())
    return kept if any(char.isalnum() for char in kept) else ""


def _set_headline(card: "Image", headline: str, palette: _Palette) -> None:
    """Set the headline in the middle of its box, the strands behind it dimmed so that it reads well."""
    from PIL import Image, ImageDraw, ImageFilter

    size, lines = _fit(headline)
    line_height = round(size * _LEADING)
    top = (_TEXT_TOP + _TEXT_BOTTOM - line_height * len(lines)) // 2
    shade = Image.new("L", (WIDTH // 8, HEIGHT // 8))
    for index, line in enumerate(lines):
        y = top + index * line_height
        box = (_MARGIN, y, _MARGIN + _length(line, size), y + line_height)
        ImageDraw.Draw(shade).rectangle([edge / 8 for edge in box], 190)
    shade = shade.filter(ImageFilter.GaussianBlur(8)).resize(card.size, Image.Resampling.BICUBIC)
    card.paste(palette.deep, mask=shade)
    for index, line in enumerate(lines):
        ImageDraw.Draw(card).text((_MARGIN, top + index * line_height), line, _PAPER, _font("serif", size))


def _fit(headline: str) -> tuple[int, list[str]]:
    """The largest type size at which the headline stands in the box, and its lines there."""
    for size in range(_LARGEST, _SMALLEST - 1, -_STEP):
        lines = _balanced(headline, size)
        fits = len(lines) <= _MAX_LINES and len(lines) * size * _LEADING <= _TEXT_BOTTOM - _TEXT_TOP
        if lines and fits and max(_length(line, size) for line in lines) <= _TEXT_WIDTH:
            return size, lines
    return _SMALLEST, _wrapped(_broken(headline, _SMALLEST), _SMALLEST, _TEXT_WIDTH)[:_MAX_LINES]


def _balanced(headline: str, size: int) -> list[str]:
    """As few lines as the width allows, each about as long as the others."""
    words = headline.split()
    count = len(_wrapped(words, size, _TEXT_WIDTH))
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


def _broken(headline: str, size: int) -> list[str]:
    """The words, those wider than a line cut into pieces that are not."""
    pieces: list[str] = []
    for word in headline.split():
        while _length(word, size) > _TEXT_WIDTH:
            end = next(n for n in range(len(word), 0, -1) if n == 1 or _length(word[:n], size) <= _TEXT_WIDTH)
            pieces, word = [*pieces, word[:end]], word[end:]
        pieces.append(word)
    return pieces


def _length(text: str, size: int) -> float:
    return _font("serif", size).getlength(text)


def _label(draw: "ImageDraw", category: str, kicker: str, palette: _Palette) -> None:
    """The category in spaced capitals under a short rule, the kicker after it."""
    draw.rectangle((_MARGIN, 132, _MARGIN + 96, 139), palette.accent)
    end = _spaced(draw, (_MARGIN, 164), cut(category, 40).upper(), "sans", 40, palette.accent)
    if kicker:
        _spaced(draw, (end + 26, 164), cut(kicker, 48), "light", 40, _PAPER, 1)


def _wordmark(draw: "ImageDraw", palette: _Palette) -> None:
    y = HEIGHT - 132
    end = _spaced(draw, (_MARGIN, y), "Thread", "sans", 38, _PAPER, 1)
    _spaced(draw, (end, y), "Juice", "light", 38, palette.accent, 1)


def _spaced(
    draw: "ImageDraw", at: tuple[int, int], text: str, face: _Face, size: int, fill: tuple[int, int, int], gap: int = 5
) -> int:
    """Draw letters ``gap`` pixels further apart than set; where the text ends."""
    x: float = at[0]
    font = _font(face, size)
    for char in text:
        draw.text((x, at[1]), char, fill, font)
        x += font.getlength(char) + gap
    return round(x)
