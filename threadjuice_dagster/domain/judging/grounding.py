"""Whether a draft keeps to its thread: quotes in their comments word for word, no added link, few added facts.

Wording is compared in ``domain/language/wording.py``, numbers and names are found in ``domain/judging/facts.py``. How
much was copied belongs in ``domain/judging/originality.py``, how good the text is in ``domain/judging/rubric.py``. One
claim after the other is reported by ``domain/judging/claims.py``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from threadjuice_dagster.domain.judging.facts import thread_facts, unsupported
from threadjuice_dagster.domain.judging.leaks import leaked
from threadjuice_dagster.domain.language.text import cut, sentences, words
from threadjuice_dagster.domain.language.wording import MIN_QUOTE_WORDS, locate, plain, quoted_spans, stands
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.stories import Draft, Quote
from threadjuice_dagster.domain.story.terms import terms_of
from threadjuice_dagster.domain.story.threads import Thread, digest

MIN_SPAN_WORDS = 4
"""Quoted spans shorter than this are titles, irony and single terms, not somebody's words."""

MIN_COPIED_WORDS = 5
"""A sentence of fewer words that also stands in the thread was not taken from it."""

MAX_UNSUPPORTED = 3
"""Distinct numbers and names that the thread does not hold, above which a story is refused.

A sound story sums up, converts and knows a few: of 56 in the two corpora 37 have none, 49 at most one, and one more
than three (``benchmarks/grounding.py``).
"""

POST = "post"

_USERNAME = re.compile(
    r"(?<![\w/.])/?u/[A-Za-z0-9_-]{3,20}\b|(?<![\w.@])@[A-Za-z]\w{2,}|\b[A-Za-z]+(?:_[A-Za-z0-9]+)+\b"
)
_NAMED_USER = re.compile(
    r"\b(?:[Uu]ser(?:name)?|[Rr]edditor|[Cc]omment(?:er|ator)|[Pp]oster)(?: called| named| known as)?,?"
    r" [“‘\"']?((?:[A-Z]|\w*\d)[\w-]{2,})"
)
_TLD = "com|net|org|info|biz|io|xyz|app|ru|top|shop|site|online|co\\.uk|de|fr|eu|ly"
_REST = r"[^\s<>\"“”)\]]"
_URL = re.compile(
    rf"(?:https?|ftp)://{_REST}+|\bwww\.{_REST}+|\b(?:[a-z0-9-]{{1,63}}\.){{1,6}}(?:{_TLD})\b(?:/{_REST}*)?",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"<\s*/?\s*[a-zA-Z][^<>]*>|!?\[[^\]\n]{0,500}\]\([^)\n]{0,2000}\)|\bjavascript:", re.IGNORECASE)


class QuoteFinding(Model):
    """Whether one quote was found; ``message`` says what is wrong with one that was not.

    A quote that was found is ``body[start:end]`` of its comment as stored.
    """

    text: str
    comment_id: str
    found: bool
    message: str = ""
    start: int = -1
    end: int = -1


class Passage(Model):
    """Words of the thread that stand verbatim in the story: characters ``start`` to ``end`` of a comment or the post.

    ``place`` is a comment id or ``post``; ``digest`` the SHA-256 of that whole body, which outlives its text.
    """

    place: str
    kind: Literal["quote", "text"]
    start: int
    end: int
    digest: str


class Grounding(Model):
    """A draft held against its thread. ``problems`` refuse; ``unverifiable`` says why a person has to decide.

    ``unsupported`` are the facts the thread does not hold, each with its sentence; too many are a problem too.
    """

    quotes: tuple[QuoteFinding, ...] = ()
    problems: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    unverifiable: str = ""

    @property
    def ok(self) -> bool:
        """Whether every quote, excerpt, quoted span and link stands in the thread, and nearly every fact."""
        return not self.problems


def ground(
    draft: Draft, thread: Thread | None, framing: Iterable[str] = (), screened: Thread | None = None
) -> Grounding:
    """Compare every quote, excerpt, quoted span, link, number and name of a draft with its thread.

    ``thread`` is the thread as stored: places in it count in its characters. ``screened`` is what of it counts as
    evidence, all of it by default. ``framing`` are texts a story may draw on as well: the persona's name and lines.
    Without the text of a thread only added links, markup, user names and leaked instructions can be found.
    """
    if thread is None or thread.expired:
        return Grounding(problems=tuple(_added(draft, None)), unverifiable=_unverifiable(draft, thread))
    evidence = screened or thread
    comments = {comment.id: plain(comment.body) for comment in evidence.comments}
    everywhere = (plain(evidence.title), plain(evidence.body), *comments.values())
    quotes = tuple(_find_quote(quote, comments, thread) for quote in draft.quotes)
    facts = tuple(map(str, unsupported(draft, thread_facts(evidence, framing))))
    missing = (finding.message for finding in quotes if not finding.found)
    strayed = (*_bad_excerpts(draft, everywhere), *_bad_spans(draft, everywhere))
    places = {POST: plain(evidence.body), **comments}
    return Grounding(
        quotes=quotes,
        problems=(*missing, *strayed, *_added(draft, evidence), *_too_many(facts)),
        unsupported=facts,
        passages=tuple(dict.fromkeys((*_quoted(quotes, thread), *_copied(draft, thread, places)))),
    )


def _unverifiable(draft: Draft, thread: Thread | None) -> str:
    count = len(draft.quotes) + sum(section.kind == "excerpt" for section in draft.sections)
    why = "the story names no thread" if thread is None else "the text of its thread has expired"
    quotes = f"{count} quote" if count == 1 else f"{count} quotes"
    return f"{quotes} cannot be checked because {why}: a person has to decide." if count else ""


