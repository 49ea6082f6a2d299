"""Limits on requests to outside services, shared by all processes through the database: rate, budget, outages."""

import logging
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.domain.writing.budget import UNPRICED
from threadjuice_dagster.failures import BudgetSpent, ConfigurationError, TransientFailure
from threadjuice_dagster.operations.alerts.rules import Trouble
from threadjuice_dagster.resources.http import MAX_WAIT
from threadjuice_dagster.resources.openai_connection import RequestLimiter
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.sources.client import SourceLimiter, paused

if TYPE_CHECKING:
    import sqlalchemy as sa

    from threadjuice_dagster.database.outages import Outages
    from threadjuice_dagster.database.spending import Spending
    from threadjuice_dagster.operations.alerts.store import Incidents

log = logging.getLogger(__name__)

WINDOW = 62.0
"""Seconds for which a request counts: a minute, and the time that an allowed request may take to arrive."""


class SharedRateLimit(dg.ConfigurableResource, RequestLimiter):
    """Allows at most ``per_minute`` requests to a service in any 60 seconds, over all processes.

    A token bucket lets twice its rate through in a window that spans a refill. So the requests of the last window are
    counted in PostgreSQL, by the server's clock. While an outage is recorded, only one process at a time, now and then,
    sends a trial request.
    """

    database: dg.ResourceDependency[Database]
    per_minute: int = 10
    daily_budget_usd: float = 0.0
    patience_seconds: float = 60.0
    """How long to wait for requests under way whose reservations leave no room in the budget."""

    @property
    def _spending(self) -> "Spending":
        from threadjuice_dagster.database.spending import Spending

        return Spending(self.database.store.engine)

    @property
    def _outages(self) -> "Outages":
        from threadjuice_dagster.database.outages import Outages

        return Outages(self.database.store.engine)

    @property
    def _incidents(self) -> "Incidents":
        from threadjuice_dagster.operations.alerts.store import Incidents

        return Incidents(self.database.store.engine)

    def acquire(self, service: str) -> None:
        """Block until a request to ``service`` is allowed."""
        is_logged = False
        while (wait := self._try(service)) > 0:
            if not is_logged and wait > 1:
                log.warning("%d requests a minute are used up: waiting about %.0f s.", self.per_minute, wait)
                is_logged = True
            time.sleep(min(wait, 5.0))

    def reserve(self, usd: float | None) -> date | None:
        """Reserve what a request may cost. Wait while other requests have reserved what is left."""
        if usd is None:
            if self.daily_budget_usd:
                raise ConfigurationError("No price is known for this model, and DAILY_BUDGET_USD is set.", UNPRICED)
            return None
        spending, deadline = self._spending, time.monotonic() + self.patience_seconds
        while (day := spending.reserve(usd, self.daily_budget_usd)) is None:
            spent = spending.today().spent
            if spent + usd > self.daily_budget_usd or time.monotonic() > deadline:
                message = (
                    f"{spent:.4f} of {self.daily_budget_usd:g} USD are spent today, and a request may cost {usd:.4f}."
                )
                raise BudgetSpent(f"{message} Stories wait for the next day.")
            time.sleep(0.5)
        return day

    def settle(self, day: date | None, reserved: float | None, cost: float) -> None:
        """Replace the reservation by what the request cost, on the day of the reservation."""
        if day and reserved is not None:
            self._spending.settle(day, reserved, cost)

    def record_outage(self, service: str, message: str, *, on_trial: bool) -> None:
        """Record an outage, so that no process sends requests for a while."""
        self._outages.failed(service, message, on_trial=on_trial)

    def record_recovery(self, service: str) -> None:
        """Record that the trial request succeeded, so that other processes use the service again."""
        self._outages.over(service)

    def record_refused_key(self, variable: str, message: str) -> None:
        """Open an incident: the key of ``variable`` was refused, and the next one is used."""
        trouble = Trouble(
            cause=f"key:{variable}",
            source="key",
            severity="warning",
            title=f"{variable} is refused, and {variable}_NEXT is used",
            message=message,
            next_step=f"Put the value of {variable}_NEXT into {variable}, and empty {variable}_NEXT.",
            at=datetime.now(UTC),
        )
        self._incidents.note(trouble)

    def record_accepted_key(self, variable: str) -> None:
        """Close the incident of a refused key."""
        self._incidents.end(f"key:{variable}", datetime.now(UTC))

    def enter(self, service: str) -> bool:
        """Return whether this process is to send the trial request of an outage. False means that there is none.

        Raises ``TransientFailure`` during an outage if another process tries.
        """
        outages = self._outages
        for outage in outages.ongoing(service):
            if not outages.may_try(service):
                since = f"{outage.since:%H:%M} UTC"
                raise TransientFailure(
                    f"{outage.message} It has been down since {since}.",
                    "Nothing needs to be done: it is tried again by itself.",
                    retry_after=max(outage.waits, 0.0),
                    exhausted=True,
                    service=service,
                )
            return True
        return False

    def _try(self, service: str) -> float:
        """Count a request and return 0, or return the seconds until one is allowed."""
        with self.database.store.engine.begin() as connection:
            _lock(connection, service)
            return _take_ticket(connection, service, self.per_minute)


