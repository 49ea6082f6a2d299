"""Backups: a dump streamed into storage with a manifest read in the dump's own snapshot, and their history.

Proving and restoring one belongs in ``operations/backups/restore.py``; which ones are kept, in
``operations/backups/rules.py``.
"""

import contextlib
import dataclasses
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.database.schema import current_revision
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.database.suitability import over_tls
from threadjuice_dagster.database.tools import Tool, find_tool
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure
from threadjuice_dagster.operations.backups import rules
from threadjuice_dagster.operations.backups.rules import Backup, Contents, Manifest, Proof, Record, TableFigures
from threadjuice_dagster.resources.encryption import Encryptor, Hashing, Writable, produced

if TYPE_CHECKING:
    from threadjuice_dagster.resources.storage import Storage

LOCK = "backup"
"""Backups of one database are taken one after the other."""

_ABANDONED = timedelta(days=1)
"""Unfinished files this old were left by a process that was killed: no dump takes that long."""

_MANIFEST_BYTES = 16 << 20
_READERS = 8
"""Manifests that are fetched at a time."""

_HASHED = (
    "boolean smallint integer bigint real double|precision numeric text character|varying character bytea date uuid"
    " jsonb timestamp|with|time|zone timestamp|without|time|zone interval text[] integer[] bigint[]"
)
"""Types whose hash says all of the value and is the same on any server; others are hashed as text, such as enums,
whose own hash is of a number that every database gives out anew."""

