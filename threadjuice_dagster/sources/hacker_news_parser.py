"""Parse a story of Hacker News with its comments, as either of its two APIs sends it, into a thread without user names.

The search API sends a whole tree (``author``, ``points``, ``children``). The Firebase API sends one item an answer
(``by``, ``score``, ``kids``), which ``sources/hacker_news.py`` puts together to a tree. Requests belong there.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, NamedTuple

from threadjuice_dagster.domain.language.text import head
from threadjuice_dagster.domain.story.threads import Comment, Thread, thread_key
from threadjuice_dagster.domain.story.user_names import telling_names
from threadjuice_dagster.failures import Unsuitable
from threadjuice_dagster.sources.fields import digits_of, link_in
from threadjuice_dagster.sources.markup import text_of_html
from threadjuice_dagster.sources.reddit_parser import is_set
from threadjuice_dagster.sources.texts import (
    MAX_BODY,
    MAX_COMMENTS,
    cleaned,
    cleaned_title,
    is_bots_name,
    moment,
    number,
    says_it_is_a_bot,
)
from threadjuice_dagster.sources.thread_source import ThreadFormatError

Item = Mapping[str, Any]
"""A story, comment, job, poll or option of a poll, in the form of either API."""

PAGE = "https://news.ycombinator.com/item?id="

HIRING = "whoishiring"
"""The account that opens the monthly threads of job advertisements."""

_MODERATORS = frozenset({"dang", "tomhow"})
"""Accounts that moderate the site: their comments explain its rules, and the APIs do not mark them."""

_COMMENTS = ("comment", "pollopt")
_KINDS = ("story", "poll", "job", *_COMMENTS)
_GONE = ("[flagged]", "[dead]", "[deleted]")
_NOT_YET_SHOWN = "[delayed]"
_MOST_OPTIONS = 50
_LONGEST_NUMBER = 12


class TreeItem(NamedTuple):
    """A comment as received, its depth in the tree of replies, and what it answers (None for the story)."""

    item: Item
    depth: int
    parent_id: str | None


def is_item(document: Any) -> bool:
    """Return whether a document is an answer of one of the two APIs about an item."""
    if not isinstance(document, Mapping) or not number_of(document):
        return False
    if "children" in document:
        return "author" in document or document.keys() <= {"id", "children"}
    return document.get("type") in _KINDS and ("by" in document or is_set(document.get("deleted")))


def is_gone(item: Item) -> bool:
    """Return whether an item was deleted by its author, or is dead: killed by moderators, software or flags.

    Parser and deletion sweep share this rule: what the sweep would take down is never read in.
    """
    text = item.get("text")
    is_marked = isinstance(text, str) and re.sub(r"<[^>]{0,9}>", "", text).strip() in _GONE
    return is_set(item.get("deleted")) or is_set(item.get("dead")) or is_marked


def kind_of(item: Item) -> str:
    """Return the kind of an item. An example of the documentation names none: it has a parent, or is a story."""
    kind = item.get("type")
    return kind if kind in _KINDS else "comment" if _first(item, "parent_id", "parent") else "story"


def place_of(title: Any) -> str:
    """Return the place that a story belongs to by its title, as the site itself sorts them."""
    match = re.match(r"(ask|show) hn\b", title.strip(), re.IGNORECASE) if isinstance(title, str) else None
    return match[1].lower() if match else "front"


def parse_story(document: Any, live: Item | None = None, place: str = "") -> Thread:
    """Parse a story with its comments; ``live`` is what the Firebase API says of the story itself, if it was asked.

    Its ``kids`` are in the order of the page, which is the only rank that comments have: their points are no part of
    either API. The best comments on the story come first, then the replies to them, level by level. Raises
    ``ThreadFormatError``, and ``Unsuitable`` for what may not become a story.
    """
    live = live or {}
    story_id = _checked_number(document, live)
    entries = list(_entries(document, _listed(live, "kids")))
    if not entries and any(isinstance(kid, int) for kid in _listed(document, "kids")):
        raise ThreadFormatError("it holds only the numbers of its comments: save the search API's answer /items/ID")
    poster = _name(document)
    names = telling_names([poster, *(_name(entry.item) for entry in entries)])
    title = cleaned_title(document.get("title"), names)
    if not title:
        raise ThreadFormatError("the story has no title")
    written = (_comment(entry, poster, names) for entry in entries)
    comments = list({comment.id: comment for comment in written if comment}.values())
    place = place or place_of(title)
    return Thread(
        id=thread_key("hn", story_id),
        source="hackernews",
        spec=f"hackernews:{place}",
        community=place,
        title=title,
        body=_body(document, names),
        permalink=PAGE + story_id,
        link=_link(document),
        score=number(_first(live or document, "score", "points")),
        num_comments=max(number((live or document).get("descendants")), len(comments)),
        over_18=bool(re.search(r"\bNSFW\b", title, re.IGNORECASE)),
        created_at=_time(document),
        comments=tuple(comments[:MAX_COMMENTS]),
    )


def _checked_number(document: Any, live: Item) -> str:
    """Return a story's number. Raises ``ThreadFormatError`` for what is no story, ``Unsuitable`` for a barred one."""
    if not is_item(document):
        raise ThreadFormatError("it is no item of Hacker News")
    story_id = number_of(document)
    if why := _why_barred(document) or _why_barred(live):
        raise Unsuitable(f"Story {story_id} of Hacker News {why}.", "Choose another thread.")
    if kind_of(document) in _COMMENTS:
        raise ThreadFormatError(f"it is a {kind_of(document)}: save the answer about its story")
    return story_id


