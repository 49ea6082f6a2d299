"""Checking stored stories in batches: imported ones before they are published, and any others again.

Verdicts are marks and nothing more: a public story stays public. What is checked belongs in
``operations/imports/validation_rules.py``.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.engine import UNHURRIED
from threadjuice_dagster.domain.judging.gates import PICTURE_GATE, GateFinding
from threadjuice_dagster.domain.judging.originality import MAX_SIMILARITY, SIGNATURE_VERSION, Neighbour, bands, nearest
from threadjuice_dagster.domain.judging.verdicts import QualityScore, gate_findings
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.pictures.licences import licence_finding
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.operations.imports.validation_rules import Subject, assess_again, sign

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store

BATCH = 200
SMALL = 40
"""So few stories are checked in this process: starting others would take longer."""

CHUNK = 10
"""Stories sent to a process at once."""

_COUNTED_AS = {"pass": "passed", "hold": "held", "reject": "refused"}

LISTED = 200
"""Stories a report names; it counts all of them."""

RELEASE = 20
"""Imported stories that may be on their way to a picture and the site at once."""

_SUBJECTS = """
SELECT s.story_id, a.category, a.persona, a.status, a.created_at, p.published_at, s.signature = '' AS first, m.wanted,
    s.record AS story, th.record AS thread, q.record AS score, i.record AS image,
    (SELECT coalesce(jsonb_object_agg(v.gate, v.passed OR v.overridden_by IS NOT NULL), '{}')
     FROM gate_verdicts v WHERE v.story_id = s.story_id) AS verdicts
FROM stories s JOIN assignments a ON a.story_id = s.story_id
    LEFT JOIN threads th ON th.id = a.thread_id
    LEFT JOIN quality_scores q ON q.story_id = s.story_id
    LEFT JOIN images i ON i.story_id = s.story_id
    LEFT JOIN publications p ON p.story_id = s.story_id
    LEFT JOIN imports m ON m.story_id = s.story_id
WHERE s.story_id > :after AND a.status NOT IN ('running', 'withdrawn') AND %(which)s
ORDER BY s.story_id LIMIT :batch
"""
_WHICH = {"pending": "m.state = 0", "some": "s.story_id = ANY(:ids)", "all": "true"}
# One that repeats another is not looked for any more: whatever repeats it repeats that other one, too. A file of a
# million copies then has one entry in the index.
_SIGN = f"""
UPDATE stories SET signature = decode(x.signature, 'hex'), bands = x.kept, signature_version = {SIGNATURE_VERSION}
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS x (story_id text, signature text, kept bigint[])
WHERE stories.story_id = x.story_id
    AND (stories.signature <> decode(x.signature, 'hex') OR stories.bands <> x.kept
        OR stories.signature_version <> {SIGNATURE_VERSION})
"""  # noqa: S608 -- a number of ours
# A story that was never checked must differ from all others; one that was, from those that came before it.
_ALIKE = f"""
SELECT x.story_id, o.story_id AS other, o.signature FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS x (story_id text, bands bigint[], first boolean)
JOIN assignments a ON a.story_id = x.story_id
LEFT JOIN publications p ON p.story_id = x.story_id
CROSS JOIN LATERAL (
    SELECT s.story_id, s.signature FROM stories s WHERE s.bands && x.bands AND s.story_id <> ALL(:ids)
        AND s.signature_version = {SIGNATURE_VERSION} LIMIT 500
) o
JOIN assignments b ON b.story_id = o.story_id
LEFT JOIN publications r ON r.story_id = o.story_id
LEFT JOIN imports n ON n.story_id = o.story_id
WHERE (r.story_id IS NOT NULL AND r.withdrawn_at IS NULL OR b.status = 'imported' AND n.wanted > 0
        OR b.status = 'assigned' AND b.thread_id IS NULL)
    AND (x.first OR (coalesce(r.published_at, 'infinity'), b.created_at, o.story_id)
                  < (coalesce(p.published_at, 'infinity'), a.created_at, x.story_id))
"""  # noqa: S608 -- likewise
_SCORE = """
INSERT INTO quality_scores (story_id, overall, record, scored_at)
SELECT story_id, overall, record, scored_at FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS x (story_id text, overall float8, record jsonb, scored_at timestamptz)
ON CONFLICT (story_id) DO UPDATE SET overall = excluded.overall, record = excluded.record,
    scored_at = excluded.scored_at
