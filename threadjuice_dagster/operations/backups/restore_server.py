"""The PostgreSQL server that restores work on: scratch databases, the swap, and the databases that are put aside."""

import re
import secrets
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.locks import Locks, is_held
from threadjuice_dagster.database.server import app_url, unreachable
from threadjuice_dagster.failures import ConfigurationError, TransientFailure
from threadjuice_dagster.operations.backups.rules import KeptDatabase, kept_since, kept_stem

_MAINTENANCE = "postgres"
"""The database that every server has. Others are created and renamed on a connection to it."""

_IN_USE = "55006"
_KEPT = """
SELECT datname AS name, pg_database_size(oid) AS bytes FROM pg_database WHERE starts_with(datname, :start) ORDER BY 1
"""
_NOT_OURS = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT (n.nspname = current_schema() AND c.relname = ANY(:ours))
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
UNION ALL SELECT 'extension ' || extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1 LIMIT 20
"""


class RestoreServer(AbstractContextManager["RestoreServer"]):
    """The server of a database, which need not exist."""

    def __init__(self, address: str) -> None:
        self._url = sa.make_url(app_url(address))
        self.live = str(self._url.database)
        outside = self._url.set(database=_MAINTENANCE)
        self._engine = lone_engine(outside)
        self._locks = Locks(outside)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Release all locks, and turn errors of the server into failures with a next step."""
        self._locks.close()
        if isinstance(error, sa.exc.OperationalError):
            raise unreachable(error) from error
        if isinstance(error, sa.exc.ProgrammingError):
            message = f"The database user may not do this: {str(error.orig).splitlines()[0][:200]}"
            raise ConfigurationError(message, "Give it CREATEDB and the ownership of its database.") from error

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Hold the lock for replacing the live database. Raises ``TransientFailure`` if another process holds it."""
        with self._locks.held(f"restore {self.live}") as got:
            if not got:
                raise TransientFailure(
                    f"Another restore of {self.live} is going on.", "Wait for it to end.", exhausted=True
                )
            yield

    def reading(self, identity: str) -> AbstractContextManager[None]:
        """Hold a backup's lock, waiting for it: nobody deletes the backup while it is read."""
        return self._locks.waited_for(f"backup {identity}")

    def unread(self, identity: str) -> AbstractContextManager[bool]:
        """Hold a backup's lock to delete it; yields False if somebody reads it."""
        return self._locks.held(f"backup {identity}")

    @contextmanager
    def scratch(self) -> Iterator[sa.URL]:
        """Yield the address of a new empty database, whose owner is no superuser; it is dropped after the block.

        Scratch databases of killed processes are dropped first.
        """
        self._drop_leftovers()
        name = f"{self.live[:40]}_restore_{uuid.uuid4().hex[:8]}"
        with self._locks.held(name):
            try:
                url = self._login(name)
                owner = self._quoted(str(url.username)) if url.username != self._url.username else "DEFAULT"
                options = f"OWNER {owner} TEMPLATE template0 {self._locale()}"
                self._execute(f"CREATE DATABASE {self._quoted(name)} {options}")
                self._refuse_locked_out(url)
                yield url
            finally:
                self._drop(name)

    def hand_over(self, url: sa.URL) -> None:
        """Make the user of the live database the owner of all objects in a scratch database."""
        if url.username != self._url.username:
            inside = lone_engine(self._url.set(database=url.database), isolation_level="AUTOCOMMIT")
            with inside.connect() as connection:
                role = self._quoted(str(url.username))
                connection.exec_driver_sql(f"REASSIGN OWNED BY {role} TO CURRENT_USER".replace("%", "%%"))

    def identity(self) -> str:
        """Return what tells the live database from one that takes its place; empty if there is none."""
        rows = self._query("SELECT oid FROM pg_database WHERE datname = :name", name=self.live)
        return f"{self._url.host}:{self._url.port}:{rows[0][0]}" if rows else ""

    def connections(self) -> int:
        """Return how many clients the live database has."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND backend_type = 'client backend'"
        return int(self._query(query, name=self.live)[0][0])

    def not_ours(self, tables: Sequence[str]) -> tuple[str, ...]:
        """Return tables (other than these) and extensions in the live database, at most 20."""
        if not self.identity():
            return ()
        with lone_engine(self._url).connect() as connection:
            return tuple(connection.execute(sa.text(_NOT_OURS), {"ours": list(tables)}).scalars())

    def swap(self, name: str, kept: str) -> str:
        """Rename a database to the live one's name in one transaction; return the new name of the live one.

        A rename lets no new client in and waits 5 seconds for the others to leave, so their sessions are ended.
        """
        live, exists = self._quoted(self.live), bool(self.identity())
        try:
            with self._engine.begin() as connection, self._ending_sessions(self.live, name):
                if exists:
                    connection.exec_driver_sql(f"ALTER DATABASE {live} RENAME TO {self._quoted(kept)}")
                connection.exec_driver_sql(f"ALTER DATABASE {self._quoted(name)} RENAME TO {live}")
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", "") != _IN_USE:
                raise
            message = f"{self.live} could not be put aside: a client does not leave it."
            raise TransientFailure(message, "Stop what uses the database, then restore again.") from error
        return "" if self._dropped_if_empty(kept) else kept

    @contextmanager
    def _ending_sessions(self, *names: str) -> Iterator[None]:
        """End all sessions of these databases again and again while the block runs."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(:names)"
        ended = threading.Event()

        def end_sessions() -> None:
            with self._engine.connect() as connection:
                while not ended.wait(0.05):
                    connection.execute(sa.text(query), {"names": list(names)})
                    connection.rollback()  # within a transaction pg_stat_activity shows the same sessions again

        thread = threading.Thread(target=end_sessions, name="restore")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _dropped_if_empty(self, name: str) -> bool:
        """Drop a database without relations, as a first start creates it; return True if it is gone."""
        if not self._query("SELECT FROM pg_database WHERE datname = :name", name=name):
            return True
        engine = lone_engine(self._url.set(database=name))
        query = "SELECT count(*) FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
        with engine.connect() as connection:
            empty = not connection.exec_driver_sql(query).scalar()
        if empty:
            self._drop(name)
        return empty

    def kept(self) -> list[KeptDatabase]:
        """Return the databases that restores of the live one put aside, oldest first."""
        return kept_databases(self._engine, self.live)

    def drop_kept(self, name: str) -> bool:
        """Drop a database that a restore put aside; return False if somebody is connected to it."""
        try:
            self._execute(f"DROP DATABASE IF EXISTS {self._quoted(name)}")
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", "") != _IN_USE:
                raise
            return False
        return True

    def _login(self, name: str) -> sa.URL:
        """Return the address for loading a database. For a superuser, an ordinary role of that name is made."""
        url = self._url.set(database=name)
        if not self._is_superuser():
            return url
        password = secrets.token_urlsafe(24)
        self._execute(
            f"CREATE ROLE {self._quoted(name)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}'"
        )
        return url.difference_update_query(["user", "password"]).set(username=name, password=password)

    def _refuse_locked_out(self, url: sa.URL) -> None:
        """Raise ``ConfigurationError`` if the role that loads a scratch database cannot log in."""
        try:
            with lone_engine(url).connect():
                return
        except sa.exc.OperationalError as error:
            if url.username == self._url.username:
                raise
            reason = str(error.orig).strip().splitlines()[0].rpartition("FATAL: ")[2].strip()[:200]
            message = f"The role that was made for this restore cannot log in to the server: {reason}."
            next_step = "Let DATABASE_URL name a user that is no superuser, or let all users log in (pg_hba.conf)."
            raise ConfigurationError(message, next_step) from error

    def _is_superuser(self) -> bool:
        return bool(self._query("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")[0][0])

    def _drop_leftovers(self) -> None:
        ours = re.compile(re.escape(self.live[:40]) + r"_restore_[0-9a-f]{8}")
        rows = self._query("SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles")
        names = [name for (name,) in rows if ours.fullmatch(name)]
        with self._engine.connect() as connection:
            abandoned = [name for name in names if not is_held(connection, name)]
        for name in abandoned:
            self._drop(name)

    def _drop(self, name: str) -> None:
        with suppress(sa.exc.OperationalError):  # the server is down, and the next restore drops it
            self._execute(f"DROP DATABASE IF EXISTS {self._quoted(name)} WITH (FORCE)")
            if self._is_superuser():
                self._execute(f"DROP ROLE IF EXISTS {self._quoted(name)}")

    def _locale(self) -> str:
        """Return the options that give a new database the live one's encoding and collation."""
        query = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = :name"
        clauses = ("ENCODING", "LC_COLLATE", "LC_CTYPE")
        rows = self._query(query, name=self.live)
        return " ".join(f"{clause} '{value}'" for row in rows for clause, value in zip(clauses, row, strict=True))

    def _query(self, query: str, **values: str) -> list[sa.Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(query), values).all())

    def _execute(self, statement: str) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(statement.replace("%", "%%"))

    def _quoted(self, name: str) -> str:
        return self._engine.dialect.identifier_preparer.quote_identifier(name)


def kept_databases(engine: sa.Engine, live: str) -> list[KeptDatabase]:
    """Return the databases of a server that restores of ``live`` put aside, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(sa.text(_KEPT), {"start": kept_stem(live)}).all()
    return [KeptDatabase.model_validate(row._mapping) for row in rows if kept_since(row.name, live)]