OUR_TABLES = (*t.metadata.tables, "alembic_version")
"""What a backup holds. What others keep in the same database is theirs: it may be huge, or not for us to read."""

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, coalesce(string_agg(
    format(CASE WHEN format_type(a.atttypid, NULL) = ANY(:hashed) THEN '%I' ELSE '%I::text' END, a.attname),
    ', ' ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '') AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND n.nspname = current_schema() AND (c.relname = ANY(:only) OR :only IS NULL)
GROUP BY n.nspname, c.relname ORDER BY 1
"""

_NOT_OURS = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relname <> ALL(:ours)
    AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_class o ON o.oid = d.refobjid
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = d.classid
                        AND d.deptype IN ('a', 'i') AND o.relnamespace = c.relnamespace AND o.relname = ANY(:ours))
ORDER BY 1
"""
"""Relations beside ours, but for the sequences that count rows of ours."""


@dataclasses.dataclass(frozen=True)
class BackupStorage:
    """Where backups are, the seal on them, and what the database recorded of them (None where there is none to ask)."""

    storage: "Storage"
    seal: Encryptor
    records: Mapping[str, Record] | None = None

    def identities(self) -> list[str]:
        """The ids of all backups that have a manifest, newest first."""
        keys = self.storage.list(rules.PREFIX)
        return sorted(
            (one for key in keys if (one := rules.id_of(key)) and key == rules.manifest_key(one)), reverse=True
        )

    def manifests(self) -> list[Manifest]:
        """Every whole backup, newest first: a dump without a manifest, or with one nobody can read, is none."""
        with ThreadPoolExecutor(_READERS) as pool:
            return [one for one in pool.map(self._readable, self.identities()) if one is not None]

    def manifest(self, identity: str) -> Manifest:
        """One backup's manifest, whoever vouches for it. Raises ``PermanentFailure`` if it is not there or not one."""
        key = rules.manifest_key(identity)
        if rules.id_of(key) != identity or not self.storage.exists(key):
            next_step = "Choose one of: threadjuice database backups"
            raise PermanentFailure(f"There is no backup {identity[:60]!r} in storage.", next_step)
        return self._read(identity)

    def backups(self) -> list[Backup]:
        """Every whole backup with what is known of it, newest first; one that nobody vouches for is never proven."""
        return [self._known(manifest) for manifest in self.manifests()]

    def trusted(self, identity: str, *, unvouched: bool = False) -> Manifest:
        """One backup's manifest, if it may be restored. Raises ``PermanentFailure`` for one that nobody vouches for.

        ``unvouched`` lets those through that merely nobody vouches for, never one that is not what it was.
        """
        manifest = self.manifest(identity)
        if problem := self.forgery(manifest):
            raise PermanentFailure(problem, "Find out who can write to the storage, and choose another backup.")
        self._refuse_other_key(manifest)
        if not unvouched and (problem := self.unvouched(manifest)):
            next_step = "If you know where it comes from, restore it with --unvouched; else choose another backup."
            raise PermanentFailure(f"{problem} Whoever can write to the storage may have made it.", next_step)
        return manifest

    def forgery(self, manifest: Manifest) -> str:
        """As ``rules.forgery``, for this key and database."""
        return rules.forgery(manifest, *self._known_of(manifest.id))

    def unvouched(self, manifest: Manifest) -> str:
        """As ``rules.unvouched``, for this key and database."""
        return rules.unvouched(manifest, *self._known_of(manifest.id), has_history=bool(self.records))

    def doubt(self, manifest: Manifest) -> str:
        """As ``rules.doubt``, for this key and database."""
        return rules.doubt(manifest, *self._known_of(manifest.id), has_history=bool(self.records))

    def put_manifest(self, manifest: Manifest) -> None:
        """Make a stored dump a backup, signed where there is a key."""
        content = manifest.model_dump(mode="json")
        signature = self.seal.signature(rules.signed_content(content))
        stored = {**content, **({"signature": signature} if signature else {})}
        self.storage.put(rules.manifest_key(manifest.id), json.dumps(stored, indent=1).encode(), "application/json")

    def delete(self, identity: str) -> None:
        """Remove a backup, its manifest first: from its own folder, whatever the manifest says."""
        for key in (rules.manifest_key(identity), *rules.dump_keys(identity)):
            self.storage.delete(key)

    def clean(self, moment: datetime) -> None:
        """Remove what killed backups left behind: unfinished uploads, and dumps without a manifest."""
        self.storage.discard_unfinished(rules.PREFIX, moment - _ABANDONED)
        keys = set(self.storage.list(rules.PREFIX))
        oldest = rules.backup_id(moment - _ABANDONED, "")
        for key in keys:
            identity = rules.id_of(key)
            if identity and identity < oldest and rules.manifest_key(identity) not in keys:
                self.storage.delete(key)

    def _known_of(self, identity: str) -> tuple[str, Record | None]:
        return self.seal.recipient, (self.records or {}).get(identity)

    def _refuse_other_key(self, manifest: Manifest) -> None:
        if manifest.recipient and not self.seal.recipient:
            message = f"Backup {manifest.id} is encrypted, and BACKUP_ENCRYPTION_KEY is not set."
            raise ConfigurationError(message, "Set it to the key the backup was taken with.")
        if manifest.recipient and manifest.recipient != self.seal.recipient:
            message = f"Backup {manifest.id} is encrypted with another key than the one in BACKUP_ENCRYPTION_KEY."
            raise ConfigurationError(message, f"Set it to the key of {manifest.recipient}.")

    def _known(self, manifest: Manifest) -> Backup:
        _, record = self._known_of(manifest.id)
        problem = self.forgery(manifest) or self.unvouched(manifest)
        return Backup(
            manifest=manifest,
            proven_at=record.proven_at if record and not problem else None,
            problem=problem or (record.problem if record else ""),
            is_ours=not self.forgery(manifest) and bool(record or manifest.signed or not problem),
        )

    def _readable(self, identity: str) -> Manifest | None:
        try:
            return self._read(identity)
        except PermanentFailure:
            return None

    def _read(self, identity: str) -> Manifest:
        with self.storage.get_stream(rules.manifest_key(identity)) as stream:
            data = stream.read(_MANIFEST_BYTES)
        try:
            stored = json.loads(data)
            signature = stored.get("signature")
            signed = None if signature is None else self.seal.signs(rules.signed_content(stored), str(signature))
            manifest = Manifest.model_validate({**stored, "signed": signed})
            if manifest.id != identity:
                raise ValueError
        except (ValueError, AttributeError, RecursionError):
            message = f"The manifest of backup {identity} cannot be read: it was cut short or altered."
            raise PermanentFailure(message, "Choose another backup.") from None
        return manifest


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

    def records(self) -> dict[str, Record]:
        """What was recorded of each backup that was ever taken, by its id."""
        columns = [t.backups.c[name] for name in Record.model_fields]
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(t.backups.c.id, *columns))
            return {row.id: Record.model_validate(row._mapping) for row in rows}

    def carry_over(self, former: sa.Engine) -> None:
        """Take over what another database knows of backups, as the one that a restore replaces: storage is the same."""
        with former.connect() as source:
            rows = [dict(row._mapping) for row in source.execute(sa.select(t.backups))]
        update = insert(t.backups)
        changes = {column.name: update.excluded[column.name] for column in t.backups.c if not column.primary_key}
        with self._engine.begin() as connection:
            if rows:
                connection.execute(update.on_conflict_do_update(index_elements=["id"], set_=changes), rows)


