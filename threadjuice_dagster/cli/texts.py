"""Scoring, moderating and checking texts that are not stored: one JSON line in, one answer out."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from threadjuice_dagster.domain.judging.assess import assess
from threadjuice_dagster.domain.judging.claims import find_claims
from threadjuice_dagster.domain.judging.moderation import load_moderator
from threadjuice_dagster.domain.judging.rubric import draft_from_text
from threadjuice_dagster.domain.judging.screening import screen
from threadjuice_dagster.domain.judging.verdicts import Assessment, gate_findings, overall_outcome
from threadjuice_dagster.domain.story.stories import Draft
from threadjuice_dagster.domain.story.threads import Comment, Thread
from threadjuice_dagster.failures import ThreadJuiceError, Unsuitable, UsageError
from threadjuice_dagster.sources.fields import string_in
from threadjuice_dagster.sources.registry import ThreadSources
from threadjuice_dagster.sources.thread_source import ThreadFormatError


def score_line(line: str) -> dict[str, Any]:
    """Return ``{id, overall, dimensions, flags}`` of a JSON line ``{id, title, text, thread?}``.

    ``overall`` and ``dimensions`` (name to score) are 0 to 10; ``flags`` are the rubric's evidence and, with a
    thread, what is not grounded in it or copied from it. Raises ``UsageError`` for a line that is no such object.
    """
    record = _text_record(line)
    thread = _thread(record.get("thread"))
    assessment = assess(draft_from_text(record["title"], record["text"]), thread)
    flags = [f"{dimension.name}: {fact}" for dimension in assessment.rubric.dimensions for fact in dimension.evidence]
    if thread:
        flags += [f"quotes_are_grounded: {problem}" for problem in assessment.grounding.problems]
        flags += [f"is_original: {assessment.originality_problem}"] if assessment.originality_problem else []
    dimensions = {dimension.name: dimension.score for dimension in assessment.rubric.dimensions}
    return {"id": record.get("id"), "overall": assessment.rubric.overall, "dimensions": dimensions, "flags": flags}


def moderate_line(line: str) -> dict[str, Any]:
    """Return ``{id, flagged, score, categories, reasons}`` of a JSON line ``{id, title?, text, category?}``.

    ``category`` is the story category whose thresholds apply. Raises ``UsageError`` for a line that is no such object.
    """
    record = _text_record(line)
    text = f"{record['title']}\n\n{record['text']}".strip()
    verdict = load_moderator().moderate(text, str(record.get("category") or ""))
    return {"id": record.get("id"), **verdict.model_dump(include={"flagged", "score", "categories", "reasons"})}


def check_line(line: str) -> dict[str, Any]:
    """Return ``{id, outcome, gates, claims}`` of a JSON line ``{id, draft, thread?, category?, persona?, writer?}``.

    ``draft`` is what a model answers, ``thread`` a saved answer of any source or a thread in this project's own form.
    Without ``category`` the general thresholds of moderation apply, without ``persona`` the thread alone is a source.
    Raises ``UsageError`` for a line that is no such object.
    """
    record = _record(line)
    draft, thread = _draft(record.get("draft")), _thread(record.get("thread"))
    category, framing = str(record.get("category") or ""), _framing(record.get("persona"))
    screened = None if thread is None or thread.expired else screen(thread, category)[0]
    writer = str(record.get("writer") or "")
    assessment = assess(draft, thread, screened=screened, framing=framing, writer=writer, category=category)
    findings = gate_findings(assessment)
    gates = {
        gate: {
            "outcome": finding.outcome,
            "reasons": [] if finding.passed else _reasons(gate, finding.message, assessment),
        }
        for gate, finding in findings.items()
    }
    claims = [claim.model_dump(mode="json") for claim in find_claims(draft, screened, assessment.grounding, framing)]
    return {"id": record.get("id"), "outcome": overall_outcome(findings), "gates": gates, "claims": claims}


def _reasons(gate: str, message: str, assessment: Assessment) -> list[str]:
    return list(assessment.grounding.problems) or [message] if gate == "quotes_are_grounded" else [message]


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("It is not JSON.", "Write one object to a line.") from None
    if not isinstance(record, dict):
        raise UsageError("It is not a JSON object.", "Write one object to a line.")
    return record


def _text_record(line: str) -> dict[str, Any]:
    record = _record(line)
    if not isinstance(record.get("text"), str):
        raise UsageError("It has no text.", "Write {id, title, text} with optional thread.")
    return {**record, "title": record["title"] if isinstance(record.get("title"), str) else ""}


def _draft(value: Any) -> Draft:
    """Read a draft as a model's answer is read: an object, or text that holds one."""
    from threadjuice_dagster.resources.openai_compatibility import read_answers

    if not value:
        raise UsageError("It has no draft.", "Write {id, draft, thread}.")
    answer = next(read_answers({"choices": [{"message": {"content": value}}]}, Draft))
    if isinstance(answer, ThreadJuiceError):
        problem = answer.message.replace("The model's answer", "Its draft")
        raise UsageError(problem, "Write title, sections and quotes as a model answers them.")
    return answer


