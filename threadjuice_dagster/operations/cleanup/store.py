"""What the rules of a clean-up find in the newsroom's tables, and how it goes: archived and deleted batch by batch.

A batch is one transaction: its rows are locked, looked at again, archived and deleted. Whatever ends it before its
commit leaves all of it. What leaves storage and Dagster belongs in ``operations/cleanup/service.py``.
"""

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.assignments import run_lock
from threadjuice_dagster.database.locks import is_held
from threadjuice_dagster.domain.story.stories import IMPORTED
from threadjuice_dagster.operations.alerts.store import GIVEN_UP
from threadjuice_dagster.operations.cleanup.archive import Archive
from threadjuice_dagster.operations.cleanup.rules import CLEANED
from threadjuice_dagster.operations.takedowns.store import WRITTEN_FROM_IT, sources_of

T = TypeVar("T")

CONTENT = (*WRITTEN_FROM_IT, t.imports)
"""What is written of a story. Its assignment and thread say that it was, so that it is not written again."""

UNDECIDED = ("assigned", "running", "held", "imported")

STORY_RULES = ("test_content", "rejected_drafts", "withdrawn_stories")

_REPLACED = """
SELECT DISTINCT variant ->> 'key' FROM publications p
CROSS JOIN LATERAL jsonb_array_elements(p.record #> '{image,variants}') variant
WHERE NOT EXISTS (SELECT FROM image_variants v
                  WHERE v.story_id = p.story_id AND v.key = p.record #>> '{image,variants,0,key}')
"""

_story = t.assignments.c


@dataclasses.dataclass(frozen=True)
class CleanupRule:
    """Something to remove: how much there is of it, the keys of what has to go, and what removes a batch of keys.

    Up to ``floor`` go whatever their share of all; None is for what a promise has deleted, however much it is.
    """

    name: str
    total: Callable[[], int]
    keys: Callable[[], Iterable[str]]
    remove: Callable[[Sequence[str]], int]
    floor: int | None
    batch: int
    problem: Callable[[], str] = lambda: ""
    """Why nothing of it may go; asked once the keys are known."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of ``table`` that meet a condition; ``copied`` goes to the archive with them, ``delete`` deletes them."""

    name: str
    table: sa.Table
    condition: Any
    counted: sa.Table
    copied: tuple[sa.Table, ...]
    delete: Callable[[sa.Connection, Sequence[Any]], None]
    floor: int
    batch: int

    @property
    def key(self) -> Any:
        """The column rows are named by."""
        return next(iter(self.table.primary_key))


