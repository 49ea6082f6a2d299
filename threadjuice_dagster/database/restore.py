"""Restores: into a scratch database to prove a backup, or beside the live database and then in its place.

Whatever is interrupted leaves the live database as it was; scratch databases of killed processes go with the next
restore. Taking backups belongs in ``database/backup.py``.
"""

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from threadjuice_dagster.database.backup import History, Vault, read_contents, server_version
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.locks import Locks, is_held
from threadjuice_dagster.database.schema import head_revision, migrate
from threadjuice_dagster.database.sealing import BLOCK, Hashing
from threadjuice_dagster.database.server import app_url, unreachable
from threadjuice_dagster.database.tools import find_tool
from threadjuice_dagster.domain import backups as rules
from threadjuice_dagster.domain.backups import Manifest, Proof, Restored, RestorePlan
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure, UsageError

Tell = Callable[[str], None]
ANOTHER = "Choose another backup: threadjuice database backups"

_MAINTENANCE = "postgres"
"""The database every server has; databases are created and renamed from there."""

_IN_USE = "55006"
_UNHURRIED = {"options": "-c synchronous_commit=off"}
"""The swap's own commit makes durable all that was written before it."""


def prove(vault: Vault, address: str, identity: str, moment: datetime) -> Proof:
    """Restore a backup into a scratch database beside ``address``, and compare it with its manifest.

    Raises ``TransientFailure`` if storage or server failed, which says nothing of the backup.
    """
    began = time.monotonic()
    problem = ""
    found: tuple[str, ...] = ()
    try:
        manifest = vault.manifest(identity)
        with Server(address) as server, server.scratch() as url:
            found = _load(vault, manifest, url)
        problem = _told(found)
    except PermanentFailure as failure:
        problem = str(failure)
    return Proof(at=moment, problem=problem, differences=found, seconds=round(time.monotonic() - began, 3))


def plan_restore(vault: Vault, address: str, identity: str, moment: datetime) -> RestorePlan:
    """What ``restore_backup`` would do now."""
    manifest = vault.manifest(identity)
    with Server(address) as server:
        return _plan(server, manifest, moment)


def restore_backup(
    vault: Vault,
    address: str,
    identity: str,
    confirm: str,
    moment: datetime,
    prepare: Callable[[str], None] = lambda _: None,
    tell: Tell = lambda _: None,
) -> Restored:
    """Put a backup in place of the live database, which is renamed and kept.

    ``confirm`` is the token of this restore's plan. ``prepare`` is called with the address of the restored and
    migrated database before it goes live. Raises ``UsageError`` for another token.
    """
    began, manifest = time.monotonic(), vault.manifest(identity)
    with Server(address) as server:
        plan = _plan(server, manifest, moment)
        _refuse_unconfirmed(plan, confirm)
        _refuse_newer(manifest)
        with server.restoring(), server.scratch() as url:
            tell(f"Restoring {manifest.id} beside {server.live}")
            found = _load(vault, manifest, url)
            if found:
                raise PermanentFailure(_told(found), ANOTHER)
            before, after = _bring_up_to_date(url, manifest, moment)
            prepare(url.render_as_string(hide_password=False))
            tell(f"Putting it in place of {server.live}")
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


