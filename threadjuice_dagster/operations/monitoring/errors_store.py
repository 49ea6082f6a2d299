"""Errors of runs, grouped by cause and bounded: nothing here reads more rows than a day has errors.

Writing them down belongs in ``database/ledger.py``, what they mean in ``operations/monitoring/errors_rules.py``.
"""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from threadjuice_dagster.operations.monitoring.errors_rules import ErrorGroup

SHOWN = 50
"""Groups of a day that are shown."""

_DAY = "at >= :start AND at < :end"
_BY_KIND = f"""
SELECT kind, extract(hour FROM at AT TIME ZONE 'UTC')::int AS hour, count(*) AS errors
FROM pipeline_errors WHERE {_DAY} GROUP BY 1, 2
"""  # noqa: S608
_CAUSES = f"SELECT count(DISTINCT fingerprint) FROM pipeline_errors WHERE {_DAY}"  # noqa: S608
_GROUPS = f"""
WITH grouped AS (
    SELECT fingerprint, count(*) AS count, max(at) AS last_at, max(id) AS newest
    FROM pipeline_errors WHERE {_DAY} GROUP BY fingerprint ORDER BY count DESC, last_at DESC LIMIT :shown
)
SELECT g.fingerprint, g.count, g.last_at, e.kind, e.asset, coalesce(e.story_id, '') AS partition,
    coalesce(e.run_id, '') AS run_id, e.message, e.next_step,
    (SELECT min(at) FROM pipeline_errors f WHERE f.fingerprint = g.fingerprint) AS first_at
FROM grouped g JOIN pipeline_errors e ON e.id = g.newest ORDER BY g.count DESC, g.last_at DESC
"""  # noqa: S608


class ErrorsOfDay(NamedTuple):
    """A UTC day's errors: how many of each kind, in each of its hours, of how many causes; and the commonest ones."""

    kinds: Counter[str]
    hours: list[int]
    causes: int
    groups: list[ErrorGroup]


def errors_of_day(engine: sa.Engine, day: date, shown: int = SHOWN) -> ErrorsOfDay:
    """The errors of a UTC day, the most frequent causes first, the newest first among those."""
    span = span_of(day)
    kinds, hours = Counter[str](), [0] * 24
    with engine.connect() as connection:
        for kind, hour, errors in connection.execute(sa.text(_BY_KIND), span):
            kinds[kind] += errors
            hours[hour] += errors
        causes = connection.scalar(sa.text(_CAUSES), span) or 0
        rows = connection.execute(sa.text(_GROUPS), {**span, "shown": shown})
        return ErrorsOfDay(kinds, hours, causes, [ErrorGroup.model_validate(dict(row._mapping)) for row in rows])


def span_of(day: date) -> dict[str, Any]:
    """The first moment of a UTC day and of the next, as values of a query."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return {"start": start, "end": start + timedelta(days=1)}