"""
_JUDGE = """
INSERT INTO gate_verdicts (story_id, gate, passed, message, held)
SELECT story_id, gate, passed, message, held FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS x (story_id text, gate text, passed boolean, message text, held boolean)
ON CONFLICT (story_id, gate) DO UPDATE SET passed = excluded.passed, message = excluded.message, held = excluded.held,
    decided_at = now()
"""
_CHECKED = "UPDATE imports SET state = 1 WHERE story_id = ANY(:ids) AND state = 0"
_REFUSE = """
WITH refused AS (
    SELECT v.story_id, bool_and(v.held) AS held, jsonb_object_agg(v.gate, v.message) AS gates FROM gate_verdicts v
    WHERE v.story_id = ANY(:ids) AND NOT v.passed AND v.overridden_by IS NULL GROUP BY v.story_id
), moved AS (
    UPDATE assignments a SET status = CASE WHEN r.held THEN 'held' ELSE 'rejected' END, updated_at = now()
    FROM refused r WHERE a.story_id = r.story_id AND a.status = 'imported'
    RETURNING a.story_id, a.status, r.gates
), done AS (
    UPDATE imports i SET state = 2 FROM moved m WHERE i.story_id = m.story_id
)
INSERT INTO events (kind, story_id, detail)
SELECT 'story_' || status, story_id, jsonb_build_object('gates', gates) FROM moved
"""
_LET_THROUGH = """
SELECT i.story_id FROM imports i JOIN assignments a ON a.story_id = i.story_id
WHERE i.state = 1 AND i.wanted > 0 AND a.status IN ('imported', 'published') AND NOT EXISTS (
    SELECT FROM gate_verdicts v WHERE v.story_id = i.story_id AND NOT v.passed AND v.overridden_by IS NULL)