class Server(AbstractContextManager["Server"]):
    """The server of a database, seen from outside of it: the database need not exist."""

    def __init__(self, address: str) -> None:
        self._url = sa.make_url(app_url(address))
        self.live = str(self._url.database)
        outside = self._url.set(database=_MAINTENANCE)
        self._engine = lone_engine(outside)
        self._locks = Locks(outside)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Release all locks; a server that cannot be reached is told of in the usual words."""
        self._locks.close()
        if isinstance(error, sa.exc.OperationalError):
            raise unreachable(error) from error
        if isinstance(error, sa.exc.ProgrammingError):
            message = f"The database user may not do this: {str(error.orig).splitlines()[0][:200]}"
            raise ConfigurationError(message, "Give it CREATEDB and the ownership of its database.") from error

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Hold the right to replace the live database. Raises ``TransientFailure`` if another process has it."""
        with self._locks.held(f"restore {self.live}") as got:
            if not got:
                raise TransientFailure(
                    f"Another restore of {self.live} is going on.", "Wait for it to end.", exhausted=True
                )
            yield

    @contextmanager
    def scratch(self) -> Iterator[sa.URL]:
        """An empty database of its own for the block; those that killed processes left are dropped."""
        self._drop_leftovers()
        name = f"{self.live[:40]}_restore_{uuid.uuid4().hex[:8]}"
        with self._locks.held(name):
            try:
                self._alone(f"CREATE DATABASE {self._quoted(name)} TEMPLATE template0 {self._locale()}")
                yield self._url.set(database=name)
            finally:
                self._drop(name)

    def identity(self) -> str:
        """Which database is live now, for as long as no other takes its place; empty for none."""
        found = self._ask("SELECT oid FROM pg_database WHERE datname = :name", name=self.live)
        return f"{self._url.host}:{self._url.port}:{found[0][0]}" if found else ""

    def connections(self) -> int:
        """How many clients the live database has."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND backend_type = 'client backend'"
        return int(self._ask(query, name=self.live)[0][0])

    def swap(self, name: str, kept: str) -> str:
        """Put a database in the live one's place, in one transaction; returns what the live one is called now.

        A rename lets no new clients in and waits 5 seconds for the others to be gone: they are sent away meanwhile.
        """
        live, there = self._quoted(self.live), bool(self.identity())
        try:
            with self._engine.begin() as connection, self._sending_away(self.live, name):
                if there:
                    connection.exec_driver_sql(f"ALTER DATABASE {live} RENAME TO {self._quoted(kept)}")
                connection.exec_driver_sql(f"ALTER DATABASE {self._quoted(name)} RENAME TO {live}")
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", "") != _IN_USE:
                raise
            message = f"{self.live} could not be put aside: a client does not leave it."
            raise TransientFailure(message, "Stop what uses the database, then restore again.") from error
        return "" if self._dropped_if_empty(kept) else kept

    @contextmanager
    def _sending_away(self, *names: str) -> Iterator[None]:
        """End the sessions of databases, again and again for as long as the block runs."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(:names)"
        ended = threading.Event()

        def end_sessions() -> None:
            with self._engine.connect() as connection:
                while not ended.wait(0.05):
                    connection.execute(sa.text(query), {"names": list(names)})
                    connection.rollback()  # the list of sessions is that of the transaction's first look

        thread = threading.Thread(target=end_sessions, name="restore")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _dropped_if_empty(self, name: str) -> bool:
        """Drop a database that has no tables, such as the one a first start creates; True if it is not there."""
        if not self._ask("SELECT FROM pg_database WHERE datname = :name", name=name):
            return True
        engine = lone_engine(self._url.set(database=name))
        query = "SELECT count(*) FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
        with engine.connect() as connection:
            empty = not connection.exec_driver_sql(query).scalar()
        if empty:
            self._drop(name)
        return empty

    def _drop_leftovers(self) -> None:
        ours = re.compile(re.escape(self.live[:40]) + r"_restore_[0-9a-f]{8}")
        names = [name for (name,) in self._ask("SELECT datname FROM pg_database") if ours.fullmatch(name)]
        with self._engine.connect() as connection:
            abandoned = [name for name in names if not is_held(connection, name)]
        for name in abandoned:
            self._drop(name)

    def _drop(self, name: str) -> None:
        with suppress(sa.exc.OperationalError):  # the server is gone: the next restore drops it
            self._alone(f"DROP DATABASE IF EXISTS {self._quoted(name)} WITH (FORCE)")

    def _locale(self) -> str:
        """The live database's encoding and order of text, where there is one."""
        query = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = :name"
        found = self._ask(query, name=self.live)
        clauses = ("ENCODING", "LC_COLLATE", "LC_CTYPE")
        return " ".join(f"{clause} '{value}'" for clause, value in zip(clauses, found[0], strict=True)) if found else ""

    def _ask(self, query: str, **values: str) -> list[sa.Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(query), values).all())

    def _alone(self, statement: str) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(statement.replace("%", "%%"))

    def _quoted(self, name: str) -> str:
        return self._engine.dialect.identifier_preparer.quote_identifier(name)


