"""The newsroom's database as a resource: any PostgreSQL by address, or the embedded one; and a replica to read from."""

import logging
import random
import time
from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg
from pydantic import PrivateAttr

from threadjuice_dagster.failures import TransientFailure

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 12
"""Processes that should find room at once; each one's share of the connections is cut for that."""

LEAST = 2
"""Connections of a pool that are enough for any process: one transaction may look something up in another."""

SEAT_SECONDS = 300.0
"""How long a process waits for others to leave the database."""


class Database(dg.ConfigurableResource):
    """Access to the newsroom's tables. A run holds the lock of its id for as long as it lives.

    ``max_connections`` bounds the connections of all processes together. A process that comes takes a seat, the lock
    of a number, and with it a fixed share: its pool and the connection of its locks. Where no seat is free it waits
    and holds nothing, so that processes never wait for one another in a circle.
    """

    pool_size: int = 20
    max_connections: int = 60
    statement_seconds: float = 60.0
    migrates_itself: bool = False
    _store: "Store | None" = PrivateAttr(default=None)

    @abstractmethod
    def address(self) -> str:
        """SQLAlchemy address of the database."""

    @property
    def share(self) -> int:
        """Connections the pool of one process may open."""
        return max(LEAST, min(self.pool_size, self.max_connections // AT_ONCE - 1))

    @property
    def unchecked_store(self) -> "Store":
        """The store of a database whose tables may not be there yet; only migrating uses this.

        Raises ``TransientFailure`` if the database cannot be reached or has no room for another process.
        """
        import sqlalchemy as sa

        from threadjuice_dagster.database.server import unreachable
        from threadjuice_dagster.database.store import open_store
        from threadjuice_dagster.database.suitability import require_usable

        store = open_store(self.address(), self.share, self.statement_seconds)
        try:
            self._sit_down(store)
            with store.engine.connect() as connection:
                require_usable(connection)
        except sa.exc.DBAPIError as error:
            raise unreachable(error) from error
        return store

    @property
    def store(self) -> "Store":
        """The process's store for this database. Raises ``TransientFailure`` if it cannot be reached."""
        if self._store is None:
            from threadjuice_dagster.database.schema import require_schema

            store = self.unchecked_store
            require_schema(store, migrate_if_missing=self.migrates_itself)
            self._store = store
        return self._store

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator["Database", None, None]:
        """Hold the run's lock while the run executes; without a run there is nothing to hold."""
        if context.run_id is None:
            yield self
            return
        from threadjuice_dagster.database.assignments import run_lock

        with self.unchecked_store.locks.held(run_lock(context.run_id)):
            yield self

    def _sit_down(self, store: "Store") -> None:
        room = (self.max_connections - 1) // (self.share + 1)  # one is for those who ask
        seats = [f"seat {number}" for number in range(max(1, room))]
        began, told = time.monotonic(), False
        while not store.locks.kept(seats):
            if time.monotonic() - began > SEAT_SECONDS:
                raise TransientFailure(
                    f"{len(seats)} processes use the database already, and none has ended in {SEAT_SECONDS:.0f} s.",
                    f"Stop some, or raise DATABASE_MAX_CONNECTIONS (it is {self.max_connections}) as far as the"
                    " server's max_connections allows.",
                    exhausted=True,
                )
            if not told:
                log.warning("Waiting for one of %d other processes to leave the database.", len(seats))
                told = True
            time.sleep(random.uniform(0.5, 1.0))  # noqa: S311 -- keeps processes apart, hides nothing


class Postgres(Database):
    """A PostgreSQL server named by its address."""

    url: str

    def address(self) -> str:
        """The configured address, through psycopg 3."""
        from threadjuice_dagster.database.server import app_url

        return app_url(self.url)


class EmbeddedPostgres(Database):
    """The PostgreSQL that comes with the package, kept in ``home``."""

    home: str
    migrates_itself: bool = True

    def address(self) -> str:
        """The embedded server's address, started if it is not running."""
        from threadjuice_dagster.database.server import embedded_url

        return embedded_url(Path(self.home))


class Reads(NamedTuple):
    """A store in which every write is refused, and where it reads: ``replica``, or ``primary`` and why."""

    store: "Store"
    source: str


class Replica(dg.ConfigurableResource):
    """Reads that may be a little old: for reports and figures, never for a decision.

    They come from a replica where there is one that answers and follows, else from the primary. Locks are not
    replicated: whether a run lives can only be asked of the primary.
    """

    database: dg.ResourceDependency[Database]
    url: str = ""
    max_lag_seconds: float = 60.0

    def reads(self) -> Reads:
        """Where to read now. Raises ``TransientFailure`` if neither replica nor primary can be reached."""
        from threadjuice_dagster.database.engine import read_only
        from threadjuice_dagster.database.replica import open_replica, problem
        from threadjuice_dagster.database.store import Store

        why = "DATABASE_REPLICA_URL is not set"
        if self.url:
            replica = open_replica(self.url, LEAST, self.database.statement_seconds)
            why = problem(replica, lambda: self.database.store, self.max_lag_seconds)
            if not why:
                return Reads(replica, "replica")
            log.warning("Reading from the primary: %s.", why)
        return Reads(Store(read_only(self.database.store.engine)), f"primary: {why}")
