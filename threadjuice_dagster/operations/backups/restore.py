"""Restores: into a scratch database to prove a backup, or beside the live database and then in its place.

Whatever is interrupted leaves the live database as it was; scratch databases of killed processes go with the next
restore. Taking backups belongs in ``operations/backups/dump.py``, filling a database in
``operations/backups/loading.py``.
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
from threadjuice_dagster.operations.backups.dump import OUR_TABLES, BackupStorage, History, read_contents
from threadjuice_dagster.operations.backups.loading import ANOTHER, Bounded, load_rows
from threadjuice_dagster.operations.backups.restore_server import Server
from threadjuice_dagster.operations.backups.rules import Manifest, Proof, Restored, RestorePlan
from threadjuice_dagster.resources.encryption import BLOCK, Hashing, Readable

Tell = Callable[[str], None]


def prove(vault: BackupStorage, address: str, identity: str, moment: datetime) -> Proof:
    """Restore a backup into a scratch database beside ``address``, and compare it with its manifest.

    Raises ``TransientFailure`` if storage or server failed, which says nothing of the backup.
    """
    began = time.monotonic()
    problem = ""
    found: tuple[str, ...] = ()
    try:
        with Server(address) as server, server.reading(identity):
            manifest = vault.trusted(identity)
            _refuse_unreadable(vault, manifest)
            with server.scratch() as url:
                found = _load(vault, manifest, url)
        problem = _told(found)
    except PermanentFailure as failure:
        problem = str(failure)
    return Proof(at=moment, problem=problem, differences=found, seconds=round(time.monotonic() - began, 3))


def plan_restore(
    vault: BackupStorage, address: str, identity: str, moment: datetime, *, unvouched: bool = False
) -> RestorePlan:
    """What ``restore_backup`` would do now."""
    manifest = vault.trusted(identity, unvouched=unvouched)
    _refuse_unreadable(vault, manifest)
    with Server(address) as server:
        return _plan(vault, server, manifest, moment)


def restore_backup(
    vault: BackupStorage,
    address: str,
    identity: str,
    confirm: str,
    moment: datetime,
    prepare: Callable[[str], None] = lambda _: None,
    tell: Tell = lambda _: None,
    *,
    unvouched: bool = False,
) -> Restored:
    """Put a backup in place of the live database, which is renamed and kept.

    ``confirm`` is the token of this restore's plan. ``prepare`` is called with the address of the restored and
    migrated database before it goes live. ``unvouched`` lets a backup through that nobody vouches for. Raises
    ``UsageError`` for another token.
    """
    began = time.monotonic()
    with Server(address) as server, server.restoring(), server.reading(identity):
        manifest = vault.trusted(identity, unvouched=unvouched)
        _refuse_unreadable(vault, manifest)
        plan = _plan(vault, server, manifest, moment)
        _refuse_unconfirmed(plan, confirm)
        with server.scratch() as url:
            tell(f"Restoring {manifest.id} beside {server.live}")
            found = _load(vault, manifest, url)
            if found:
                raise PermanentFailure(_told(found), ANOTHER)
            before, after = _bring_up_to_date(url, address, manifest, moment)
            prepare(url.render_as_string(hide_password=False))
            tell(f"Putting it in place of {server.live}")
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


def _plan(vault: BackupStorage, server: Server, manifest: Manifest, moment: datetime) -> RestorePlan:
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
        warning=vault.doubt(manifest),
    )


def _load(vault: BackupStorage, manifest: Manifest, url: sa.URL) -> tuple[str, ...]:
    """Fill an empty database from a dump; returns how it differs from the manifest.

    Raises ``PermanentFailure`` for a dump that is not the manifest's, or cannot be opened or read.
    """
    engine = lone_engine(url)
    migrate_empty(engine, str(manifest.contents.revision))
    tool = find_tool("pg_restore", manifest.tools.get("pg_dump", "0"))
    with (
        vault.storage.get_stream(manifest.key) as stored,
        tool.running(None, "--format=custom", "--data-only", "--file=-") as process,
        ThreadPoolExecutor(1) as thread,
    ):
        feed = _Feed(vault, manifest, stored)
        fed = thread.submit(feed.into, process.stdin)  # type: ignore[arg-type]
        try:
            load_rows(engine, process.stdout, fed.result)  # type: ignore[arg-type]
        except BaseException as error:
            process.kill()
            feed.stopped = not isinstance(error, Exception)
            fed.result()  # what is wrong with the file says more than what it led to
            raise
    with engine.connect() as connection:
        found = read_contents(connection)
    expected = {name: figures for name, figures in manifest.contents.tables.items() if name in found.tables}
    return rules.differences(manifest.contents.model_copy(update={"tables": expected}), found)


class _Feed:
    """A stored dump on its way into ``pg_restore``, and whether it was the one its manifest was written for."""

    def __init__(self, vault: BackupStorage, manifest: Manifest, stored: Readable) -> None:
        self._vault, self._manifest, self._source = vault, manifest, Hashing(stored)
        self.stopped = False

    def into(self, target: IO[bytes]) -> None:
        """Unpack it. Raises ``PermanentFailure`` for another dump than the manifest's, or one that cannot be opened."""
        manifest, failure = self._manifest, None
        plain = Bounded(target, manifest.dump_bytes)
        try:
            self._vault.seal.unseal(self, plain, encrypted=bool(manifest.recipient))
        except PermanentFailure as error:
            failure = error
        finally:
            plain.close()
        while self._source.bytes <= manifest.bytes and self.read(BLOCK):
            pass
        source = self._source
        others = [] if source.sha256 == manifest.sha256 else self._vault.manifests()
        if otherwise := rules.stored_otherwise(manifest, source.sha256, source.bytes, others):
            raise PermanentFailure(otherwise, ANOTHER)
        if failure:
            raise failure

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes of what is stored. Raises ``KeyboardInterrupt`` once it was stopped."""
        if self.stopped:
            raise KeyboardInterrupt
        return self._source.read(size)


def _refuse_unconfirmed(plan: RestorePlan, confirm: str) -> None:
    if confirm != plan.token:
        raise UsageError(
            f"This token does not confirm restoring {plan.backup} over {plan.database} as it is now.",
            "Run the command without a token to see what it would do, and the token.",
        )


def _refuse_unreadable(vault: BackupStorage, manifest: Manifest) -> None:
    """Raises ``PermanentFailure`` if the dump is gone, or ``ConfigurationError`` if this version cannot read it."""
    if not vault.storage.exists(manifest.key):
        raise PermanentFailure(f"Of backup {manifest.id} only the manifest is in storage, not the dump.", ANOTHER)
    revision = manifest.contents.revision
    if revision is None:
        raise PermanentFailure(f"Backup {manifest.id} was taken of a database without the newsroom's tables.", ANOTHER)
    if not knows(revision):
        message = f"The backup is of migration {revision[:20]}, and this version knows {head_revision()} at most."
        raise ConfigurationError(message, "Install the ThreadJuice version that took it.")


def _bring_up_to_date(url: sa.URL, address: str, manifest: Manifest, moment: datetime) -> tuple[str | None, str]:
    """Migrate a restored database, and tell it of all backups there are; the revision before and after."""
    engine = lone_engine(url)
    before, after = migrate(engine)
    history = History(engine)
    history.add(manifest)
    with suppress(sa.exc.DBAPIError):  # there is no live database yet, or it is what has to be replaced
        history.carry_over(lone_engine(app_url(address)))
    history.prove(manifest.id, Proof(at=moment))
    return before, after


def _told(differences: tuple[str, ...]) -> str:
    if not differences:
        return ""
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    return f"The restored database is not the one that was dumped: {'; '.join(differences[:3])}{more}."
