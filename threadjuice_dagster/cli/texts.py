"""Scoring and moderating texts that are not stored: one JSON line in, one answer out."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from threadjuice_dagster.domain.judging.grounding import ground
from threadjuice_dagster.domain.judging.moderation import load_moderator
from threadjuice_dagster.domain.judging.originality import originality_problem
from threadjuice_dagster.domain.judging.rubric import draft_from_text, rate
from threadjuice_dagster.domain.story.threads import Comment, Thread
from threadjuice_dagster.failures import Unsuitable, UsageError
from threadjuice_dagster.sources.reddit_parser import ThreadFormatError, parse_thread


def score_line(line: str) -> dict[str, Any]:
    """``{id, overall, dimensions, flags}`` of a JSON line ``{id, title, text, thread?}``.

    ``overall`` and ``dimensions`` (name to score) are 0 to 10; ``flags`` are the rubric's evidence and, with a
    thread, what is not grounded in it or copied from it. Raises ``UsageError`` for a line that is no such object.
    """
    record = _record(line)
    thread = _thread(record.get("thread"))
    draft = draft_from_text(record["title"], record["text"])
    rubric = rate(draft, thread)
    flags = [f"{one.name}: {fact}" for one in rubric.dimensions for fact in one.evidence]
    if thread:
        flags += [f"quotes_are_grounded: {problem}" for problem in ground(draft, thread).problems]
        copied = originality_problem(draft, thread, "", 0.0, excerpting=False)
        flags += [f"is_original: {copied}"] if copied else []
    dimensions = {one.name: one.score for one in rubric.dimensions}
    return {"id": record.get("id"), "overall": rubric.overall, "dimensions": dimensions, "flags": flags}


def moderate_line(line: str) -> dict[str, Any]:
    """``{id, flagged, score, categories, reasons}`` of a JSON line ``{id, title?, text, category?}``.

    ``category`` is the desk whose thresholds apply. Raises ``UsageError`` for a line that is no such object.
    """
    record = _record(line)
    text = f"{record['title']}\n\n{record['text']}".strip()
    verdict = load_moderator().moderate(text, str(record.get("category") or ""))
    shown = verdict.model_dump(include={"flagged", "score", "categories", "reasons"})
    return {"id": record.get("id"), **shown}


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("It is not JSON.", "Write one object to a line.") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise UsageError("It has no text.", "Write {id, title, text} with optional thread.")
    return {**record, "title": record["title"] if isinstance(record.get("title"), str) else ""}


def _thread(value: Any) -> Thread | None:
    """A thread as Reddit saves one, as an object ``{title, body, comments}``, or as plain text; None for none."""
    if not value:
        return None
    if isinstance(value, list) and len(value) == 2 and all(isinstance(one, dict) and "data" in one for one in value):
        try:
            return parse_thread(value, "file")
        except ThreadFormatError as error:
            raise UsageError(f"Its thread cannot be read: {error}.", "Leave it out, or save it from Reddit.") from None
        except Unsuitable as error:
            raise UsageError(f"Its thread cannot be used: {error.message}", "Leave it out.") from None
    if isinstance(value, str):
        value = {"body": value}
    return _plain_thread(value if isinstance(value, Mapping) else {"comments": value})


def _plain_thread(value: Mapping[str, Any]) -> Thread:
    moment = datetime.fromtimestamp(0, UTC)
    given = value.get("comments") or ()
    bodies = [one.get("body") or one.get("text") if isinstance(one, Mapping) else one for one in given]
    ids = [one.get("id") if isinstance(one, Mapping) else None for one in given]
    comments = [
        Comment(id=str(name or f"c{number}"), body=str(body), created_at=moment)
        for number, (name, body) in enumerate(zip(ids, bodies, strict=True))
        if body
    ]
    return Thread(
        id=str(value.get("id") or "thread"),
        source="file",
        subreddit=str(value.get("subreddit") or "unknown"),
        title=str(value.get("title") or ""),
        body=str(value.get("body") or value.get("selftext") or ""),
        permalink="",
        created_at=moment,
        comments=tuple(comments),
    )
