"""Restores: into a scratch database to prove a backup, or beside the live database and then in its place.

An interrupted restore leaves the live database unchanged, and the next one drops its scratch database. Filling a
database from a dump belongs in ``operations/backups/loading.py``.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import IO

import sqlalchemy as sa

from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.schema import head_revision, knows, migrate, migrate_empty
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.database.tools import find_tool
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, UsageError
from threadjuice_dagster.operations.backups import rules
from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
from threadjuice_dagster.operations.backups.loading import ANOTHER, BoundedPipe, load_rows
from threadjuice_dagster.operations.backups.restore_server import RestoreServer
from threadjuice_dagster.operations.backups.rules import Manifest, Proof, Restored, RestorePlan
from threadjuice_dagster.operations.backups.store import OUR_TABLES, BackupHistory, read_contents
from threadjuice_dagster.resources.encryption import BLOCK, HashingStream, Readable


def prove(backup_storage: BackupStorage, address: str, identity: str, moment: datetime) -> Proof:
    """Restore a backup into a scratch database beside ``address`` and compare it with its manifest.

    Raises ``TransientFailure`` if storage or server failed, which says nothing about the backup.
    """
    began = time.monotonic()
    problem = ""
    differences: tuple[str, ...] = ()
    try:
        with RestoreServer(address) as server, server.reading(identity):
            manifest = _restorable(backup_storage, identity)
            with server.scratch() as url:
                differences = _load(backup_storage, manifest, url)
        problem = _problem(differences)
    except PermanentFailure as failure:
        problem = str(failure)
    return Proof(at=moment, problem=problem, differences=differences, seconds=round(time.monotonic() - began, 3))


def plan_restore(
    backup_storage: BackupStorage, address: str, identity: str, moment: datetime, *, allow_unverified: bool = False
) -> RestorePlan:
    """Return what ``restore_backup`` would do now."""
    manifest = _restorable(backup_storage, identity, allow_unverified=allow_unverified)
    with RestoreServer(address) as server:
        return _plan(backup_storage, server, manifest, moment)


def restore_backup(
    backup_storage: BackupStorage,
    address: str,
    identity: str,
    confirm: str,
    moment: datetime,
    prepare: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    *,
    allow_unverified: bool = False,
) -> Restored:
    """Put a backup in place of the live database, which is renamed and kept.

    ``confirm`` is the token of this restore's plan. ``prepare`` is called with the address of the restored and
    migrated database before it goes live. ``allow_unverified`` restores a backup that no key or database confirms.
    Raises ``UsageError`` for another token.
    """
    began = time.monotonic()
    with RestoreServer(address) as server, server.restoring(), server.reading(identity):
        manifest = _restorable(backup_storage, identity, allow_unverified=allow_unverified)
        plan = _plan(backup_storage, server, manifest, moment)
        _require_token(plan, confirm)
        with server.scratch() as url:
            say(f"Restoring {manifest.id} beside {server.live}")
            if problem := _problem(_load(backup_storage, manifest, url)):
                raise PermanentFailure(problem, ANOTHER)
            before, after = _bring_up_to_date(url, address, manifest, moment)
            prepare(url.render_as_string(hide_password=False))
            say(f"Putting it in place of {server.live}")
            server.hand_over(url)
            kept = server.swap(str(url.database), plan.keeps)
    return Restored(
        backup=manifest.id,
        database=server.live,
        kept=kept,
        migrated_from=before if before != after else None,
        revision=after,
        rows=manifest.contents.rows,
        seconds=round(time.monotonic() - began, 3),
    )


def _require_token(plan: rules.RestorePlan, confirm: str) -> None:
    """Raise ``UsageError`` unless ``confirm`` is the token of this plan for the database as it is now."""
    if confirm != plan.token:
        raise UsageError(
            f"This token does not confirm restoring {plan.backup} over {plan.database} as it is now.",
            "Run the command without a token to see what it would do, and the token.",
        )


def _restorable(backup_storage: BackupStorage, identity: str, *, allow_unverified: bool = False) -> Manifest:
    """Return a backup's manifest. Raises ``PermanentFailure`` or ``ConfigurationError`` if it cannot be restored."""
    manifest = backup_storage.manifest(identity, allow_unverified=allow_unverified)
    if not backup_storage.storage.exists(manifest.key):
        raise PermanentFailure(f"Of backup {manifest.id} only the manifest is in storage, not the dump.", ANOTHER)
    revision = manifest.contents.revision
    if revision is None:
        raise PermanentFailure(f"Backup {manifest.id} was taken of a database without the newsroom's tables.", ANOTHER)
    if not knows(revision):
        message = f"The backup is of migration {revision[:20]}, and this version knows {head_revision()} at most."
        raise ConfigurationError(message, "Install the ThreadJuice version that took it.")
    return manifest


