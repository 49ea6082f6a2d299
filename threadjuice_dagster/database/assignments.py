"""Threads, orders and assignments: which stories are to be written, by which run, and how each ended.

What a run leaves behind (drafts, verdicts, publications) belongs in ``database/store.py``.
"""

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.locks import Locks, is_held, lock_key
from threadjuice_dagster.database.rows import is_taken_down, is_usable, upsert
from threadjuice_dagster.domain.story.threads import Thread, interleaved
from threadjuice_dagster.domain.writing.assignments import Assignment, Choice, Order, choose
from threadjuice_dagster.failures import Interrupted, PermanentFailure, ThreadJuiceError, UsageError

MAX_RUNS = 3
"""Runs that may be started for one story before its crashes are taken for its own fault."""

_WAITS = t.assignments.c.error["kind"].astext.is_not(None)
"""Whether an assigned story waits for a stated reason; an empty error may be stored as SQL's null or as JSON's."""

CANDIDATES = 300
"""Unused threads looked at for one assignment, the best of every place first."""


def order_lock(order_id: str) -> str:
    """Name of the lock held by a process that works through an order by itself."""
    return f"order:{order_id}"


def run_lock(run_id: str) -> str:
    """Name of the lock a run holds while it lives."""
    return f"run:{run_id}"