class KeyFile:
    """Keys in a file without a name: how many there are is known before the first of them is used."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._file, self.count = tempfile.TemporaryFile("w+"), 0  # noqa: SIM115 -- closed by ``key_file``
        for key in keys:
            self._file.write(f"{key}\n")
            self.count += 1

    def chunks(self, size: int) -> Iterator[list[str]]:
        """The keys in order, ``size`` at a time."""
        self._file.seek(0)
        yield from chunked((line.rstrip("\n") for line in self._file), size)

    def close(self) -> None:
        """Forget the keys."""
        self._file.close()


@contextmanager
def key_file(keys: Iterable[str]) -> Iterator[KeyFile]:
    """Yield these keys in a file that is closed after the block."""
    file = KeyFile(keys)
    try:
        yield file
    finally:
        file.close()


class Cleanup:
    """The clean-up's view of the tables, and the archive it fills under ``name``."""

    def __init__(self, engine: sa.Engine, archive: Archive, name: str) -> None:
        self._engine, self._archive, self._name = engine, archive, name
        self._parts = itertools.count(1)
        self.archived = False

    def rule(self, rows: Rows) -> CleanupRule:
        """Rows to remove as a rule."""
        return CleanupRule(
            rows.name,
            lambda: self.count(rows.counted.name),
            lambda: self._keys(rows),
            lambda keys: self._remove(rows, keys),
            rows.floor,
            rows.batch,
        )

    def published(self, stories: Sequence[str] | None = None) -> dict[str, bool]:
        """Those of these stories that have a public record, and whether they are on the site; of None, one that is."""
        columns = t.publications.c
        query = sa.select(columns.story_id, columns.withdrawn_at.is_(None))
        query = (
            query.where(columns.withdrawn_at.is_(None)).limit(1)
            if stories is None
            else query.where(_among(columns.story_id, stories))
        )
        with self._engine.connect() as connection:
            return dict(connection.execute(query).tuples().all())

    def has_stories(self) -> bool:
        """Whether there is or was any story at all."""
        with self._engine.connect() as connection:
            return bool(connection.scalar(sa.select(sa.exists().select_from(t.assignments))))

    def names_files(self) -> bool:
        """Whether any story has files in picture storage."""
        with self._engine.connect() as connection:
            return bool(connection.scalar(sa.select(sa.exists().where(t.image_variants.c.key != ""))))

    def unused(self, files: Sequence[str]) -> list[str]:
        """Those of these files that no story's picture consists of."""
        if not files:
            return []
        named = sa.select(t.image_variants.c.key).where(_among(t.image_variants.c.key, files))
        with self._engine.connect() as connection:
            used = set(connection.scalars(named)) | self._replaced
            return [key for key in files if key not in used]

    @functools.cached_property
    def _replaced(self) -> set[str]:
        """Files of pictures that public records still show although their stories have been given others since."""
        with self._engine.connect() as connection:
            return set(connection.scalars(sa.text(_REPLACED)))

    def gone(self, stories: Iterable[str]) -> list[str]:
        """Those of these stories of which nothing is left and nothing is being made."""
        query = sa.select(_story.story_id).where(_has(t.stories) | _story.status.not_in(("rejected", "withdrawn")))
        gone = []
        with self._engine.connect() as connection:
            for chunk in chunked(stories, 1000):
                there = set(connection.scalars(query.where(_among(_story.story_id, chunk))))
                gone += [story for story in chunk if story not in there]
        return gone

    def undecided(self, stories: Sequence[str]) -> set[str]:
        """Those of these stories that a run or a person has still to decide on."""
        query = sa.select(_story.story_id).where(_among(_story.story_id, stories), _story.status.in_(UNDECIDED))
        with self._engine.connect() as connection:
            return set(connection.scalars(query))

    def count(self, table: str) -> int:
        """Rows of a table."""
        with self._engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(sa.table(table))) or 0

    def _keys(self, rows: Rows) -> Iterator[str]:
        with self._engine.connect().execution_options(yield_per=5000) as connection:
            yield from map(str, connection.scalars(sa.select(rows.key).where(rows.condition)))

    def _remove(self, rows: Rows, keys: Sequence[str]) -> int:
        with self._engine.begin() as connection:
            due = self._locked(connection, rows, keys)
            if due:
                self._copy(connection, rows, due)
                rows.delete(connection, due)
            return len(due)

    def _locked(self, connection: sa.Connection, rows: Rows, keys: Sequence[str]) -> list[Any]:
        """Those of these rows that nobody else works on and that still are what the rule is about."""
        kind = rows.key.type.python_type
        mine = sa.select(rows.key).where(_among(rows.key, [kind(key) for key in keys]))
        locked = list(connection.scalars(mine.with_for_update(skip_locked=True)))
        due = list(connection.scalars(sa.select(rows.key).where(_among(rows.key, locked), rows.condition)))
        if rows.table is not t.assignments:
            return due
        runs = connection.execute(sa.select(_story.story_id, _story.run_id).where(_among(_story.story_id, due)))
        return [story for story, run in runs.all() if not run or not is_held(connection, run_lock(run))]

    def _copy(self, connection: sa.Connection, rows: Rows, keys: Sequence[Any]) -> None:
        copies: list[dict[str, Any]] = []
        for table in (rows.table, *rows.copied):
            row = sa.func.to_jsonb(sa.literal_column(table.name))
            query = sa.select(row).select_from(table).where(_among(table.c[rows.key.name], keys))
            copies += [{"table": table.name, "row": row} for row in connection.scalars(query)]
        about = {copy["row"]["story_id"] for copy in copies if copy["row"].get("story_id")}
        query = sa.select(_story.story_id, _story.thread_id).where(_among(_story.story_id, about))
        stories = dict.fromkeys(sorted(about), "") | {one: thread or "" for one, thread in connection.execute(query)}
        sources = sources_of(connection, list(keys)) if t.stories in rows.copied else {}
        part = f"{self._name}/{rows.name}-{next(self._parts):05}"
        self._archive.add(part, rows.name, copies, stories=stories, sources=sources)
        self.archived = True


