"""Imports files of stories in bulk: through a staging table into the newsroom's tables, one transaction per batch.

Each batch commits how far the file was read, so that an import that was killed goes on where it stopped. What a record
means belongs in ``operations/imports/rules.py``; whether a story may be published is for
``operations/imports/validation.py``.
"""

import dataclasses
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.engine import UNHURRIED
from threadjuice_dagster.domain.language.text import cut, printable
from threadjuice_dagster.operations.imports.batches import Batch, SortedBatch
from threadjuice_dagster.operations.imports.fields import shown
from threadjuice_dagster.operations.imports.files import (
    file_digest,
    gather,
    is_of_one_file,
    kept_back_line,
    listed,
    records_of,
    reject_line,
    require_place,
    story_files,
)
from threadjuice_dagster.operations.imports.raw import RawRecord
from threadjuice_dagster.operations.imports.rules import (
    UNWANTED,
    RecordReader,
    RefusedRecord,
    StoryRow,
    UnknownCategory,
)

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

    from threadjuice_dagster.database.store import Store

Progress = Callable[[str], None]

BATCH_RECORDS, BATCH_BYTES = 1_000, 2 << 20
"""Limits of a batch; it ends at the one that it reaches first."""

COUNTS = ("read", "imported", "updated", "unchanged", "rejected", "kept_back")
"""The counts of an import; ``read`` is the sum of the others."""

_CATEGORY, _MOST_CATEGORIES = "category:", 500
"""Prefix of unknown categories among the counts of a file, and the most of them that are counted by name."""

_REPORT_SECONDS = 5.0

_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_stories (
    story_id text, category text, persona text, title text, author text, written_at timestamptz, wanted smallint,
    digest bytea, record jsonb, number bigint
) ON COMMIT DELETE ROWS
"""
_TYPES = ("text", "text", "text", "text", "text", "timestamptz", "int2", "bytea", "jsonb", "int8")
_STAGED = len(_TYPES) - 1
_ASSIGN = """
INSERT INTO assignments (story_id, category, persona, status)
SELECT story_id, category, persona, 'imported' FROM staged_stories ORDER BY story_id
ON CONFLICT (story_id) DO UPDATE SET category = excluded.category, persona = excluded.persona, error = NULL,
    updated_at = now(), status = CASE WHEN assignments.status IN ('published', 'withdrawn', 'running')
    THEN assignments.status ELSE 'imported' END
"""
_WRITE = """
INSERT INTO stories (story_id, title, writer, model, prompt_version, record, signature, bands, written_at)
SELECT story_id, title, 'imported', author, '', record, '', '{}', written_at FROM staged_stories ORDER BY story_id
ON CONFLICT (story_id) DO UPDATE SET title = excluded.title, writer = excluded.writer, model = excluded.model,
    record = excluded.record, signature = '', bands = '{}', written_at = excluded.written_at
"""
_NOTE = """
INSERT INTO imports (story_id, digest, file, number, wanted)
SELECT story_id, digest, %s, number, wanted FROM staged_stories ORDER BY story_id
ON CONFLICT (story_id) DO UPDATE SET digest = excluded.digest, file = excluded.file, number = excluded.number,
    wanted = excluded.wanted, state = 0
"""
_STORED = """
SELECT i.story_id, i.digest, i.file, i.number, i.wanted, a.status
FROM imports i JOIN assignments a ON a.story_id = i.story_id
WHERE i.story_id = ANY(%s) ORDER BY i.story_id FOR UPDATE OF i
"""
_BURIED = "SELECT id FROM tombstones WHERE kind = 'story' AND id = ANY(%s)"
_TOUCH = """
UPDATE imports SET file = %s, number = seen.number FROM unnest(%s::text[], %s::bigint[]) AS seen (story_id, number)
WHERE imports.story_id = seen.story_id
"""
_PROGRESS = """
INSERT INTO import_files (digest, name, records, counts, rejects_bytes, finished_at)
VALUES (%s, %s, %s, %s, %s, CASE WHEN %s THEN now() END)
ON CONFLICT (digest) DO UPDATE SET name = excluded.name, records = excluded.records, counts = excluded.counts,
    rejects_bytes = excluded.rejects_bytes, finished_at = excluded.finished_at
