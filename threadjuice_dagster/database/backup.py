"""Backups: a dump streamed into storage with a manifest read in the dump's own snapshot, and their history.

Proving and restoring one belongs in ``database/restore.py``; which ones are kept, in ``domain/backups.py``.
"""

import contextlib
import dataclasses
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.database.schema import current_revision
from threadjuice_dagster.database.sealing import Hashing, Seal, Writable, produced
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.database.tools import Tool, find_tool
from threadjuice_dagster.domain import backups as rules
from threadjuice_dagster.domain.backups import Backup, Contents, Manifest, Proof, TableFigures
from threadjuice_dagster.failures import PermanentFailure

if TYPE_CHECKING:
    from threadjuice_dagster.resources.storage import Storage

LOCK = "backup"
"""Backups of one database are taken one after the other."""

_ABANDONED = timedelta(days=1)
"""Unfinished files this old were left by a process that was killed: no dump takes that long."""

_HASHED = (
    "boolean smallint integer bigint real double|precision numeric text character|varying character bytea date uuid"
    " jsonb timestamp|with|time|zone timestamp|without|time|zone interval text[] integer[] bigint[]"
)
"""Types whose hash says all of the value and is the same on any server; others are hashed as text, such as enums,
whose own hash is of a number that every database gives out anew."""

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, coalesce(string_agg(
    format(CASE WHEN format_type(a.atttypid, NULL) = ANY(:hashed) THEN '%I' ELSE '%I::text' END, a.attname),
    ', ' ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '') AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
GROUP BY n.nspname, c.relname ORDER BY 1
"""


@dataclasses.dataclass(frozen=True)
class Vault:
    """Where backups are, and the seal on them."""

    storage: "Storage"
    seal: Seal

    def manifests(self) -> list[Manifest]:
        """Every whole backup, newest first: a dump without a manifest, or with one nobody can read, is none."""
        found = []
        for key in sorted(self.storage.list(rules.PREFIX), reverse=True):
            identity = rules.id_of(key)
            if identity and key == rules.manifest_key(identity):
                with contextlib.suppress(PermanentFailure):
                    found.append(self.manifest(identity))
        return found

    def manifest(self, identity: str) -> Manifest:
        """One backup's manifest. Raises ``PermanentFailure`` if there is none or it cannot be read."""
        key = rules.manifest_key(identity)
        if rules.id_of(key) is None or not self.storage.exists(key):
            next_step = "Choose one of: threadjuice database backups"
            raise PermanentFailure(f"There is no backup {identity[:60]!r} in storage.", next_step)
        try:
            return Manifest.model_validate(json.loads(self.storage.get(key)))
        except (ValidationError, ValueError):
            message = f"The manifest of backup {identity} cannot be read: it was cut short or altered."
            raise PermanentFailure(message, "Choose another backup.") from None

    def put_manifest(self, manifest: Manifest) -> None:
        """Make a stored dump a backup."""
        data = manifest.model_dump_json(indent=1).encode()
        self.storage.put(rules.manifest_key(manifest.id), data, "application/json")

    def delete(self, manifest: Manifest) -> None:
        """Remove a backup, its manifest first."""
        self.storage.delete(rules.manifest_key(manifest.id))
        self.storage.delete(manifest.key)

    def clean(self, moment: datetime) -> None:
        """Remove what killed backups left behind: unfinished uploads, and dumps without a manifest."""
        self.storage.discard_unfinished(rules.PREFIX, moment - _ABANDONED)
        keys = self.storage.list(rules.PREFIX)
        oldest = rules.backup_id(moment - _ABANDONED, "")
        for key in keys:
            identity = rules.id_of(key)
            if identity and identity < oldest and rules.manifest_key(identity) not in keys:
                self.storage.delete(key)


class History:
    """What the database remembers of backups: that they were taken, and what their restores showed."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, manifest: Manifest, run_id: str | None = None) -> None:
        """Record a backup; one that is known stays as it is."""
        row = {
            **manifest.model_dump(include={"id", "key", "taken_at", "sha256", "bytes"}),
            "encrypted": bool(manifest.recipient),
            "run_id": run_id,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(t.backups).values(row).on_conflict_do_nothing())

    def prove(self, identity: str, proof: Proof) -> None:
        """Record what a restore showed; the evidence of earlier ones stays."""
        evidence = sa.func.jsonb_build_array(sa.cast(proof.model_dump(mode="json"), t.backups.c.evidence.type))
        values = {
            "proven_at": None if proof.problem else proof.at,
            "problem": proof.problem,
            "evidence": t.backups.c.evidence.op("||")(evidence),
        }
        with self._engine.begin() as connection:
            connection.execute(t.backups.update().where(t.backups.c.id == identity).values(values))

    def mark_deleted(self, identity: str) -> None:
        """Record that a backup is no longer in storage."""
        values = {"deleted_at": sa.func.now()}
        with self._engine.begin() as connection:
            connection.execute(t.backups.update().where(t.backups.c.id == identity).values(values))

    def of_run(self, run_id: str) -> str | None:
        """The backup a run took last."""
        columns = t.backups.c
        query = sa.select(columns.id).where(columns.run_id == run_id).order_by(columns.taken_at.desc()).limit(1)
        with self._engine.connect() as connection:
            return connection.scalar(query)

    def backups(self, manifests: Iterable[Manifest]) -> list[Backup]:
        """The backups of these manifests with what is known of each, in the same order."""
        columns = t.backups.c
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(columns.id, columns.proven_at, columns.problem))
            known = {row.id: {"proven_at": row.proven_at, "problem": row.problem} for row in rows}
        return [Backup(manifest=manifest, **known.get(manifest.id, {})) for manifest in manifests]


def take_backup(vault: Vault, address: str, moment: datetime, tell: Callable[[str], None] = lambda _: None) -> Manifest:
    """Dump a database into storage; returns the manifest, which is stored last.

    Waits for another backup of the same database. Whatever goes wrong, no manifest is stored.
    """
    url = sa.make_url(app_url(address))
    with _locks(url) as locks, locks.waited_for(LOCK, lambda: tell("Waiting for another backup to end")):
        vault.clean(moment)
        began = time.monotonic()
        with _snapshot(url) as (snapshot, connection):
            manifest = _stored(vault, url, moment, snapshot, connection)
        manifest = manifest.model_copy(update={"seconds": round(time.monotonic() - began, 3)})
        vault.put_manifest(manifest)
    return manifest


def read_contents(connection: sa.Connection) -> Contents:
    """Rows and digests of every table, and the migration the database is at."""
    names = {"hashed": [name.replace("|", " ") for name in _HASHED.split()]}
    tables = {}
    for name, columns in connection.execute(sa.text(_TABLES), names).all():
        query = f"SELECT count(*), coalesce(sum(hash_record_extended(ROW({columns}), 0)), 0) FROM ONLY {name}"  # noqa: S608
        rows, digest = connection.exec_driver_sql(query.replace("%", "%%")).one()
        tables[name] = TableFigures(rows=rows, digest=str(digest))
    return Contents(revision=current_revision(connection), tables=tables)


def server_version(connection: sa.Connection) -> str:
    """Such as ``18.4``."""
    return str(connection.exec_driver_sql("SHOW server_version").scalar()).partition(" ")[0]


@contextlib.contextmanager
def _locks(url: sa.URL) -> Iterator[Locks]:
    locks = Locks(url)
    try:
        yield locks
    finally:
        locks.close()


@contextlib.contextmanager
def _snapshot(url: sa.URL) -> Iterator[tuple[str, sa.Connection]]:
    """A transaction that changes nothing and sees one moment, and the name under which others can join it."""
    engine = lone_engine(url, isolation_level="REPEATABLE READ")
    with engine.connect().execution_options(postgresql_readonly=True) as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
        # One core reads for the dump, one for the figures: more would only get in each other's way.
        connection.exec_driver_sql("SET LOCAL max_parallel_workers_per_gather = 0")
        yield str(connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar()), connection


def _stored(vault: Vault, url: sa.URL, moment: datetime, snapshot: str, connection: sa.Connection) -> Manifest:
    """Store the dump of a snapshot, and describe it; its figures are read meanwhile on ``connection``."""
    identity = rules.backup_id(moment, uuid.uuid4().hex[:8])
    key = f"{rules.PREFIX}{identity}/dump.zst{'.age' if vault.seal.recipient else ''}"
    postgres = server_version(connection)
    tool = find_tool("pg_dump", postgres)
    found: dict[str, Any] = {}

    def produce(target: Writable) -> None:
        hashing = Hashing(target)
        with _meanwhile(lambda: found.update(contents=read_contents(connection))):
            found["dump_bytes"] = _dump(tool, url, snapshot, vault.seal, hashing)
        found.update(sha256=hashing.sha256, bytes=hashing.bytes)

    with produced(produce) as source:
        vault.storage.put_stream(key, source)
    return Manifest(
        id=identity,
        key=key,
        taken_at=moment,
        database=str(url.database),
        postgres=postgres,
        tools={"pg_dump": tool.version, **vault.seal.tools},
        recipient=vault.seal.recipient,
        seconds=0,
        **found,
    )


def _dump(tool: Tool, url: sa.URL, snapshot: str, seal: Seal, target: Writable) -> int:
    options = ("--format=custom", "--compress=0", f"--snapshot={snapshot}", "--lock-wait-timeout=60s")
    with tool.running(url, *options) as process:
        return seal.seal(process.stdout, target)  # type: ignore[arg-type]


@contextlib.contextmanager
def _meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do ``work`` in a thread while the block runs; what it raised is raised at the end, whatever else went wrong."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="backup figures")
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if failures:
            raise failures[0]