def chunked(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of ``size``, the last one shorter."""
    left = iter(values)
    while chunk := list(itertools.islice(left, size)):
        yield chunk


def test_content(prefixes: Sequence[str]) -> Rows:
    """Stories whose id, slug or title begins with one of these, in lower case: all of them, whatever their status."""
    listed = sa.cast(list(prefixes), ARRAY(sa.Text))

    def begins(column: Any) -> Any:
        return sa.func.lower(column).op("^@")(sa.any_(listed))

    named = begins(sa.func.regexp_replace(_story.story_id, f"^{IMPORTED}-", ""))
    titled, slugged = _has(t.stories, begins(t.stories.c.title)), _has(t.publications, begins(t.publications.c.slug))
    return _stories("test_content", (named | titled | slugged) & ~_taken_down(), _vanish)


def turned_down(before: datetime) -> Rows:
    """What was written of stories that were rejected before."""
    return _stories("rejected_drafts", _left_over("rejected", before), _erase)


def withdrawn(before: datetime) -> Rows:
    """What was written of stories that were withdrawn before."""
    return _stories("withdrawn_stories", _left_over("withdrawn", before), _erase)


def records(before: datetime) -> Iterator[Rows]:
    """What was noted before in tables that only grow, apart from alerts that still wait and incidents that go on."""
    lost = t.alerts.c.problem.startswith(GIVEN_UP) & (t.alerts.c.created_at < before)
    for name, table, condition in (
        ("old_events", t.events, t.events.c.at < before),
        ("old_errors", t.pipeline_errors, t.pipeline_errors.c.at < before),
        ("old_alerts", t.alerts, (t.alerts.c.delivered_at < before) | lost),
        ("old_incidents", t.incidents, ~t.incidents.c.open & (t.incidents.c.last_at < before)),
    ):
        yield Rows(name, table, condition, table, (), functools.partial(_delete, table), floor=1000, batch=5000)


def _stories(name: str, condition: Any, delete: Callable[[sa.Connection, Sequence[Any]], None]) -> Rows:
    copied = (*CONTENT, t.image_variants)
    return Rows(name, t.assignments, condition, t.stories, copied, delete, floor=10, batch=200)


def _left_over(status: str, before: datetime) -> Any:
    public = _has(t.publications, t.publications.c.withdrawn_at.is_(None))
    return (_story.status == status) & (_story.updated_at < before) & _has(t.stories) & ~public & ~_taken_down()


def _among(column: Any, values: Iterable[Any]) -> Any:
    """``column IN values`` as one parameter, however many values there are."""
    return column == sa.any_(sa.cast(list(values), ARRAY(column.type)))


def _has(table: sa.Table, *conditions: Any) -> Any:
    return sa.exists().where(table.c.story_id == _story.story_id, *conditions)


def _taken_down() -> Any:
    """Whether a story was taken down: whatever came back of it is for the takedown to remove, and for no archive."""
    about, tomb = (("story", _story.story_id), ("thread", _story.thread_id)), t.tombstones.c
    return sa.or_(*(sa.exists().where(tomb.kind == kind, tomb.id == name) for kind, name in about))


def _delete(table: sa.Table, connection: sa.Connection, keys: Sequence[Any]) -> None:
    (key,) = table.primary_key
    connection.execute(table.delete().where(_among(key, keys)))


def _erase(connection: sa.Connection, stories: Sequence[Any]) -> None:
    for table in CONTENT:
        connection.execute(table.delete().where(_among(table.c.story_id, stories)))
    told = sa.case((sa.func.jsonb_typeof(_story.error) == "object", _story.error), else_=sa.cast(CLEANED, JSONB))
    connection.execute(t.assignments.update().where(_among(_story.story_id, stories)).values(error=told))


def _vanish(connection: sa.Connection, stories: Sequence[Any]) -> None:
    these = t.assignments.delete().where(_among(_story.story_id, stories)).returning(_story.thread_id)
    threads = [thread for thread in connection.scalars(these) if thread]
    connection.execute(t.threads.delete().where(_among(t.threads.c.id, threads)))
