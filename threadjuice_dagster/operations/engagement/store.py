"""Stores counts of readers' events: one row per story, day and event, however many readers there were.

So the table grows with the stories that are read and not with the readers, it cannot be flooded, and two events of one
reader cannot be joined. The deployed function carries this file, so only the standard library is imported at load.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.operations.engagement.rules import STORY_PER_MINUTE, Key

if TYPE_CHECKING:
    import sqlalchemy as sa

Run = Callable[[str, Mapping[str, Any]], Sequence[Any]]
"""Runs a statement with values by name (``%(name)s``) in a transaction of its own, and returns its rows."""

MAX_REMEMBERED = 10_000
"""Slugs that a process remembers. A slug never changes its story, and a withdrawn story is not counted anyway."""

_PUBLIC = "SELECT slug FROM publications WHERE slug = ANY(%(slugs)s::text[]) AND withdrawn_at IS NULL"

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


class _SlugLookup:
    """Slugs that one query looks up together, and those of them that are public, once it was answered."""

    def __init__(self) -> None:
        self.slugs: set[str] = set()
        self.public: set[str] | None = None


class ViewCounts:
    """The counts, read and written through ``run``, whose errors are raised as they are."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._public: set[str] = set()
        self._joining, self._asking = threading.Lock(), threading.Lock()
        self._next = _SlugLookup()

    def is_public(self, slug: str) -> bool:
        """Whether there is a public story of this slug.

        One query runs at a time and looks up every slug that arrived meanwhile. So a flood of unknown slugs keeps one
        connection busy and no more, and no report is refused because of it.
        """
        if slug in self._public:
            return True
        with self._joining:
            question = self._next
            question.slugs.add(slug)
        with self._asking:
            if question.public is None:
                with self._joining:
                    self._next = _SlugLookup()
                rows = self._run(_PUBLIC, {"slugs": list(question.slugs)})
                question.public = {row[0] for row in rows}
                self._remember(question.public)
        return slug in question.public

    def _remember(self, slugs: set[str]) -> None:
        if len(self._public) + len(slugs) > MAX_REMEMBERED:
            self._public.clear()
        self._public |= slugs

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add counts to those of today (UTC). Counts beyond the limit of a minute are added to ``dropped`` only."""
        slugs, events = zip(*counts, strict=True)
        values = {"slugs": list(slugs), "events": list(events), "counts": list(counts.values())}
        self._run(_COUNT, {**values, "most": STORY_PER_MINUTE})

    def of_day(self, day: date) -> Sequence[Any]:
        """Return every count of a day with the story's slug, category and persona."""
        return self._run(_OF_DAY, {"day": day})

    def views(self, day: date, before: int) -> Sequence[Any]:
        """Return the views of a day and of the days before it, oldest first; days without a view have zero."""
        return self._run(_VIEWS, {"day": day, "before": before})


def through(engine: "sa.Engine") -> Run:
    """Return a ``Run`` that uses a pool of connections."""

    def run(sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
        with engine.begin() as connection:
            return connection.exec_driver_sql(sql, dict(values)).all()

    return run