def _framing(persona: Any) -> tuple[str, ...]:
    """Return the lines of a persona (slug or name), none without one."""
    from threadjuice_dagster.database.catalogue import read_catalogue

    if not persona:
        return ()
    personas = read_catalogue()[1]
    named = [
        candidate.lines
        for candidate in personas
        if str(persona).casefold() in (candidate.slug, candidate.name.casefold())
    ]
    if not named:
        slugs = ", ".join(candidate.slug for candidate in personas)
        raise UsageError(f"There is no persona {str(persona)[:60]!r}.", f"Leave it out, or name one of: {slugs}.")
    return named[0]


def _thread(value: Any) -> Thread | None:
    """Return a thread, None for none.

    It may be a saved answer of any source, a thread in this project's own form, any object ``{title, body, comments}``,
    a list of comments, or plain text. Raises ``UsageError`` for anything else, and where none of these holds any text.
    """
    if not value or (isinstance(value, str) and not value.strip()):
        return None
    try:
        parsed = None if isinstance(value, str) else ThreadSources().parse(value)
    except ThreadFormatError as error:
        raise UsageError(f"Its thread cannot be read: {error}.", "Leave it out, or save it from its source.") from None
    except Unsuitable as error:
        raise UsageError(f"Its thread cannot be used: {error.message}", "Leave it out.") from None
    if parsed is not None:
        return parsed
    if isinstance(value, Mapping):
        try:
            return Thread.model_validate(value)
        except ValidationError:
            return _plain_thread(value)
    return _plain_thread({"comments": value} if isinstance(value, list) else {"body": value})


def _plain_thread(value: Mapping[str, Any]) -> Thread:
    moment = datetime.fromtimestamp(0, UTC)
    given = value.get("comments") or []
    if not isinstance(given, list):
        raise UsageError("The comments of its thread are no list.", "Write them as [{id, body}].")
    records = [comment if isinstance(comment, Mapping) else {"body": comment} for comment in given]
    comments = [
        Comment(id=str(record.get("id") or f"c{number}").removeprefix("t1_"), body=body, created_at=moment)
        for number, record in enumerate(records)
        if (body := _text_in(record, "body", "text"))
    ]
    title, body = _text_in(value, "title"), _text_in(value, "body", "selftext")
    if not (title or body or comments):
        raise UsageError(
            "Its thread holds no text.",
            "Leave it out, or write a saved answer of its source, {title, body, comments: [{id, body}]} or plain text.",
        )
    return Thread(
        id=str(value.get("id") or "thread"),
        source="submission",
        community=str(value.get("community") or value.get("subreddit") or "unknown"),
        title=title,
        body=body,
        permalink="",
        created_at=moment,
        comments=tuple(comments),
    )


def _text_in(record: Mapping[str, Any], *names: str) -> str:
    """Return the first text in these fields that is not blank, or an empty one."""
    return next((text for name in names if (text := string_in(record, name)).strip()), "")
