"""Plain-text helpers that writer, rubric and grounding share: words, sentences, cutting.

Nothing here knows what a story or a thread is.
"""

import functools
import html
import re
import unicodedata
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from threadjuice_dagster.domain import editorial

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d[\d.,]*", re.UNICODE)

_BEFORE_A_NUMBER = re.compile(r"\b(?:no|est|fig|vol|pp?|ca?)\.$", re.IGNORECASE)
"""Abbreviations only before a number: "no. 7", but "She said no."."""

_MISSED_END = re.compile(r"(?<=[a-z,] I\.) (?=[A-Z])|(?<=[。！？])(?=[^\s。！？」』”’)])")
"""Ends that nupunkt takes for an initial ("So did I. Then …"), and those of scripts without spaces."""

_MAY_MISS = (" I. ", "。", "！", "？")
"""Signs of a missed end: looking for them first saves a quarter of the time of splitting."""

_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
TYPOGRAPHY = str.maketrans(
    {**dict.fromkeys("“”„‟«»″", '"'), **dict.fromkeys("‘’‚‛`´′", "'"), **dict.fromkeys("–—‑−", "-"), "…": "..."}
)
"""Quotation marks, dashes and the ellipsis as a typewriter has them."""

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});")
_MOST_ESCAPES = 4
_PICTURES = "\u00a9\u00ae\u203c\u2049\u2122-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINERS = (
    # Between two emoji, of which the first may carry a variation or a skin tone: a family, a profession, a flag.
    rf"(?<=[{_PICTURES}\ufe0f])\u200d(?=[{_PICTURES}])",
    # Between letters of scripts that are spelled with them, from Arabic to Sinhala.
    r"(?<=[\u0600-\u0dff])[\u200c\u200d](?=[\u0600-\u0dff])",
    # The flags of England, Scotland and Wales; any other row of tags is writing that nobody sees.
    "\U0001f3f4\U000e0067\U000e0062(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|\U000e0077\U000e006c\U000e0073)\U000e007f",
)
_INVISIBLE = re.compile(
    rf"({'|'.join(_JOINERS)})"
    "|[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u00ad\U000e0000-\U000e007f]"
)
"""Characters that show nothing. Those of the group belong to what is seen, and stay."""


def words(text: str) -> list[str]:
    """Return the words and numbers of a text, in order, as written."""
    return WORD.findall(text)


def folded_words(text: str) -> list[str]:
    """Return the words of a text as they are compared: in order, case and apostrophes unified."""
    return words(text.casefold().replace("’", "'"))


def runs(sequence: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Return every run of ``size`` neighbouring words, in order."""
    return list(zip(*(sequence[i:] for i in range(size)), strict=False))


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; a paragraph break always ends one."""
    parts: list[str] = []
    for paragraph in paragraphs(text):
        first = len(parts)
        for part in _splitter().tokenize(paragraph):
            if len(parts) > first and part[0].isdigit() and _BEFORE_A_NUMBER.search(parts[-1]):
                parts[-1] = f"{parts[-1]} {part}"
            else:
                parts += _MISSED_END.split(part) if any(sign in part for sign in _MAY_MISS) else [part]
    return parts


@functools.cache
def _splitter() -> Any:
    from nupunkt import PunktParameters, PunktSentenceTokenizer, load

    lines = editorial.read_text("abbreviations.txt").splitlines()
    abbreviations = {word for line in lines if not line.startswith("#") for word in line.split()}
    # The library's own 5,865 abbreviations come from scanned law reports. With them no sentence ended after "so" or
    # "ten": 60 ends were missed in the 800 texts of tests/corpora. Its list of sentence openings is sound.
    stock = load("default").parameters
    rates = {word: counts for word, counts in stock.abbrev_break_rates.items() if word in abbreviations}
    parameters = PunktParameters(abbreviations, set(), set(stock.sent_starters), abbrev_break_rates=rates)
    return PunktSentenceTokenizer(parameters, include_common_abbrevs=False)


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text, each with its inner line breaks folded to spaces."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def clean(text: str) -> str:
    """Return a text in NFC without control, direction-changing and zero-width characters.

    Line breaks stay, and so do the characters that join emoji or letters.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text if text.isascii() else _INVISIBLE.sub(lambda match: match[1] or "", unicodedata.normalize("NFC", text))
    if not text.replace("\n", "").replace("\t", "").isprintable():
        text = "".join(char for char in text if _stays(char))
    return text.strip()


def _stays(char: str) -> bool:
    """Whether a character is kept of a text whose needless joiners and tags are gone already."""
    joins = char in "\u200c\u200d" or "\U000e0020" <= char <= "\U000e007f"
    return joins or char in "\n\t" or unicodedata.category(char)[0] != "C"


def unescaped(text: str) -> str:
    """Return the text with its HTML entities resolved, also those that were escaped several times, and plain spaces.

    An ampersand without a semicolon stays, as in the address of a page.
    """
    for _ in range(_MOST_ESCAPES if "&" in text else 0):
        before, text = text, _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
        if text == before:
            break
    return text if text.isascii() else _SPACE.sub(" ", text)


@functools.cache
def _grapheme() -> Any:
    import regex

    return regex.compile(r"\X")


def graphemes(text: str) -> list[str]:
    """Return the characters that a reader sees, however many code points each has (Unicode's annex 29)."""
    return list(text) if text.isascii() else _grapheme().findall(text)


def head(text: str, limit: int) -> str:
    """Return the beginning of a text in at most ``limit`` code points; no visible character is cut in two."""
    if len(text) <= limit or text.isascii():
        return text[:limit]
    # One code point more is looked at, since it may join what stands before it.
    ends = (match.end() for match in _grapheme().finditer(text[: limit + 1]))
    whole = max(takewhile(lambda end: end <= limit, ends), default=0)
    return text[: whole or limit]


def tail(text: str, limit: int) -> str:
    """Return the end of a text in at most ``limit`` code points; no visible character is cut in two."""
    kept = text[-limit:]
    if len(text) <= limit or kept.isascii():
        return kept
    parts = graphemes(text[-2 * limit :])
    while len(parts) > 1 and sum(map(len, parts)) > limit:
        del parts[0]
    return "".join(parts)[-limit:]


def fold(text: str) -> str:
    """Return the form in which two texts count as the same wording: quote marks, dashes and space unified."""
    return " ".join(text.translate(TYPOGRAPHY).split()).casefold()


def cut(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` characters, ended at a word with an ellipsis where it was cut."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    return head(text, limit - 1).rsplit(" ", 1)[0].rstrip(" ,;:-–—(") + "…"


def slugify(text: str, limit: int = 60) -> str:
    """Return the text as lower-case ASCII words joined by hyphens, at most ``limit`` characters; never empty."""
    from slugify import slugify as make_slug

    slug = make_slug(
        text,
        max_length=limit,
        word_boundary=True,
        save_order=True,
        replacements=(("'", ""), ("’", "")),  # "don't" would become "don-t"
        replacement_stage="pre",
        entities=False,
        decimal=False,
        hexadecimal=False,
        backend="anyascii",
        algorithm="modern",
    )
    return slug or "story"


def printable(text: str) -> str:
    r"""A name that others chose, safe to print: what is no visible character is written as an escape.

    Control characters, marks that turn the direction of writing, line ends, and bytes that are no UTF-8 (which Python
    holds as lone surrogates) show as ``\x1b``, ``\u202e``, ``\n`` and ``\xff``.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    return (
        f"\\x{code - 0xDC00:02x}"
        if 0xDC80 <= code <= 0xDCFF
        else char.encode("unicode_escape", "backslashreplace").decode()
    )
