"""The editorial store: what the runs of stories leave behind, from draft to publication.

Each method is one transaction. Rows are upserted by their key, so that doing a thing twice leaves one row. Callers pass
and get models, never SQL. Which stories are to be written belongs in ``database/assignments.py``.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.assignments import Assignments
from threadjuice_dagster.database.engine import STATEMENT_SECONDS, pooled_engine
from threadjuice_dagster.database.ledger import add_decision, add_event
from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.database.rows import upsert
from threadjuice_dagster.domain.judging.gates import GATES, PICTURE_GATE, TEXT_GATES, GateFinding, GateVerdict
from threadjuice_dagster.domain.judging.verdicts import QualityScore
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.records import Decision
from threadjuice_dagster.domain.story.stories import StoryDraft
from threadjuice_dagster.failures import PermanentFailure

DECIDABLE = ("held", "rejected", "failed", "assigned")
"""Statuses in which a person may still turn a story down."""


@functools.cache
def open_store(
    url: str, pool_size: int, statement_seconds: float = STATEMENT_SECONDS, locks: Locks | None = None
) -> "Store":
    """Return the process's store for an address, with its own pool of connections."""
    return Store(pooled_engine(url, pool_size, statement_seconds), locks)


Stored = TypeVar("Stored", bound=BaseModel)


class UsedPictures:
    """Source ids of pictures that stories other than one show; each ``in`` is a query."""

    def __init__(self, engine: sa.Engine, excluding: str) -> None:
        self._engine, self._excluding = engine, excluding

    def __contains__(self, source_id: object) -> bool:
        columns = t.images.c
        this = (columns.source_id == source_id) & (columns.source_id != sa.literal_column("''"))
        shown = sa.exists().where(this, columns.story_id != self._excluding)
        with self._engine.connect() as connection:
            return bool(connection.scalar(sa.select(shown)))


