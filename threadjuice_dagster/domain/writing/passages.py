"""Finds what of a post or comment may be printed as it stands: whole, plain, decent English sentences, in order.

Text comes from strangers: markup, links, instructions, boilerplate and noise are left out, never repaired.
Which of the sentences a story uses belongs in ``domain/writing/selection.py``.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from threadjuice_dagster.domain.language.lexicon import alternatives, lexicon, phrases
from threadjuice_dagster.domain.language.prose import subjects
from threadjuice_dagster.domain.language.text import sentences, words

MAX_SENTENCE = 70
"""Words; a longer sentence is a list or a rant without full stops and cannot be cut without rewriting."""

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_DROPPED_LINE = re.compile(
    r"\s{0,3}(?:>(?!!)|#{1,6}\s|\|)|(?: {4}|\t)(?!\s*(?:[-*+•]|\d{1,2}[.)])\s)|\s*(?:[-*_=]\s?){3,}$"
)
_LIST_MARK = re.compile(r"\s*(?:[-*+•]|\(?\d{1,2}[.)])\s+")
_EMPHASIS = re.compile(r"(?<![\w*_~\\])(\*{1,3}|_{1,3})(?=[^\s*_~])([^*_~\n]*[^\s*_~])\1(?![\w*_~])")
_NESTED = 3
_MARKS = (
    (re.compile(r">!(?=\S)([^\n]*?\S)!<"), r"\1"),
    (
        re.compile(
            r"(?<![!\\])\[(?!(?:here|this|link|source|proof|pic\w*|photos?|images?|videos?|imgur|album)\])([^\[\]\n]{2,200})\]"
            r"\((?:https?://|www\.|/)[^\s()]{1,500}(?: \"[^\"\n]{0,200}\")?\)",
            re.IGNORECASE,
        ),
        r"\1",
    ),
    (re.compile(r"(?<=\d)\^(?=(?:st|nd|rd|th)\b)|(?<!\S)\^+(?=[\w(])"), ""),
    (re.compile(r"\\(?=[^\w\s])"), ""),
)
"""Spoilers, links that say something without their address, raised words, escapes: the wording alone is left."""

_MARKED = re.compile(r"[*_\[\\^>]")
_ENDED = re.compile(r"[.!?…][\"'”’)\]]*$")
_ASIDE = re.compile(r"[\W_]*(?:(?:edit(?:ed|s)?|eta)\b[\s#\d]*[:\-–—.)]|tl\s*[;:,]?\s*dr)", re.IGNORECASE)
_UPDATE = re.compile(r"[\W_]*(?:\w+\s+)?update\b[\s#\d]*(?:[:\-–—.!)*_]+\s*|$)", re.IGNORECASE)

_UNPRINTABLE = re.compile(
    r"""[<>{}\[\]|\\^_*=`\#@] | ~(?!\s?\d) | &\#?\w+; | (?<!\S)\S{31,} | (?<![\d.,])(?:\d[\s().-]?){9,} | [!?]{3,}
      | \.{5,} | ([^\W\d_])\1{3,}
      | (?<=\w)\.(?:com|org|net|io|edu|gov|co|uk|me|info|biz|ly|gg|tv|app|xyz|ru|de|fr|eu|top|shop|site|online)\b
      | \b(?:another\ user\b | [ur]/\w | https?: | www\. | javascript: | data:\w+/)""",
    re.VERBOSE,
)
_EDIT = re.compile(r"^\W{0,9}(?:edit|eta)\b")

_FEWEST_TOLD = 8
"""Words from which a text's language is told; below, guesses are no better than chance."""

_CLEARLY = 25.0
"""By how much another language has to be likelier than English, in natural logarithms.

Measured: 59 and more for sentences of nine words in twelve languages, 13 at most for English headlines full of names.
"""


class Sentence(NamedTuple):
    """A printable sentence of ``size`` words; ``keys`` are the stems of its subject words.

    ``place`` counts all sentences of the text, so what was left out shows as a gap.
    """

    text: str
    place: int
    paragraph: int
    size: int
    keys: frozenset[str]


class Account(NamedTuple):
    """A text's printable sentences: its main part, and what was added to it under an "update" label."""

    main: tuple[Sentence, ...]
    update: tuple[Sentence, ...]


def account(body: str) -> Account:
    """Return the printable sentences of a post or comment, without edits, summaries and what follows a late edit."""
    blocks = list(_blocks(body))
    main: list[str] = []
    update: list[str] = []
    target, dropping = main, False
    for place, block in enumerate(blocks):
        if label := _UPDATE.match(block):
            rest = block[label.end() :]
            target, dropping, block = update, False, block if rest[:1].islower() else rest
        elif _ASIDE.match(block):
            # At the top of a post an edit is a remark, and the story follows; at the foot, only remarks follow.
            dropping, block = 2 * place >= len(blocks), ""
        target.append("" if dropping else block)
    return Account(_printable(main), _printable(update))


def is_english(text: str) -> bool:
    """Whether a text is not clearly in another language; one of a few words is let pass, capitals decide nothing."""
    from py3langid import rank

    if len(words(text)) < _FEWEST_TOLD:
        return True
    likely = dict(rank(text.lower()))
    return max(likely.values()) - likely["en"] < _CLEARLY


def is_printable(text: str) -> bool:
    """Whether one sentence may be printed: plain, decent, no link, no instruction, no talk about posting."""
    small = text.lower()
    return not (any(pattern.search(small) for pattern in _refused()) or _is_noise(text))


@cache
def _refused() -> tuple[re.Pattern[str], ...]:
    # They are searched in lower-case text, which is twice as fast as ignoring case.
    return _UNPRINTABLE, phrases("profane"), _instruction(), phrases("boilerplate"), _EDIT


@cache
def _instruction() -> re.Pattern[str]:
    """What gives a machine orders: anywhere in a text, and at the start of a line or sentence."""
    anywhere, at_start = alternatives("instruction"), alternatives("instruction_at_start")
    return re.compile(rf"(?<!\w)(?:{anywhere})(?!\w)|(?:^|[.!?:]\s)\W{{0,9}}(?:{at_start})", re.MULTILINE)


def is_hostile(text: str) -> bool:
    """Whether a text as a whole tries to give orders to a machine; none of it is then quoted."""
    return bool(_instruction().search(text.lower()))


def is_dangling(text: str) -> bool:
    """Whether a sentence starts with a word that points back to the one before it."""
    first_words = words(text[:40])
    return bool(first_words) and re.split("['’]", first_words[0].lower())[0] in lexicon().pointing_back


def without_emphasis(text: str) -> str:
    """Return the text without paired Markdown emphasis. Text that is struck out stays marked."""
    for _ in range(_NESTED):
        text, count = _EMPHASIS.subn(r"\2", text)
        if not count:
            break
    return text


def without_marks(line: str) -> str:
    """Return a line without the Markdown that a reader does not see."""
    if not _MARKED.search(line):
        return line
    line = without_emphasis(line)
    for pattern, words_alone in _MARKS:
        line = pattern.sub(words_alone, line)
    return line


def is_balanced(text: str) -> bool:
    """Whether every double quotation mark and bracket that opens in the text also closes in it."""
    pairs = (("“", "”"), ("(", ")"))
    return text.count('"') % 2 == 0 and all(text.count(left) == text.count(right) for left, right in pairs)


def _is_noise(text: str) -> bool:
    """Whether a text is shouted, mostly signs, figures or foreign letters, or leaves a quotation open."""
    visible, letters = len(text) - text.count(" "), sum(map(str.isalpha, text))
    signs = visible - sum(map(str.isalnum, text))
    foreign = not text.isascii() and 2 * sum(char.isascii() and char.isalpha() for char in text) < letters
    shouted = letters > 11 and sum(map(str.isupper, text)) > 0.5 * letters
    return foreign or shouted or letters < 0.5 * visible or signs > 0.3 * visible or not is_balanced(text)


def _blocks(body: str) -> Iterator[str]:
    """Paragraphs and list items; a dropped line (quote, heading, table, code) gives an empty block."""
    lines: list[str] = []
    for raw in _FENCE.sub("\n\n", body).split("\n"):
        line = without_marks(raw)
        dropped, mark = _DROPPED_LINE.match(line), _LIST_MARK.match(line)
        if lines and (dropped or mark or not line.strip() or _ENDED.search(lines[-1])):
            yield " ".join(lines)
            lines = []
        if dropped:
            yield ""
        elif line.strip():
            lines.append(line[mark.end() if mark else 0 :].strip())
    yield " ".join(lines)


def _printable(blocks: Iterable[str]) -> tuple[Sentence, ...]:
    kept: dict[str, Sentence] = {}
    place, printed = 0, 0
    for paragraph, block in enumerate(blocks):
        place += not block
        for text in _whole(sentences(block)):
            place += 1
            size = len(words(text))
            # A last line without a full stop is common and fine; a short one is a heading or a signature.
            ended = _ENDED.search(text) or (size >= 6 and text[-1].isalnum())
            # What points at a sentence that was left out has lost its meaning.
            connected = printed == place - 1 or not is_dangling(text)
            if ended and connected and 0 < size <= MAX_SENTENCE and is_printable(text):
                printed, sentence = place, Sentence(text, place, paragraph, size, frozenset(subjects(words(text))))
                # A short one may well come back ("Nothing."); a long one that does was pasted.
                kept.setdefault(text if size > 4 else f"{place}", sentence)
    return tuple(kept.values())


def _whole(parts: list[str]) -> Iterator[str]:
    """Sentences with dialogue or brackets that span several joined again, up to four."""
    held: list[str] = []
    for part in parts:
        held.append(part)
        if is_balanced(" ".join(held)) or len(held) == 4:
            yield from [" ".join(held)] if is_balanced(" ".join(held)) else held
            held = []
    yield from held
