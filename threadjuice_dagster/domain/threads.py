"""Discussion threads: the models, Reddit's ``.json`` thread format, and how threads are ranked.

Fetching belongs in ``resources/reddit.py``. Author names are never part of a model here.
"""

import hashlib
import html
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.text import clean

MAX_COMMENTS = 500
"""Comments kept per thread, highest score first; the writer never needs more."""

MAX_BODY = 40_000
"""Characters kept of a post or comment: Reddit's own bound for a post."""

GONE = re.compile(r"\s*\[\s*(?:deleted|removed)(?:\s+by\s+(?:user|reddit)\b.*)?\s*\]\s*", re.IGNORECASE)
"""What stands in place of a deleted text, also "[ Removed by Reddit on account of … ]", blanks and all."""

_BOTS = {"automoderator"}
_USERNAME = re.compile(r"(?<![\w/])/?u/[A-Za-z0-9_-]{3,20}\b")
_ID = re.compile(r"[a-z0-9]{2,16}", re.IGNORECASE)


class ThreadFormatError(ValueError):
    """The text is not a thread in Reddit's ``.json`` format; the message says what is missing."""


class Comment(Model):
    """One comment. ``id`` has no ``t1_`` prefix; ``parent_id`` is None for a top-level comment.

    ``digest`` (SHA-256 of the body) is there once the text itself has expired.
    """

    id: str
    body: str
    digest: str = ""
    score: int = 0
    parent_id: str | None = None
    depth: int = 0
    by_poster: bool = False
    created_at: datetime


