"""Exact wording: whether somebody's words stand in a text, and from which character to which.

Nothing here is fuzzy. Typography (quote marks, dashes, ellipses, spacing, case) and Markdown marks are unified before
comparing; a changed word is changed wording. What that means for a story belongs in ``domain/judging/grounding.py``.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator

from threadjuice_dagster.domain.language.text import TYPOGRAPHY, words

MIN_QUOTE_WORDS = 2

_STEPS: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (re.compile(r"&(?:\#\d+;? | \#x[\da-f]+;? | [^\t\n\f\ <&\#;]{1,32};?)", re.VERBOSE | re.IGNORECASE), html.unescape),
    (
        re.compile(
            r"""^[ \t]*(?:>!?[ \t]*)+ | ^[ ]{0,3}\#{1,6}[ ]+ | ^[ \t]*[*+][ ]+ | >!(?=\S) | !< | \\(?=[^\w\s])
              | \]\(\S*?(?:[ ]"[^"]*")?\) | [*_~\[\]^]""",
            re.MULTILINE | re.VERBOSE,
        ),
        lambda marks: "",
    ),
    (re.compile(r"^\s+|\s+$|[^\S ]\s*| \s+"), lambda space: " "),
    (re.compile(r"[A-Z]+|[^\x00-\x7f]+"), lambda run: run.translate(TYPOGRAPHY).casefold()),
    (re.compile(r"\s*(?:\.{2,}|\.(?: \.){2,}|-+)\s*"), lambda joint: "..." if "." in joint else "-"),
)
"""What is unified, in order; markup at the start of a line goes while there are lines."""

_EDGES = " \t.,;:!?-'\"()"
_SPANS = re.compile(
    r"""“([^“”]+)(?:”|$) | (?<![\w"])"(?=\S)([^"]+?)(?<=\S)"(?!\w) | «([^«»]+)» | „([^„“”]+)[“”]
      | (?<!\w)‘((?:[^‘’]|(?<=\w)’(?=\w))+)’(?!\w)""",
    re.VERBOSE,
)


def plain(text: str) -> str:
    """Return the wording of a text: typography and case unified, Markdown marks and entities resolved."""
    for pattern, change in _STEPS:
        text = pattern.sub(lambda match, change=change: change(match.group()), text)  # type: ignore[misc]
    return text.strip()


def stands(quote: str, sources: Iterable[str]) -> bool:
    """Whether a quote stands in one of the sources, all of them ``plain``."""
    return any(_find(quote, source) for source in sources)


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Return the characters of ``text`` between which the wording of ``quote`` stands, or None.

    An elided quote reaches from its first part to its last.
    """
    traced, origins = _traced(text)
    span = _find(plain(quote), traced)
    return (origins[span[0]][0], origins[span[1] - 1][1]) if span else None


def quoted_spans(text: str) -> Iterator[re.Match[str]]:
    """Yield a match for each text in quotation marks, paragraph by paragraph; double, low, angle or curly single."""
    for paragraph in re.finditer(r"[^\n]+", text):
        yield from _SPANS.finditer(text, paragraph.start(), paragraph.end())


def _find(quote: str, source: str) -> tuple[int, int] | None:
    """Where a quote stands in a source, both ``plain``.

    An ellipsis inside the quote may stand for left-out words when the parts around it, of two words or
    more each, follow one another in the source.
    """
    whole = quote.strip(_EDGES)
    span = _in_order([whole], source)
    if not span and "..." in whole:
        parts = [part.strip(_EDGES) for part in whole.split("...")]
        span = _in_order(parts, source) if all(len(words(part)) >= MIN_QUOTE_WORDS for part in parts) else None
    if not span:
        return None
    start, end = span
    before, _, after = quote.partition(whole)
    while before and source.endswith(before[-1], 0, start):
        before, start = before[:-1], start - 1
    while after and source.startswith(after[0], end):
        after, end = after[1:], end + 1
    return start, end


def _in_order(parts: list[str], source: str) -> tuple[int, int] | None:
    """Where the parts follow one another in the source, none of them cut out of a word."""
    first, position = -1, 0
    for part in parts:
        if not part or part not in source:
            return None
        match = re.compile(rf"(?<!\w){re.escape(part)}(?!\w)").search(source, position)
        if not match:
            return None
        first, position = match.start() if first < 0 else first, match.end()
    return first, position


def _traced(text: str) -> tuple[str, list[tuple[int, int]]]:
    """``plain`` of a text, but for space at its ends, and for every character of it where it was in the text."""
    origins = [(place, place + 1) for place in range(len(text))]
    for pattern, change in _STEPS:
        parts: list[str] = []
        moved: list[tuple[int, int]] = []
        last = 0
        for match in pattern.finditer(text):
            (start, end), new = match.span(), change(match.group())
            parts += [text[last:start], new]
            moved += origins[last:start]
            same = len(new) == end - start
            moved += origins[start:end] if same else [(origins[start][0], origins[end - 1][1])] * len(new)
            last = end
        text, origins = "".join((*parts, text[last:])), moved + origins[last:]
    return text, origins
