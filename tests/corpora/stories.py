"""Reads the corpora of sound stories, some with the thread they were written from.

A block starts with ``=== headline``; its paragraphs follow, then perhaps ``--- thread``: a title line, the post,
and one ``> `` line for each comment.
"""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from threadjuice_dagster.domain.story.threads import Comment, Thread

_MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)

HALVES = ("dev", "unseen")
"""The half the rubric was fitted on, and the half kept back to see whether that holds elsewhere."""


class Story(NamedTuple):
    title: str
    text: str
    thread: Thread | None


@cache
def stories(half: str) -> tuple[Story, ...]:
    """The stories of one half, in the order of the file."""
    text = Path(__file__).with_name(f"stories_{half}.txt").read_text(encoding="utf-8")
    return tuple(_story(block, number) for number, block in enumerate(f"\n{text}".split("\n=== ")[1:]))


def _story(block: str, number: int) -> Story:
    title, rest = block.split("\n", 1)
    told, _, thread = rest.partition("\n--- thread\n")
    return Story(title.strip(), told.strip(), _thread(thread, number) if thread else None)


def _thread(text: str, number: int) -> Thread:
    title, rest = text.split("\n", 1)
    lines = rest.split("\n")
    said = [line[2:] for line in lines if line.startswith("> ")]
    return Thread(
        id=f"corpus{number}",
        source="file",
        subreddit="stories",
        title=title,
        body="\n".join(line for line in lines if not line.startswith("> ")).strip(),
        permalink=f"https://www.reddit.com/r/stories/comments/corpus{number}/",
        num_comments=len(said),
        created_at=_MOMENT,
        comments=tuple(Comment(id=f"c{i}", body=one, score=90 - i, created_at=_MOMENT) for i, one in enumerate(said)),
    )
