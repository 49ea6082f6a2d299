"""Build ``threadjuice_dagster/fonts`` from the packages of Adobe's Source typefaces (``make fonts``).

Each font is cut down to the characters that are used and packed as WOFF2. The licence (SIL OFL 1.1, clause 3) reserves
the name "Source" to the originals, so a changed font has a name of its own. The results are committed.
"""

import importlib.resources
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FOLDER = Path(__file__).parents[1] / "threadjuice_dagster" / "fonts"
SERIF, SANS = "font_source_serif_pro", "font_source_sans_pro"

# Latin with all accents of European languages and of Vietnamese, punctuation, currencies, arrows, fractions.
# fmt: off
LATIN = [
    *range(0x20, 0x7F), *range(0xA0, 0x250), 0x259, 0x2C6, 0x2C7, 0x2D8, 0x2D9, 0x2DA, 0x2DB, 0x2DC, 0x2DD,
    *range(0x300, 0x30D), *range(0x1E00, 0x1F00), *range(0x2000, 0x2070), *range(0x20A0, 0x20D0), 0x2113, 0x2116,
    0x2122, *range(0x2150, 0x2160), *range(0x2190, 0x2194), 0x2212, 0x2215, 0x2248, 0x2260, 0x2264, 0x2265, 0xFB01,
    0xFB02, 0xFFFD,
]
# fmt: on
# A title card leaves out what its font lacks, so its headlines keep Greek and Cyrillic as well.
CARDS = [*LATIN, *range(0x370, 0x530)]

# Name, style of the original, its package and file, characters, features. Pillow's basic layout applies no features.
PAGE_FEATURES = ["kern", "liga", "locl", "ccmp", "mark", "mkmk"]
FONTS = [
    ("ThreadJuice Serif", "Regular", SERIF, "SourceSerifPro-Regular.ttf", LATIN, PAGE_FEATURES),
    ("ThreadJuice Serif", "Semibold", SERIF, "SourceSerifPro-Semibold.ttf", LATIN, PAGE_FEATURES),
    ("ThreadJuice Serif", "Italic", SERIF, "SourceSerifPro-It.ttf", LATIN, PAGE_FEATURES),
    ("ThreadJuice Card Serif", "Bold", SERIF, "SourceSerifPro-Bold.otf", CARDS, []),
    ("ThreadJuice Card Sans", "Semibold", SANS, "SourceSansPro-Semibold.otf", CARDS, []),
    ("ThreadJuice Card Sans", "Regular", SANS, "SourceSansPro-Regular.otf", CARDS, []),
]  # fmt: skip


def build(name: str, style: str, original: bytes, characters: list[int], features: list[str]) -> bytes:
    """Return the font as WOFF2, cut down and renamed."""
    import io

    font = TTFont(io.BytesIO(original), recalcTimestamp=False)
    options = Options(layout_features=features, notdef_outline=True, name_IDs=[0, 1, 2, 4, 6, 13, 14])
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    for record in font["name"].names:
        postscript = f"{name}-{style}".replace(" ", "")
        text = {1: name, 2: style, 4: f"{name} {style}", 6: postscript}.get(record.nameID)
        if text:
            record.string = text
    if "CFF " in font:
        cff = font["CFF "].cff
        cff.fontNames = [f"{name}-{style}".replace(" ", "")]
        top = cff.topDictIndex[0]
        top.FullName, top.FamilyName = f"{name} {style}", name
    font.flavor = "woff2"
    packed = io.BytesIO()
    font.save(packed)
    return packed.getvalue()


def main() -> None:
    """Write every font and the licence; print the bytes before and after."""
    FOLDER.mkdir(exist_ok=True)
    for name, style, package, file, characters, features in FONTS:
        original = (importlib.resources.files(package) / "files" / file).read_bytes()
        target = FOLDER / f"{name.removeprefix('ThreadJuice ').lower().replace(' ', '-')}-{style.lower()}.woff2"
        target.write_bytes(build(name, style, original, characters, features))
        print(f"{file} {len(original)} bytes -> {target.name} {target.stat().st_size} bytes")
    serif, sans = ((importlib.resources.files(p) / "files" / "LICENSE.txt").read_text() for p in (SERIF, SANS))
    (FOLDER / "OFL.txt").write_text(f"{sans.splitlines()[0]}\n{serif}")


if __name__ == "__main__":
    main()