class Thread(Model):
    """A post with its comments, best first. ``id`` has no ``t3_`` prefix; ``expired`` says its text is gone."""

    id: str
    source: Literal["reddit", "file", "sample"]
    subreddit: str
    title: str
    body: str
    permalink: str
    score: int = 0
    upvote_ratio: float = 1.0
    num_comments: int = 0
    over_18: bool = False
    created_at: datetime
    comments: tuple[Comment, ...] = ()
    expired: bool = False
    digest: str = ""

    @property
    def engagement(self) -> float:
        """How much a thread gives a writer to work with; higher is better.

        ``ln(1 + score) + 2 ln(1 + comments) + 2 (talk) + 2 (1 - upvote ratio) + ln(1 + words) / 2``,
        where *talk* is the share of kept comments that are replies: debate weighs more than
        applause, and a post with a story in it more than a bare link.
        """
        replies = sum(comment.depth > 0 for comment in self.comments)
        talk = replies / len(self.comments) if self.comments else 0.0
        length = len(self.body.split())
        return round(
            math.log1p(max(self.score, 0))
            + 2 * math.log1p(max(self.num_comments, 0))
            + 2 * talk
            + 2 * (1 - min(max(self.upvote_ratio, 0.0), 1.0))
            + math.log1p(length) / 2,
            3,
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything people wrote in it: title, post, then comments."""
        return (self.title, self.body, *(comment.body for comment in self.comments))

    def without_text(self) -> "Thread":
        """What is kept of a thread when its text expires: ids, scores and the digests of post and comments."""
        bare = (one.model_copy(update={"body": "", "digest": digest(one.body)}) for one in self.comments)
        gone = {"title": "", "body": "", "digest": digest(self.body), "expired": True}
        return self.model_copy(update={**gone, "comments": tuple(bare)})

    def without_comment(self, comment_id: str) -> "Thread":
        """The thread without a comment that was deleted at its source."""
        return self.model_copy(update={"comments": tuple(one for one in self.comments if one.id != comment_id)})

    def comment(self, comment_id: str) -> Comment | None:
        """The comment with this id (a ``t1_`` prefix is accepted), or None."""
        wanted = comment_id.removeprefix("t1_")
        return next((comment for comment in self.comments if comment.id == wanted), None)


def digest(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def parse_thread(document: Any, source: Literal["reddit", "file", "sample"]) -> Thread:
    """Read a thread from Reddit's ``.json`` thread format: two listings, the post and its comments.

    Deleted, removed and bot comments are left out, usernames in the text are masked, and at most
    ``MAX_COMMENTS`` comments are kept. Raises ``ThreadFormatError``.
    """
    if not (isinstance(document, list) and len(document) == 2):
        raise ThreadFormatError("expected a list of two listings (the post, then its comments)")
    post = _post(document[0])
    comments = sorted(_comments(document[1], depth=0), key=lambda comment: -comment.score)
    thread_id = str(post.get("id") or "").removeprefix("t3_")
    if not _ID.fullmatch(thread_id):
        raise ThreadFormatError("the post has no usable id")
    title = text_of(post.get("title"))
    if not title:
        raise ThreadFormatError("the post has no title")
    subreddit = re.sub(r"\W", "", str(post.get("subreddit") or "")) or "unknown"
    return Thread(
        id=thread_id,
        source=source,
        subreddit=subreddit,
        title=" ".join(title.split())[:300],
        body=text_of(post.get("selftext")),
        permalink=f"https://www.reddit.com/r/{subreddit}/comments/{thread_id}/",
        score=_number(post, "score"),
        upvote_ratio=_ratio(post),
        num_comments=max(_number(post, "num_comments"), len(comments)),
        over_18=bool(post.get("over_18")),
        created_at=_time(post),
        comments=tuple(comments[:MAX_COMMENTS]),
    )


def text_of(value: Any) -> str:
    """A post's or comment's text as the newsroom keeps it: cleaned, bounded, usernames masked.

    Entities are resolved twice: Reddit's JSON escapes ``&``, ``<`` and ``>``, and its editor leaves
    entities of its own in the text (``&amp;#x200B;``).
    """
    text = clean(html.unescape(html.unescape(value))) if isinstance(value, str) else ""
    return "" if GONE.fullmatch(text) else _USERNAME.sub("another user", text)[:MAX_BODY]


def _post(listing: Any) -> Mapping[str, Any]:
    for child in _children(listing):
        if child.get("kind") == "t3" and isinstance(child.get("data"), Mapping):
            return child["data"]
    raise ThreadFormatError("the first listing holds no post (kind t3)")


def _comments(listing: Any, depth: int) -> Iterator[Comment]:
    stack = [(listing, depth)]
    while stack:
        current, level = stack.pop()
        for child in _children(current):
            data = child.get("data")
            if child.get("kind") != "t1" or not isinstance(data, Mapping):
                continue
            if isinstance(data.get("replies"), Mapping):
                stack.append((data["replies"], level + 1))
            comment = _comment(data, level)
            if comment:
                yield comment


def _comment(data: Mapping[str, Any], depth: int) -> Comment | None:
    body = text_of(data.get("body"))
    comment_id = str(data.get("id") or "").removeprefix("t1_")
    is_bot = str(data.get("author") or "").lower() in _BOTS or data.get("distinguished") == "moderator"
    if not body or is_bot or not _ID.fullmatch(comment_id):
        return None
    parent = str(data.get("parent_id") or "")
    return Comment(
        id=comment_id,
        body=body,
        score=_number(data, "score"),
        parent_id=parent.removeprefix("t1_") if parent.startswith("t1_") else None,
        depth=depth,
        by_poster=bool(data.get("is_submitter")),
        created_at=_time(data),
    )


def _children(listing: Any) -> list[Mapping[str, Any]]:
    data = listing.get("data") if isinstance(listing, Mapping) else None
    children = data.get("children") if isinstance(data, Mapping) else None
    if not isinstance(children, list):
        raise ThreadFormatError("a listing has no data.children")
    return [child for child in children if isinstance(child, Mapping)]


def _number(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def _ratio(data: Mapping[str, Any]) -> float:
    value = data.get("upvote_ratio")
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 1.0


def _time(data: Mapping[str, Any]) -> datetime:
    value = data.get("created_utc")
    try:
        return datetime.fromtimestamp(float(value), UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
