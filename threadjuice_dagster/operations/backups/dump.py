"""Taking a backup: a dump is streamed into storage, with a manifest of figures read in the dump's own snapshot."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import sqlalchemy as sa

from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.database.suitability import over_tls
from threadjuice_dagster.database.tools import Tool, find_tool, server_version
from threadjuice_dagster.operations.backups import rules
from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
from threadjuice_dagster.operations.backups.rules import Manifest
from threadjuice_dagster.operations.backups.store import OUR_TABLES, read_contents
from threadjuice_dagster.resources.encryption import Encryptor, HashingStream, Writable, produced

LOCK = "backup"
"""Backups of one database are taken one after the other."""

_NOT_OURS = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relname <> ALL(:ours)
    AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_class o ON o.oid = d.refobjid
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = d.classid
                        AND d.deptype IN ('a', 'i') AND o.relnamespace = c.relnamespace AND o.relname = ANY(:ours))
ORDER BY 1
"""
"""Relations that are not ours; the sequences that number the rows of our tables are."""


def take_backup(
    backup_storage: BackupStorage,
    address: str,
    moment: datetime | None = None,
    say: Callable[[str], None] = lambda _: None,
    record: Callable[[Manifest], None] = lambda _: None,
) -> Manifest:
    """Dump a database into storage and return the manifest, which is stored last, and only if nothing failed.

    Waits for another backup of the same database. ``moment`` defaults to the time after that wait. ``record`` is
    called with the manifest just before it is stored.
    """
    url = sa.make_url(app_url(address))
    with (
        contextlib.closing(Locks(url)) as locks,
        locks.waited_for(LOCK, lambda: say("Waiting for another backup to end")),
    ):
        moment = moment or datetime.now(UTC)
        backup_storage.clean(moment)
        began = time.monotonic()
        with _snapshot(url) as (snapshot, connection):
            manifest = _store(backup_storage, url, moment, snapshot, connection)
        manifest = manifest.model_copy(update={"seconds": round(time.monotonic() - began, 3)})
        record(manifest)
        backup_storage.put_manifest(manifest)
    return manifest


@contextlib.contextmanager
def _snapshot(url: sa.URL) -> Iterator[tuple[str, sa.Connection]]:
    """Yield a read-only transaction with one view of the data, and the name under which others can join it."""
    engine = lone_engine(url, isolation_level="REPEATABLE READ")
    with engine.connect().execution_options(postgresql_readonly=True) as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
        # The dump reads on another core meanwhile; parallel workers would slow both down.
        connection.exec_driver_sql("SET LOCAL max_parallel_workers_per_gather = 0")
        yield str(connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar()), connection


def _store(
    backup_storage: BackupStorage, url: sa.URL, moment: datetime, snapshot: str, connection: sa.Connection
) -> Manifest:
    """Store the dump of a snapshot while its figures are read on ``connection``, and describe both."""
    encryptor = backup_storage.encryptor
    identity = rules.backup_id(moment, uuid.uuid4().hex[:8])
    key = rules.dump_key(identity, encryptor.recipient)
    options = [f"--snapshot={snapshot}", *_selection(connection)]
    postgres = server_version(connection)
    tool = find_tool("pg_dump", postgres, tls=over_tls(connection))
    dump_bytes = []

    def dump(target: Writable) -> None:
        dump_bytes.append(_dump(tool, url, options, encryptor, target))

    with ThreadPoolExecutor(1, "backup figures") as thread:
        figures = thread.submit(read_contents, connection, OUR_TABLES)
        try:
            with produced(dump) as source:
                stored = HashingStream(source)
                backup_storage.storage.put_stream(key, stored)
        finally:
            contents = figures.result()  # where both failed, the database's own failure says more
    return Manifest(
        id=identity,
        key=key,
        taken_at=moment,
        database=str(url.database),
        postgres=postgres,
        tools={"pg_dump": tool.version, **encryptor.tools},
        recipient=encryptor.recipient,
        sha256=stored.sha256,
        bytes=stored.bytes,
        dump_bytes=dump_bytes[0],
        seconds=0,
        contents=contents,
    )


def _selection(connection: sa.Connection) -> list[str]:
    """Return the options of ``pg_dump`` that leave out other schemas, extensions and relations that are not ours."""
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar()
    others = connection.execute(sa.text(_NOT_OURS), {"ours": list(OUR_TABLES)}).scalars()
    return [f"--schema={schema}", *(f"--exclude-table={name}" for name in others)]


def _dump(tool: Tool, url: sa.URL, options: Sequence[str], encryptor: Encryptor, target: Writable) -> int:
    fixed = ("--format=custom", "--compress=0", "--lock-wait-timeout=60s")
    with tool.running(url, *fixed, *options) as process:
        return encryptor.encrypt(process.stdout, target)  # type: ignore[arg-type]
