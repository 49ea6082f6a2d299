"""What in a post or comment may be printed as it stands: whole, plain, decent, English sentences in order.

Text comes from strangers: markup, links, instructions, boilerplate and noise are left out, never repaired.
Which of the sentences a story uses belongs in ``domain/selection.py``.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from threadjuice_dagster.domain.prose import subjects
from threadjuice_dagster.domain.text import fold, sentences, words

MAX_SENTENCE = 70
"""Words; a longer sentence is a list or a rant without full stops and cannot be cut without rewriting."""

_LONG_COMMENT = 5_000
"""Characters after which no further paragraph of a comment is looked at."""

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_DROPPED_LINE = re.compile(r"\s{0,3}(?:>|#{1,6}\s|\|)|(?: {4}|\t)(?!\s*(?:[-*+•]|\d{1,2}[.)])\s)|\s*(?:[-*_=]\s?){3,}$")
_LIST_MARK = re.compile(r"\s*(?:[-*+•]|\(?\d{1,2}[.)])\s+")
_EMPHASIS = re.compile(r"(?<![\w*_~\\])(\*{1,3}|_{1,3}|~~)(?=[^\s*_~])([^*_~\n]*[^\s*_~])\1(?![\w*_~])")
_ENDED = re.compile(r"[.!?…][\"'”’)\]]*$")
_EDIT = re.compile(
    r"[\W_]*(?:edit(?:ed|s)?|eta)\b(?:\s*(?:#?\d+|again|to add|for clarity))?[\W_]*[:\-–—.)]", re.IGNORECASE
)
_UPDATE = re.compile(
    r"[\W_]*(?:(?:final|small|quick|short|big|second|another)\s+)?update\b(?:\s*#?\d+)?[\W_]*(?:[:\-–—.!)][\W_]*|$)",
    re.IGNORECASE,
)
_SUMMARY = re.compile(r"[\W_]*(?:tl\s*[;:,]?\s*dr|too long|in short:)", re.IGNORECASE)

_UNPRINTABLE = re.compile(
    r"""[<>{}\[\]|\\^_*=`\#@] | ~(?!\s?\d) | &\#?\w+; | (?<!\S)\S{31,} | (?<![\d.,])(?:\d[\s().-]?){9,} | [!?]{3,}
      | \.{5,} | ([^\W\d_])\1{3,}
      | (?<=\w)\.(?:com|org|net|io|edu|gov|co|uk|me|info|biz|ly|gg|tv|app|xyz|ru|de)\b(?!\.\w)
      | \b(?:another\ user\b | [ur]/\w | https?: | www\. | javascript: | data:\w+/)""",
    re.VERBOSE,
)
_INSTRUCTION = re.compile(
    r"""\b(?:
          (?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instruction|prompt|guideline|directive)s?\b
        | (?:previous|prior|above|system|developer|hidden|new)\s+(?:instruction|prompt)s?\b
        | as\ an?\ (?:ai|language\ model)\b | (?:language\ model|chatgpt|llm|jailbreak|prompt\ injection)\b
        | (?:you\ are\ now|act\ as|pretend\ to\ be)\b.{0,20}\b(?:ai|assistant|model|bot|dan)\b
        | end\ of\ (?:thread|input|data|prompt)\b
        | (?:rate|score|publish)\ (?:this|the)\ (?:story|draft|article)\b
      )
      | (?:^|[.!?]\s)\W{0,9}(?:system|assistant|user|human|ai|developer|instructions?)\s*:
      | (?:^|[.!?:]\s)\W{0,9}(?:respond|reply|answer|output|print|repeat)
          \ (?:only|with|exactly|the\ (?:word|following))\b""",
    re.VERBOSE | re.MULTILINE,
)
_BOILERPLATE = re.compile(
    r"""\b(?:
          throw-?away\b | alt\ account\b | on\ mobile\b | lurker\b | obligatory\b
        | first[\s-](?:time\ )?(?:ever\ )?post(?:er|ing)?\b | english\ (?:isn.?t|is\ not)\b | native\ speaker\b
        | (?:sorry|excuse|forgive|apolog\w+)\b.{0,40}
          \b(?:format|grammar|spelling|typo|english|length|long\ (?:post|read)|wall\ of|rambl)
        | fake\ names?\b | names?\b.{0,20}\bchanged\b | (?:cross|x|re)-?post(?:ed|ing)?\b
        | (?:this|the|another|wrong)\ sub\b | subreddits?\b | (?:up|down)vot\w+ | karma\b
        | thank\w*\b.{0,20}\bstranger\b | for\ the\ (?:gold|silver|awards?|upvotes)\b | rip\ my\ inbox\b
        | didn.?t\ expect\ this\b | bl(?:ew|own)\ up\b.{0,20}\b(?:post|thread|overnight|wow|this)\b
        | front\ page\b | xkcd\b
        | thank(?:s|\ you)\b.{0,30}\b(?:comments?|repl(?:y|ies)|responses?|award|reading|advice|input)\b
        | (?:username|flair)\b | i(?:.?m|\ am)\ a\ bot\b | performed\ automatically\b | mod(?:erator)?s\b
        | (?:this|the)\ comment\b | op\b.{0,20}\b(?:fake|troll|bot)\b | (?:fake|made-?up)\ (?:post|story)\b
        | title\ (?:says|is|pretty)\b
      )
      | ^\W{0,9}(?:edit|eta)\b""",
    re.VERBOSE,
)
_PROFANE = re.compile(
    r"fuck|shit(?!ak)|\b(?:cunt\w*|bitch\w*|ass-?holes?|bastards?|dick(?:head)?s?|cocks?(?:ucker)?|pussy|whore\w*|"
    r"slut\w*|wank\w*|twat\w*|bollocks|retard\w*|fag\w*|nigg\w*|spic|kike|tranny|rape\w*|raping|porn\w*|kys)\b",
)
_REFUSED = (_UNPRINTABLE, _PROFANE, _INSTRUCTION, _BOILERPLATE)
"""Searched in lower-case text, which is twice as fast as ignoring case."""

_COMMONEST = """
the a an and or but so to of in on at for with from by about as is are was were be been am have has had do does did not
no i you he she it we they me him her us them my your his its our their this that these those there what who when where
how why if then than can could would should will just all one out up get got go know think like said don't didn't i'm
it's that's because which into over more some any never always every
"""
_ENGLISH = frozenset(_COMMONEST.split())
_MIN_ENGLISH = 0.2
"""Share of running words that are among the commonest English ones: English text has 0.4 to 0.6, German 0.05."""


class Sentence(NamedTuple):
    """A printable sentence. ``place`` counts all sentences of the text, so neighbours have consecutive places."""

    text: str
    place: int
    paragraph: int
    size: int
    keys: frozenset[str]


class Account(NamedTuple):
    """A post's printable sentences: what happened, and what was added under an "update" label."""

    told: tuple[Sentence, ...]
    update: tuple[Sentence, ...]


def account(body: str) -> Account:
    """The printable sentences of a post; edits, summaries and everything after a late edit are left out."""
    blocks, told, update = list(_blocks(body)), list[str](), list[str]()
    target, dropping, passed, total = told, False, 0, sum(map(len, blocks))
    for block in blocks:
        passed += len(block)
        label = _UPDATE.match(block)
        if label:
            rest = block[label.end() :]
            target, dropping, block = update, False, block if rest[:1].islower() else rest
        elif _EDIT.match(block) or _SUMMARY.match(block):
            # At the top of a post an edit is a remark, and the story follows; at the foot, only remarks follow.
            dropping = 2 * passed >= total
            block = ""
        target.append("" if dropping else block)
    return Account(_printable(told), _printable(update))


def passage(body: str) -> tuple[Sentence, ...]:
    """The printable sentences of a comment, up to its first edit or summary."""
    kept: list[str] = []
    room = _LONG_COMMENT
    for block in _blocks(body):
        if _EDIT.match(block) or _SUMMARY.match(block) or room < 0:
            break
        kept.append(block)
        room -= len(block)
    return _printable(kept)


def runs(found: Iterable[Sentence]) -> list[list[Sentence]]:
    """The sentences in unbroken runs: within one, each follows the one before it in the source."""
    grouped: list[list[Sentence]] = []
    for sentence in found:
        if grouped and sentence.place == grouped[-1][-1].place + 1:
            grouped[-1].append(sentence)
        else:
            grouped.append([sentence])
    return grouped


def is_english(text: str) -> bool:
    """Whether running text reads as English by the share of its commonest words; short text is let pass."""
    found = [word.casefold().replace("’", "'") for word in words(text)]
    return len(found) < 8 or sum(word in _ENGLISH for word in found) / len(found) >= _MIN_ENGLISH


def is_printable(text: str) -> bool:
    """Whether one sentence may be printed: plain, decent, no link, no instruction, no talk about posting."""
    small = text.lower()
    return not (any(pattern.search(small) for pattern in _REFUSED) or _is_noise(text))


def is_hostile(text: str) -> bool:
    """Whether a text as a whole tries to give orders to a machine; none of it is then quoted."""
    return bool(_INSTRUCTION.search(text.lower()))


def without_emphasis(text: str) -> str:
    """The text without paired Markdown emphasis; its words stay as they are."""
    return _EMPHASIS.sub(r"\2", text)


def _is_noise(text: str) -> bool:
    """Whether a text is shouted, mostly signs, figures or foreign letters, or leaves a quotation open."""
    visible, letters = len(text) - text.count(" "), sum(map(str.isalpha, text))
    signs = visible - sum(map(str.isalnum, text))
    foreign = not text.isascii() and 2 * sum(char.isascii() and char.isalpha() for char in text) < letters
    shouted = letters > 11 and sum(map(str.isupper, text)) > 0.5 * letters
    return foreign or shouted or letters < 0.5 * visible or signs > 0.3 * visible or not balanced(text)


def balanced(text: str) -> bool:
    """Whether every double quotation mark and bracket that opens in the text also closes in it."""
    pairs = (("“", "”"), ("(", ")"))
    return text.count('"') % 2 == 0 and all(text.count(left) == text.count(right) for left, right in pairs)


def _blocks(body: str) -> Iterator[str]:
    """Paragraphs and list items; a dropped line (quote, heading, table, code) leaves an empty block."""
    lines: list[str] = []
    for raw in _FENCE.sub("\n\n", body).split("\n"):
        line = without_emphasis(raw)
        if not line.strip() or _DROPPED_LINE.match(line):
            yield " ".join(lines)
            lines = []
            if line.strip():
                yield ""
            continue
        mark = _LIST_MARK.match(line)
        if lines and (mark or _ENDED.search(lines[-1])):
            yield " ".join(lines)
            lines = []
        lines.append((line[mark.end() :] if mark else line).strip())
    yield " ".join(lines)


def _printable(blocks: Iterable[str]) -> tuple[Sentence, ...]:
    found: dict[str, Sentence] = {}
    place = 0
    for paragraph, block in enumerate(blocks):
        place += not block
        for text in _whole(sentences(block)):
            place += 1
            size = len(words(text))
            if 0 < size <= MAX_SENTENCE and _is_sentence(text, size) and is_printable(text):
                sentence = Sentence(text, place, paragraph, size, frozenset(subjects(words(text))))
                # A short one may well come back ("Nothing."); a long one that does was pasted.
                found.setdefault(text if size > 4 else f"{place}", sentence)
    return tuple(found.values())


def _is_sentence(text: str, size: int) -> bool:
    # A last line without a full stop is common and fine; a short one is a heading or a signature.
    return bool(_ENDED.search(text)) or (size >= 6 and text[-1].isalnum())


def _whole(parts: list[str]) -> Iterator[str]:
    """Sentences with dialogue or brackets that span several joined again, up to four."""
    held: list[str] = []
    for part in parts:
        held.append(part)
        if balanced(" ".join(held)) or len(held) == 4:
            yield from [" ".join(held)] if balanced(" ".join(held)) else held
            held = []
    yield from held


def stands_in(text: str, source: str) -> bool:
    """Whether the text stands word for word in the source, marks and spacing aside."""
    return fold(text) in fold(source)
