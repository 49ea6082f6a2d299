"""A replica to read from: whether it answers, and whether it follows its primary. ``resources/postgres.py`` uses it."""

import functools
from collections.abc import Callable

import sqlalchemy as sa

from threadjuice_dagster.database.engine import pooled_engine, read_only
from threadjuice_dagster.database.schema import current_revision
from threadjuice_dagster.database.server import app_url, unreachable
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.database.suitability import require_session
from threadjuice_dagster.failures import ThreadJuiceError

_NEWEST = "SELECT coalesce(max(id), 0) FROM events WHERE at <= now() - make_interval(secs => :seconds)"


@functools.cache
def open_replica(url: str, pool_size: int, statement_seconds: float) -> Store:
    """Return the process's store for a replica. It refuses writes and does not wait for a server that is away."""
    return Store(read_only(pooled_engine(app_url(url), pool_size, statement_seconds, patience=0)))


def problem(replica: Store, primary: Callable[[], Store], seconds: float) -> str:
    """Return why not to read from a replica; empty if it has everything that the primary had so many seconds ago.

    Comparing rows works for any kind of replication, also for one that stopped silently. Where the primary is away,
    the replica is used as it is.
    """
    try:
        there, arrived = _position(replica, 0)
    except ThreadJuiceError as failure:
        return f"the replica does not answer ({failure.message})"
    try:
        wanted, written = _position(primary(), seconds)
    except ThreadJuiceError:
        return ""
    return f"the replica lags more than {seconds:.0f} s" if there != wanted or arrived < written else ""


def _position(store: Store, seconds: float) -> tuple[str | None, int]:
    """Return the migration and the id of the newest event that is at least so many seconds old."""
    try:
        with store.engine.connect() as connection:
            require_session(connection)
            revision = current_revision(connection)
            newest = connection.scalar(sa.text(_NEWEST), {"seconds": seconds}) if revision else 0
            return revision, int(newest or 0)
    except sa.exc.DBAPIError as error:
        raise unreachable(error) from error
