"""Outside services that are down: one process now and then tries them, and the others wait."""

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

FIRST, MOST = 30.0, 300.0
"""Seconds until a service that failed is asked again: doubled with each failure, up to the second."""


@dataclass(frozen=True)
class Outage:
    """A service that failed, since when, how often, and when it may be asked again."""

    service: str
    failures: int
    message: str
    since: datetime
    next_at: datetime
    waits: float
    """Seconds from now until it may be asked again; 0 or less where it may."""

    def __str__(self) -> str:
        return f"{self.service} is down since {self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {self.message}"


class Outages:
    """The services that are down, by the database's clock."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def ongoing(self, service: str | None = None) -> list[Outage]:
        """Return the outages that go on, of one service or of all."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.text(_KNOWN), {"service": service, "most": MOST}).all()
        return [Outage(**row._mapping) for row in rows]

    def may_try(self, service: str) -> bool:
        """Return whether this process may try a service that is down; the other processes go on waiting."""
        values = {"service": service, "first": FIRST, "most": MOST}
        with self._engine.begin() as connection:
            return connection.execute(sa.text(_TRY), values).one_or_none() is not None

    def try_now(self) -> None:
        """Let every service that is down be tried at once, because an operator asks for something."""
        with self._engine.begin() as connection:
            connection.execute(sa.text("UPDATE outages SET next_at = clock_timestamp()"))

    def failed(self, service: str, message: str, *, on_trial: bool) -> None:
        """Record that every try of a request failed. ``on_trial``: it failed again, so the next trial is later."""
        values = {"service": service, "message": message, "first": FIRST, "most": MOST}
        with self._engine.begin() as connection:
            connection.execute(sa.text(_FAILED_AGAIN if on_trial else _FAILED), values)

    def over(self, service: str) -> None:
        """Record that the service answers again."""
        with self._engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM outages WHERE service = :service"), {"service": service})


_KNOWN = """SELECT service, failures, message, since, next_at,
    least(extract(epoch FROM next_at - clock_timestamp())::float, :most) AS waits
FROM outages WHERE CAST(:service AS text) IS NULL OR service = :service ORDER BY since"""
_TRY = """UPDATE outages SET next_at = clock_timestamp() + make_interval(secs => :first)
WHERE service = :service AND (next_at <= clock_timestamp()
    OR next_at > clock_timestamp() + make_interval(secs => 2 * :most)) RETURNING service"""  # a clock was set back
_FAILED = """INSERT INTO outages (service, failures, message, next_at)
VALUES (:service, 1, :message, clock_timestamp() + make_interval(secs => :first))
ON CONFLICT (service) DO NOTHING"""
_FAILED_AGAIN = """UPDATE outages SET failures = failures + 1, message = :message,
    next_at = clock_timestamp() + make_interval(secs => least(:first * 2.0 ^ least(failures, 20), :most))
WHERE service = :service"""