class SharedSourceLimit(dg.ConfigurableResource, SourceLimiter):
    """Keeps what the sources of threads allow, over all processes: requests a minute and a day, quotas, pauses.

    The database's clock counts. A day is one of UTC, as the sources count theirs.
    """

    database: dg.ResourceDependency[Database]

    def acquire(self, service: str, per_minute: int, per_day: int | None) -> None:
        """Block until a request to ``service`` is allowed.

        Raises ``TransientFailure`` where that takes longer than a minute: the quota is used up, or the service asked
        for a longer pause.
        """
        while (wait := self._try(service, per_minute, per_day)) > 0:
            if wait > MAX_WAIT:
                raise paused(service, wait)
            time.sleep(min(wait, 5.0))

    def record(self, service: str, *, pause: float = 0.0, left: int | None = None, most: int | None = None) -> None:
        """Record what a service said: no request for ``pause`` seconds, ``left`` of ``most`` requests of its quota."""
        from threadjuice_dagster.database.source_limits import SourceLimits

        SourceLimits(self.database.store.engine).record(service, pause, left, most)

    def record_outage(self, service: str, message: str) -> None:
        """Record that a service is down or used up, so that operators hear of it once."""
        from threadjuice_dagster.database.outages import Outages

        Outages(self.database.store.engine).failed(service, message, on_trial=False)

    def record_recovery(self, service: str) -> None:
        """Record that a service answers again."""
        from threadjuice_dagster.database.outages import Outages

        Outages(self.database.store.engine).over(service)

    def _try(self, service: str, per_minute: int, per_day: int | None) -> float:
        """Count a request and return 0, or return the seconds until one is allowed."""
        from threadjuice_dagster.database.source_limits import SourceLimits

        with self.database.store.engine.begin() as connection:
            _lock(connection, service)
            wait = SourceLimits.wait(connection, service, per_day) or _take_ticket(connection, service, per_minute)
            if wait == 0:
                SourceLimits.count(connection, service)
            return wait


def _lock(connection: "sa.Connection", service: str) -> None:
    """Let one process at a time count and add: otherwise two could both see the last free place."""
    import sqlalchemy as sa

    from threadjuice_dagster.database.locks import lock_key

    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key(f"limit:{service}"))))


def _take_ticket(connection: "sa.Connection", service: str, per_minute: int) -> float:
    """Count a request to a service and return 0, or return the seconds until one is allowed."""
    import sqlalchemy as sa

    window = {"service": service, "window": WINDOW}
    connection.execute(sa.text(_EXPIRE), window)
    used, wait = connection.execute(sa.text(_COUNT), window | {"limit": per_minute}).one()
    if used < per_minute:
        connection.execute(sa.text(_TAKE), window)
        return 0.0
    return max(float(wait), 0.05)


_EXPIRE = """DELETE FROM rate_tickets WHERE service = :service
    AND (at < clock_timestamp() - make_interval(secs => :window) OR at > clock_timestamp() + interval '1 second')"""
_COUNT = """SELECT (SELECT count(*) FROM rate_tickets WHERE service = :service),
    (SELECT extract(epoch FROM at - clock_timestamp()) + :window FROM rate_tickets
     WHERE service = :service ORDER BY at DESC OFFSET :limit - 1 LIMIT 1)"""
_TAKE = "INSERT INTO rate_tickets (service, at) VALUES (:service, clock_timestamp())"
