"""The supply of stored threads, what the newest look at each place gave, and how far an order came.

What counts as suitable belongs in ``domain/writing/supply.py``, what is said of a shortage in
``domain/writing/shortage.py``.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.rows import is_usable, upsert
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.assignments import Order
from threadjuice_dagster.domain.writing.shortage import PlaceReading, Shortfall
from threadjuice_dagster.domain.writing.supply import Supply, unsuitable

ASSESSED_AT_ONCE = 200
"""Threads that are read into memory together; one is judged in some 10 ms, one of 500 comments in 130 ms."""

LATELY = 100
"""Newest orders, and newest threads of theirs, whose outcomes tell how many threads become stories."""


class ThreadSupply:
    """Counts and judges the threads that no story was made of yet."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def supply(self, daily_stories: int) -> Supply:
        """Return how many unused threads there are by place, and how many of the newest tried ones were published.

        A thread that was not assessed yet counts as suitable.
        """
        with self._engine.connect() as connection:
            places = connection.execute(_by_place()).all()
            tried, published = connection.execute(sa.text(_TRIED), {"lately": LATELY}).one()
        return Supply(
            unused=sum(row.unused for row in places),
            by_place={row.place: row.suitable for row in places if row.suitable},
            tried=tried,
            published=published,
            daily_stories=daily_stories,
        )

    def assess(self) -> int:
        """Record for every unused thread that is new or has changed whether it suits a story; return how many."""
        columns = t.threads.c
        query = sa.select(columns.id, columns.record).where(is_usable(), columns.unsuitable.is_(None))
        assessed = 0
        while True:
            with self._engine.connect() as connection:
                rows = connection.execute(query.order_by(columns.id).limit(ASSESSED_AT_ONCE)).all()
            if not rows:
                return assessed
            reasons = {row.id: unsuitable(Thread.model_validate(row.record)) for row in rows}
            with self._engine.begin() as connection:
                for row in rows:
                    # A thread that changed meanwhile is judged in the next round.
                    this = (columns.id == row.id) & (columns.record == row.record)
                    connection.execute(t.threads.update().where(this).values(unsuitable=reasons[row.id]))
            assessed += len(rows)

    def note_places(self, readings: Sequence[PlaceReading], *, everything: bool) -> None:
        """Record what a look at places gave; where it was at ``everything``, other places are forgotten."""
        columns = t.thread_places.c
        with self._engine.begin() as connection:
            if everything:
                others = columns.spec.not_in([reading.spec for reading in readings])
                connection.execute(t.thread_places.delete().where(others))
            for reading in sorted(readings, key=lambda reading: reading.spec):
                row = {**reading.model_dump(), "read_at": sa.func.now()}
                connection.execute(upsert(t.thread_places, row))

    def places(self, source: str = "") -> list[PlaceReading]:
        """Return what the newest look at each place gave, or at those of one source or spec."""
        columns = t.thread_places.c
        query = sa.select(columns.spec, columns.threads, columns.problem, columns.next_step).order_by(columns.spec)
        if source:
            query = query.where((columns.spec == source) | columns.spec.startswith(f"{source}:", autoescape=True))
        with self._engine.connect() as connection:
            return [PlaceReading.model_validate(dict(row._mapping)) for row in connection.execute(query)]

    def shortfall(self, order: Order) -> Shortfall | None:
        """Return how far an order came; None for one that is filled."""
        values = {"order": order.id}
        with self._engine.connect() as connection:
            rows = connection.execute(sa.text(_OUTCOMES), values)
            outcomes = Counter({status: count for status, count in rows})
            gates = {gate: count for gate, count in connection.execute(sa.text(_GATES), values)}
            error = connection.scalar(sa.text(_PROBLEM), values) or {}
        published = outcomes["published"] + outcomes["withdrawn"]
        if published >= order.count:
            return None
        return Shortfall(
            wanted=order.count,
            published=published,
            tried=outcomes.total(),
            most=order.max_attempts,
            refused=outcomes["rejected"] + outcomes["held"],
            by_gate=gates,
            failed=outcomes["failed"],
            waiting=outcomes["assigned"] + outcomes["running"],
            problem=error.get("message") or "the last run says why.",
            next_step=error.get("next_step") or "See why: threadjuice content list",
            category=order.category or "",
            source=order.source,
        )


def _by_place() -> "sa.Select[Any, int, int]":
    """Return the query for the unused threads of every place that is read, and how many of them suit a story."""
    columns = t.threads.c
    place = sa.func.coalesce(sa.func.nullif(columns.spec, ""), columns.source).label("place")
    suitable = sa.func.count().filter(sa.func.coalesce(columns.unsuitable, "") == "").label("suitable")
    counts = sa.select(place, sa.func.count().label("unused"), suitable).where(is_usable())
    return counts.group_by(place).order_by(suitable.desc(), place)


# The limit of the inner query has every order's stories looked up by index, however many stories there are.
_TRIED = """WITH newest AS (SELECT id, created_at FROM orders ORDER BY created_at DESC LIMIT :lately), tried AS (
    SELECT a.status FROM newest CROSS JOIN LATERAL (
        SELECT status FROM assignments WHERE order_id = newest.id AND thread_id IS NOT NULL
            AND status IN ('published', 'withdrawn', 'rejected', 'held') LIMIT :lately
    ) a ORDER BY newest.created_at DESC LIMIT :lately
)
SELECT count(*), count(*) FILTER (WHERE status IN ('published', 'withdrawn')) FROM tried"""
_OUTCOMES = "SELECT status, count(*) FROM assignments WHERE order_id = :order GROUP BY status"
_GATES = """SELECT coalesce(v.gate, 'can_be_written') AS gate, count(*) FROM assignments a
LEFT JOIN gate_verdicts v ON v.story_id = a.story_id AND NOT v.passed AND v.overridden_by IS NULL
WHERE a.order_id = :order AND a.status IN ('rejected', 'held') GROUP BY 1 ORDER BY 2 DESC, 1"""
_PROBLEM = """SELECT error FROM assignments
WHERE order_id = :order AND status IN ('failed', 'assigned', 'running') AND error ->> 'message' IS NOT NULL
ORDER BY status = 'failed' DESC, updated_at DESC LIMIT 1"""
