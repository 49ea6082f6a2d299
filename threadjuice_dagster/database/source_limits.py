"""What the sources of threads said of their limits: pauses, quotas, and how often each was asked today.

The rule that decides about a request is in ``operations/limits.py``.
"""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa


class SourceLimit(NamedTuple):
    """What is known of a service's limits today (UTC)."""

    service: str
    requests: int
    quota_left: int | None
    quota_most: int | None
    paused_until: datetime | None


class SourceLimits:
    """The limits of services, by the database's clock."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def today(self) -> list[SourceLimit]:
        """Return what is known of the limits of every service that was asked today."""
        with self._engine.connect() as connection:
            return [SourceLimit(*row) for row in connection.execute(sa.text(_TODAY))]

    def record(self, service: str, pause: float, left: int | None, most: int | None) -> None:
        """Record a pause that a service asked for, and what is left of its quota."""
        values = {"service": service, "pause": pause, "left": left, "most": most}
        with self._engine.begin() as connection:
            connection.execute(sa.text(_RECORD), values)

    @staticmethod
    def wait(connection: sa.Connection, service: str, per_day: int | None) -> float:
        """Return the seconds until a service may be asked: its pause is over, or the next day begins."""
        values = {"service": service, "per_day": per_day}
        return max(float(connection.scalar(sa.text(_WAIT), values) or 0.0), 0.0)

    @staticmethod
    def count(connection: sa.Connection, service: str) -> None:
        """Count a request of today."""
        connection.execute(sa.text(_COUNT), {"service": service})


_TODAY = """SELECT service, requests, quota_left, quota_most,
    CASE WHEN paused_until > clock_timestamp() THEN paused_until END
FROM source_limits WHERE day = (clock_timestamp() AT TIME ZONE 'UTC')::date ORDER BY service"""
_WAIT = """SELECT greatest(extract(epoch FROM paused_until - clock_timestamp()),
    CASE WHEN day = today AND (quota_left = 0 OR requests >= CAST(:per_day AS int))
    THEN extract(epoch FROM ((today + 1)::timestamp AT TIME ZONE 'UTC') - clock_timestamp()) END)
FROM source_limits, (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) AS now WHERE service = :service"""
_RECORD = """INSERT INTO source_limits AS s (service, day, paused_until, quota_left, quota_most)
VALUES (:service, (clock_timestamp() AT TIME ZONE 'UTC')::date, clock_timestamp() + make_interval(secs => :pause),
    CAST(:left AS int), CAST(:most AS int))
ON CONFLICT (service) DO UPDATE SET day = excluded.day,
    requests = CASE WHEN s.day = excluded.day THEN s.requests ELSE 0 END,
    paused_until = greatest(s.paused_until, excluded.paused_until),
    quota_left = coalesce(excluded.quota_left, CASE WHEN s.day = excluded.day THEN s.quota_left END),
    quota_most = coalesce(excluded.quota_most, s.quota_most)"""
_COUNT = """INSERT INTO source_limits AS s (service, day, requests)
VALUES (:service, (clock_timestamp() AT TIME ZONE 'UTC')::date, 1)
ON CONFLICT (service) DO UPDATE SET day = excluded.day,
    requests = CASE WHEN s.day = excluded.day THEN s.requests + 1 ELSE 1 END,
    quota_left = CASE WHEN s.day = excluded.day THEN s.quota_left END"""
