"""The newsroom's database as a resource: any PostgreSQL by address, or the embedded one."""

from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store


class Database(dg.ConfigurableResource):
    """Access to the newsroom's tables. A run holds the lock of its id for as long as it lives."""

    pool_size: int = 20
    migrates_itself: bool = False
    _store: "Store | None" = PrivateAttr(default=None)

    @abstractmethod
    def address(self) -> str:
        """SQLAlchemy address of the database."""

    @property
    def unchecked_store(self) -> "Store":
        """The store of a database whose tables may not be there yet; only migrating uses this."""
        from threadjuice_dagster.database.store import open_store

        return open_store(self.address(), self.pool_size)

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

        with self.store.locks.held(run_lock(context.run_id)):
            yield self


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