def _plan(server: Server, manifest: Manifest, moment: datetime) -> RestorePlan:
    return RestorePlan(
        backup=manifest.id,
        taken_at=manifest.taken_at,
        database=server.live,
        tables=len(manifest.contents.tables),
        rows=manifest.contents.rows,
        connections=server.connections(),
        keeps=f"{server.live[:38]}_before_{moment:%Y%m%dT%H%M%SZ}",
        token=rules.confirmation(manifest, server.live, server.identity()),
    )


def _load(vault: Vault, manifest: Manifest, url: sa.URL) -> tuple[str, ...]:
    """Restore a dump into an empty database; returns how it differs from the manifest.

    Raises ``PermanentFailure`` for a dump that is not the manifest's, or cannot be opened or restored.
    """
    _check_key(vault, manifest)
    engine = lone_engine(url)
    with engine.connect() as connection:
        tool = find_tool("pg_restore", max(server_version(connection), manifest.tools["pg_dump"], key=_number))
    failure: PermanentFailure | None = None
    with vault.storage.get_stream(manifest.key) as stored:
        source = Hashing(stored)
        try:
            options = ("--format=custom", "--exit-on-error", "--no-owner", "--no-privileges")
            with tool.running(url.update_query_dict(_UNHURRIED), *options) as process:
                vault.seal.unseal(source, process.stdin, encrypted=bool(manifest.recipient))  # type: ignore[arg-type]
        except PermanentFailure as error:
            failure = error
        while source.read(BLOCK):
            pass
    others = [] if source.sha256 == manifest.sha256 else vault.manifests()
    otherwise = rules.stored_otherwise(manifest, source.sha256, source.bytes, others)
    if otherwise or failure:
        raise PermanentFailure(otherwise, ANOTHER) if otherwise else failure or PermanentFailure("", "")
    with engine.connect() as connection:
        return rules.differences(manifest.contents, read_contents(connection))


def _check_key(vault: Vault, manifest: Manifest) -> None:
    """Raises ``PermanentFailure`` or ``ConfigurationError`` if the dump is not there or not for this key."""
    if not vault.storage.exists(manifest.key):
        raise PermanentFailure(f"Of backup {manifest.id} only the manifest is in storage, not the dump.", ANOTHER)
    if manifest.recipient and not vault.seal.recipient:
        message = f"Backup {manifest.id} is encrypted, and BACKUP_ENCRYPTION_KEY is not set."
        raise ConfigurationError(message, "Set it to the key the backup was taken with.")
    if manifest.recipient and manifest.recipient != vault.seal.recipient:
        message = f"Backup {manifest.id} is encrypted with another key than the one in BACKUP_ENCRYPTION_KEY."
        raise ConfigurationError(message, f"Set it to the key of {manifest.recipient}.")


def _refuse_unconfirmed(plan: RestorePlan, confirm: str) -> None:
    if confirm != plan.token:
        raise UsageError(
            f"This token does not confirm restoring {plan.backup} over {plan.database} as it is now.",
            "Run the command without a token to see what it would do, and the token.",
        )


def _refuse_newer(manifest: Manifest) -> None:
    revision = manifest.contents.revision
    if revision and revision > head_revision():
        message = f"The backup is of migration {revision}; this version knows {head_revision()} at most."
        raise ConfigurationError(message, "Install the ThreadJuice version that took it.")


def _bring_up_to_date(url: sa.URL, manifest: Manifest, moment: datetime) -> tuple[str | None, str]:
    """Migrate a restored database, and tell it of the backup it came from; the revision before and after."""
    engine = lone_engine(url)
    before, after = migrate(engine)
    history = History(engine)
    history.add(manifest)
    history.prove(manifest.id, Proof(at=moment))
    return before, after


def _told(differences: tuple[str, ...]) -> str:
    if not differences:
        return ""
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    return f"The restored database is not the one that was dumped: {'; '.join(differences[:3])}{more}."


def _number(version: str) -> int:
    return int(version.partition(".")[0])