def _plan(backup_storage: BackupStorage, server: RestoreServer, manifest: Manifest, moment: datetime) -> RestorePlan:
    return RestorePlan(
        backup=manifest.id,
        taken_at=manifest.taken_at,
        database=server.live,
        tables=len(manifest.contents.tables),
        rows=manifest.contents.rows,
        connections=server.connections(),
        keeps=rules.kept_name(server.live, moment, {kept.name for kept in server.kept()}),
        token=rules.confirmation(manifest, server.live, server.identity()),
        leaves_behind=server.not_ours(OUR_TABLES),
        warning=backup_storage.origin(manifest).warning,
    )


def _load(backup_storage: BackupStorage, manifest: Manifest, url: sa.URL) -> tuple[str, ...]:
    """Fill an empty database from a dump; return how it differs from the manifest.

    Raises ``PermanentFailure`` for a dump that is not the manifest's, or cannot be opened or read.
    """
    engine = lone_engine(url)
    migrate_empty(engine, str(manifest.contents.revision))
    tool = find_tool("pg_restore", manifest.tools.get("pg_dump", "0"))
    with (
        backup_storage.storage.get_stream(manifest.key) as stored,
        tool.running(None, "--format=custom", "--data-only", "--file=-") as process,
        ThreadPoolExecutor(1) as thread,
    ):
        feed = _DumpFeed(backup_storage, manifest, stored)
        feeding = thread.submit(feed.decrypt_into, process.stdin)  # type: ignore[arg-type]
        try:
            load_rows(engine, process.stdout, feeding.result)  # type: ignore[arg-type]
        except BaseException as error:
            process.kill()
            feed.stopped = not isinstance(error, Exception)
            feeding.result()  # a problem of the file explains more than the failures it caused
            raise
    with engine.connect() as connection:
        restored = read_contents(connection)
    expected = {name: figures for name, figures in manifest.contents.tables.items() if name in restored.tables}
    return rules.differences(manifest.contents.model_copy(update={"tables": expected}), restored)


class _DumpFeed:
    """Decrypts a stored dump into ``pg_restore`` and checks that it is the one its manifest was written for."""

    def __init__(self, backup_storage: BackupStorage, manifest: Manifest, stored: Readable) -> None:
        self._backup_storage, self._manifest, self._source = backup_storage, manifest, HashingStream(stored)
        self.stopped = False

    def decrypt_into(self, target: IO[bytes]) -> None:
        """Write the plain dump. Raises ``PermanentFailure`` if the file was altered or cannot be opened."""
        manifest, source, failure = self._manifest, self._source, None
        plain = BoundedPipe(target, manifest.dump_bytes)
        try:
            self._backup_storage.encryptor.decrypt(self, plain, encrypted=bool(manifest.recipient))
        except PermanentFailure as error:
            failure = error
        finally:
            plain.close()
        while source.bytes <= manifest.bytes and self.read(BLOCK):
            pass
        others = [] if source.sha256 == manifest.sha256 else self._backup_storage.manifests()
        if problem := rules.stored_otherwise(manifest, source.sha256, source.bytes, others):
            raise PermanentFailure(problem, ANOTHER)
        if failure:
            raise failure

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes of the stored file. Raises ``KeyboardInterrupt`` once ``stopped`` is set."""
        if self.stopped:
            raise KeyboardInterrupt
        return self._source.read(size)


def _bring_up_to_date(url: sa.URL, address: str, manifest: Manifest, moment: datetime) -> tuple[str | None, str]:
    """Migrate a restored database and give it the live one's history of backups; return both revisions."""
    engine = lone_engine(url)
    before, after = migrate(engine)
    history = BackupHistory(engine)
    history.add(manifest)
    with suppress(sa.exc.DBAPIError):  # there is no live database yet, or it is damaged
        history.copy_from(lone_engine(app_url(address)))
    history.add_proof(manifest.id, Proof(at=moment))
    return before, after


def _problem(differences: tuple[str, ...]) -> str:
    if not differences:
        return ""
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    return f"The restored database is not the one that was dumped: {'; '.join(differences[:3])}{more}."
