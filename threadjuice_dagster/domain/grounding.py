"""Whether a draft's quotes stand in its thread: exact words, the right comment, no added links.

Nothing here is fuzzy. Typography (quote marks, dashes, ellipses, spacing, case) and Markdown marks are
unified before comparing; a changed word is a changed quote. How much was copied belongs in
``domain/originality.py``, how good the text is in ``domain/quality.py``.
"""

import html
import re
from collections.abc import Iterable, Iterator

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.prose import names
from threadjuice_dagster.domain.stories import Draft, Quote
from threadjuice_dagster.domain.text import cut, fold, folded_words, sentences, words
from threadjuice_dagster.domain.threads import Thread

MIN_QUOTE_WORDS = 2
MIN_SPAN_WORDS = 4
"""Quoted spans shorter than this are titles, irony and single terms, not somebody's words."""

_MARKDOWN = re.compile(
    r"""^[ \t]*(?:>!?[ \t]*)+ | ^[ ]{0,3}\#{1,6}[ ]+ | ^[ \t]*[*+][ ]+ | !< | \\(?=[^\w\s])
      | \]\(\S*?(?:[ ]"[^"]*")?\) | [*_~\[\]^]""",
    re.MULTILINE | re.VERBOSE,
)
_JOINTS = re.compile(r"\s*(?:\.{2,}|\.(?: \.){2,}|-+)\s*")
_EDGES = " \t.,;:!?-'\"()"
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
_UNITS = (
    "%|per cent|percent|k|m|bn|million|billion|thousand|hundred|dollars|pounds|euros|bucks|quid|cents|pence|km|miles?"
    "|metres|meters|feet|kg|lbs|grams|hours?|minutes|days|weeks|months|years|people|times"
)
_CLAIM = re.compile(
    rf"(?:[$£€¥]\s?\d[\d.,]*|\d[\d.,]*\d)(?:\s?(?:{_UNITS})(?!\w))?|\d\s?(?:{_UNITS})(?!\w)", re.IGNORECASE
)
_CALENDAR_AND_TITLES = (
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august "
    "september october november december reddit english god mr mrs ms dr"
)
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)


class QuoteFinding(Model):
    """What became of one quote; ``message`` says what is wrong with one that was not found."""

    text: str
    comment_id: str
    found: bool
    message: str = ""


