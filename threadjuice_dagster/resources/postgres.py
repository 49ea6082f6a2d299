"""The newsroom's database as a resource: any PostgreSQL by address, or the embedded one, and a replica for reads."""

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
"""Processes that should be able to run at once. Each one's share of the connections is sized for that."""

DEFAULT_SHARE = 4
"""Connections of a process's pool without DATABASE_POOL_SIZE."""

LEAST = 2
"""Fewest connections of a pool: a transaction may open a second one."""

SLOT_SECONDS = 300.0
"""Seconds that a process waits for a free slot."""


_opening = threading.Lock()
_stores: "dict[tuple[str, int | None, int, float], Store]" = {}


class Database(dg.ConfigurableResource):
    """Access to the newsroom's tables. A run holds the lock of its id for as long as it lives.

    ``max_connections`` bounds the connections of all processes together. Each process takes a slot, which is a numbered
    lock, and with it a fixed share: its pool, and the connection of its locks. A process without a slot waits and holds
    nothing, so that processes never wait for each other in a circle. A process with a larger DATABASE_POOL_SIZE takes
    further free slots of the upper half; the lower half stays for others.
    """

    pool_size: int | None = None
    max_connections: int = 60
    statement_seconds: float = 60.0
    migrates_itself: bool = False
    _store: "Store | None" = PrivateAttr(default=None)

    @abstractmethod
    def address(self) -> str:
        """Return the SQLAlchemy address of the database."""

    @property
    def share(self) -> int:
        """Connections that the pool of every process may open."""
        return max(LEAST, min(self.pool_size or DEFAULT_SHARE, self.max_connections // AT_ONCE - 1))

    @property
    def largest_pool(self) -> int:
        """Connections that the pool of a process may open while few others run."""
        return self._pool(len(self._further_slots))

    @property
    def unchecked_store(self) -> "Store":
        """The store of a database whose tables may be missing; only migrations use this.

        Raises ``TransientFailure`` if the database cannot be reached or no slot becomes free.
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
        """Hold the run's lock while the run executes, if there is a run."""
        if context.run_id is None:
            yield self
            return
        from threadjuice_dagster.database.assignments import run_lock

        with self.unchecked_store.locks.held(run_lock(context.run_id)):
            yield self

    def _opened(self, address: str) -> "Store":
        """Return the process's store, with a slot taken. Threads open it one after the other."""
        from threadjuice_dagster.database.locks import Locks
        from threadjuice_dagster.database.store import open_store

        key = (address, self.pool_size, self.max_connections, self.statement_seconds)
        with _opening:
            if key in _stores:
                self._take_slot(_stores[key].locks)
                return _stores[key]
            locks = Locks(address)
            self._take_slot(locks)
            size = self._pool(locks.kept_of(self._further_slots))
            if size < (self.pool_size or 0):
                log.info("This process may open %d connections, not DATABASE_POOL_SIZE=%d.", size, self.pool_size)
            _stores[key] = open_store(address, size, self.statement_seconds, locks)
            return _stores[key]

    def _pool(self, further_slots: int) -> int:
        most = self.share + further_slots * (self.share + 1)
        return max(self.share, min(self.pool_size or 0, most))

    @property
    def _slots(self) -> list[str]:
        room = (self.max_connections - 1) // (self.share + 1)  # one connection is left for waiting processes
        return [f"seat {number}" for number in range(max(1, room))]

    @property
    def _further_slots(self) -> list[str]:
        """Slots that a process may take in addition for a larger pool."""
        # A slot is worth a share of the pool and one connection for locks.
        wanted = math.ceil(((self.pool_size or 0) - self.share) / (self.share + 1))
        upper = self._slots[math.ceil(len(self._slots) / 2) :]
        return upper[: max(0, wanted)]

    def _take_slot(self, locks: "Locks") -> None:
        slots = self._slots
        began, is_logged = time.monotonic(), False
        while not locks.kept(slots):
            if time.monotonic() - began > SLOT_SECONDS:
                raise TransientFailure(
                    f"{len(slots)} processes use the database already, and none has ended in {SLOT_SECONDS:.0f} s.",
                    f"Stop some, or raise DATABASE_MAX_CONNECTIONS (it is {self.max_connections}) as far as the"
                    " server's max_connections allows.",
                    exhausted=True,
                )
            if not is_logged:
                log.warning("Waiting for one of %d other processes to leave the database.", len(slots))
                is_logged = True
            time.sleep(random.uniform(0.5, 1.0))  # noqa: S311 -- spreads processes, no secret


class Postgres(Database):
    """A PostgreSQL server named by its address."""

    url: str

    def address(self) -> str:
        """Return the configured address, for psycopg 3."""
        from threadjuice_dagster.database.server import app_url

        return app_url(self.url)


class EmbeddedPostgres(Database):
    """The PostgreSQL that comes with the package, kept in ``home``."""

    home: str
    migrates_itself: bool = True

    def address(self) -> str:
        """Return the embedded server's address. Start the server if it is not running."""
        from threadjuice_dagster.database.server import embedded_url

        return embedded_url(Path(self.home))


class Reads(NamedTuple):
    """A read-only store, and its source: ``replica``, or ``primary`` with the reason."""

    store: "Store"
    source: str


class Replica(dg.ConfigurableResource):
    """Reads that may be a little old, for reports and figures, never for a decision.

    They come from a replica that answers and keeps up, else from the primary. Locks are not replicated, so that only
    the primary knows whether a run is alive.
    """

    database: dg.ResourceDependency[Database]
    url: str = ""
    max_lag_seconds: float = 60.0

    def reads(self) -> Reads:
        """Return the store to read from. Raises ``TransientFailure`` if neither can be reached."""
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
