"""Counts of what readers did: one row per story, day and event, however many readers there were.

Counted rows, not one row per event: the table grows with the stories that are read, not with the readers, it cannot
be flooded, and there is nothing in it that two events of one reader could be joined by. Nothing but the standard
library is imported at load: the deployed function carries this file as it is.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.operations.engagement.rules import STORY_PER_MINUTE, Key

if TYPE_CHECKING:
    import sqlalchemy as sa

Run = Callable[[str, Mapping[str, Any]], Sequence[Any]]
"""Runs a statement with values by name, ``%(so)s``, in a transaction of its own, and returns its rows."""

MAX_KNOWN = 10_000
"""Slugs a process remembers. A slug is its story's for good; of a withdrawn story nothing is written anyway."""

_KNOWN = "SELECT slug FROM publications WHERE slug = ANY(%(slugs)s::text[]) AND withdrawn_at IS NULL"

_ROOM = "%(most)s - CASE WHEN kept.minute = excluded.minute THEN kept.in_minute ELSE 0 END"
_COUNT = f"""
INSERT INTO engagement AS kept (story_id, day, event, count, dropped, minute, in_minute)
SELECT p.story_id, (now() AT TIME ZONE 'UTC')::date, e.event, least(e.count, %(most)s),
    greatest(e.count - %(most)s, 0), date_trunc('minute', now()), least(e.count, %(most)s)
FROM unnest(%(slugs)s::text[], %(events)s::text[], %(counts)s::int[]) AS e (slug, event, count)
JOIN publications p ON p.slug = e.slug AND p.withdrawn_at IS NULL
ORDER BY p.story_id, e.event
ON CONFLICT (story_id, day, event) DO UPDATE SET
    count = kept.count + least(excluded.count, {_ROOM}),
    dropped = kept.dropped + excluded.dropped + greatest(excluded.count - ({_ROOM}), 0),
    in_minute = excluded.count - greatest(excluded.count - ({_ROOM}), 0)
        + CASE WHEN kept.minute = excluded.minute THEN kept.in_minute ELSE 0 END,
    minute = excluded.minute
RETURNING 1
"""  # noqa: S608 -- in one order, so that writers never wait for one another in a circle

_OF_DAY = """
SELECT coalesce(p.slug, e.story_id) AS story, a.category, a.persona, e.event, e.count, e.dropped
FROM engagement e JOIN assignments a USING (story_id) LEFT JOIN publications p USING (story_id) WHERE e.day = %(day)s
"""
_VIEWS = """
SELECT d.day, coalesce(sum(e.count), 0)::bigint AS views
FROM (SELECT %(day)s::date - ago AS day FROM generate_series(0, %(before)s::int) ago) d
LEFT JOIN engagement e ON e.day = d.day AND e.event = 'view'
GROUP BY 1 ORDER BY 1
"""


class _Question:
    """Slugs that are asked about together, and which of them are public once that is known."""

    def __init__(self) -> None:
        self.slugs: set[str] = set()
        self.public: set[str] | None = None


class ViewCounts:
    """The counts, through whatever connection ``run`` has. Its errors are the connection's own."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._known: set[str] = set()
        self._joining, self._asking = threading.Lock(), threading.Lock()
        self._next = _Question()

    def knows(self, slug: str) -> bool:
        """Whether there is a public story of this slug.

        One question is asked at a time, about every slug that came up meanwhile: a flood of slugs that no story has
        costs the database no more than one connection can ask, and nobody is turned away because of it.
        """
        if slug in self._known:
            return True
        with self._joining:
            question = self._next
            question.slugs.add(slug)
        with self._asking:
            if question.public is None:
                with self._joining:
                    self._next = _Question()
                rows = self._run(_KNOWN, {"slugs": list(question.slugs)})
                question.public = {row[0] for row in rows}
                self._remember(question.public)
        return slug in question.public

    def _remember(self, slugs: set[str]) -> None:
        if len(self._known) + len(slugs) > MAX_KNOWN:
            self._known.clear()
        self._known |= slugs

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add counts to those of today, in UTC; what is beyond the bound of a minute is only counted as dropped."""
        slugs, events = zip(*counts, strict=True)
        values = {"slugs": list(slugs), "events": list(events), "counts": list(counts.values())}
        self._run(_COUNT, {**values, "most": STORY_PER_MINUTE})

    def of_day(self, day: date) -> Sequence[Any]:
        """Every count of a day, with the story's slug, category and persona."""
        return self._run(_OF_DAY, {"day": day})

    def views(self, day: date, before: int) -> Sequence[Any]:
        """Views of a day and of so many days before it, oldest first; days without a view have zero."""
        return self._run(_VIEWS, {"day": day, "before": before})


def through(engine: "sa.Engine") -> Run:
    """Runs statements through a pool of connections."""

    def run(sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
        with engine.begin() as connection:
            return connection.exec_driver_sql(sql, dict(values)).all()

    return run
