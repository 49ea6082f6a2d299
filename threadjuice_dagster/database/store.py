"""The newsroom's memory: every read and write of threads, assignments, stories, verdicts and publications.

One method, one transaction. Rows are upserted by their key, so doing a thing twice leaves one row. Models go
in and come out; no caller sees SQL.
"""

import functools
import hashlib
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.ledger import Ledger, add_event
from threadjuice_dagster.database.locks import Locks, is_held, lock_key
from threadjuice_dagster.domain.assignments import Assignment, Choice, Order, choose
from threadjuice_dagster.domain.images import StoryImage
from threadjuice_dagster.domain.publication import PublishedStory
from threadjuice_dagster.domain.records import GATES, GateVerdict
from threadjuice_dagster.domain.stories import StoryDraft
from threadjuice_dagster.domain.threads import Thread
from threadjuice_dagster.domain.verdicts import QualityScore
from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError

CANDIDATES = 300
"""Unused threads looked at for one assignment, the most engaging first."""


@functools.cache
def open_store(url: str, pool_size: int) -> "Store":
    """The process's store for an address; its connections are pooled and tested before use."""
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "application_name": "threadjuice"},
        hide_parameters=True,
    )
    return Store(engine)


def order_lock(order_id: str) -> str:
    """Name of the lock held by a process that works through an order by itself."""
    return f"order:{order_id}"


def run_lock(run_id: str) -> str:
    """Name of the lock a run holds while it lives."""
    return f"run:{run_id}"


