"""The models of discussion threads, and how threads are ranked.

Reddit's format is read in ``sources/reddit_parser.py``, fetching belongs in ``sources/reddit.py``. Author names are
never part of a model here.
"""

import hashlib
import math
from datetime import datetime
from typing import Literal

from threadjuice_dagster.domain.model import Model


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
        """The rank of a thread by how much it gives a writer to work with; higher is better.

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
        """All text of the thread: title, post, then comments."""
        return (self.title, self.body, *(comment.body for comment in self.comments))

    def without_text(self) -> "Thread":
        """Return the thread with ids, scores and digests only, as it is kept once its text expired."""
        bare = (comment.model_copy(update={"body": "", "digest": digest(comment.body)}) for comment in self.comments)
        gone = {"title": "", "body": "", "digest": digest(self.body), "expired": True}
        return self.model_copy(update={**gone, "comments": tuple(bare)})

    def without_comment(self, comment_id: str) -> "Thread":
        """Return the thread without one of its comments."""
        return self.model_copy(
            update={"comments": tuple(comment for comment in self.comments if comment.id != comment_id)}
        )

    def comment(self, comment_id: str) -> Comment | None:
        """Return the comment with this id (a ``t1_`` prefix is accepted), or None."""
        wanted = comment_id.removeprefix("t1_")
        return next((comment for comment in self.comments if comment.id == wanted), None)


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