def _find_quote(quote: Quote, comments: Mapping[str, str], thread: Thread) -> QuoteFinding:
    comment_id = quote.comment_id.removeprefix("t1_")
    if problem := _quote_problem(plain(quote.text), comment_id, comments, thread):
        message = f"Quote “{cut(quote.text, 80)}” {problem}"
        return QuoteFinding(text=quote.text, comment_id=comment_id, found=False, message=message)
    start, end = locate(quote.text, _body(thread, comment_id)) or (-1, -1)
    return QuoteFinding(text=quote.text, comment_id=comment_id, found=True, start=start, end=end)


def _quote_problem(wanted: str, comment_id: str, comments: Mapping[str, str], thread: Thread) -> str:
    if len(words(wanted)) < MIN_QUOTE_WORDS:
        return f"is shorter than {MIN_QUOTE_WORDS} words; leave it out."
    if comment_id in comments and stands(wanted, [comments[comment_id]]):
        return ""
    other = next((key for key, body in comments.items() if stands(wanted, [body])), None)
    if other:
        return f"stands in comment {other}, not in {comment_id or 'an unnamed one'}; correct comment_id."
    if comment_id not in comments and thread.comment(comment_id):
        return f"names comment {comment_id}, which was screened out; leave the quote out."
    if comment_id not in comments:
        return f"names comment {comment_id or '(none)'}, which the thread does not have."
    return f"is not in comment {comment_id} word for word; quote it exactly or leave it out."


def _bad_excerpts(draft: Draft, everywhere: Sequence[str]) -> Iterator[str]:
    for sentence in excerpted(draft):
        if words(sentence) and not stands(plain(sentence), everywhere):
            yield f"Excerpt “{cut(sentence, 80)}” is not in the thread word for word; copy it exactly."


def _bad_spans(draft: Draft, everywhere: Sequence[str]) -> Iterator[str]:
    for span in spans(draft):
        if len(words(span)) >= MIN_SPAN_WORDS and not stands(plain(span), everywhere):
            yield f"The text puts {cut(span, 80)} in quotation marks, but nobody in the thread wrote it."


def excerpted(draft: Draft) -> Iterator[str]:
    """Yield the sentences of a draft's excerpts."""
    for section in draft.sections:
        yield from sentences(section.text) if section.kind == "excerpt" else ()


def spans(draft: Draft) -> Iterator[str]:
    """Yield what stands in quotation marks in the writer's own words."""
    yield from (match.group() for match in quoted_spans(_own_words(draft)))


def _own_words(draft: Draft) -> str:
    return "\n\n".join((draft.title, draft.dek, *(section.heading for section in draft.sections), draft.narration))


def _quoted(quotes: Iterable[QuoteFinding], thread: Thread) -> Iterator[Passage]:
    for quote in quotes:
        if quote.found:
            yield _passage(quote.comment_id, "quote", (quote.start, quote.end), thread)


def _copied(draft: Draft, thread: Thread, places: Mapping[str, str]) -> Iterator[Passage]:
    """Yield the post's and commenters' words in the text itself; of several places the post, then the best comment."""
    copied = [sentence for sentence in sentences(draft.narration) if len(words(sentence)) >= MIN_COPIED_WORDS]
    quoted = [span for span in spans(draft) if len(words(span)) >= MIN_QUOTE_WORDS]
    for text in dict.fromkeys((*excerpted(draft), *copied, *quoted)):
        wanted = plain(text)
        place = next((place for place, source in places.items() if stands(wanted, [source])), None)
        if place and (span := locate(text, _body(thread, place))):
            yield _passage(place, "text", span, thread)


def _passage(place: str, kind: Literal["quote", "text"], span: tuple[int, int], thread: Thread) -> Passage:
    return Passage(place=place, kind=kind, start=span[0], end=span[1], digest=digest(_body(thread, place)))


def _body(thread: Thread, place: str) -> str:
    comment = None if place == POST else thread.comment(place)
    return comment.body if comment else thread.body


def _too_many(facts: Sequence[str]) -> Iterator[str]:
    if len(facts) > MAX_UNSUPPORTED:
        listed = cut("; ".join(facts), 1500)
        yield f"{len(facts)} facts are not in the thread, more than {MAX_UNSUPPORTED}; take them out: {listed}"


def _added(draft: Draft, thread: Thread | None) -> Iterator[str]:
    """Yield the user names, links, markup and instructions of ours that the draft adds to what the thread holds."""
    place = (thread.permalink, thread.community, terms_of(thread).forum) if thread else ()
    source = "\n".join((*(thread.texts if thread else ()), *place))
    addresses = {_address(url) for url in _URL.findall(source)}
    fields = (draft.seo_title, draft.seo_description, draft.alt_text, *draft.tags)
    text = "\n\n".join((_own_words(draft), draft.text, *(quote.text for quote in draft.quotes), *fields))
    unlinked = _URL.sub(" ", text)
    for name in dict.fromkeys((*_USERNAME.findall(unlinked), *_NAMED_USER.findall(unlinked))):
        if name.lower() not in source.lower():
            yield f"The draft names the user {name}, who is not in the thread; leave user names out."
    for url in dict.fromkeys(_URL.findall(text)):
        if _address(url) not in addresses:
            yield f"The draft adds a link that is not in the thread: {cut(url, 80)}; leave it out."
    for markup in dict.fromkeys(_MARKUP.findall(text)):
        if markup not in source:
            yield f"The draft adds a link or markup: {cut(markup, 80)}; write plain text."
    if leak := leaked(text, thread):
        yield f"The draft repeats the newsroom's instructions: “{leak} …”; leave them out."


def _address(url: str) -> str:
    return re.sub(r"^(?:\w+://)?(?:www\.)?", "", url.lower()).rstrip("/.,;:!?'’*_")