ORDER BY i.wanted DESC, i.story_id LIMIT :room FOR UPDATE OF a SKIP LOCKED
"""
_UNDERWAY = """
SELECT count(*) FROM imports i JOIN assignments a ON a.story_id = i.story_id
WHERE i.state = 2 AND a.status IN ('assigned', 'running')
"""
_HAND_OVER = (
    "UPDATE assignments SET status = 'assigned', order_id = :order, run_id = NULL, error = NULL, updated_at = now()"
    " WHERE story_id = ANY(:ids)",
    "UPDATE imports SET state = 2 WHERE story_id = ANY(:ids)",
)


@dataclasses.dataclass
class ValidationReport:
    """What a pass over stored stories found. ``newly_failing`` had passed, or been let through, before.

    A public story whose new text fails is among them: the update is refused, and its page stays as it is.
    """

    checked: int = 0
    passed: int = 0
    gates: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    damaged: int = 0
    failing: int = 0
    newly_failing: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    problems: list[dict[str, str]] = dataclasses.field(default_factory=list)

    def count(self, gate: str, finding: GateFinding) -> None:
        """Add one finding of a gate."""
        counted = self.gates.setdefault(gate, {"passed": 0, "held": 0, "refused": 0})
        counted[_COUNTED_AS[finding.outcome]] += 1


class Validation:
    """Checks stored stories, and hands those that passed over to be published."""

    def __init__(self, store: "Store", progress: Callable[[str], None] = lambda _: None) -> None:
        self._engine, self._store, self._progress = store.engine, store, progress

    @functools.cached_property
    def _framings(self) -> dict[str, tuple[str, ...]]:
        """The lines of every persona."""
        return {persona.slug: persona.lines for persona in Catalogue(self._engine).personas()}

    def check(
        self, ids: Sequence[str] | None = None, *, everything: bool = False, limit: int | None = None
    ) -> ValidationReport:
        """Check these stories, ``everything``, or the imported ones nobody has checked; at most ``limit``.

        Each batch is one transaction, so what was checked before a crash stays checked. Raises ``UsageError`` for a
        story there is none of.
        """
        which = "some" if ids is not None else "all" if everything else "pending"
        self._refuse_unknown(ids or ())
        report, began, after, left = ValidationReport(), datetime.now(UTC), "", limit
        with contextlib.ExitStack() as stack:
            pool: Executor | None = None
            while rows := self._batch(which, ids, after, BATCH if left is None else min(BATCH, left)):
                if pool is None and len(rows) > SMALL:
                    pool = stack.enter_context(_processes())
                self._check(rows, report, began, pool)
                after, left = max(row.story_id for row in rows), None if left is None else left - len(rows)
                self._progress(f"Checked {report.checked:,} stories, {report.passed:,} passed")
        return report

    def waiting(self) -> int:
        """Imported stories that nobody has checked yet."""
        columns, assigned = t.imports.c, t.assignments.c
        query = (
            sa.select(sa.func.count())
            .join(t.assignments, assigned.story_id == columns.story_id)
            .where(columns.state == 0, assigned.status.not_in(("running", "withdrawn")))
        )
        with self._engine.connect() as connection:
            return connection.scalar(query.select_from(t.imports)) or 0

    def has_work(self, at_once: int = RELEASE) -> bool:
        """Whether stories wait to be checked, or to be handed over while there is room for them."""
        with self._engine.connect() as connection:
            room = at_once - (connection.scalar(sa.text(_UNDERWAY)) or 0)
            passed = room > 0 and connection.execute(sa.text(_LET_THROUGH), {"room": 1}).first() is not None
        return passed or self.waiting() > 0

    def release(self, at_once: int = RELEASE) -> list[str]:
        """Have stories that passed finished by an order of their own, so that ``at_once`` are under way, no more.

        Pictures cost a second of computing each, so a million stories never ask for them together. Stories that were
        public where they come from go first; drafts never go by themselves.
        """
        with self._engine.begin() as connection:
            room = at_once - (connection.scalar(sa.text(_UNDERWAY)) or 0)
            ids = list(connection.scalars(sa.text(_LET_THROUGH), {"room": max(room, 0)}))
            if not ids:
                return []
            order = self._store.open_order(len(ids), None, None, max_attempts=len(ids))
            for statement in _HAND_OVER:
                connection.execute(sa.text(statement), {"ids": ids, "order": order.id})
        return ids

    def _refuse_unknown(self, ids: Sequence[str]) -> None:
        with self._engine.connect() as connection:
            known = set(connection.scalars(sa.select(t.stories.c.story_id).where(t.stories.c.story_id.in_(ids))))
        if missing := [identity for identity in ids if identity not in known]:
            raise UsageError(f"There is no story {missing[0][:100]!r}.", "List them with: threadjuice content list")

    def _batch(self, which: str, ids: Sequence[str] | None, after: str, size: int) -> Sequence[Any]:
        query = sa.text(_SUBJECTS % {"which": _WHICH[which]})
        values = {"after": after, "batch": size, **({"ids": list(ids)} if ids is not None else {})}
        with self._engine.connect() as connection:
            return connection.execute(query, values).all() if size > 0 else []

    def _check(self, rows: Sequence[Any], report: ValidationReport, moment: datetime, pool: Executor | None) -> None:
        run: Any = functools.partial(pool.map, chunksize=CHUNK) if pool else map
        subjects = {
            row.story_id: Subject(
                row.story_id, row.category, row.story, row.thread, row.score, self._framings.get(row.persona, ())
            )
            for row in rows
        }
        signed = dict(zip(subjects, run(sign, subjects.values()), strict=True))
        report.checked += len(rows)
        damaged = [{"id": one, "problem": problem} for one, (_, problem) in signed.items() if problem]
        report.problems += damaged[: LISTED - len(report.problems)]
        report.damaged += len(damaged)
        sound = [row for row in rows if not signed[row.story_id][1]]
        with self._engine.begin() as connection:
            connection.exec_driver_sql(UNHURRIED)
            near = self._nearest(connection, sound, {story_id: minhash for story_id, (minhash, _) in signed.items()})
            ids = [row.story_id for row in sound]
            neighbours = [near.get(story_id, Neighbour()) for story_id in ids]
            given = (map(subjects.__getitem__, ids), neighbours, itertools.repeat(moment, len(ids)))
            scores = list(run(assess_again, *given))
            self._store_scores(connection, sound, scores, report)

    def _nearest(
        self, connection: sa.Connection, rows: Sequence[Any], signatures: Mapping[str, bytes]
    ) -> dict[str, Neighbour]:
        """The story each one repeats most, of those in the database and of those before it in this batch."""
        signed = [
            {
                "story_id": row.story_id,
                "signature": signatures[row.story_id].hex(),
                "bands": list(bands(signatures[row.story_id])),
                "first": row.first,
            }
            for row in sorted(rows, key=_precedence)
        ]
        values = {"rows": json.dumps(signed), "ids": [row.story_id for row in rows]}
        alike: dict[str, dict[str, bytes]] = defaultdict(dict)
        _tidy_index(connection)
        # Nothing is known of how rare a band is, so that a scan of all stories for each one would look cheap.
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        pairs = [(row.story_id, row.other, bytes(row.signature)) for row in connection.execute(sa.text(_ALIKE), values)]
        connection.execute(sa.text("SET LOCAL enable_seqscan = on"))
        for story_id, other, signature in itertools.chain(pairs, _within(signed, rows, signatures)):
            alike[story_id][other] = signature
        near = {story_id: nearest(signatures[story_id], others) for story_id, others in alike.items()}
        public = {row.story_id for row in rows if row.published_at}
        for one in signed:
            repeats = near.get(one["story_id"], Neighbour()).similarity >= MAX_SIMILARITY
            one["kept"] = [] if repeats and one["story_id"] not in public else one["bands"]
        connection.execute(sa.text(_SIGN), {"rows": json.dumps(signed)})
        return near

    def _store_scores(
        self, connection: sa.Connection, rows: Sequence[Any], scores: Sequence[QualityScore], report: ValidationReport
    ) -> None:
        kept = [{**one.model_dump(mode="json", include={"story_id", "overall", "scored_at"}),
                 "record": one.model_dump(mode="json")} for one in scores]  # fmt: skip
        verdicts: list[dict[str, Any]] = []
        for row, score in zip(rows, scores, strict=True):
            findings = {**gate_findings(score), **_picture(row)}
            verdicts += [{"story_id": row.story_id, "gate": gate, **one._asdict()} for gate, one in findings.items()]
            _report(report, row, findings)
        ids = {"ids": [row.story_id for row in rows]}
        for statement, values in (
            (_SCORE, {"rows": json.dumps(kept)}),
            (_JUDGE, {"rows": json.dumps(verdicts)}),
            (_CHECKED, ids),
            (_REFUSE, ids),
        ):
            connection.execute(sa.text(statement), values)


@contextlib.contextmanager
def _processes() -> Iterator[ProcessPoolExecutor]:
    """Processes of their own for the rubric's work, started afresh: a copy of this one would share its connections.

    They end with the block, and at once where it was interrupted.
    """
    import multiprocessing

    size, afresh = min(4, os.cpu_count() or 1), multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(size, mp_context=afresh, initializer=_end_with_parent)
    try:
        # What is blocked when a process starts stays blocked in it: Ctrl-C is for this process alone.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(size):
                pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, however it did."""
    import multiprocessing

    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _tidy_index(connection: sa.Connection) -> None:
    """Sort what was written lately into the index of bands: every search reads what is not from end to end.

    Only the index's owner may; without it the search is right, and slower until autovacuum has done the same.
    """
    with contextlib.suppress(sa.exc.ProgrammingError), connection.begin_nested():
        connection.execute(sa.text("SELECT gin_clean_pending_list('stories_bands_idx')"))