def text_of(value: Any, names: Set[str] = frozenset()) -> str:
    """Return an HTML text as the newsroom keeps it: plain, cleaned, bounded, user names masked, empty if it is gone."""
    text = cleaned(text_of_html(value), names) if isinstance(value, str) else ""
    return "" if text in (*_GONE, _NOT_YET_SHOWN) else text


def number_of(item: Any, *fields: str) -> str:
    """Return the number in the first of these fields (by default ``id``), in digits; empty where there is none."""
    value = _first(item, *(fields or ("id",))) if isinstance(item, Mapping) else item
    digits = digits_of(value)
    return digits if len(digits) <= _LONGEST_NUMBER else ""


def _why_barred(item: Item) -> str:
    """Return why an item may not become a story, as the end of "Story 1 …", or an empty text."""
    # Of a deleted or dead item the search API sends no author: only its number and the replies to it.
    is_bare = "children" in item and not _name(item)
    reasons = {
        "was deleted or is dead": is_bare or is_gone(item),
        "is a job advertisement": kind_of(item) == "job" or _name(item).lower() == HIRING,
        "was posted by a bot": is_bots_name(_name(item)),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _entries(story: Item, ranking: Iterable[Any]) -> Iterator[TreeItem]:
    """Yield the comments of a tree, level by level; those on the story in the order of ``ranking``.

    What stands in it twice is yielded once, so that no comment stands below itself.
    """
    ranks = {number_of(number): rank for rank, number in enumerate(ranking)}
    first = sorted(_children(story), key=lambda child: ranks.get(number_of(child), len(ranks)))
    level = [TreeItem(child, 0, None) for child in first]
    seen = {number_of(story)}
    while level:
        below: list[TreeItem] = []
        for entry in level:
            number = number_of(entry.item)
            if number not in seen:
                seen.add(number)
                yield entry
                below += (TreeItem(child, entry.depth + 1, number) for child in _children(entry.item))
        level = below


def _children(item: Item) -> list[Item]:
    listed = _listed(item, "children") or _listed(item, "kids")
    # An answer that holds an item without a number cannot be told from another: it is left out with its replies.
    return [child for child in listed if isinstance(child, Mapping) and number_of(child)]


def _comment(entry: TreeItem, poster: str, names: Set[str]) -> Comment | None:
    item, name = entry.item, _name(entry.item)
    body = text_of(item.get("text"), names)
    if not (body and name) or is_gone(item) or kind_of(item) == "pollopt":
        return None
    if name.lower() in _MODERATORS or is_bots_name(name) or says_it_is_a_bot(body):
        return None
    return Comment(
        id=number_of(item),
        body=body,
        parent_id=entry.parent_id,
        depth=entry.depth,
        by_poster=bool(poster) and name == poster,
        created_at=_time(item),
        permalink=PAGE + number_of(item),
    )


def _body(story: Item, names: Set[str]) -> str:
    """Return the text of a story, then the options of a poll."""
    listed = [*_listed(story, "options"), *_listed(story, "parts")][:_MOST_OPTIONS]
    options = [option for option in listed if isinstance(option, Mapping) and not is_gone(option)]
    texts = dict.fromkeys(" ".join(text_of(option.get("text"), names).split()) for option in options)
    lines = "\n".join(f"* {text}" for text in texts if text)
    return head(f"{text_of(story.get('text'), names)}\n\n{lines}".strip(), MAX_BODY)


def _link(story: Item) -> str:
    """Return the address that a link post points to; empty for a text post, whose address is its own."""
    address = link_in(story, "url")
    return "" if address.partition("://")[2].startswith("news.ycombinator.com/") else address


def _name(item: Item) -> str:
    name = _first(item, "author", "by")
    return name.strip() if isinstance(name, str) else ""


def _first(item: Item, *fields: str) -> Any:
    return next((item[field] for field in fields if item.get(field) is not None), None)


def _listed(item: Item, field: str) -> Sequence[Any]:
    value = item.get(field)
    return value if isinstance(value, list) else ()


def _time(item: Item) -> datetime:
    return moment(_first(item, "created_at_i", "time", "created_at"))
