"""Files every page shares: the stylesheet, the fonts, the icon. Each name carries its content's hash."""

import hashlib
import importlib.resources
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from threadjuice_dagster.domain.stories import Category
from threadjuice_dagster.site.colour import INK, PAPER, readable

_FONTS = (("Regular", 400, "normal"), ("Semibold", 600, "normal"), ("It", 400, "italic"))
_FAMILY = "ThreadJuice Serif"


@dataclass(frozen=True)
class Assets:
    """Shared files by their path in the site, and the paths pages link to."""

    files: dict[str, bytes]
    stylesheet: str
    icon: str
    plain_style: str
    """The stylesheet without fonts, for the page that cannot know where it is served: ``404.html``."""


def site_assets(categories: Iterable[Category]) -> Assets:
    """The shared files for these categories; the same categories give the same bytes."""
    plain = _static("site.css").decode() + "".join(map(_category_style, categories))
    fonts = {_named(f"serif-{name.lower()}", "woff", data): data for name, data in _fonts().items()}
    faces = "".join(_face(path, weight, style) for path, (_, weight, style) in zip(fonts, _FONTS, strict=True))
    styles, icon = (faces + plain).encode(), _static("icon.svg")
    stylesheet, icon_path = _named("site", "css", styles), _named("icon", "svg", icon)
    licence = {"assets/font-licence.txt": _font_file("LICENSE.txt")}
    return Assets({stylesheet: styles, icon_path: icon, **fonts, **licence}, stylesheet, icon_path, plain)


def woff(font: bytes) -> bytes:
    """A TrueType font as WOFF 1.0 (https://www.w3.org/TR/WOFF/): each table compressed, nothing else changed."""
    count = struct.unpack(">H", font[4:6])[0]
    directory, tables, start = b"", b"", 44 + 20 * count
    for index in range(count):
        tag, checksum, offset, length = struct.unpack(">4sIII", font[12 + 16 * index : 28 + 16 * index])
        table = font[offset : offset + length]
        packed = min(table, zlib.compress(table, 9), key=len)  # of equal length means: not compressed
        directory += struct.pack(">4sIIII", tag, start + len(tables), len(packed), length, checksum)
        tables += packed + b"\0" * (-len(packed) % 4)
    unpacked = 12 + 16 * count + sum((length + 3) & ~3 for length in _lengths(font, count))
    sizes = (start + len(tables), count, 0, unpacked, 1, 0, 0, 0, 0, 0, 0)
    return b"wOFF" + font[:4] + struct.pack(">IHHIHHIIIII", *sizes) + directory + tables


def _lengths(font: bytes, count: int) -> list[int]:
    return [struct.unpack(">I", font[24 + 16 * index : 28 + 16 * index])[0] for index in range(count)]


@cache
def _fonts() -> dict[str, bytes]:
    return {name: woff(_font_file(f"SourceSerifPro-{name}.ttf")) for name, *_ in _FONTS}


def _font_file(name: str) -> bytes:
    return (importlib.resources.files("font_source_serif_pro") / "files" / name).read_bytes()


def _static(name: str) -> bytes:
    return (importlib.resources.files("threadjuice_dagster.site") / "static" / name).read_bytes()


def _named(stem: str, extension: str, data: bytes) -> str:
    return f"assets/{stem}.{hashlib.sha256(data).hexdigest()[:12]}.{extension}"


def _face(path: str, weight: int, style: str) -> str:
    source = f"url({path.removeprefix('assets/')}) format('woff')"
    look = f"font-weight:{weight};font-style:{style};font-display:swap"
    return f"@font-face{{font-family:'{_FAMILY}';{look};src:{source}}}\n"


def _category_style(category: Category) -> str:
    light, dark = readable(category.colour, PAPER), readable(category.colour, INK)
    name = f".desk-{category.slug}"
    return f"{name}{{--accent:{light}}}\n@media (prefers-color-scheme:dark){{{name}{{--accent:{dark}}}}}\n"