class Store:
    """Reads and writes the newsroom's tables through one engine."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.locks = Locks(engine.url)
        self.catalogue = Catalogue(engine)
        self.ledger = Ledger(engine)

    # Threads

    def save_threads(self, threads: Iterable[Thread]) -> int:
        """Upsert threads by id; returns how many were new or changed."""
        changed = 0
        with self.engine.begin() as connection:
            for thread in threads:
                record = thread.model_dump(mode="json")
                row = {
                    **thread.model_dump(include={"id", "source", "subreddit", "title", "permalink", "num_comments"}),
                    "engagement": thread.engagement,
                    "digest": hashlib.sha256(thread.model_dump_json().encode()).hexdigest(),
                    "record": record,
                }
                statement = _upsert(t.threads, row, where=t.threads.c.record != record)
                changed += len(connection.execute(statement.returning(t.threads.c.id)).all())
        return changed

    def thread(self, thread_id: str) -> Thread:
        """A stored thread. Raises ``PermanentFailure`` if there is none of this id."""
        return self._load(t.threads, t.threads.c.id == thread_id, Thread, f"thread {thread_id}")

    # Assignments

    def open_order(self, count: int, category: str | None, persona: str | None, max_attempts: int) -> Order:
        """Record a wish for ``count`` stories."""
        order = Order(
            id=uuid.uuid4().hex[:12], count=count, category=category, persona=persona, max_attempts=max_attempts
        )
        with self.engine.begin() as connection:
            connection.execute(t.orders.insert().values(order.model_dump()))
        return order

    def order(self, order_id: str) -> Order:
        """The order of this id. Raises ``PermanentFailure`` if there is none."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(t.orders).where(t.orders.c.id == order_id)).one_or_none()
        if row is None:
            raise PermanentFailure(f"There is no order {order_id[:40]!r}.", "Leave the order empty to open a new one.")
        return Order.model_validate(dict(row._mapping))

    def open_orders(self) -> list[Order]:
        """Orders not yet fulfilled or given up, oldest first."""
        query = sa.select(t.orders).where(t.orders.c.closed_at.is_(None)).order_by(t.orders.c.created_at)
        with self.engine.connect() as connection:
            return [Order.model_validate(dict(row._mapping)) for row in connection.execute(query)]

    def close_order(self, order_id: str) -> None:
        """Mark an order as fulfilled or given up."""
        with self.engine.begin() as connection:
            connection.execute(t.orders.update().where(t.orders.c.id == order_id).values(closed_at=sa.func.now()))

    def assign(self, order: Order, only: Thread | None = None) -> list[Assignment]:
        """Assign what an order still lacks: orphans of dead runs first, then unused threads (or just ``only``).

        Returns the order's assignments that are waiting for a run. Nothing is assigned beyond the order's bound.
        """
        with self.engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key("assign"))))
            missing = self._missing(connection, order)
            missing -= self._adopt(connection, order, missing, only)
            if missing > 0:
                threads = [only] if only else self._unused(connection)
                for choice in self._choose(connection, threads, order, missing):
                    row = _assignment_row(choice, order)
                    connection.execute(insert(t.assignments).values(row).on_conflict_do_nothing())
            return self._waiting(connection, order.id)

    def waiting(self, order_id: str) -> list[Assignment]:
        """An order's assignments no run has taken up."""
        with self.engine.connect() as connection:
            return self._waiting(connection, order_id)

    def assignment_of(self, thread_id: str) -> tuple[Assignment, str] | None:
        """The assignment of a thread and its status, or None for an unused thread."""
        query = sa.select(t.assignments).where(t.assignments.c.thread_id == thread_id)
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return (_assignment(row), row.status) if row else None

    def assignment(self, story_id: str) -> Assignment:
        """The assignment of a story. Raises ``PermanentFailure`` if there is none."""
        query = sa.select(t.assignments).where(t.assignments.c.story_id == story_id)
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise PermanentFailure(f"There is no story {story_id[:100]!r}.", "List them with: threadjuice content list")
        return _assignment(row)

    def is_driven(self, order_id: str) -> bool:
        """Whether a live process works through this order by itself."""
        with self.engine.connect() as connection:
            return is_held(connection, order_lock(order_id))

    def run_lives(self, run_id: str) -> bool:
        """Whether the process that executes a run is alive."""
        with self.engine.connect() as connection:
            return is_held(connection, run_lock(run_id))

    def is_busy(self, story_id: str) -> bool:
        """Whether a live run works on a story."""
        with self.engine.connect() as connection:
            run_id = connection.scalar(sa.select(t.assignments.c.run_id).where(t.assignments.c.story_id == story_id))
            return run_id is not None and is_held(connection, run_lock(run_id))

    def lacks(self, order: Order) -> bool:
        """Whether an order still wants stories and may try further threads for them."""
        with self.engine.connect() as connection:
            return self._missing(connection, order) > 0

    def order_counts(self, order_id: str) -> Counter[str]:
        """How many of an order's assignments are in each status."""
        query = sa.select(t.assignments.c.status, sa.func.count()).where(t.assignments.c.order_id == order_id)
        with self.engine.connect() as connection:
            rows = connection.execute(query.group_by(t.assignments.c.status)).all()
            return Counter({status: count for status, count in rows})

    def status_counts(self) -> Counter[str]:
        """How many stories are in each status."""
        column = t.assignments.c.status
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(column, sa.func.count()).group_by(column).order_by(column)).all()
            return Counter({status: count for status, count in rows})

    def unused_threads(self) -> int:
        """How many stored threads no story was made of."""
        taken = sa.exists().where(t.assignments.c.thread_id == t.threads.c.id)
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(t.threads).where(~taken)) or 0

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
            if row.run_id == run_id:
                return
            if order_id and row.order_id != order_id:
                raise PermanentFailure(f"Story {story_id} was given to another order.", "Nothing needs to be done.")
            if row.run_id and is_held(connection, run_lock(row.run_id)):
                raise PermanentFailure(
                    f"Story {story_id} is being worked on by run {row.run_id}.", "Wait for that run to end."
                )
            status = row.status if row.status in ("published", "withdrawn") else "running"
            self._update(connection, story_id, status=status, run_id=run_id, error=None)

    def forget(self, story_id: str) -> None:
        """Remove an assignment and all that was written for it, unless it is or was public."""
        columns = t.assignments.c
        never_public = columns.status.in_(("assigned", "failed", "rejected", "held"))
        with self.engine.begin() as connection:
            connection.execute(t.assignments.delete().where(columns.story_id == story_id, never_public))

    def settle(self, story_id: str, run_id: str) -> None:
        """Record a run that ended without a word on its story as failed, so that no story waits for ever."""
        columns = t.assignments.c
        message = {
            "kind": "permanent",
            "message": f"Run {run_id} ended without a result.",
            "next_step": "Open the run in the Dagster UI for its log.",
        }
        still_open = (columns.story_id == story_id) & columns.status.in_(("assigned", "running"))
        with self.engine.begin() as connection:
            connection.execute(t.assignments.update().where(still_open).values(status="failed", error=message))

    def fail(self, story_id: str, error: ThreadJuiceError, *, rejected: bool = False) -> None:
        """Record that a story's run failed, or that its thread cannot be written; what it has so far is kept."""
        status = "rejected" if rejected else "failed"
        detail = {"kind": error.kind, "message": error.message, "next_step": error.next_step}
        with self.engine.begin() as connection:
            self._update(connection, story_id, unless=("published", "withdrawn"), status=status, error=detail)

    # What the steps of a story leave behind

    def save(self, model: BaseModel) -> None:
        """Store the value of a story's asset under its story; the newest one counts."""
        writers = {
            StoryDraft: self._save_draft,
            QualityScore: self._save_score,
            StoryImage: self._save_image,
            PublishedStory: self._publish,
        }
        with self.engine.begin() as connection:
            writers[type(model)](connection, model)  # type: ignore[operator]

    def draft(self, story_id: str) -> StoryDraft:
        """The stored draft of a story."""
        return self._load(t.stories, t.stories.c.story_id == story_id, StoryDraft, f"draft of {story_id}")

    def score(self, story_id: str) -> QualityScore:
        """The stored score of a story."""
        table = t.quality_scores
        return self._load(table, table.c.story_id == story_id, QualityScore, f"quality score of {story_id}")

    def image(self, story_id: str) -> StoryImage:
        """The stored picture of a story."""
        return self._load(t.images, t.images.c.story_id == story_id, StoryImage, f"picture of {story_id}")

    def publication(self, story_id: str) -> PublishedStory:
        """The public record of a story, withdrawn or not."""
        table = t.publications
        return self._load(table, table.c.story_id == story_id, PublishedStory, f"publication of {story_id}")

    def finished_steps(self, story_id: str) -> list[str]:
        """Names of a story's assets that are stored and judged, so that a new run can go on from there."""
        gates = {verdict.gate for verdict in self.verdicts(story_id)}
        with self.engine.connect() as connection:

            def has(table: sa.Table) -> bool:
                found = sa.select(sa.exists().where(table.c.story_id == story_id))
                return bool(connection.execute(found).scalar())

            steps = {
                "story_draft": has(t.stories),
                "quality_score": has(t.quality_scores) and gates.issuperset(GATES[:4]),
                "story_image": has(t.images) and GATES[4] in gates,
            }
        done: list[str] = []
        for step, finished in steps.items():
            if not finished:
                break
            done.append(step)
        return done

    # Verdicts

    def judge(self, story_id: str, gate: str, passed: bool, message: str) -> GateVerdict:
        """Store a gate's verdict, keeping an operator's override; a refused story becomes rejected."""
        row = {"story_id": story_id, "gate": gate, "passed": passed, "message": message, "decided_at": sa.func.now()}
        with self.engine.begin() as connection:
            kept = {"overridden_by", "override_reason"}
            connection.execute(_upsert(t.gate_verdicts, row, keep=kept))
            verdict = next(v for v in self._verdicts(connection, story_id) if v.gate == gate)
            if not verdict.lets_through:
                self._update(connection, story_id, unless=("published", "withdrawn"), status="rejected")
                add_event(connection, "story_rejected", story_id, gate=gate, message=message)
            return verdict

    def verdicts(self, story_id: str) -> list[GateVerdict]:
        """What the gates said of a story so far, in the gates' order."""
        with self.engine.connect() as connection:
            return self._verdicts(connection, story_id)

    def overrule(self, story_id: str, actor: str, reason: str) -> list[str]:
        """Let a story through every gate that refused it, under a name and a reason; returns those gates."""
        with self.engine.begin() as connection:
            refused = [verdict.gate for verdict in self._verdicts(connection, story_id) if not verdict.passed]
            gates = t.gate_verdicts.c
            connection.execute(
                t.gate_verdicts.update()
                .where(gates.story_id == story_id, gates.gate.in_(refused))
                .values(overridden_by=actor, override_reason=reason)
            )
            add_event(connection, "gates_overruled", story_id, actor, gates=refused, reason=reason)
        return refused

    # Originality, pictures, publications

    def stories_alike(self, bands: Sequence[int], excluding: str, limit: int = 50) -> list[tuple[str, bytes]]:
        """Published stories that share a MinHash band, with their signatures; flat cost through an index."""
        story, public = t.stories.c, t.publications.c
        query = (
            sa.select(story.story_id, story.signature)
            .join(t.publications, public.story_id == story.story_id)
            .where(story.bands.overlap(list(bands)), story.story_id != excluding, public.withdrawn_at.is_(None))
            .limit(limit)
        )
        with self.engine.connect() as connection:
            return [(row.story_id, bytes(row.signature)) for row in connection.execute(query)]

    def used_pictures(self, excluding: str) -> frozenset[str]:
        """Source ids of pictures other stories show."""
        columns = t.images.c
        query = sa.select(columns.source_id).where(columns.source_id != "", columns.story_id != excluding)
        with self.engine.connect() as connection:
            return frozenset(connection.scalars(query))

    def free_slug(self, slug: str, story_id: str) -> str:
        """The slug, or the first ``slug-2``, ``slug-3`` … that no other story has."""
        columns = t.publications.c
        alike = columns.slug.startswith(slug, autoescape=True)
        query = sa.select(columns.slug).where(alike, columns.story_id != story_id)
        with self.engine.connect() as connection:
            taken = set(connection.scalars(query))
            own = connection.scalar(sa.select(columns.slug).where(columns.story_id == story_id))
        numbered = (f"{slug}-{number}" for number in range(2, len(taken) + 3))
        return own or next(name for name in (slug, *numbered) if name not in taken)

    def first_published(self, story_id: str) -> datetime | None:
        """When a story was published for the first time, or None."""
        columns = t.publications.c
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(columns.published_at).where(columns.story_id == story_id))

    def published(self) -> list[PublishedStory]:
        """All public stories, newest first."""
        query = sa.select(t.publications.c.record).where(t.publications.c.withdrawn_at.is_(None))
        with self.engine.connect() as connection:
            rows = connection.scalars(query.order_by(t.publications.c.published_at.desc(), t.publications.c.story_id))
            return [PublishedStory.model_validate(record) for record in rows]

    def last_publication(self) -> tuple[str | None, float]:
        """When a story was last published, changed or withdrawn (ISO 8601), and how many seconds ago that is."""
        newest = sa.func.max(t.publications.c.updated_at)
        age = sa.func.extract("epoch", sa.func.now() - newest)
        with self.engine.connect() as connection:
            moment, seconds = connection.execute(sa.select(newest, age)).one()
        return (moment.isoformat(), float(seconds)) if moment else (None, 0.0)

    def withdraw(self, story_id: str, actor: str, reason: str) -> None:
        """Take a published story off the site. Raises ``PermanentFailure`` if it is not public."""
        with self.engine.begin() as connection:
            columns = t.publications.c
            values = {"withdrawn_at": sa.func.now(), "updated_at": sa.func.now(), "withdrawn_reason": reason}
            public = (columns.story_id == story_id) & columns.withdrawn_at.is_(None)
            if not connection.execute(t.publications.update().where(public).values(values)).rowcount:
                raise PermanentFailure(f"Story {story_id[:100]!r} is not published.", "Nothing needs to be withdrawn.")
            self._update(connection, story_id, status="withdrawn")
            add_event(connection, "story_withdrawn", story_id, actor, reason=reason)

    # Inside

    def _save_draft(self, connection: sa.Connection, story: StoryDraft) -> None:
        from threadjuice_dagster.domain.originality import bands, signature

        minhash = signature(story.draft.text)
        row = {
            **story.model_dump(include={"story_id", "writer", "model", "prompt_version", "written_at"}),
            "title": story.draft.title,
            "record": story.model_dump(mode="json"),
            "signature": minhash,
            "bands": list(bands(minhash)),
        }
        connection.execute(_upsert(t.stories, row))

    def _save_score(self, connection: sa.Connection, score: QualityScore) -> None:
        row = score.model_dump(include={"story_id", "overall", "scored_at"})
        connection.execute(_upsert(t.quality_scores, {**row, "record": score.model_dump(mode="json")}))

    def _save_image(self, connection: sa.Connection, image: StoryImage) -> None:
        row = image.model_dump(include={"story_id", "provider", "source_id", "sha256"})
        connection.execute(_upsert(t.images, {**row, "record": image.model_dump(mode="json")}))
        connection.execute(t.image_variants.delete().where(t.image_variants.c.story_id == image.story_id))
        variants = [{"story_id": image.story_id, **variant.model_dump()} for variant in image.variants]
        if variants:
            connection.execute(t.image_variants.insert(), variants)

    def _publish(self, connection: sa.Connection, story: PublishedStory) -> None:
        verdicts = {verdict.gate: verdict for verdict in self._verdicts(connection, story.story_id)}
        refused = [gate for gate in GATES if gate not in verdicts or not verdicts[gate].lets_through]
        if refused:
            raise PermanentFailure(
                f"Story {story.story_id} is not published: {', '.join(refused)} did not pass.",
                "Materialize what is missing, or overrule with: threadjuice content publish --override --reason TEXT",
            )
        row = {
            **story.model_dump(include={"story_id", "slug", "score", "published_at", "updated_at"}),
            "category": story.category.slug,
            "record": story.model_dump(mode="json"),
            "withdrawn_at": None,
            "withdrawn_reason": None,
        }
        connection.execute(_upsert(t.publications, row))
        self._update(connection, story.story_id, status="published", error=None)
        add_event(connection, "story_published", story.story_id, slug=story.slug, score=story.score)

    def _load(self, table: sa.Table, where: Any, model: "type[Any]", what: str) -> Any:
        with self.engine.connect() as connection:
            record = connection.execute(sa.select(table.c.record).where(where)).scalar()
        if record is None:
            raise PermanentFailure(f"There is no {what}.", "Materialize the asset it comes from first.")
        return model.model_validate(record)

    def _update(self, connection: sa.Connection, story_id: str, unless: Sequence[str] = (), **values: Any) -> None:
        columns = t.assignments.c
        connection.execute(
            t.assignments.update()
            .where(columns.story_id == story_id, columns.status.not_in(unless))
            .values(updated_at=sa.func.now(), **values)
        )

    def _verdicts(self, connection: sa.Connection, story_id: str) -> list[GateVerdict]:
        rows = connection.execute(sa.select(t.gate_verdicts).where(t.gate_verdicts.c.story_id == story_id))
        verdicts = [GateVerdict.model_validate(dict(row._mapping)) for row in rows]
        return sorted(verdicts, key=lambda verdict: GATES.index(verdict.gate))

    def _missing(self, connection: sa.Connection, order: Order) -> int:
        columns = t.assignments.c
        query = sa.select(columns.status, sa.func.count()).where(columns.order_id == order.id)
        rows = connection.execute(query.group_by(columns.status)).all()
        counts = Counter({status: count for status, count in rows})
        refused = counts["rejected"] + counts["held"]
        return min(order.count - (counts.total() - refused), order.max_attempts - counts.total())

    def _adopt(self, connection: sa.Connection, order: Order, missing: int, only: Thread | None) -> int:
        """Move what dead runs and outages left unfinished in other orders to this order; returns how many."""
        columns = t.assignments.c
        outage = (columns.status == "failed") & (columns.error["kind"].astext == "transient")
        unfinished = columns.status.in_(("assigned", "running", "failed") if only else ("assigned", "running")) | outage
        query = sa.select(t.assignments).where(unfinished, columns.order_id.is_distinct_from(order.id))
        for column, wanted in ((columns.category, order.category), (columns.persona, order.persona)):
            query = query.where(column == wanted) if wanted else query
        query = query.where(columns.thread_id == only.id) if only else query
        adopted = 0
        for row in connection.execute(query.order_by(columns.created_at).with_for_update(skip_locked=True)):
            owner_lives = is_held(connection, order_lock(row.order_id))
            run_lives = row.run_id is not None and is_held(connection, run_lock(row.run_id))
            if adopted < missing and not owner_lives and not run_lives:
                self._update(connection, row.story_id, order_id=order.id, status="assigned", run_id=None)
                adopted += 1
        return adopted

    def _unused(self, connection: sa.Connection) -> list[Thread]:
        taken = sa.exists().where(t.assignments.c.thread_id == t.threads.c.id)
        query = sa.select(t.threads.c.record).where(~taken).order_by(t.threads.c.engagement.desc()).limit(CANDIDATES)
        return [Thread.model_validate(record) for record in connection.scalars(query)]

    def _choose(self, connection: sa.Connection, threads: Sequence[Thread], order: Order, count: int) -> list[Choice]:
        columns = t.assignments.c
        rows = connection.execute(sa.select(columns.persona, sa.func.count()).group_by(columns.persona)).all()
        written = {persona: number for persona, number in rows}
        categories, personas = self.catalogue.categories(), self.catalogue.personas()
        return choose(threads, order, categories, personas, written, count)

    def _waiting(self, connection: sa.Connection, order_id: str) -> list[Assignment]:
        columns = t.assignments.c
        query = sa.select(t.assignments).where(columns.order_id == order_id, columns.status == "assigned")
        return [_assignment(row) for row in connection.execute(query.order_by(columns.created_at, columns.story_id))]


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


def _upsert(table: sa.Table, row: dict[str, Any], keep: Iterable[str] = (), where: Any = None) -> Any:
    """INSERT … ON CONFLICT by primary key DO UPDATE of every given column."""
    statement = insert(table).values(row)
    keys = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in row if name not in keys and name not in set(keep)}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes, where=where)
