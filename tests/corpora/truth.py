"""True and damaged stories about threads: each damaged one differs from a true one by a single change.

The two halves were written apart, the unseen one by somebody who had not seen the code. A line of a file is one record.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from threadjuice_dagster.domain.story.stories import Draft
from threadjuice_dagster.domain.story.threads import Comment, Thread

HALVES = ("dev", "unseen")
FOLDER = Path(__file__).parent / "truth"
MOMENT = datetime(2026, 11, 1, tzinfo=UTC)
SOUND = "sound"


class TruthStory(NamedTuple):
    """A story, the thread it tells of, and its kind of damage, or ``SOUND``."""

    id: str
    kind: str
    draft: Draft
    thread: Thread


def records(half: str, name: str) -> list[dict[str, Any]]:
    """Return the ``threads``, ``sound`` or ``damaged`` records of a half, or the ``hostile`` texts of the unseen one."""
    return [json.loads(line) for line in (FOLDER / f"{half}_{name}.jsonl").read_text("utf-8").splitlines()]


@cache
def truth_stories(half: str) -> tuple[TruthStory, ...]:
    """Return the sound stories of a half, then the damaged ones."""
    threads = {record["id"]: _thread(record) for record in records(half, "threads")}
    sound = {record["id"]: record for record in records(half, "sound")}
    stories = [
        TruthStory(name, SOUND, Draft.model_validate(record["draft"]), threads[record["thread"]])
        for name, record in sound.items()
    ]
    for record in records(half, "damaged"):
        original = sound[record["story"]]
        draft = Draft.model_validate(damaged(original["draft"], record["edit"]))
        stories.append(TruthStory(record["id"], record["kind"], draft, threads[original["thread"]]))
    return tuple(stories)


def damaged(draft: dict[str, Any], edits: list[dict[str, str]]) -> dict[str, Any]:
    """Return a draft with its edits. Raises ``ValueError`` where the words to replace do not stand there once."""
    changed = json.loads(json.dumps(draft))
    for edit in edits:
        *path, last = edit["path"].split(".")
        place = changed
        for step in path:
            place = place[int(step)] if step.isdecimal() else place[step]
        if str(place[last]).count(edit["old"]) != 1:
            raise ValueError(f"{edit['old']!r} does not stand once in {edit['path']}")
        place[last] = place[last].replace(edit["old"], edit["new"])
    return dict(changed)


def _thread(record: dict[str, Any]) -> Thread:
    comments = tuple(_comments(record["comments"]))
    values = {"spec": "", "permalink": "", "created_at": MOMENT, "num_comments": len(comments), **record}
    return Thread.model_validate({**values, "comments": comments})


def _comments(comments: list[dict[str, Any]]) -> Iterator[Comment]:
    for record in comments:
        yield Comment.model_validate(
            {**record, "score": record["score"] or 0, "depth": int(bool(record.get("parent_id"))), "created_at": MOMENT}
        )