def read_records(address: str) -> dict[str, Record] | None:
    """What a database recorded of backups; None where there is no database yet, or one without a history of them."""
    try:
        return History(lone_engine(app_url(address))).records() or None
    except sa.exc.DBAPIError:
        return None


def take_backup(
    vault: BackupStorage,
    address: str,
    moment: datetime | None = None,
    tell: Callable[[str], None] = lambda _: None,
    record: Callable[[Manifest], None] = lambda _: None,
) -> Manifest:
    """Dump a database into storage; returns the manifest, which is stored last.

    Waits for another backup of the same database; ``moment`` is otherwise the one at which its turn has come.
    ``record`` is given the manifest just before it is stored. Whatever goes wrong, no manifest is stored.
    """
    url = sa.make_url(app_url(address))
    with _locks(url) as locks, locks.waited_for(LOCK, lambda: tell("Waiting for another backup to end")):
        moment = moment or datetime.now(UTC)
        vault.clean(moment)
        began = time.monotonic()
        with _snapshot(url) as (snapshot, connection):
            manifest = _stored(vault, url, moment, snapshot, connection)
        manifest = manifest.model_copy(update={"seconds": round(time.monotonic() - began, 3)})
        record(manifest)
        vault.put_manifest(manifest)
    return manifest


def read_contents(connection: sa.Connection, only: Sequence[str] | None = None) -> Contents:
    """Rows and digests of every table, or only of some, and the migration the database is at."""
    names = {"hashed": [name.replace("|", " ") for name in _HASHED.split()], "only": only and list(only)}
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


def _stored(vault: BackupStorage, url: sa.URL, moment: datetime, snapshot: str, connection: sa.Connection) -> Manifest:
    """Store the dump of a snapshot, and describe it; its figures are read meanwhile on ``connection``."""
    identity = rules.backup_id(moment, uuid.uuid4().hex[:8])
    key = rules.dump_key(identity, vault.seal.recipient)
    options = [f"--snapshot={snapshot}", *_selection(connection)]
    postgres = server_version(connection)
    tool = find_tool("pg_dump", postgres, tls=over_tls(connection))
    found: dict[str, Any] = {}

    def produce(target: Writable) -> None:
        hashing = Hashing(target)
        with meanwhile(lambda: found.update(contents=read_contents(connection, OUR_TABLES))):
            found["dump_bytes"] = _dump(tool, url, options, vault.seal, hashing)
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


def _selection(connection: sa.Connection) -> list[str]:
    """The options of ``pg_dump`` that leave out what is not ours: other schemas, extensions, relations beside ours."""
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar()
    others = connection.execute(sa.text(_NOT_OURS), {"ours": list(OUR_TABLES)}).scalars()
    return [f"--schema={schema}", *(f"--exclude-table={name}" for name in others)]


def _dump(tool: Tool, url: sa.URL, options: Sequence[str], seal: Encryptor, target: Writable) -> int:
    fixed = ("--format=custom", "--compress=0", "--lock-wait-timeout=60s")
    with tool.running(url, *fixed, *options) as process:
        return seal.seal(process.stdout, target)  # type: ignore[arg-type]


@contextlib.contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
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
