"""Stories as operators read them, read from all tables by one query."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.assignments import run_lock
from threadjuice_dagster.database.locks import is_held
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.database.tables import STATUSES
from threadjuice_dagster.domain.judging.gates import GATES, GateVerdict
from threadjuice_dagster.domain.story.records import Decision, Reason, StoryRecord
from threadjuice_dagster.failures import Interrupted, UsageError

_AS = {status: (status,) for status in STATUSES} | {"interrupted": ("assigned", "running"), "waiting": ("assigned",)}
"""Statuses stored for each status shown."""

_MOST_MEANT = 10
"""Stories that are listed where the beginning of a name fits several."""

SHOWN = tuple(_AS)
"""Every status a story is shown with."""


def story_records(
    store: Store,
    page: Callable[[str], str],
    *,
    ids: Sequence[str] | None = None,
    order: str | None = None,
    status: str | None = None,
    limit: int = 1000,
) -> list[StoryRecord]:
    """Return stories of the given ids, order or status, newest first. ``page`` returns the address of a slug's page.

    A story whose run was stopped or died has the status ``interrupted``.
    """
    columns = t.assignments.c
    statuses = STATUSES if status is None else _AS.get(status, (status,))
    most = limit if status is None else limit * len(statuses)
    query = _query().order_by(columns.created_at.desc(), columns.story_id).limit(most)
    if ids is not None:
        query = query.where(columns.story_id.in_(ids))
    if order is not None:
        query = query.where(columns.order_id == order)
    if ids is None and order is None:
        query = query.where(columns.story_id.in_(_newest(statuses, most)))
    with store.engine.connect() as connection:
        records = [_record(connection, row, page) for row in connection.execute(query)]
    return [record for record in records if status in (None, record.status)][:limit]


def story_record(store: Store, story_id: str, page: Callable[[str], str]) -> StoryRecord:
    """Return one story. Raises ``UsageError`` if there is none of this id."""
    records = story_records(store, page, ids=[story_id])
    if not records:
        raise UsageError(f"There is no story {story_id[:100]!r}.", "List them with: threadjuice content list")
    return records[0]


def find_story(store: Store, reference: str) -> str:
    """Return the id of the story with this id or slug, or of the only one whose id or slug begins like this.

    Raises ``UsageError`` where there is none, or where several begin so.
    """
    story_id, slug = t.assignments.c.story_id, t.publications.c.slug
    query = sa.select(story_id).outerjoin(t.publications, story_id == t.publications.c.story_id)
    beginnings = story_id.startswith(reference, autoescape=True) | slug.startswith(reference, autoescape=True)
    with store.engine.connect() as connection:
        for where in (story_id == reference, slug == reference, beginnings) if reference else ():
            found = connection.scalars(query.where(where).order_by(story_id).limit(_MOST_MEANT)).all()
            if len(found) == 1:
                return str(found[0])
            if found:
                message = f"Several stories begin with {reference[:100]!r}."
                raise UsageError(message, f"Name one of them: {', '.join(found)}")
    raise UsageError(f"There is no story {reference[:100]!r}.", "List them with: threadjuice content list")


def _newest(statuses: Sequence[str], limit: int) -> "sa.Select[Any]":
    """Select the ids of the newest stories of these statuses; each status is read from the end of an index."""
    columns = t.assignments.c
    newest = sa.select(columns.created_at, columns.story_id)
    newest = newest.order_by(columns.created_at.desc(), columns.story_id).limit(limit)
    stories = sa.union_all(*(newest.where(columns.status == status) for status in statuses)).subquery()
    return sa.select(stories.c.story_id).order_by(stories.c.created_at.desc(), stories.c.story_id).limit(limit)


def _query() -> "sa.Select[Any]":
    story = t.assignments.c.story_id
    verdict = sa.func.to_jsonb(sa.literal_column("gate_verdicts"))
    verdicts = sa.select(sa.func.coalesce(sa.func.jsonb_agg(verdict), sa.text("'[]'::jsonb"))).select_from(
        t.gate_verdicts
    )
    decision = sa.func.to_jsonb(sa.literal_column("audit"))
    decisions = sa.select(sa.func.coalesce(sa.func.jsonb_agg(decision), sa.text("'[]'::jsonb"))).select_from(t.audit)
    usage = sa.select(sa.func.coalesce(sa.func.sum(t.model_usage.c.cost_usd), 0.0))
    tokens = sa.select(sa.func.coalesce(sa.func.sum(t.model_usage.c.input_tokens + t.model_usage.c.output_tokens), 0))
    return (
        sa.select(
            t.assignments,
            t.threads.c.title.label("thread_title"),
            t.threads.c.permalink,
            t.stories.c.record.label("story"),
            t.quality_scores.c.record.label("score"),
            t.images.c.record.label("image"),
            t.publications.c.slug,
            t.publications.c.published_at,
            verdicts.where(t.gate_verdicts.c.story_id == story).scalar_subquery().label("verdicts"),
            decisions.where(t.audit.c.story_id == story).scalar_subquery().label("decisions"),
            t.publications.c.record["provenance"].label("provenance"),
            t.publications.c.record["credit"].label("credit"),
            t.threads.c.source,
            usage.where(t.model_usage.c.story_id == story).scalar_subquery().label("cost_usd"),
            tokens.where(t.model_usage.c.story_id == story).scalar_subquery().label("tokens"),
        )
        .outerjoin(t.threads, t.threads.c.id == t.assignments.c.thread_id)
        .outerjoin(t.stories, t.stories.c.story_id == story)
        .outerjoin(t.quality_scores, t.quality_scores.c.story_id == story)
        .outerjoin(t.images, t.images.c.story_id == story)
        .outerjoin(t.publications, t.publications.c.story_id == story)
    )


def _record(connection: sa.Connection, row: Any, page: Callable[[str], str]) -> StoryRecord:
    status, error = row.status, row.error
    if status == "running" and not is_held(connection, run_lock(row.run_id or "")):
        status, error = "interrupted", Interrupted().record
    elif status == "assigned" and error:
        status = error["kind"]
    story, draft, score = row.story or {}, (row.story or {}).get("draft", {}), row.score or {}
    verdicts = sorted(map(GateVerdict.model_validate, row.verdicts), key=lambda verdict: GATES.index(verdict.gate))
    return StoryRecord(
        id=row.story_id,
        status=status,
        title=draft.get("title") or row.thread_title or "(its text is gone)",
        dek=draft.get("dek", ""),
        slug=row.slug or "",
        category=row.category,
        persona=row.persona,
        writer=story.get("writer", ""),
        model=story.get("model", ""),
        note=story.get("note", ""),
        score=score.get("overall"),
        rubric_score=(score.get("rubric") or {}).get("overall"),
        judge_score=(score.get("judge") or {}).get("overall"),
        reasons=_reasons(verdicts, status, error),
        overrides=tuple(verdict for verdict in verdicts if verdict.overridden_by),
        decisions=tuple(sorted(map(Decision.model_validate, row.decisions), key=lambda decision: decision.at)),
        unsupported=tuple((score.get("grounding") or {}).get("unsupported", ())),
        provenance=row.provenance,
        quotes=tuple(draft.get("quotes", ())),
        sections=tuple(draft.get("sections", ())),
        tags=tuple(draft.get("tags", ())),
        image=row.image,
        source_url=row.permalink or "" if row.source != "sample" else "",
        credit=row.credit or None,
        cost_usd=round(row.cost_usd, 6),
        tokens=row.tokens,
        run_id=row.run_id or "",
        page=page(row.slug) if row.slug and status == "published" else "",
        error=error if status in ("failed", "interrupted", "waiting") else None,
        published_at=row.published_at.isoformat() if row.published_at else None,
    )


def _reasons(verdicts: Sequence[GateVerdict], status: str, error: dict[str, Any] | None) -> tuple[Reason, ...]:
    reasons = [Reason(check=verdict.gate, message=verdict.message) for verdict in verdicts if not verdict.lets_through]
    kind = (error or {}).get("kind")
    if error and kind in ("editor", "takedown"):
        reasons.append(Reason(check=str(kind), message=error["message"]))
    elif error and status == "rejected" and not reasons:
        reasons.append(Reason(check="can_be_written", message=error["message"]))
    return tuple(reasons)
