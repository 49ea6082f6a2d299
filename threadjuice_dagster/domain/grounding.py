"""Whether a draft's quotes stand in its thread: exact words, the right comment, no added links.

Nothing here is fuzzy. Typography (quote marks, dashes, ellipses, spacing, case) and Markdown marks are
unified before comparing; a changed word is a changed quote. How much was copied belongs in
``domain/originality.py``, how good the text is in ``domain/quality.py``.
"""

import re
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from threadjuice_dagster.domain.stories import Draft, Quote
from threadjuice_dagster.domain.text import cut, paragraphs, sentences, words
from threadjuice_dagster.domain.threads import Thread

MIN_QUOTE_WORDS = 2
MIN_SPAN_WORDS = 4
"""Quoted spans shorter than this are titles, irony and single terms, not somebody's words."""

_ONE_TO_ONE = str.maketrans(
    {**dict.fromkeys("“”„‟«»″", '"'), **dict.fromkeys("‘’‚‛`´′", "'"), **dict.fromkeys("‑−", "-")}
)
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "#39": "'", "nbsp": " ", "#x200b": ""}
_MARKS = re.compile(
    r"""(?P<drop>^[ \t]*(?:(?:>|&gt;)!?[ \t]*)+ | ^[ ]{0,3}\#{1,6}[ ]+ | ^[ \t]*[*+][ ]+ | !< | \\(?=[^\w\s])
        | \]\(\S*?(?:[ ]"[^"]*")?\) | [*_~\[\]^])
      | &(?P<entity>amp|lt|gt|quot|\#39|nbsp|\#x200b);
      | (?P<dots>\s*\[?(?:…|\.{2,}|\.(?:[ ]\.){2,})\]?\s*)
      | (?P<dash>\s*(?:--+|[–—])\s*|\s+-\s+|-)
      | (?P<space>\s+)""",
    re.MULTILINE | re.VERBOSE | re.IGNORECASE,
)
_EDGES = " \t.,;:!?…-'\"()"
_SPANS = re.compile(
    r"""“([^“”]+)(?:”|$) | (?<![\w"])"(?=\S)([^"]+?)(?<=\S)"(?!\w) | «([^«»]+)» | „([^„“”]+)[“”]
      | (?<!\w)‘((?:[^‘’]|(?<=\w)’(?=\w))+)’(?!\w)""",
    re.VERBOSE,
)
_USERNAME = re.compile(r"(?<![\w/.])/?u/[A-Za-z0-9_-]{3,20}\b", re.IGNORECASE)
_TLD = "com|net|org|info|biz|io|xyz|app|ru|top|shop|site|online|co\\.uk|de|fr|eu|ly"
_URL = re.compile(
    rf"(?:https?|ftp)://[^\s<>\"“”)\]]+|\bwww\.[^\s<>\"“”)\]]+|\b(?:[a-z0-9-]+\.)+(?:{_TLD})\b(?:/[^\s<>\"“”)\]]*)?",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"<\s*/?\s*[a-zA-Z][^<>]*>|!?\[[^\]\n]*\]\([^)\n]*\)|\bjavascript:", re.IGNORECASE)
_NUMBER = re.compile(r"(?:[$£€¥]\s?)?\d[\d.,]*(?:\s?(?:%|per cent|percent|[a-z]+))?", re.IGNORECASE)
_UNIT_WORDS = (
    "% per percent k m bn million billion thousand hundred dollars pounds euros bucks quid cents pence km miles mile "
    "metres meters feet kg lbs grams hours hour minutes days weeks months years people times"
)
_NAME = re.compile(r"(?<=[\w,;:’'”\"] )[A-Z][a-zé]+(?:[-’'][A-Z]?[a-z]+)?(?: [A-Z][a-zé]+)*")
_CALENDAR_AND_TITLES = (
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august "
    "september october november december reddit english god mr mrs ms dr"
)
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)


class QuoteFinding(BaseModel):
    """What became of one quote. ``offset`` counts characters into the comment's body, None if not found."""

    model_config = ConfigDict(frozen=True)

    text: str
    comment_id: str
    found: bool
    offset: int | None = None
    message: str = ""