class Store(Assignments):
    """Reads and writes the newsroom's tables through one engine."""

    def save(self, model: BaseModel) -> None:
        """Store the value of a story's asset; it replaces the one before."""
        writers = {
            StoryDraft: self._save_draft,
            QualityScore: self._save_score,
            StoryImage: self._save_image,
            PublishedStory: self._publish,
        }
        with self.engine.begin() as connection:
            writers[type(model)](connection, model)  # type: ignore[operator]

    def load(self, model: type[Stored], story_id: str) -> Stored:
        """Return the stored model of a story by its type. Raises ``PermanentFailure`` if there is none."""
        tables: dict[type[BaseModel], tuple[sa.Table, str]] = {
            StoryDraft: (t.stories, "draft"),
            QualityScore: (t.quality_scores, "quality score"),
            StoryImage: (t.images, "picture"),
            PublishedStory: (t.publications, "publication"),
        }
        table, name = tables[model]
        loaded: Stored = self._load(table, table.c.story_id == story_id, model, f"{name} of {story_id}")
        return loaded

    def draft(self, story_id: str) -> StoryDraft:
        """Return the stored draft of a story."""
        return self.load(StoryDraft, story_id)

    def find_draft(self, story_id: str) -> StoryDraft | None:
        """Return the stored draft of a story, or None."""
        with self.engine.connect() as connection:
            record = connection.scalar(sa.select(t.stories.c.record).where(t.stories.c.story_id == story_id))
        return StoryDraft.model_validate(record) if record else None

    def score(self, story_id: str) -> QualityScore:
        """Return the stored score of a story."""
        return self.load(QualityScore, story_id)

    def image(self, story_id: str) -> StoryImage:
        """Return the stored picture of a story."""
        return self.load(StoryImage, story_id)

    def publication(self, story_id: str) -> PublishedStory:
        """Return the public record of a story, withdrawn or not."""
        return self.load(PublishedStory, story_id)

    def finished_steps(self, story_id: str) -> list[str]:
        """Return the names of a story's assets that are stored and have their verdicts; a new run begins after them."""
        gates = {verdict.gate for verdict in self.verdicts(story_id)}
        with self.engine.connect() as connection:

            def has(table: sa.Table) -> bool:
                query = sa.select(sa.exists().where(table.c.story_id == story_id))
                return bool(connection.execute(query).scalar())

            steps = {
                "story_draft": has(t.stories),
                "quality_score": has(t.quality_scores) and gates.issuperset(TEXT_GATES),
                "story_image": has(t.images) and PICTURE_GATE in gates,
            }
        done: list[str] = []
        for step, finished in steps.items():
            if not finished:
                break
            done.append(step)
        return done

    def record_verdicts(self, story_id: str, findings: Mapping[str, GateFinding]) -> list[GateVerdict]:
        """Store the findings of gates and keep overrides; a story that does not get through is rejected or held."""
        with self.engine.begin() as connection:
            for gate, finding in findings.items():
                row = {"story_id": story_id, "gate": gate, **finding._asdict(), "decided_at": sa.func.now()}
                connection.execute(upsert(t.gate_verdicts, row))
            verdicts = [verdict for verdict in self._verdicts(connection, story_id) if verdict.gate in findings]
            refused = [verdict for verdict in verdicts if not verdict.lets_through]
            if refused:
                status = "held" if all(verdict.held for verdict in refused) else "rejected"
                self._update(connection, story_id, unless=("published", "withdrawn"), status=status)
                reasons = {verdict.gate: verdict.message for verdict in refused}
                add_event(connection, f"story_{status}", story_id, gates=reasons)
            return verdicts

    def verdicts(self, story_id: str) -> list[GateVerdict]:
        """Return the verdicts on a story so far, in the gates' order."""
        with self.engine.connect() as connection:
            return self._verdicts(connection, story_id)

    def overrule(self, story_id: str, actor: str, reason: str) -> list[str]:
        """Let a story through every gate that refused or held it, under a name and a reason; returns those gates."""
        with self.engine.begin() as connection:
            refused = [verdict.gate for verdict in self._verdicts(connection, story_id) if not verdict.passed]
            gates = t.gate_verdicts.c
            connection.execute(
                t.gate_verdicts.update()
                .where(gates.story_id == story_id, gates.gate.in_(refused))
                .values(overridden_by=actor, override_reason=reason)
            )
            add_decision(connection, "approve", story_id, actor, reason, gates=refused)
        return refused

    def reject(self, story_id: str, actor: str, reason: str) -> None:
        """Reject a story that waits for a decision. Raises ``PermanentFailure`` if it is public or being written."""
        error = {"kind": "editor", "message": reason, "next_step": f"Turned down by {actor}."}
        columns = t.assignments.c
        undecided = (columns.story_id == story_id) & columns.status.in_(DECIDABLE)
        with self.engine.begin() as connection:
            values = {"status": "rejected", "error": error, "updated_at": sa.func.now()}
            if not connection.execute(t.assignments.update().where(undecided).values(values)).rowcount:
                raise PermanentFailure(
                    f"Story {story_id[:100]!r} is not waiting for a decision.",
                    "Take a published one off the site with: threadjuice content withdraw STORY",
                )
            add_decision(connection, "reject", story_id, actor, reason)

    def reopen(self, story_id: str) -> None:
        """Open an order for an approved story, so that the sensor has it finished."""
        assignment = self.assignment(story_id)
        order = self.open_order(1, assignment.category, assignment.persona, max_attempts=1)
        with self.engine.begin() as connection:
            values = {"status": "assigned", "order_id": order.id, "run_id": None, "error": None}
            self._update(connection, story_id, unless=("published", "withdrawn", "running"), **values)

    def decisions(self, limit: int = 20) -> list[Decision]:
        """Return the newest decisions of the audit, newest first."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(t.audit).order_by(t.audit.c.id.desc()).limit(limit))
            return [Decision.model_validate(dict(row._mapping)) for row in rows]

    def stories_alike(self, bands: Sequence[int], excluding: str, limit: int = 200) -> list[tuple[str, bytes]]:
        """Return the published stories that share most MinHash bands, with their signatures, through an index.

        Stories whose signature another version of the algorithm made are left out.
        """
        from threadjuice_dagster.domain.judging.originality import SIGNATURE_VERSION

        story, public = t.stories.c, t.publications.c
        wanted = sa.cast(list(bands), ARRAY(sa.BigInteger))
        own = sa.select(sa.func.unnest(story.bands)).correlate(t.stories)
        shared = own.intersect(sa.select(sa.func.unnest(wanted)))
        near = (
            sa.select(story.story_id, story.signature)
            .where(story.bands.overlap(wanted), story.story_id != excluding)
            .where(story.signature_version == SIGNATURE_VERSION)
            .order_by(sa.func.cardinality(sa.func.array(shared.scalar_subquery())).desc())
            .limit(limit)
            .cte("near")
        )
        query = (
            sa.select(near.c.story_id, near.c.signature)
            .join(t.publications, public.story_id == near.c.story_id)
            .where(public.withdrawn_at.is_(None))
        )
        with self.engine.begin() as connection:
            # The planner takes every band to be common, and would read the whole table.
            connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
            return [(row.story_id, bytes(row.signature)) for row in connection.execute(query)]

    def used_pictures(self, excluding: str) -> "UsedPictures":
        """Return the source ids of pictures that other stories show."""
        return UsedPictures(self.engine, excluding)

    def free_slug(self, slug: str, story_id: str) -> str:
        """Return the slug, or the first of ``slug-2``, ``slug-3`` … that no other story has."""
        columns = t.publications.c
        names = itertools.chain([slug], (f"{slug}-{number}" for number in itertools.count(2)))
        with self.engine.connect() as connection:
            own = connection.scalar(sa.select(columns.slug).where(columns.story_id == story_id))
            while own is None:
                some = list(itertools.islice(names, 50))
                taken = set(connection.scalars(sa.select(columns.slug).where(columns.slug.in_(some))))
                own = next((name for name in some if name not in taken), None)
        return own

    def first_published(self, story_id: str) -> datetime | None:
        """Return when a story was published for the first time, or None."""
        columns = t.publications.c
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(columns.published_at).where(columns.story_id == story_id))

    def published(self) -> list[PublishedStory]:
        """Return all public stories, newest first."""
        query = sa.select(t.publications.c.record).where(t.publications.c.withdrawn_at.is_(None))
        with self.engine.connect() as connection:
            rows = connection.scalars(query.order_by(t.publications.c.published_at.desc(), t.publications.c.story_id))
            return [PublishedStory.model_validate(record) for record in rows]

    def last_publication(self) -> tuple[str | None, float]:
        """Return when a story was last published, changed or removed (ISO 8601), and how many seconds ago that was."""
        taken_down = sa.select(sa.func.max(t.events.c.at)).where(t.events.c.kind == "story_taken_down")
        newest = sa.func.greatest(sa.func.max(t.publications.c.updated_at), taken_down.scalar_subquery())
        age = sa.func.extract("epoch", sa.func.now() - newest)
        with self.engine.connect() as connection:
            moment, seconds = connection.execute(sa.select(newest, age)).one()
        return (moment.isoformat(), float(seconds)) if moment else (None, 0.0)

    def replace_picture(self, image: StoryImage, finding: GateFinding, story: PublishedStory) -> None:
        """Give a public story another picture with the verdict on it, and the public record that shows it.

        Raises ``PermanentFailure`` if it is no longer public or the picture's gate refuses.
        """
        columns, verdict = t.publications.c, {"gate": PICTURE_GATE, **finding._asdict(), "decided_at": sa.func.now()}
        public = sa.select(columns.slug).where(columns.story_id == image.story_id, columns.withdrawn_at.is_(None))
        with self.engine.begin() as connection:
            if connection.scalar(public.with_for_update()) is None:
                raise PermanentFailure(f"Story {image.story_id} is not public any more.", "It needs no picture.")
            self._save_image(connection, image)
            connection.execute(upsert(t.gate_verdicts, {"story_id": image.story_id, **verdict}))
            self._publish(connection, story)

    def withdraw(self, story_id: str, actor: str, reason: str) -> None:
        """Take a published story off the site. Raises ``PermanentFailure`` if it is not public."""
        with self.engine.begin() as connection:
            columns = t.publications.c
            values = {"withdrawn_at": sa.func.now(), "updated_at": sa.func.now(), "withdrawn_reason": reason}
            public = (columns.story_id == story_id) & columns.withdrawn_at.is_(None)
            if not connection.execute(t.publications.update().where(public).values(values)).rowcount:
                raise PermanentFailure(f"Story {story_id[:100]!r} is not published.", "Nothing needs to be withdrawn.")
            self._update(connection, story_id, status="withdrawn")
            add_decision(connection, "withdraw", story_id, actor, reason)
            add_event(connection, "story_withdrawn", story_id, actor)

    def _save_draft(self, connection: sa.Connection, story: StoryDraft) -> None:
        from threadjuice_dagster.domain.judging.originality import SIGNATURE_VERSION, bands, signature

        minhash = signature(story.draft.shown)
        row = {
            **story.model_dump(include={"story_id", "writer", "model", "prompt_version", "written_at"}),
            "title": story.draft.title,
            "record": story.model_dump(mode="json"),
            "signature": minhash,
            "bands": list(bands(minhash)),
            "signature_version": SIGNATURE_VERSION,
        }
        connection.execute(upsert(t.stories, row))
        connection.execute(t.quality_scores.delete().where(t.quality_scores.c.story_id == story.story_id))
        self._delete_verdicts(connection, story.story_id, TEXT_GATES)

    def _save_score(self, connection: sa.Connection, score: QualityScore) -> None:
        self._delete_verdicts(connection, score.story_id, TEXT_GATES)
        row = score.model_dump(include={"story_id", "overall", "scored_at"})
        connection.execute(upsert(t.quality_scores, {**row, "record": score.model_dump(mode="json")}))

    def _save_image(self, connection: sa.Connection, image: StoryImage) -> None:
        self._delete_verdicts(connection, image.story_id, [PICTURE_GATE])
        row = image.model_dump(include={"story_id", "provider", "source_id", "sha256"})
        connection.execute(upsert(t.images, {**row, "record": image.model_dump(mode="json")}))
        connection.execute(t.image_variants.delete().where(t.image_variants.c.story_id == image.story_id))
        variants = [{"story_id": image.story_id, **variant.model_dump()} for variant in image.variants]
        if variants:
            connection.execute(t.image_variants.insert(), variants)

    def _delete_verdicts(self, connection: sa.Connection, story_id: str, gates: Sequence[str]) -> None:
        """Delete the verdicts and overrides on a text or picture that has just been replaced."""
        columns = t.gate_verdicts.c
        connection.execute(t.gate_verdicts.delete().where(columns.story_id == story_id, columns.gate.in_(gates)))

    def _publish(self, connection: sa.Connection, story: PublishedStory) -> None:
        verdicts = {verdict.gate: verdict for verdict in self._verdicts(connection, story.story_id)}
        refused = [gate for gate in GATES if gate not in verdicts or not verdicts[gate].lets_through]
        if refused:
            raise PermanentFailure(
                f"Story {story.story_id} is not published: {', '.join(refused)} did not pass.",
                "Materialize what is missing, or overrule with: threadjuice content publish --override --reason TEXT",
            )
        row = {
            **story.model_dump(include={"story_id", "slug", "score", "published_at"}),
            "updated_at": sa.func.now(),  # what is built from the row goes by it, whatever date the story shows
            "category": story.category.slug,
            "record": story.model_dump(mode="json"),
            "withdrawn_at": None,
            "withdrawn_reason": None,
        }
        connection.execute(upsert(t.publications, row))
        self._update(connection, story.story_id, status="published", error=None)
        add_event(connection, "story_published", story.story_id, slug=story.slug, score=story.score)

    def _verdicts(self, connection: sa.Connection, story_id: str) -> list[GateVerdict]:
        rows = connection.execute(sa.select(t.gate_verdicts).where(t.gate_verdicts.c.story_id == story_id))
        verdicts = [GateVerdict.model_validate(dict(row._mapping)) for row in rows]
        return sorted(verdicts, key=lambda verdict: GATES.index(verdict.gate))
