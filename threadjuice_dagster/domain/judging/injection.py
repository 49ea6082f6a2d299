"""Finds thread text that talks to a machine instead of to people, and leaves it out of what a writer is given.

This is the outer wall only: it may miss, and it leaves alone what people say to people, about machines too. The text
that is left is still data between fences (``domain/writing/prompts.py``), and whatever a model makes of it still has to
pass every gate. What may be printed as it stands is decided in ``domain/writing/passages.py``. The patterns are data
(``editorial/injection.yaml``).
"""

import base64
import re
from collections.abc import Iterator, Sequence
from functools import cache

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.language.disguises import Unmasker
from threadjuice_dagster.domain.language.text import clean, fold, head, sentences
from threadjuice_dagster.domain.story.threads import Comment, Thread

LONGEST_COMMUNITY = 24
"""Characters; Reddit's own names have at most 21, those of profiles a few more."""

_SEAM = 200
"""Characters on either side of a seam that are read across it."""

_MAX_PIECES = 3
"""Unfinished texts in a row that are read as one."""

_NEAR = r"[^.!?。]{0,50}"
_ENCODED = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{24,4000}={0,2}(?![A-Za-z0-9+/=])")


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    # They are tried one by one: as a single alternation they take six times as long.
    table = editorial.table("injection")
    orders = (editorial.expand(order, table["parts"]).replace(" ~ ", _NEAR) for order in table["orders"])
    foreign = (rf"(?:{verb})\w*{_NEAR}(?:{noun})|(?:{noun})\w*{_NEAR}(?:{verb})" for verb, noun in table["foreign"])
    return tuple(map(re.compile, (*orders, *foreign)))


@cache
def _unmasker() -> Unmasker:
    return Unmasker(editorial.table("injection")["disguised"].split())


def addresses_machine(text: str) -> bool:
    """Whether a text gives a machine orders, speaks in a machine's protocol, asks for its secrets, or is code."""
    return bool(_aimed(clean(text).split("\n")))


def for_people(thread: Thread) -> Thread:
    """Return the thread without what talks to a machine.

    Such a comment is left out whole; in title and post the rest of the line is. A title of which nothing is left is
    replaced by the first sentence of the post, a subreddit's name by ``unknown``.
    """
    body = _for_people(thread.body)
    title = _for_people(thread.title) or (thread.title and (head(next(iter(sentences(body)), ""), 300) or "Untitled"))
    is_name = len(thread.community) <= LONGEST_COMMUNITY and not addresses_machine(thread.community)
    kept = {
        "title": title,
        "body": body,
        "community": thread.community if is_name else "unknown",
        "comments": _comments_for_people(thread.comments),
    }
    return thread.model_copy(update=kept)


def _comments_for_people(comments: Sequence[Comment]) -> tuple[Comment, ...]:
    """The comments that talk to people, whether they are read by score or in the order they were written."""
    kept = [comment for comment in comments if not addresses_machine(comment.body)]
    for order in (kept, sorted(kept, key=lambda comment: comment.created_at)):
        split = {order[place].id for place in _split([comment.body for comment in order])}
        kept = [comment for comment in kept if comment.id not in split]
    return tuple(kept)


def _for_people(text: str) -> str:
    lines = text.split("\n")
    aimed = _aimed(lines)
    return "\n".join(_start(line) if place in aimed else line for place, line in enumerate(lines)).strip()


def _start(line: str) -> str:
    """What a line says to people before it turns to a machine; nothing where no single sentence of it does."""
    # A tag starts a sentence of its own here.
    parts = sentences(line.replace("<", "\n\n<"))
    turn = next((place for place, sentence in enumerate(parts) if _is_aimed(sentence)), 0)
    return " ".join(parts[:turn])


def _aimed(lines: Sequence[str]) -> set[int]:
    """The places of the lines that talk to a machine, alone or together with the next."""
    alone = {place for place, line in enumerate(lines) if _is_aimed(line)}
    return alone | _split(["" if place in alone else line for place, line in enumerate(lines)])


def _split(texts: Sequence[str]) -> set[int]:
    """The places of texts that break off and talk to a machine only when they are read on into the next."""
    aimed: set[int] = set()
    for place in range(len(texts)):
        pieces = texts[place : place + _MAX_PIECES]
        ended = next((at for at, piece in enumerate(pieces, start=1) if not _breaks_off(piece)), len(pieces))
        read_on = " ".join((pieces[0][-_SEAM:], *(piece[:_SEAM] for piece in pieces[1:ended])))
        if ended > 1 and _is_aimed(read_on):
            aimed.update(range(place, place + ended))
    return aimed


def _breaks_off(text: str) -> bool:
    return bool(text) and (text[-1].isalnum() or text[-1] in ",-–—")


def _is_aimed(line: str) -> bool:
    return any(pattern.search(reading) for reading in _readings(line) for pattern in _patterns())


def _readings(line: str) -> Iterator[str]:
    """A line in lower case, as it stands and with what hides in it brought out."""
    plain = fold(line)
    yield plain
    joined = re.sub(r"(?<=\w)[._-](?=\w)", " ", re.sub(r"[*~`]+", "", line))
    unmasked = " ".join(_unmasker().unmask(joined).split())
    if unmasked != plain:
        yield unmasked
    for match in _ENCODED.findall(line):
        whole = match.rstrip("=")
        yield fold(base64.b64decode(whole[: len(whole) // 4 * 4]).decode("utf-8", "ignore"))
