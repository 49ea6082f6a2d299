"""How often an outside service may be asked, over every process that shares the database."""

import logging
import time

import dagster as dg

from threadjuice_dagster.resources.postgres import Database

log = logging.getLogger(__name__)

WINDOW = 62.0
"""Seconds one request counts: a minute, and the time a granted request may take to arrive."""


class SharedRateLimit(dg.ConfigurableResource):
    """At most ``per_minute`` requests to a service in any 60 seconds, however many processes ask.

    A token bucket would let twice its rate through in a window that spans a refill; this counts the requests
    of the last window in PostgreSQL instead, one process at a time, by the server's clock.
    """

    database: dg.ResourceDependency[Database]
    per_minute: int = 10

    def acquire(self, service: str) -> None:
        """Block until a request to ``service`` is allowed."""
        told = False
        while (wait := self._try(service)) > 0:
            if not told and wait > 1:
                log.warning("%d requests a minute are used up: waiting about %.0f s.", self.per_minute, wait)
                told = True
            time.sleep(min(wait, 5.0))

    def _try(self, service: str) -> float:
        """Take a ticket and return 0, or return the seconds until one may be free."""
        import sqlalchemy as sa

        from threadjuice_dagster.database.locks import lock_key

        with self.database.store.engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key(f"limit:{service}"))))
            window = {"service": service, "window": WINDOW}
            connection.execute(sa.text(_EXPIRE), window)
            used, wait = connection.execute(sa.text(_COUNT), window | {"limit": self.per_minute}).one()
            if used < self.per_minute:
                connection.execute(sa.text(_TAKE), window)
                return 0.0
            return max(float(wait), 0.05)


_EXPIRE = """DELETE FROM rate_tickets WHERE service = :service
    AND at < clock_timestamp() - make_interval(secs => :window)"""
_COUNT = """SELECT (SELECT count(*) FROM rate_tickets WHERE service = :service),
    (SELECT extract(epoch FROM at - clock_timestamp()) + :window FROM rate_tickets
     WHERE service = :service ORDER BY at DESC OFFSET :limit - 1 LIMIT 1)"""
_TAKE = "INSERT INTO rate_tickets (service, at) VALUES (:service, clock_timestamp())"
