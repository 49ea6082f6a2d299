"""`threadjuice watch`: the watch from outside, for cron or a container, which needs neither daemon nor database.

Where the database answers, it does what the alert sensors do, and looks whether the daemon lives. Where it does not,
that itself is the trouble: nothing can be written down, so what was told is kept in a file.
"""

import fcntl
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.assets.steps import classified
from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError, TransientFailure, UnexpectedFailure
from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.operations.alerts.delivery import AlertDelivery
from threadjuice_dagster.operations.alerts.rules import (
    Incident,
    Trouble,
    Undelivered,
    announcement,
    ended,
    seen,
    settled,
)
from threadjuice_dagster.operations.alerts.store import Incidents
from threadjuice_dagster.settings import Settings
from threadjuice_dagster.wiring import build_resources

if TYPE_CHECKING:
    from threadjuice_dagster.operations.environment.rules import EnvironmentReport
    from threadjuice_dagster.operations.environment.service import EnvironmentService
    from threadjuice_dagster.resources.postgres import Database

log = logging.getLogger(__name__)

CAUSE = "database"


def look_once(settings: Settings) -> dict[str, Any]:
    """Look at everything and deliver what waits: open incidents, and how many messages arrived and wait.

    Raises the failure if the database cannot be used, after people were told of it once.
    """
    unreachable = UnreachableDatabase(settings)
    with _alerts(settings) as alerts:
        try:
            incidents = _look(settings, alerts)
        except ThreadJuiceError as error:
            unreachable.tell(alerts, error)
            raise
        except Exception as error:
            failure = classified(error)
            if isinstance(failure, UnexpectedFailure):
                raise
            unreachable.tell(alerts, failure)
            raise failure from error
        unreachable.over(alerts)
        return incidents


def _look(settings: Settings, alerts: AlertDelivery) -> dict[str, Any]:
    with open_instance(settings) as instance:
        watch = alerts.watch(instance)
        for look in (watch.runs, watch.checks, watch.ticks, watch.now, watch.daemon):
            look()
        delivered = alerts.deliver()
        return {**incidents_document(Incidents(alerts.database.store.engine)), "delivered": delivered}


@contextmanager
def _alerts(settings: Settings) -> Iterator[AlertDelivery]:
    with build_resources(settings)["alerts"].process_config_and_initialize_cm() as alerts:
        yield alerts


def incidents_document(incidents: "Incidents", *, everything: bool = False) -> dict[str, Any]:
    """Incidents as commands print them: those seen last, and how many ``more`` there are; what became of messages."""
    shown = [incident_record(one) for one in incidents.listed(everything=everything)]
    more = max(incidents.count(everything=everything) - len(shown), 0)
    return {"incidents": shown, "more": more, **delivery_document(incidents)}


def delivery_document(incidents: "Incidents") -> dict[str, Any]:
    """How many messages wait, how many were refused for good, and why."""
    return {"waiting": incidents.waiting(), "given_up": incidents.given_up(), "problem": incidents.problem()}


def incident_record(incident: Incident) -> dict[str, Any]:
    """An incident as commands print it."""
    trouble = incident.trouble
    return {
        "cause": incident.cause,
        "open": incident.open,
        "severity": trouble.severity,
        "title": trouble.title,
        "message": trouble.message,
        "next_step": trouble.next_step,
        "runbook": trouble.section,
        "run_id": trouble.run_id or None,
        "asset": trouble.asset or None,
        "partition": trouble.partition or None,
        "count": incident.count,
        "first_at": incident.first_at.isoformat(),
        "last_at": incident.last_at.isoformat(),
        "muted_until": incident.muted_until.isoformat() if incident.muted_until else None,
        "muted_by": incident.muted_by or None,
    }


def close_incidents(
    environment: "EnvironmentService", report: "EnvironmentReport", passed: Callable[[], Iterable[str]]
) -> None:
    """End the incidents of what a command has just found well: systems of a report, and checks that ``passed`` names.

    Raises nothing: a database that is away, or not migrated yet, is for the report to tell.
    """
    if report.row("database").state != "ok":
        return
    try:
        environment.close_incidents(report)
        names = set(passed())
        incidents = Incidents(environment.database.store.engine)
        incidents.end_where("check", lambda trouble: trouble.cause.rpartition(":")[2] in names, datetime.now(UTC))
    except Exception as error:
        log.warning("Incidents could not be closed: %s", classified(error))


def passing(database: "Database", settings: Settings, report: "EnvironmentReport") -> list[str]:
    """The checks of ``environment_report`` that pass on a whole report."""
    from threadjuice_dagster.assets.deployment.environment_report import check_results

    return [str(result.check_name) for result in check_results(report, settings, database) if result.passed]


def send_test(alerts: AlertDelivery) -> dict[str, Any]:
    """Deliver a message that says it is a test. Raises ``TransientFailure`` if it does not arrive."""
    trouble = Trouble(
        cause=f"test:{uuid.uuid4()}",
        source="test",
        severity="warning",
        title="This is a test",
        message="Somebody ran: threadjuice alerts test",
        next_step="Nothing needs to be done.",
        runbook="alerts",
        at=datetime.now(UTC),
    )
    _, alert = announcement(seen(None, trouble), trouble.at)
    assert alert
    try:
        alerts.send(alert)
    except Undelivered as failure:
        raise TransientFailure(failure.problem, "Check MONITORING_WEBHOOK and what is behind it.") from failure
    return {"delivered_to": "the webhook" if alerts.webhook else "the log", "id": alert.id}


class UnreachableDatabase:
    """The one trouble that cannot be written into the database, kept in a file beside it."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.home / "watch.json"

    def tell(self, alerts: AlertDelivery, error: ThreadJuiceError) -> None:
        """Tell people that the database cannot be reached, unless they know."""
        trouble = Trouble(
            cause=CAUSE,
            source="database",
            title="The newsroom's database cannot be used",
            message=error.message,
            next_step=error.next_step,
            kind=error.kind,
            at=datetime.now(UTC),
        )
        with self._alone():
            known = self._known()
            self._announce(alerts, settled(seen(known, trouble), trouble.at))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time reads what was told, tells, and writes that down."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def over(self, alerts: AlertDelivery) -> None:
        """Tell people that it is over, if they knew."""
        with self._alone():
            known, now = self._known(), datetime.now(UTC)
            if known and (known.open or known.told):
                self._announce(alerts, settled(ended(known, now) if known.open else known, now))

    def _announce(self, alerts: AlertDelivery, incident: Incident) -> None:
        """Send what people have not heard yet; what did not arrive is sent by the next look."""
        after, alert = announcement(incident, datetime.now(UTC))
        if alert:
            try:
                alerts.send(alert)
            except Undelivered as failure:
                self._keep(incident)
                raise PermanentFailure(
                    f"{incident.trouble.title}, and nobody could be told: {failure.problem}", incident.trouble.next_step
                ) from failure
        self._keep(after)

    def _known(self) -> Incident | None:
        try:
            return Incident.model_validate(json.loads(self._path.read_text()))
        except (OSError, ValueError):
            return None

    def _keep(self, incident: Incident) -> None:
        beside = self._path.with_suffix(f".{os.getpid()}.tmp")
        beside.write_text(incident.model_dump_json())
        Path(beside).replace(self._path)