class Grounding(BaseModel):
    """A draft held against its thread. ``unsupported`` informs and never refuses; ``problems`` refuse."""

    model_config = ConfigDict(frozen=True)

    quotes: tuple[QuoteFinding, ...] = ()
    problems: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every quote, excerpt, quoted span and link stands in the thread."""
        return not self.problems


def ground(draft: Draft, thread: Thread) -> Grounding:
    """Hold every quote, excerpt, quoted span, link, number and name of a draft against its thread."""
    sources = {comment.id: plain(comment.body) for comment in thread.comments}
    everywhere = (plain(thread.title), plain(thread.body), *sources.values())
    quotes = tuple(_find_quote(quote, thread, sources) for quote in draft.quotes)
    return Grounding(
        quotes=quotes,
        problems=(
            *(finding.message for finding in quotes if not finding.found),
            *_bad_excerpts(draft, everywhere),
            *_bad_spans(draft, everywhere),
            *_added_links(draft, thread),
        ),
        unsupported=tuple(_unsupported(draft, thread)),
    )


def plain(text: str) -> str:
    """The wording of a text: typography and case unified, Markdown marks and entities resolved."""
    return "".join(piece for piece, _ in _pieces(text)).strip()


def locate(quote: str, source: str) -> int | None:
    """Where a quote stands in a source, both ``plain``: the position of its first character, or None.

    An ellipsis inside the quote may stand for left-out words when the parts around it, of two words or
    more each, follow one another in the source.
    """
    wanted = quote.strip(_EDGES)
    whole = _find_words(wanted, source, 0)
    if whole >= 0 or "..." not in wanted:
        return whole if whole >= 0 else None
    parts = [part.strip(_EDGES) for part in wanted.split("...")]
    first, position = None, 0
    for part in parts:
        position = _find_words(part, source, position) if len(words(part)) >= MIN_QUOTE_WORDS else -1
        if position < 0:
            return None
        first = position if first is None else first
        position += len(part)
    return first


def quoted_spans(text: str) -> Iterator[re.Match[str]]:
    """Matches of what stands between quotation marks, paragraph by paragraph; double, low, angle or curly single."""
    for paragraph in re.finditer(r"[^\n]+", text):
        yield from _SPANS.finditer(text, paragraph.start(), paragraph.end())


def span_text(match: re.Match[str]) -> str:
    """The words between the marks of a ``quoted_spans`` match."""
    return next(group for group in match.groups() if group is not None)


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """The plain form in pieces, each with the offset in ``text`` where it starts."""
    text, start = text.translate(_ONE_TO_ONE), 0
    for match in _MARKS.finditer(text):
        if match.start() > start:
            yield text[start : match.start()].casefold(), start
        yield _replacement(match), match.start()
        start = match.end()
    if start < len(text):
        yield text[start:].casefold(), start


def _replacement(match: re.Match[str]) -> str:
    if match.lastgroup == "entity":
        return _ENTITIES[match["entity"].lower()]
    return {"dots": "...", "dash": "-", "space": " "}.get(match.lastgroup or "", "")


def _offset(body: str, position: int) -> int:
    """The offset in ``body`` of a position in its plain form."""
    position += len(joined := "".join(piece for piece, _ in _pieces(body))) - len(joined.lstrip())
    passed = 0
    for piece, start in _pieces(body):
        if passed + len(piece) > position:
            return start + (position - passed)
        passed += len(piece)
    return len(body)


def _find_words(wanted: str, source: str, start: int) -> int:
    """``str.find`` that never matches inside a word; -1 for an empty ``wanted``."""
    position = source.find(wanted, start) if wanted else -1
    while position >= 0:
        end = position + len(wanted)
        joined_left = position > 0 and source[position - 1].isalnum() and wanted[0].isalnum()
        joined_right = end < len(source) and source[end].isalnum() and wanted[-1].isalnum()
        if not joined_left and not joined_right:
            return position
        position = source.find(wanted, position + 1)
    return -1


def _find_quote(quote: Quote, thread: Thread, sources: dict[str, str]) -> QuoteFinding:
    comment_id, wanted = quote.comment_id.removeprefix("t1_"), plain(quote.text)
    shown = f"Quote “{cut(quote.text, 80)}”"

    def missing(why: str) -> QuoteFinding:
        return QuoteFinding(text=quote.text, comment_id=comment_id, found=False, message=f"{shown} {why}")

    if len(words(quote.text)) < MIN_QUOTE_WORDS:
        return missing(f"is shorter than {MIN_QUOTE_WORDS} words; leave it out.")
    comment = thread.comment(comment_id)
    position = locate(wanted, sources[comment_id]) if comment else None
    if comment and position is not None:
        offset = _offset(comment.body, position)
        return QuoteFinding(text=quote.text, comment_id=comment_id, found=True, offset=offset)
    other = next((key for key, body in sources.items() if locate(wanted, body) is not None), None)
    if other:
        return missing(f"stands in comment {other}, not in {comment_id or 'an unnamed one'}; correct comment_id.")
    if not comment:
        return missing(f"names comment {comment_id or '(none)'}, which the thread does not have.")
    return missing(f"is not in comment {comment_id} word for word; quote it exactly or leave it out.")


def _bad_excerpts(draft: Draft, everywhere: tuple[str, ...]) -> Iterator[str]:
    for section in draft.sections:
        if section.kind != "excerpt":
            continue
        for sentence in sentences(section.text):
            wanted = plain(sentence)
            if wanted.strip(_EDGES) and not _stands(wanted, everywhere):
                yield f"Excerpt “{cut(sentence, 80)}” is not in the thread word for word; copy it exactly."


def _bad_spans(draft: Draft, everywhere: tuple[str, ...]) -> Iterator[str]:
    for match in quoted_spans(_own_words(draft)):
        span = span_text(match)
        if len(words(span)) >= MIN_SPAN_WORDS and not _stands(plain(span), everywhere):
            yield f"The text puts “{cut(span, 80)}” in quotation marks, but nobody in the thread wrote it."


def _stands(wanted: str, everywhere: tuple[str, ...]) -> bool:
    return any(locate(wanted, source) is not None for source in everywhere)


def _own_words(draft: Draft) -> str:
    headings = (section.heading for section in draft.sections)
    return "\n\n".join((draft.title, draft.dek, *headings, draft.narration))


def _added_links(draft: Draft, thread: Thread) -> Iterator[str]:
    told = _source_text(thread)
    known = {_address(url) for url in _URL.findall(f"{told} {thread.permalink}")}
    fields = (draft.seo_title, draft.seo_description, draft.alt_text, *draft.tags)
    text = "\n\n".join((_own_words(draft), draft.text, *(quote.text for quote in draft.quotes), *fields))
    for name in dict.fromkeys(_USERNAME.findall(text)):
        if name.lower() not in told.lower():
            yield f"The draft names the user {name}, who is not in the thread; leave user names out."
    for url in dict.fromkeys(_URL.findall(text)):
        if _address(url) not in known:
            yield f"The draft adds a link that is not in the thread: {cut(url, 80)}; leave it out."
    for markup in dict.fromkeys(_MARKUP.findall(text)):
        if markup not in told:
            yield f"The draft adds a link or markup: {cut(markup, 80)}; write plain text."


def _address(url: str) -> str:
    return re.sub(r"^(?:\w+://)?(?:www\.)?", "", url.lower()).rstrip("/.,;:!?'’*_")


def _source_text(thread: Thread) -> str:
    return "\n".join((thread.title, thread.body, *(comment.body for comment in thread.comments)))


def _unsupported(draft: Draft, thread: Thread) -> Iterator[str]:
    told = _source_text(thread)
    known = {word.casefold() for word in words(told)}
    numbers = {_figure(number) for number in re.findall(r"\d[\d.,]*", told)}
    numbers |= {str(value) for value, word in enumerate(_NUMBER_WORDS.split()) if word in known}
    numbers |= {str(thread.score), str(thread.num_comments), str(thread.created_at.year), str(thread.created_at.day)}
    numbers |= {str(comment.score) for comment in thread.comments}
    for match in dict.fromkeys(match.group().strip() for match in _NUMBER.finditer(draft.narration)):
        if _tells(match) and _figure(match) not in numbers:
            yield match
    for name in dict.fromkeys(match.group() for part in paragraphs(draft.narration) for match in _NAME.finditer(part)):
        parts = [part.casefold() for part in words(name)]
        if any(
            part not in known and part not in _CALENDAR_AND_TITLES.split() and part != thread.subreddit.casefold()
            for part in parts
        ):
            yield name


def _figure(text: str) -> str:
    return re.sub(r"[^\d.]", "", text).strip(".")


def _tells(number: str) -> bool:
    """Whether a number is a claim: two digits or more, or one with a currency or unit."""
    unit = re.sub(r"[\d.,\s]", "", number).lower()
    return len(re.sub(r"\D", "", number)) > 1 or unit in _UNIT_WORDS.split() or number[0] in "$£€¥"
