"""The models of discussion threads of every source, and how threads are ranked.

Formats are read and threads are fetched in ``sources/``. An author is part of a model only where the licence of the
text demands credit.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import model_validator

from threadjuice_dagster.domain.model import Model

SourceName = Literal["reddit", "stackexchange", "hackernews", "lemmy", "discourse", "submission", "sample"]

LONGEST_KEY = 32
"""Characters of a partition key."""


class Author(Model):
    """Who wrote a text, as its licence wants it credited. ``url`` is empty for an account that is gone."""

    name: str
    url: str = ""


class Comment(Model):
    """One comment, or one answer to a question.

    ``id`` is unique within its thread; ``parent_id`` is None for a comment on the post. ``digest`` (SHA-256 of the
    body) is there once the text itself has expired. ``permalink`` is empty where the thread's own address leads to it,
    ``licence`` where it is the post's.
    """

    id: str
    body: str
    digest: str = ""
    kind: Literal["comment", "answer"] = "comment"
    accepted: bool = False
    score: int = 0
    parent_id: str | None = None
    depth: int = 0
    by_poster: bool = False
    created_at: datetime
    permalink: str = ""
    licence: str = ""
    author: Author | None = None


class Thread(Model):
    """A post with its comments, best first. ``expired`` says that its text is gone.

    ``id`` is Reddit's own for threads of Reddit and samples (without ``t3_``), and for all others ``thread_key``.
    ``spec`` is the place it was found in, as ``THREAD_SOURCES`` names it, such as ``stackexchange:workplace``, and
    ``community`` that place's own name, such as ``workplace``. ``link`` is the address that a link post points to; the
    linked page is never read. ``licence`` is the code of the licence that the post is under, such as ``cc-by-sa-4.0``.
    """

    id: str
    source: SourceName
    spec: str = ""
    community: str
    title: str
    body: str
    permalink: str
    link: str = ""
    licence: str = ""
    author: Author | None = None
    score: int = 0
    upvote_ratio: float = 1.0
    num_comments: int = 0
    over_18: bool = False
    created_at: datetime
    comments: tuple[Comment, ...] = ()
    expired: bool = False
    digest: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_earlier_versions(cls, values: Any) -> Any:
        """Read a thread as earlier versions stored it, when Reddit was the only source."""
        if isinstance(values, dict) and ("subreddit" in values or values.get("source") == "file"):
            values = dict(values)
            values.setdefault("community", values.pop("subreddit", ""))
            values["source"] = "reddit" if values.get("source") == "file" else values.get("source")
        return values

    @property
    def key(self) -> str:
        """The partition key of its story: the source and the thread's id there, such as ``reddit-1abcde``."""
        return self.id if "-" in self.id else thread_key(self.source, self.id)

    @property
    def engagement(self) -> float:
        """The rank of a thread in its source by how much it gives a writer to work with; higher is better.

        ``ln(1 + score) + 2 ln(1 + comments) + 2 (talk) + 2 (1 - upvote ratio) + ln(1 + words) / 2``,
        where *talk* is the share of kept comments that are replies: debate weighs more than
        applause, and a post with a story in it more than a bare link. Points of different sources do not compare.
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
        """All text of the thread: title, post, then comments."""
        return (self.title, self.body, *(comment.body for comment in self.comments))

    def without_text(self) -> "Thread":
        """Return the thread with ids, scores and digests only, as it is kept once its text expired."""
        gone = {"body": "", "author": None}
        bare = (comment.model_copy(update={**gone, "digest": digest(comment.body)}) for comment in self.comments)
        update = {**gone, "title": "", "link": "", "digest": digest(self.body), "expired": True}
        return self.model_copy(update={**update, "comments": tuple(bare)})

    def without_comment(self, comment_id: str) -> "Thread":
        """Return the thread without one of its comments."""
        return self.model_copy(
            update={"comments": tuple(comment for comment in self.comments if comment.id != comment_id)}
        )

    def comment(self, comment_id: str) -> Comment | None:
        """Return the comment with this id (a ``t1_`` prefix is accepted), or None."""
        wanted = comment_id.removeprefix("t1_")
        return next((comment for comment in self.comments if comment.id == wanted), None)


def thread_key(*parts: str) -> str:
    """Return the key of a thread: the short name of its source and what names the thread there (``hn-41234567``).

    Lower-case letters, digits, dots and hyphens, at most ``LONGEST_KEY`` characters. A name that is too long is
    shortened to its beginning and a digest of the whole.
    """
    key = re.sub(r"[^a-z0-9.]+", "-", "-".join(parts).lower()).strip("-")
    if len(key) <= LONGEST_KEY:
        return key
    first, *middle, last = parts
    mark = hashlib.sha256("-".join(middle).encode(errors="replace")).hexdigest()[:6]
    room = LONGEST_KEY - len(first) - len(last) - len(mark) - 3
    begins = re.sub(r"[^a-z0-9.]+", "-", "-".join(middle).lower())[: max(room, 0)].strip("-.")
    return "-".join(part for part in (first, begins, mark, last) if part).lower()[-LONGEST_KEY:]


def interleaved(threads: Iterable[Thread]) -> list[Thread]:
    """Return each thread once: the most engaging of every place first, then the second of each.

    Points do not compare between sources, so a thread's rank within its own place decides.
    """
    distinct = {thread.id: thread for thread in threads}
    by_rank = sorted(distinct.values(), key=lambda thread: (-thread.engagement, thread.id))
    seen: Counter[str] = Counter()
    places: dict[str, int] = {}
    for thread in by_rank:
        places[thread.id] = seen[thread.spec]
        seen[thread.spec] += 1
    return sorted(by_rank, key=lambda thread: places[thread.id])


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