"""
_FORGET_VERDICTS = (
    "DELETE FROM quality_scores WHERE story_id = ANY(%s)",
    "DELETE FROM gate_verdicts WHERE story_id = ANY(%s)",
)


@dataclasses.dataclass(frozen=True)
class ImportSummary:
    """The result of an import, in records. Each record that was read is counted under one other name as well.

    ``rejects_file`` holds those that were refused and ``kept_back_file`` those that were not public where they come
    from, None where there are none or nothing is written; ``refusals`` and ``held`` are the first of them.
    ``unknown_categories`` are names with the records refused because of each.
    """

    read: int
    imported: int
    updated: int
    unchanged: int
    rejected: int
    kept_back: int
    rejects_file: str | None
    kept_back_file: str | None = None
    unknown_categories: dict[str, int] = dataclasses.field(default_factory=dict)
    refusals: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    held: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def import_files(
    store: "Store",
    paths: Sequence[Path],
    folder: Path,
    *,
    rejects: Path | None = None,
    dry_run: bool = False,
    category_map: Mapping[str, str] | None = None,
    default_category: str = "",
    progress: Progress = lambda _: None,
) -> ImportSummary:
    """Import story files, and the story files in folders. Of several records with one slug the last import counts.

    ``folder`` keeps what was refused, one file for each digest, unless ``rejects`` names a file for all of them. A
    dry run does everything and rolls it back. An error in one file is reported with that file. Raises ``UsageError``
    for a path that cannot be read, a place that cannot be written, or a category that is none of ours.
    """
    require_place(rejects)
    files = [file for path in paths for file in story_files(path)]
    folder.mkdir(parents=True, exist_ok=True)
    catalogue, moment = Catalogue(store.engine), datetime.now(UTC)
    reader = RecordReader(catalogue.categories(), catalogue.personas(), moment, category_map, default_category)
    total: Counter[str] = Counter()
    parts: list[Path] = []
    for path in files:
        counts, part = _import_file(store, path, folder, reader, dry_run, progress)
        total.update(counts)
        parts.append(part)
        progress(f"{printable(path.name)}: " + ", ".join(f"{counts[name]:,} {_words(name)}" for name in COUNTS))
    name = hashlib.sha256("".join(part.name for part in parts).encode()).hexdigest()[:12]
    refusals, held = listed(parts)
    target = rejects or (None if dry_run else folder / f"rejects-{name}.jsonl")
    refused, kept = gather(parts, target, None if dry_run else folder / f"kept-back-{name}.jsonl")
    unknown = {key.removeprefix(_CATEGORY): count for key, count in total.most_common() if key.startswith(_CATEGORY)}
    counted = {name: total[name] for name in COUNTS}
    return ImportSummary(**counted, rejects_file=refused, kept_back_file=kept, unknown_categories=unknown,
                         refusals=refusals, held=held)  # fmt: skip


def _import_file(
    store: "Store", path: Path, folder: Path, reader: RecordReader, dry_run: bool, progress: Progress
) -> tuple[Counter[str], Path]:
    """Return the counts of one file, and the path of the file that holds its refused records."""
    name = printable(path.name)
    try:
        digest = file_digest(path)
    except OSError as error:
        if not is_of_one_file(error):
            raise
        part = folder / f"{hashlib.sha256(name.encode()).hexdigest()}.unread.jsonl"
        part.write_bytes(reject_line(name, RawRecord(1, 0, b"", "-"), f"The file cannot be read: {error.strerror}."))
        return Counter(read=1, rejected=1), part
    part = folder / f"{digest}.{'dry-run' if dry_run else 'rejects'}.jsonl"
    with store.locks.waited_for(f"import:{digest}", lambda: progress(f"Waiting for another import of {name}")):
        return _FileImport(store, path, digest, part, dry_run, progress).run(reader), part


def _words(name: str) -> str:
    return name.replace("_", " ")


class _FileImport:
    """The import of one file, while its lock is held."""

    def __init__(self, store: "Store", path: Path, digest: str, part: Path, dry_run: bool, progress: Progress) -> None:
        self._store, self._path, self._digest, self._part = store, path, digest, part
        self._name = printable(path.name)
        self._dry_run, self._progress = dry_run, progress
        self._counts: Counter[str] = Counter()
        self._reported = time.monotonic()

    def run(self, reader: RecordReader) -> Counter[str]:
        """Store what is not stored yet and return the counts of the whole file. Reading and storing overlap."""
        done = self._resume()
        with (
            _connection(self._store) as connection,
            connection.transaction(force_rollback=True) if self._dry_run else nullcontext(),
            self._part.open("ab") as rejects,
            ThreadPoolExecutor(1) as thread,
        ):
            connection.execute(_STAGE)
            stored: Future[None] | None = None
            for batch in self._batches(reader, done):
                if stored:
                    stored.result()
                    self._report_progress()
                stored = thread.submit(self._store_batch, connection, rejects, batch)
            if stored:
                stored.result()
            self._note_progress(connection, rejects, self._counts["read"], finished=True)
        return self._counts

    def _resume(self) -> int:
        """Return how many records a killed import of this file has stored; 0 to begin at the beginning."""
        table = t.import_files
        with self._store.engine.connect() as connection:
            row = connection.execute(sa.select(table).where(table.c.digest == self._digest)).one_or_none()
        written = self._part.stat().st_size if self._part.exists() else 0
        if self._dry_run or row is None or row.finished_at or written < row.rejects_bytes:
            self._part.unlink(missing_ok=True)
            return 0
        with self._part.open("ab") as part:
            part.truncate(row.rejects_bytes)
        self._counts = Counter(row.counts)
        self._progress(f"{self._name}: going on after {row.records:,} records")
        return int(row.records)

    def _batches(self, reader: RecordReader, done: int) -> Iterator[Batch]:
        batch = Batch()
        for raw in records_of(self._path):
            if raw.number <= done:
                continue
            try:
                if raw.problem:
                    raise RefusedRecord(raw.problem)
                batch.rows.append((raw, reader.read(raw.data)))
            except RefusedRecord as refusal:
                batch.refused.append((raw, str(refusal)))
                if isinstance(refusal, UnknownCategory):
                    batch.categories[_CATEGORY + refusal.name] += 1
            except Exception as error:
                if not is_of_one_file(error):
                    raise
                batch.refused.append((raw, f"It cannot be read: {type(error).__name__}: {shown(str(error), 200)}"))
            batch.size += len(raw.data) if isinstance(raw.data, bytes) else sum(map(len, raw.data.values()))
            if len(batch) >= BATCH_RECORDS or batch.size >= BATCH_BYTES:
                yield batch
                batch = Batch()
        if len(batch):
            yield batch

    def _store_batch(self, connection: "Connection[Any]", rejects: IO[bytes], batch: Batch) -> None:
        """Store a batch in one transaction. Records that the database cannot hold are found by halving, and refused."""
        from psycopg import DataError

        before = self._counts.copy()
        try:
            with connection.transaction():
                self._write(connection, rejects, batch)
        except DataError as error:
            self._counts = before
            problem = f"The database cannot hold it: {cut(str(error), 200)}"
            for part in batch.parts(problem):
                self._store_batch(connection, rejects, part)

    def _write(self, connection: "Connection[Any]", rejects: IO[bytes], batch: Batch) -> None:
        """Store new and changed stories, and how far the file was read."""
        with connection.cursor() as cursor:
            cursor.execute(UNHURRIED)
            outcome = self._sort(cursor, batch)
            if self._dry_run:
                cursor.execute("TRUNCATE staged_stories")
            if outcome.changed:
                _upsert(cursor, list(outcome.changed.values()), self._digest)
        self._counts.update({**outcome.counts, "read": len(batch), "rejected": len(outcome.refused)})
        self._count_categories(batch.categories)
        for raw, reason in sorted(outcome.refused, key=lambda refusal: refusal[0].number):
            rejects.write(reject_line(self._name, raw, reason))
        for raw, reason, story_id in outcome.kept_back:
            rejects.write(kept_back_line(self._name, raw, reason, story_id))
        self._note_progress(connection, rejects, batch.last)

    def _count_categories(self, unknown: Mapping[str, int]) -> None:
        for name, count in unknown.items():
            is_counted = name in self._counts or len(self._counts) < _MOST_CATEGORIES
            self._counts[name if is_counted else f"{_CATEGORY}others"] += count

    def _sort(self, cursor: "Cursor[Any]", batch: Batch) -> SortedBatch:
        ids = [story_id for _, row in batch.rows for story_id in (row.story_id, row.earlier_id) if story_id]
        stored = {row[0]: row[1:] for row in cursor.execute(_STORED, [ids])}
        buried = {row[0] for row in cursor.execute(_BURIED, [ids])}
        outcome = SortedBatch(refused=list(batch.refused))
        for raw, row in batch.rows:
            if row.earlier_id in stored or row.earlier_id in buried:
                row = row.stored_as(row.earlier_id)
            digest, file, number, wanted, status = stored.get(row.story_id, (None, None, 0, 1, ""))
            before = number if file == self._digest and number < raw.number else None
            first = outcome.earlier(row.story_id) or before
            waits = row.story_id in outcome.waiting or (first == before and wanted == UNWANTED)
            if row.story_id in buried:
                outcome.refused.append((raw, "It was taken down for good."))
            elif first and not row.kept_back and not waits:
                outcome.refused.append((raw, f"Its slug stands in this file already, in record {first}."))
            else:
                outcome.place(raw, row, digest, status == "published", first=not first)
        cursor.execute(_TOUCH, [self._digest, list(outcome.moved), list(outcome.moved.values())])
        for statement in _FORGET_VERDICTS:
            cursor.execute(statement, [[story_id for story_id in outcome.changed if story_id in stored]])
        return outcome

    def _note_progress(
        self, connection: "Connection[Any]", rejects: IO[bytes], records: int, *, finished: bool = False
    ) -> None:
        rejects.flush()
        counts = json.dumps(self._counts)
        row = [self._digest, self._name, records, counts, rejects.tell(), finished]
        connection.execute(_PROGRESS, row)

    def _report_progress(self) -> None:
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            self._progress(f"{self._name}: {self._counts['read']:,} records")


def _upsert(cursor: "Cursor[Any]", changed: Sequence[tuple[RawRecord, StoryRow]], file: str) -> None:
    with cursor.copy("COPY staged_stories FROM STDIN") as copy:
        for raw, row in changed:
            copy.write_row((*row[:_STAGED], raw.number))
    for statement in (_ASSIGN, _WRITE):
        cursor.execute(statement)
    cursor.execute(_NOTE, [file])


@contextmanager
def _connection(store: "Store") -> "Iterator[Connection[Any]]":
    """Lend psycopg's connection of the pool. Raises ``TransientFailure`` when it is lost."""
    import psycopg

    from threadjuice_dagster.database.server import unreachable

    pooled = store.engine.raw_connection()
    try:
        connection: Any = pooled.driver_connection
        connection.autocommit = True
        yield connection
    except psycopg.OperationalError as error:
        pooled.invalidate(error)
        raise unreachable(error) from error
    finally:
        if pooled.driver_connection is not None and not pooled.driver_connection.closed:
            pooled.driver_connection.autocommit = False
        pooled.close()
