"""The newsroom's database as a resource: any PostgreSQL by address, or the embedded one; and a replica to read from."""

import logging
import math
import random
import threading
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
    from threadjuice_dagster.database.locks import Locks
    from threadjuice_dagster.database.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 12
"""Processes that should find room at once; each one's share of the connections is cut for that."""

DEFAULT_SHARE = 4
"""Connections of a process's pool where DATABASE_POOL_SIZE does not ask for others."""

LEAST = 2
"""Connections of a pool that are enough for any process: one transaction may look something up in another."""

SEAT_SECONDS = 300.0
"""How long a process waits for others to leave the database."""


_opening = threading.Lock()
_stores: "dict[tuple[str, int | None, int, float], Store]" = {}


class Database(dg.ConfigurableResource):
    """Access to the newsroom's tables. A run holds the lock of its id for as long as it lives.

    ``max_connections`` bounds the connections of all processes together. A process that comes takes a seat, the lock
    of a number, and with it a fixed share: its pool and the connection of its locks. Where no seat is free it waits
    and holds nothing, so that processes never wait for one another in a circle. One that asks for a larger pool takes
    further seats, if free, of the upper half; the lower half stays for others.
    """

    pool_size: int | None = None
    max_connections: int = 60
    statement_seconds: float = 60.0
    migrates_itself: bool = False
    _store: "Store | None" = PrivateAttr(default=None)

    @abstractmethod
    def address(self) -> str:
        """SQLAlchemy address of the database."""

    @property
    def share(self) -> int:
        """Connections the pool of every process may open."""
        return max(LEAST, min(self.pool_size or DEFAULT_SHARE, self.max_connections // AT_ONCE - 1))

    @property
    def largest_pool(self) -> int:
        """Connections the pool of one process may open while few others are there."""
        return self._pool(len(self._further_seats))

    @property
    def unchecked_store(self) -> "Store":
        """The store of a database whose tables may not be there yet; only migrating uses this.

        Raises ``TransientFailure`` if the database cannot be reached or has no room for another process.
        """
        import sqlalchemy as sa

        from threadjuice_dagster.database.server import unreachable
        from threadjuice_dagster.database.suitability import require_usable

        try:
            store = self._opened(self.address())
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

    def _opened(self, address: str) -> "Store":
        """The process's store, with a seat taken. Threads open it one after the other."""
        from threadjuice_dagster.database.locks import Locks
        from threadjuice_dagster.database.store import open_store

        key = (address, self.pool_size, self.max_connections, self.statement_seconds)
        with _opening:
            if key in _stores:
                self._sit_down(_stores[key].locks)
                return _stores[key]
            locks = Locks(address)
            self._sit_down(locks)
            size = self._pool(locks.kept_of(self._further_seats))
            if size < (self.pool_size or 0):
                log.info("This process may open %d connections, not DATABASE_POOL_SIZE=%d.", size, self.pool_size)
            _stores[key] = open_store(address, size, self.statement_seconds, locks)
            return _stores[key]

    def _pool(self, further_seats: int) -> int:
        most = self.share + further_seats * (self.share + 1)
        return max(self.share, min(self.pool_size or 0, most))

    @property
    def _seats(self) -> list[str]:
        room = (self.max_connections - 1) // (self.share + 1)  # one is for those who ask
        return [f"seat {number}" for number in range(max(1, room))]

    @property
    def _further_seats(self) -> list[str]:
        """Seats that a process may take for the larger pool it asks for."""
        wanted = math.ceil(((self.pool_size or 0) - self.share) / (self.share + 1))
        upper = self._seats[math.ceil(len(self._seats) / 2) :]
        return upper[: max(0, wanted)]

    def _sit_down(self, locks: "Locks") -> None:
        seats = self._seats
        began, told = time.monotonic(), False
        while not locks.kept(seats):
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