def _precedence(row: Any) -> tuple[bool, datetime, datetime, str]:
    return (row.published_at is None, row.published_at or row.created_at, row.created_at, row.story_id)


def _within(
    signed: Sequence[Mapping[str, Any]], rows: Sequence[Any], signatures: Mapping[str, bytes]
) -> Iterator[tuple[str, str, bytes]]:
    """Pairs of one batch that share a band, the later one first."""
    public = {row.story_id for row in rows if row.status == "published" or (row.status == "imported" and row.wanted)}
    seen: dict[int, list[str]] = defaultdict(list)
    for one in signed:
        others = Counter(other for band in one["bands"] for other in seen[band][:LISTED])
        yield from ((one["story_id"], other, signatures[other]) for other, _ in others.most_common(BATCH // 4))
        if one["story_id"] in public:
            for band in one["bands"]:
                seen[band].append(one["story_id"])


def _picture(row: Any) -> dict[str, GateFinding]:
    return {PICTURE_GATE: licence_finding(StoryImage.model_validate(row.image))} if row.image else {}


def _report(report: ValidationReport, row: Any, findings: Mapping[str, GateFinding]) -> None:
    """Count what was found of one story, and note it where it had been let through before, or is public."""
    for gate, finding in findings.items():
        report.count(gate, finding)
    report.passed += all(finding.passed for finding in findings.values())
    update = row.first and row.status == "published"
    newly = {
        gate: one.message for gate, one in findings.items() if not one.passed and (update or row.verdicts.get(gate))
    }
    if newly:
        report.failing += 1
        if len(report.newly_failing) < LISTED:
            report.newly_failing.append({"id": row.story_id, "status": row.status, "gates": newly})