class Assignments:
    """Reads and writes threads, orders and assignments. One method, one transaction."""

    def __init__(self, engine: sa.Engine, locks: Locks | None = None) -> None:
        self.engine = engine
        self.locks = locks or Locks(engine.url)

    def save_threads(self, threads: Iterable[Thread]) -> int:
        """Store threads by id and return how many were new or changed. Threads that were taken down are left out."""
        changed = 0
        with self.engine.begin() as connection:
            for thread in threads:
                if is_taken_down(connection, {"thread": [thread.id]}):
                    continue
                record = thread.model_dump(mode="json")
                row = {
                    **thread.model_dump(include={"id", "source", "spec", "title", "permalink", "num_comments"}),
                    "engagement": thread.engagement,
                    "digest": hashlib.sha256(thread.model_dump_json().encode()).hexdigest(),
                    "record": record,
                    "fetched_at": sa.func.now(),
                    "expired_at": None,
                    "unsuitable": None,
                }
                statement = upsert(t.threads, row, where=t.threads.c.record != record)
                changed += len(connection.execute(statement.returning(t.threads.c.id)).all())
        return changed

    def thread(self, thread_id: str, *, text: bool = True) -> Thread:
        """Return a stored thread. Raises ``PermanentFailure`` if there is none, or its text is needed and expired."""
        thread: Thread = self._load(t.threads, t.threads.c.id == thread_id, Thread, f"thread {thread_id}")
        if text and thread.expired:
            raise PermanentFailure(
                f"The text of thread {thread_id} has expired (THREAD_RETENTION_HOURS).",
                f"Fetch it again with: threadjuice content generate --thread {thread.permalink}",
            )
        return thread

    def unused_threads(self) -> int:
        """Count the stored threads that no story was made of."""
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).where(~t.threads.c.used)) or 0

    def open_order(
        self,
        count: int,
        category: str | None,
        persona: str | None,
        max_attempts: int,
        *,
        source: str = "",
        by_command: bool = False,
    ) -> Order:
        """Open an order for ``count`` stories. A command closes the orders that it opened itself (``by_command``)."""
        order = Order(
            id=uuid.uuid4().hex[:12],
            count=count,
            category=category,
            persona=persona,
            source=source,
            max_attempts=max_attempts,
        )
        with self.engine.begin() as connection:
            connection.execute(t.orders.insert().values(by_command=by_command, **order.model_dump()))
        return order

    def order(self, order_id: str) -> Order:
        """Return the order of this id. Raises ``PermanentFailure`` if there is none."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(t.orders).where(t.orders.c.id == order_id)).one_or_none()
        if row is None:
            raise PermanentFailure(f"There is no order {order_id[:40]!r}.", "Leave the order empty to open a new one.")
        return Order.model_validate(dict(row._mapping))

    def open_orders(self) -> list[Order]:
        """Return the orders that are not fulfilled or given up yet, oldest first."""
        query = sa.select(t.orders).where(t.orders.c.closed_at.is_(None)).order_by(t.orders.c.created_at)
        with self.engine.connect() as connection:
            return [Order.model_validate(dict(row._mapping)) for row in connection.execute(query)]

    def close_order(self, order_id: str) -> None:
        """Mark an order as fulfilled or given up."""
        with self.engine.begin() as connection:
            connection.execute(t.orders.update().where(t.orders.c.id == order_id).values(closed_at=sa.func.now()))

    def close_left_orders(self) -> int:
        """Close the orders of killed commands and return how many; the next order takes up their stories."""
        columns = t.orders.c
        left = sa.select(columns.id).where(columns.closed_at.is_(None), columns.by_command)
        with self.engine.connect() as connection:
            ids = [order_id for order_id in connection.scalars(left) if not is_held(connection, order_lock(order_id))]
        for order_id in ids:
            self.close_order(order_id)
        return len(ids)

    def lacks(self, order: Order) -> bool:
        """Return whether an order still lacks stories and may try further threads for them."""
        with self.engine.connect() as connection:
            return self._missing(connection, order) > 0

    def is_driven(self, order_id: str) -> bool:
        """Return whether a live process works through this order by itself."""
        with self.engine.connect() as connection:
            return is_held(connection, order_lock(order_id))

    def order_counts(self, order_id: str) -> Counter[str]:
        """Count an order's assignments by status."""
        query = sa.select(t.assignments.c.status, sa.func.count()).where(t.assignments.c.order_id == order_id)
        with self.engine.connect() as connection:
            rows = connection.execute(query.group_by(t.assignments.c.status)).all()
            return Counter({status: count for status, count in rows})

    def assign(self, order: Order, only: Thread | None = None) -> list[Assignment]:
        """Assign what an order still lacks: orphans of dead runs first, then unused threads (or just ``only``).

        Returns the order's assignments that are waiting for a run. Nothing is assigned beyond the order's bound.
        """
        with self.engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key("assign"))))
            self._revive(connection, order)
            missing = self._missing(connection, order)
            missing -= self._adopt(connection, order, missing, only) if missing > 0 else 0
            if missing > 0:
                threads = [only] if only else self._unused(connection, order.source)
                for choice in self._choose(connection, threads, order, missing):
                    row = _assignment_row(choice, order)
                    connection.execute(insert(t.assignments).values(row).on_conflict_do_nothing())
            return self._waiting(connection, order.id)

    def waiting(self, order_id: str) -> list[Assignment]:
        """Return an order's assignments that no run has taken up."""
        with self.engine.connect() as connection:
            return self._waiting(connection, order_id)

    def assignment_of(self, thread_id: str) -> tuple[Assignment, str] | None:
        """Return the assignment of a thread and its status, or None for an unused thread."""
        query = sa.select(t.assignments).where(t.assignments.c.thread_id == thread_id)
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return (_assignment(row), row.status) if row else None

    def assignment(self, story_id: str) -> Assignment:
        """Return the assignment of a story. Raises ``UsageError`` if there is none."""
        query = sa.select(t.assignments).where(t.assignments.c.story_id == story_id)
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UsageError(f"There is no story {story_id[:100]!r}.", "List them with: threadjuice content list")
        return _assignment(row)

    def status_counts(self) -> Counter[str]:
        """Count all stories by status."""
        with self.engine.connect() as connection:
            return self._counts(connection, t.story_counts.c.status)

    def claim(self, story_id: str, run_id: str, order_id: str | None = None) -> None:
        """Make ``run_id`` the one run that works on a story.

        Raises ``PermanentFailure`` while another run lives, or if the run was started for an order (``order_id``)
        that the story no longer belongs to.
        """
        with self.engine.begin() as connection:
            query = sa.select(t.assignments).where(t.assignments.c.story_id == story_id).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None:
                raise PermanentFailure(
                    f"There is no assignment for story {story_id[:100]!r}.", "Materialize story_assignments first."
                )
            if is_taken_down(connection, {"thread": [row.thread_id or ""], "story": [story_id]}):
                raise PermanentFailure(f"The source of story {story_id} was deleted.", "It cannot be brought back.")
            if row.run_id == run_id:
                return
            if order_id and row.order_id != order_id:
                raise PermanentFailure(f"Story {story_id} was given to another order.", "Nothing needs to be done.")
            if row.run_id and is_held(connection, run_lock(row.run_id)):
                raise PermanentFailure(
                    f"Story {story_id} is being worked on by run {row.run_id}.", "Wait for that run to end."
                )
            public = row.status in ("published", "withdrawn")
            if order_id and public:
                raise PermanentFailure(f"Story {story_id} is {row.status} already.", "Nothing needs to be done.")
            status = row.status if public else "running"
            self._update(connection, story_id, status=status, run_id=run_id, runs=row.runs + 1, error=None)

    def assign_manual(self, story_id: str, category: str, persona: str) -> None:
        """Assign a story that a person wrote, which has no thread and no order."""
        row = {"story_id": story_id, "category": category, "persona": persona}
        with self.engine.begin() as connection:
            connection.execute(upsert(t.assignments, row))

    def forget(self, story_id: str) -> None:
        """Remove an assignment and all that was written for it, unless it is or was public."""
        columns = t.assignments.c
        never_public = columns.status.in_(("assigned", "failed", "rejected", "held"))
        with self.engine.begin() as connection:
            connection.execute(t.assignments.delete().where(columns.story_id == story_id, never_public))

    def settle(self, story_id: str, run_id: str) -> None:
        """Mark a story as failed whose run ended without a result, so that it does not wait for ever."""
        columns = t.assignments.c
        message = {
            "kind": "permanent",
            "message": f"Run {run_id} ended without a result.",
            "next_step": "Open the run in the Dagster UI for its log.",
        }
        of_this_run = columns.run_id.is_(None) | (columns.run_id == run_id)
        waits_for_nothing = (columns.status == "running") | (columns.status == "assigned") & ~_WAITS
        still_open = (columns.story_id == story_id) & waits_for_nothing & of_this_run
        with self.engine.begin() as connection:
            connection.execute(t.assignments.update().where(still_open).values(status="failed", error=message))

    def fail(self, story_id: str, error: ThreadJuiceError, *, rejected: bool = False) -> None:
        """Mark a story as failed, or as rejected where its thread cannot be written; its draft and scores are kept."""
        status = "rejected" if rejected else "failed"
        detail = {**error.record, "service": getattr(error, "service", "")}
        with self.engine.begin() as connection:
            self._update(connection, story_id, unless=("published", "withdrawn"), status=status, error=detail)

    def release(self, story_id: str, run_id: str, reason: ThreadJuiceError) -> None:
        """Let a story whose run stopped for ``reason`` wait for another run; its draft and scores are kept."""
        columns = t.assignments.c
        ours = (columns.story_id == story_id) & (columns.run_id == run_id) & (columns.status == "running")
        values = {"status": "assigned", "run_id": None, "error": reason.record, "updated_at": sa.func.now()}
        with self.engine.begin() as connection:
            connection.execute(t.assignments.update().where(ours).values(values))

    def hold_back(self, order_id: str, reason: ThreadJuiceError) -> None:
        """Store the reason why an order's stories wait that no run has taken up."""
        columns = t.assignments.c
        waiting = (columns.order_id == order_id) & (columns.status == "assigned") & ~_WAITS
        with self.engine.begin() as connection:
            connection.execute(t.assignments.update().where(waiting).values(error=reason.record))

    def run_lives(self, run_id: str) -> bool:
        """Return whether the process that executes a run is alive."""
        with self.engine.connect() as connection:
            return is_held(connection, run_lock(run_id))

    def is_busy(self, story_id: str) -> bool:
        """Return whether a live run works on a story."""
        with self.engine.connect() as connection:
            run_id = connection.scalar(sa.select(t.assignments.c.run_id).where(t.assignments.c.story_id == story_id))
            return run_id is not None and is_held(connection, run_lock(run_id))

    def is_unfinished(self, story_id: str) -> bool:
        """Return whether the last run of a story stopped, died or failed before its gates decided."""
        query = sa.select(t.assignments.c.status).where(t.assignments.c.story_id == story_id)
        with self.engine.connect() as connection:
            status = connection.scalar(query)
        return status in ("assigned", "running", "failed") and not self.is_busy(story_id)

    def resume(self, order: Order) -> int:
        """Let an order's stories wait again that failed only because an outside service was down; return how many."""
        columns = t.assignments.c
        kept = columns.error["service"].astext != ""
        stories = t.assignments.update().where(columns.order_id == order.id, columns.status == "failed", kept)
        with self.engine.begin() as connection:
            values = {"status": "assigned", "run_id": None, "error": None, "updated_at": sa.func.now()}
            return connection.execute(stories.values(values)).rowcount

    def _revive(self, connection: sa.Connection, order: Order) -> None:
        """Let an order's stories whose run died wait for another run, up to ``MAX_RUNS``."""
        columns = t.assignments.c
        query = sa.select(t.assignments).where(columns.order_id == order.id, columns.status == "running")
        for row in connection.execute(query.with_for_update(skip_locked=True)):
            if not is_held(connection, run_lock(row.run_id or "")):
                again = row.runs < MAX_RUNS
                ended = {**Interrupted().record, "message": f"{row.runs} runs ended without finishing it."}
                error = None if again else ended
                status = "assigned" if again else "failed"
                self._update(connection, row.story_id, status=status, run_id=None, error=error)

    def _missing(self, connection: sa.Connection, order: Order) -> int:
        columns = t.assignments.c
        query = sa.select(columns.status, sa.func.count()).where(columns.order_id == order.id)
        rows = connection.execute(query.group_by(columns.status)).all()
        counts = Counter({status: count for status, count in rows})
        refused = counts["rejected"] + counts["held"]
        return min(order.count - (counts.total() - refused), order.max_attempts - counts.total())

    def _adopt(self, connection: sa.Connection, order: Order, missing: int, only: Thread | None) -> int:
        """Move stories that dead runs and outages left unfinished from other orders to this one; return how many."""
        columns = t.assignments.c
        of_thread = columns.status.in_(("assigned", "running", "failed")) & (columns.thread_id == (only and only.id))
        query = sa.select(t.assignments).where(of_thread if only else t.UNFINISHED)
        query = query.where(columns.order_id.is_distinct_from(order.id))
        for column, wanted in ((columns.category, order.category), (columns.persona, order.persona)):
            query = query.where(column == wanted) if wanted else query
        query = query.order_by(columns.created_at).with_for_update(skip_locked=True)
        adopted = 0
        with connection.execute(query.execution_options(yield_per=20)) as rows:  # locks no more than it looks at
            for row in rows:
                owner_lives = is_held(connection, order_lock(row.order_id))
                run_lives = row.run_id is not None and is_held(connection, run_lock(row.run_id))
                if not owner_lives and not run_lives:
                    begins: dict[str, Any] = {"status": "assigned", "run_id": None, "runs": 0, "error": None}
                    self._update(connection, row.story_id, order_id=order.id, **begins)
                    adopted += 1
                if adopted == missing:
                    break
        return adopted

    def _unused(self, connection: sa.Connection, source: str) -> list[Thread]:
        """Return unused threads that may suit a story, the best of every place first; ``source``: a spec or a name."""
        columns = t.threads.c
        usable = is_usable(source) & (sa.func.coalesce(columns.unsuitable, "") == "")
        rank = sa.func.row_number().over(partition_by=columns.spec, order_by=columns.engagement.desc()).label("rank")
        ranked = sa.select(columns.id, rank).where(usable).subquery()
        best = sa.select(ranked.c.id).order_by(ranked.c.rank, ranked.c.id).limit(CANDIDATES)
        query = sa.select(columns.record).where(columns.id.in_(best))
        return interleaved(Thread.model_validate(record) for record in connection.scalars(query))

    def _choose(self, connection: sa.Connection, threads: Sequence[Thread], order: Order, count: int) -> list[Choice]:
        written = self._counts(connection, t.story_counts.c.persona)
        catalogue = Catalogue(self.engine)
        return choose(threads, order, catalogue.categories(), catalogue.personas(), written, count)

    def _counts(self, connection: sa.Connection, column: "sa.Column[str]") -> Counter[str]:
        """Count assignments by status or persona."""
        number = sa.func.sum(t.story_counts.c.stories)
        rows = connection.execute(sa.select(column, number).group_by(column).having(number != 0).order_by(column))
        return Counter({name: int(count) for name, count in rows})

    def _waiting(self, connection: sa.Connection, order_id: str) -> list[Assignment]:
        columns = t.assignments.c
        query = sa.select(t.assignments).where(columns.order_id == order_id, columns.status == "assigned")
        return [_assignment(row) for row in connection.execute(query.order_by(columns.created_at, columns.story_id))]

    def _update(self, connection: sa.Connection, story_id: str, unless: Sequence[str] = (), **values: Any) -> None:
        columns = t.assignments.c
        connection.execute(
            t.assignments.update()
            .where(columns.story_id == story_id, columns.status.not_in(unless))
            .values(updated_at=sa.func.now(), **values)
        )

    def _load(self, table: sa.Table, where: Any, model: "type[Any]", what: str) -> Any:
        with self.engine.connect() as connection:
            record = connection.execute(sa.select(table.c.record).where(where)).scalar()
        if record is None:
            raise PermanentFailure(f"There is no {what}.", "Materialize the asset it comes from first.")
        return model.model_validate(record)


def _assignment_row(choice: Choice, order: Order) -> dict[str, Any]:
    return {
        "story_id": choice.story_id,
        "thread_id": choice.thread.id,
        "category": choice.category,
        "persona": choice.persona,
        "order_id": order.id,
    }


def _assignment(row: "sa.Row[Any]") -> Assignment:
    return Assignment.model_validate(dict(row._mapping))
