"""Taking down what was deleted at its source, and letting the text of threads expire.

Which sources are gone is found out in ``resources/``. One method, one transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.ledger import add_decision, add_event
from threadjuice_dagster.domain.judging.verdicts import QualityScore
from threadjuice_dagster.domain.story.credit import POST
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import StoryDraft
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.operations.takedowns import rules
from threadjuice_dagster.operations.takedowns.rules import Remains, Tombstone, tombstone_key
from threadjuice_dagster.sources.thread_source import StoredThread

TAKEN_DOWN = {
    "kind": "takedown",
    "message": "Its source was deleted, and everything that was written from it here.",
    "next_step": "Nothing can bring it back.",
}
WRITTEN_FROM_IT = (t.stories, t.quality_scores, t.gate_verdicts, t.images, t.publications)
_EXPIRING = ("reddit", "file")
"""Sources whose terms bound how long a text is kept. Earlier versions stored a saved thread of Reddit as a ``file``."""

_OURS = ("sample", "submission")
"""Sources at which nothing can be deleted."""

_UNUSED_DAYS = 30
"""Days after which an unused thread of any other source is dropped: its discussion is over."""


class Takedowns:
    """Reads sources of stories and removes what rests on deleted ones."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def sources(self, archived: Mapping[str, set[str]]) -> dict[str, StoredThread]:
        """Return every thread that a stored or ``archived`` story was written from, and every unused one.

        With each come the ids of its comments that a story repeats or credits. An unused thread is asked about by its
        post.
        """
        columns = t.threads.c
        kept = columns.expired_at.is_(None) & columns.source.not_in(_OURS)
        query = sa.select(columns.id, columns.permalink)
        with self._engine.connect().execution_options(yield_per=1000) as connection:
            used = sources_of(connection)
            for thread, comments in archived.items():
                used[thread] = used.get(thread, set()) | comments
            ids = sa.cast(list(used), ARRAY(sa.Text))
            permalinks = dict(connection.execute(query.where((columns.id == sa.any_(ids)) | kept)).tuples().all())
        return {
            thread: StoredThread(permalinks.get(thread, ""), used.get(thread, set()))
            for thread in {**used, **permalinks}
        }

    def unknown(self, keys: Iterable[str]) -> list[str]:
        """Those keys of tombstones that this database has not heard of."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(t.tombstones.c.kind, t.tombstones.c.id))
            known = {tombstone_key(row.kind, row.id) for row in rows}
        return [key for key in keys if key not in known]

    def apply(self, tombstone: Tombstone) -> None:
        """Remove everything that rests on a deleted source; what is left outside the database is remembered."""
        with self._engine.begin() as connection:
            story_id = self._story_of(connection, tombstone)
            remains = self._remove(connection, tombstone, story_id)
            left = {**remains.model_dump(mode="json"), "thread": tombstone.thread}
            row = {"kind": tombstone.kind, "id": tombstone.name, "reason": tombstone.reason, "remains": left}
            statement = insert(t.tombstones).values(row)
            new = {"remains": statement.excluded.remains, "cleared_at": None}
            connection.execute(statement.on_conflict_do_update(index_elements=["kind", "id"], set_=new))
            if story_id:
                subject = tombstone.thread or tombstone.id
                add_decision(connection, "takedown", subject, "newsroom", tombstone.reason, kind=tombstone.kind)

    def returned(self) -> list[Tombstone]:
        """Tombstones of threads and stories whose story has text again: a run went on writing, or rows came back."""
        buried, columns = t.tombstones.c, t.assignments.c
        about = ((buried.kind == "thread") & (buried.id == columns.thread_id)) | (
            (buried.kind == "story") & (buried.id == columns.story_id)
        )
        query = (
            sa.select(buried.kind, buried.id, buried.reason)
            .join(t.assignments, about)
            .join(t.stories, t.stories.c.story_id == columns.story_id)
        )
        with self._engine.connect() as connection:
            return [Tombstone.model_validate(dict(row._mapping)) for row in connection.execute(query)]

    def uncleared(self) -> list[tuple[Tombstone, Remains]]:
        """Tombstones with something left to remove outside the database."""
        query = sa.select(t.tombstones).where(t.tombstones.c.cleared_at.is_(None))
        with self._engine.connect() as connection:
            return [
                (
                    Tombstone(
                        kind=row.kind,
                        id=row.id.rpartition("/")[2] if row.kind == "comment" else row.id,
                        reason=row.reason,
                        thread=row.remains.get("thread", ""),
                    ),
                    Remains.model_validate(row.remains),
                )
                for row in connection.execute(query)
            ]

    def clear(self, tombstone: Tombstone) -> None:
        """Record that nothing is left outside the database."""
        columns = t.tombstones.c
        this = (columns.kind == tombstone.kind) & (columns.id == tombstone.name)
        with self._engine.begin() as connection:
            connection.execute(t.tombstones.update().where(this).values(cleared_at=sa.func.now()))

    def expiring(self, hours: float) -> list[str]:
        """Threads whose text ``expire`` would drop now."""
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(t.threads.c.id).where(_expired(hours) & ~_busy())))

    def expire(self, hours: float, only: Sequence[str] | None = None) -> int:
        """Drop the text of Reddit's threads fetched longer ago than this, or of those ``only``; return how many.

        Ids, scores and digests stay where a story was made of the thread; a thread that was not used goes altogether,
        also one of another source after ``_UNUSED_DAYS``. A thread that is being written keeps its text until it is
        done.
        """
        columns = t.threads.c
        due, stale = _expired(hours), _is_stale()
        if only is not None:
            due, stale = due & columns.id.in_(only), stale & columns.id.in_(only)
        with self._engine.begin() as connection:
            unused = connection.execute(t.threads.delete().where((due | stale) & ~_used())).rowcount
            rows = connection.execute(sa.select(columns.id, columns.record).where(due & ~_busy()).with_for_update())
            expired = [Thread.model_validate(row.record).without_text() for row in rows]
            for thread in expired:
                values = {"title": "", "record": thread.model_dump(mode="json"), "expired_at": sa.func.now()}
                connection.execute(t.threads.update().where(columns.id == thread.id).values(values))
        return unused + len(expired)

    def find(self, reference: str, sources: Callable[[], Mapping[str, StoredThread]]) -> Tombstone:
        """Return the tombstone for a story, a thread (``t3_…`` or its id), or a comment of ``sources`` (``t1_…``).

        Raises ``UsageError`` for an unknown one.
        """
        if reference.startswith("t3_"):
            return Tombstone(kind="thread", id=reference[3:])
        if reference.startswith("t1_"):
            used = sources().items()
            thread = next((thread for thread, stored in used if reference[3:] in stored.comments), None)
            if thread:
                return Tombstone(kind="comment", id=reference[3:], thread=thread)
        columns = t.assignments.c
        query = sa.select(columns.thread_id, columns.story_id).where(columns.story_id == reference)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UsageError(
                f"No story rests on {reference[:100]!r}.", "Name a story, a thread (t3_…) or a quoted comment (t1_…)."
            )
        kind, name = ("thread", row.thread_id) if row.thread_id else ("story", row.story_id)
        return Tombstone.model_validate({"kind": kind, "id": name})

    def _story_of(self, connection: sa.Connection, tombstone: Tombstone) -> str | None:
        columns = t.assignments.c
        of_thread = columns.thread_id == (tombstone.thread or tombstone.id)
        this = columns.story_id == tombstone.id if tombstone.kind == "story" else of_thread
        return connection.scalar(sa.select(columns.story_id).where(this).with_for_update())

    def _remove(self, connection: sa.Connection, tombstone: Tombstone, story_id: str | None) -> Remains:
        if tombstone.kind == "comment":
            return self._remove_comment(connection, tombstone, story_id)
        if tombstone.kind == "thread":
            self._change_thread(connection, tombstone.id, Thread.without_text)
        return self._erase(connection, story_id) if story_id else Remains()

    def _remove_comment(self, connection: sa.Connection, tombstone: Tombstone, story_id: str | None) -> Remains:
        self._change_thread(connection, tombstone.thread, lambda thread: thread.without_comment(tombstone.id))
        story = _read(connection, t.stories, story_id, StoryDraft)
        score = _read(connection, t.quality_scores, story_id, QualityScore)
        if story_id is None or story is None:
            return Remains()
        if not rules.can_be_cut(story, score, tombstone.id):
            return self._erase(connection, story_id)
        published = _read(connection, t.publications, story_id, PublishedStory)
        _write(connection, t.stories, story_id, rules.draft_without(story, tombstone.id))
        if score:
            _write(connection, t.quality_scores, story_id, rules.score_without(score, tombstone.id))
        if published:
            changed = rules.publication_without(published, tombstone.id)
            _write(connection, t.publications, story_id, changed, updated_at=sa.func.now())
        self._forget_words(connection, story_id)
        add_event(connection, "quote_withdrawn", story_id)
        return Remains(stories=(story_id,))

    def _erase(self, connection: sa.Connection, story_id: str) -> Remains:
        """Remove all that was written of a story; its assignment stays, so that it is not written again."""
        variants = t.image_variants
        other = variants.alias()
        shared = sa.exists().where(other.c.key == variants.c.key, other.c.story_id != story_id)
        query = sa.select(variants.c.key).where(variants.c.story_id == story_id, variants.c.key != "", ~shared)
        files = tuple(connection.scalars(query))
        for table in WRITTEN_FROM_IT:
            connection.execute(table.delete().where(table.c.story_id == story_id))
        values = {"status": "withdrawn", "error": TAKEN_DOWN, "updated_at": sa.func.now()}
        connection.execute(t.assignments.update().where(t.assignments.c.story_id == story_id).values(values))
        self._forget_words(connection, story_id)
        add_event(connection, "story_taken_down", story_id)
        return Remains(stories=(story_id,), files=files, whole=True)

    def _forget_words(self, connection: sa.Connection, story_id: str) -> None:
        """Errors and events may cite a story, verdicts its quotes."""
        connection.execute(t.pipeline_errors.delete().where(t.pipeline_errors.c.story_id == story_id))
        connection.execute(t.events.update().where(t.events.c.story_id == story_id).values(detail={}))
        connection.execute(t.gate_verdicts.update().where(t.gate_verdicts.c.story_id == story_id).values(message=""))

    def _change_thread(self, connection: sa.Connection, thread_id: str, change: Any) -> None:
        columns = t.threads.c
        record = connection.scalar(sa.select(columns.record).where(columns.id == thread_id).with_for_update())
        if record is None:
            return
        thread = change(Thread.model_validate(record))
        values: dict[str, Any] = {"title": thread.title, "record": thread.model_dump(mode="json"), "unsuitable": None}
        values |= {"expired_at": sa.func.now()} if thread.expired else {}
        connection.execute(t.threads.update().where(columns.id == thread_id).values(values))


def sources_of(connection: sa.Connection, stories: Sequence[str] | None = None) -> dict[str, set[str]]:
    """Return the threads that stories were written from, and the comments that each one repeats or credits.

    Without ``stories`` all of them are read.
    """
    query = (
        sa.select(
            t.assignments.c.thread_id,
            t.stories.c.record["draft"]["quotes"],
            t.quality_scores.c.record["grounding"]["passages"],
            t.stories.c.record["credit"]["texts"],
        )
        .join(t.stories, t.stories.c.story_id == t.assignments.c.story_id)
        .join(t.threads, t.threads.c.id == t.assignments.c.thread_id)
        .outerjoin(t.quality_scores, t.quality_scores.c.story_id == t.assignments.c.story_id)
        .where(t.threads.c.source.not_in(_OURS))
    )
    query = query if stories is None else query.where(t.assignments.c.story_id.in_(stories))
    return {
        thread: {quote["comment_id"].removeprefix("t1_") for quote in quotes or ()}
        | {text["place"] for text in (*(passages or ()), *(credited or ())) if text["place"] != POST}
        for thread, quotes, passages, credited in connection.execute(query)
    }


def _expired(hours: float) -> Any:
    columns = t.threads.c
    old = columns.fetched_at < sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, sa.cast(hours * 3600, sa.Float))
    return old & columns.source.in_(_EXPIRING) & columns.expired_at.is_(None)


def _is_stale() -> Any:
    columns = t.threads.c
    old = columns.fetched_at < sa.func.now() - sa.func.make_interval(0, 0, 0, _UNUSED_DAYS)
    return old & columns.source.not_in(_OURS) & columns.expired_at.is_(None)


def _used() -> Any:
    return sa.exists().where(t.assignments.c.thread_id == t.threads.c.id)


def _busy() -> Any:
    return _used().where(t.assignments.c.status.in_(("assigned", "running")))


def _read(connection: sa.Connection, table: sa.Table, story_id: str | None, model: Any) -> Any:
    record = connection.scalar(sa.select(table.c.record).where(table.c.story_id == story_id))
    return model.model_validate(record) if record else None


def _write(connection: sa.Connection, table: sa.Table, story_id: str, model: Any, **values: Any) -> None:
    record = {"record": model.model_dump(mode="json"), **values}
    connection.execute(table.update().where(table.c.story_id == story_id).values(record))
