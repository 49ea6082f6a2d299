"""The server of a database, seen from outside of it: scratch databases, the swap, and what restores put aside.

What is loaded into a scratch database belongs in ``operations/backups/loading.py``, and why in
``operations/backups/restore.py``.
"""

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
"""The database every server has; databases are created and renamed from there."""

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

    def reading(self, identity: str) -> AbstractContextManager[None]:
        """Wait for a backup, and keep it from being deleted while it is read."""
        return self._locks.waited_for(_of(identity))

    def unread(self, identity: str) -> AbstractContextManager[bool]:
        """Whether nobody reads a backup now; while that is so nobody begins to."""
        return self._locks.held(_of(identity))

    @contextmanager
    def scratch(self) -> Iterator[sa.URL]:
        """An empty database of its own for the block, which a role that is no superuser owns and connects to.

        What killed processes left of theirs is dropped.
        """
        self._drop_leftovers()
        name = f"{self.live[:40]}_restore_{uuid.uuid4().hex[:8]}"
        with self._locks.held(name):
            try:
                url = self._login(name)
                owner = self._quoted(str(url.username)) if url.username != self._url.username else "DEFAULT"
                options = f"OWNER {owner} TEMPLATE template0 {self._locale()}"
                self._alone(f"CREATE DATABASE {self._quoted(name)} {options}")
                self._refuse_locked_out(url)
                yield url
            finally:
                self._drop(name)

    def hand_over(self, url: sa.URL) -> None:
        """Give a scratch database and all that is in it to the user of the live one."""
        if url.username != self._url.username:
            inside = lone_engine(self._url.set(database=url.database), isolation_level="AUTOCOMMIT")
            with inside.connect() as connection:
                role = self._quoted(str(url.username))
                connection.exec_driver_sql(f"REASSIGN OWNED BY {role} TO CURRENT_USER".replace("%", "%%"))

    def identity(self) -> str:
        """Which database is live now, for as long as no other takes its place; empty for none."""
        found = self._ask("SELECT oid FROM pg_database WHERE datname = :name", name=self.live)
        return f"{self._url.host}:{self._url.port}:{found[0][0]}" if found else ""

    def connections(self) -> int:
        """How many clients the live database has."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND backend_type = 'client backend'"
        return int(self._ask(query, name=self.live)[0][0])

    def not_ours(self, tables: Sequence[str]) -> tuple[str, ...]:
        """Tables and extensions in the live database that are not among these, the first of them."""
        if not self.identity():
            return ()
        with lone_engine(self._url).connect() as connection:
            return tuple(connection.execute(sa.text(_NOT_OURS), {"ours": list(tables)}).scalars())

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

    def kept(self) -> list[KeptDatabase]:
        """The databases that restores of the live one have put aside, oldest first."""
        return kept_databases(self._engine, self.live)

    def drop_kept(self, name: str) -> bool:
        """Drop a database that a restore has put aside; False if somebody is connected to it."""
        try:
            self._alone(f"DROP DATABASE IF EXISTS {self._quoted(name)}")
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", "") != _IN_USE:
                raise
            return False
        return True

    def _login(self, name: str) -> sa.URL:
        """The address of a database for whoever loads it: a superuser gets a role of that name that is none."""
        url = self._url.set(database=name)
        if not self._is_superuser():
            return url
        password = secrets.token_urlsafe(24)
        self._alone(f"CREATE ROLE {self._quoted(name)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}'")
        return url.difference_update_query(["user", "password"]).set(username=name, password=password)

    def _refuse_locked_out(self, url: sa.URL) -> None:
        """Raises ``ConfigurationError`` if the server does not let the role in that loads a scratch database."""
        try:
            with lone_engine(url).connect():
                return
        except sa.exc.OperationalError as error:
            if url.username == self._url.username:
                raise
            told = str(error.orig).strip().splitlines()[0].rpartition("FATAL: ")[2].strip()[:200]
            message = f"The server does not let a role in that was made for a restore: {told}."
            next_step = "Let DATABASE_URL name a user that is no superuser, or let all users log in (pg_hba.conf)."
            raise ConfigurationError(message, next_step) from error

    def _is_superuser(self) -> bool:
        return bool(self._ask("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")[0][0])

    def _drop_leftovers(self) -> None:
        ours = re.compile(re.escape(self.live[:40]) + r"_restore_[0-9a-f]{8}")
        there = self._ask("SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles")
        names = [name for (name,) in there if ours.fullmatch(name)]
        with self._engine.connect() as connection:
            abandoned = [name for name in names if not is_held(connection, name)]
        for name in abandoned:
            self._drop(name)

    def _drop(self, name: str) -> None:
        with suppress(sa.exc.OperationalError):  # the server is gone: the next restore drops it
            self._alone(f"DROP DATABASE IF EXISTS {self._quoted(name)} WITH (FORCE)")
            if self._is_superuser():
                self._alone(f"DROP ROLE IF EXISTS {self._quoted(name)}")

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


def kept_databases(engine: sa.Engine, live: str) -> list[KeptDatabase]:
    """The databases of a server that restores of the one called ``live`` have put aside, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(sa.text(_KEPT), {"start": kept_stem(live)}).all()
    found = [KeptDatabase.model_validate(row._mapping) for row in rows]
    return [one for one in found if kept_since(one.name, live)]


def _of(identity: str) -> str:
    return f"backup {identity}"