class Grounding(Model):
    """A draft held against its thread. ``unsupported`` informs and never refuses; ``problems`` refuse."""

    quotes: tuple[QuoteFinding, ...] = ()
    problems: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every quote, excerpt, quoted span and link stands in the thread."""
        return not self.problems


def ground(draft: Draft, thread: Thread) -> Grounding:
    """Hold every quote, excerpt, quoted span, link, number and name of a draft against its thread."""
    comments = {comment.id: plain(comment.body) for comment in thread.comments}
    everywhere = (plain(thread.title), plain(thread.body), *comments.values())
    quotes = tuple(_find_quote(quote, comments) for quote in draft.quotes)
    missing = (finding.message for finding in quotes if not finding.found)
    problems = (*missing, *_bad_excerpts(draft, everywhere), *_bad_spans(draft, everywhere), *_added(draft, thread))
    return Grounding(quotes=quotes, problems=problems, unsupported=tuple(_unsupported(draft, thread)))


def plain(text: str) -> str:
    """The wording of a text: typography and case unified, Markdown marks and entities resolved."""
    bare = fold(_MARKDOWN.sub("", html.unescape(text)))
    return _JOINTS.sub(lambda match: "..." if "." in match.group() else "-", bare)


def stands(quote: str, sources: Iterable[str]) -> bool:
    """Whether a quote stands in one of the sources, all of them ``plain``.

    An ellipsis inside the quote may stand for left-out words when the parts around it, of two words or
    more each, follow one another in the source.
    """
    whole = quote.strip(_EDGES)
    parts = [part.strip(_EDGES) for part in whole.split("...")]
    elided = len(parts) > 1 and all(len(words(part)) >= MIN_QUOTE_WORDS for part in parts)
    return any(_in_order([whole], source) or (elided and _in_order(parts, source)) for source in sources)


def _in_order(parts: list[str], source: str) -> bool:
    """Whether the parts follow one another in the source, none of them cut out of a word."""
    position = 0
    for part in parts:
        if not part or part not in source:
            return False
        match = re.compile(rf"(?<!\w){re.escape(part)}(?!\w)").search(source, position)
        if not match:
            return False
        position = match.end()
    return True


def quoted_spans(text: str) -> Iterator[re.Match[str]]:
    """Matches of what stands in quotation marks, paragraph by paragraph; double, low, angle or curly single."""
    for paragraph in re.finditer(r"[^\n]+", text):
        yield from _SPANS.finditer(text, paragraph.start(), paragraph.end())


def _find_quote(quote: Quote, comments: dict[str, str]) -> QuoteFinding:
    comment_id = quote.comment_id.removeprefix("t1_")
    problem = _quote_problem(plain(quote.text), comment_id, comments)
    message = f"Quote “{cut(quote.text, 80)}” {problem}" if problem else ""
    return QuoteFinding(text=quote.text, comment_id=comment_id, found=not problem, message=message)


def _quote_problem(wanted: str, comment_id: str, comments: dict[str, str]) -> str:
    if len(words(wanted)) < MIN_QUOTE_WORDS:
        return f"is shorter than {MIN_QUOTE_WORDS} words; leave it out."
    if comment_id in comments and stands(wanted, [comments[comment_id]]):
        return ""
    other = next((key for key, body in comments.items() if stands(wanted, [body])), None)
    if other:
        return f"stands in comment {other}, not in {comment_id or 'an unnamed one'}; correct comment_id."
    if comment_id not in comments:
        return f"names comment {comment_id or '(none)'}, which the thread does not have."
    return f"is not in comment {comment_id} word for word; quote it exactly or leave it out."


def _bad_excerpts(draft: Draft, everywhere: tuple[str, ...]) -> Iterator[str]:
    excerpts = (section.text for section in draft.sections if section.kind == "excerpt")
    for sentence in (sentence for text in excerpts for sentence in sentences(text)):
        wanted = plain(sentence)
        if wanted.strip(_EDGES) and not stands(wanted, everywhere):
            yield f"Excerpt “{cut(sentence, 80)}” is not in the thread word for word; copy it exactly."


def _bad_spans(draft: Draft, everywhere: tuple[str, ...]) -> Iterator[str]:
    for span in (match.group() for match in quoted_spans(_own_words(draft))):
        if len(words(span)) >= MIN_SPAN_WORDS and not stands(plain(span), everywhere):
            yield f"The text puts {cut(span, 80)} in quotation marks, but nobody in the thread wrote it."


def _own_words(draft: Draft) -> str:
    return "\n\n".join((draft.title, draft.dek, *(section.heading for section in draft.sections), draft.narration))


def _added(draft: Draft, thread: Thread) -> Iterator[str]:
    """User names, links and markup that the draft adds to what the thread holds."""
    told = "\n".join(thread.texts)
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


def _unsupported(draft: Draft, thread: Thread) -> Iterator[str]:
    """The figures and names of the narration that the thread does not hold."""
    told = "\n".join(thread.texts)
    known = {word.removesuffix("'s") for word in folded_words(f"{told} {thread.subreddit}")}
    counts = (thread.score, thread.num_comments, thread.created_at.year, thread.created_at.day)
    facts = " ".join((told, *map(str, counts), *(str(comment.score) for comment in thread.comments)))
    figures = {_figure(number) for number in re.findall(r"\d[\d.,]*", facts)}
    figures |= {str(value) for value, word in enumerate(_NUMBER_WORDS.split()) if word in known}
    for claim in dict.fromkeys(_CLAIM.findall(draft.narration)):
        if _figure(claim) not in figures:
            yield claim
    for name in dict.fromkeys(names(draft.narration)):
        folded = name.casefold().replace("’", "'").removesuffix("'s")
        if folded not in known and folded not in _CALENDAR_AND_TITLES.split():
            yield name


def _figure(text: str) -> str:
    return re.sub(r"[^\d.]", "", text).strip(".")
