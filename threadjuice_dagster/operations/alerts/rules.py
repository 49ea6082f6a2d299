"""Incidents: one trouble of one cause, from when it is first seen until it is over, and what people are told of it.

Where troubles are found belongs in ``operations/alerts/service.py``, how a message looks in
``operations/alerts/webhooks.py``.
"""

import hashlib
import re
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from threadjuice_dagster.domain.model import Model

Severity = Literal["warning", "error"]
Kind = Literal["alert", "worse", "flapping", "recovery"]

FORGOTTEN = timedelta(days=7)
"""An incident nobody saw for so long is over, where nothing else tells its end."""

FLAPS, FLAPPING_WITHIN = 4, timedelta(hours=24)
"""A trouble that began so often within this time is flapping: that is told once, and nothing more until it is calm."""

CALM_LEAST, CALM_MOST = timedelta(minutes=30), timedelta(hours=12)
"""Bounds of the time without a change after which a flapping trouble has settled: twice what a turn of it takes."""

RETRY_FIRST, RETRY_MOST = 5.0, 300.0
"""Seconds until a message that could not be delivered is tried again: doubled each time, up to the second."""

RUNBOOK = {
    "run": "failed-runs",
    "check": "failed-checks",
    "tick": "failed-schedules-and-sensors",
    "freshness": "what-is-overdue",
    "duration": "runs-that-take-too-long",
    "outage": "content-generation-failure",
    "key": "key-rotation",
    "database": "database-issues",
    "daemon": "the-daemon-is-dead",
    "supply": "too-few-threads",
}
"""The section of docs/EMERGENCY.md for each source of trouble, where the trouble itself names none."""

_NAMESPACE = uuid.UUID("6f0f6f0e-61f9-4f0e-8d5f-1c7d5f7f5a11")


class Trouble(Model):
    """What was found wrong, once. ``cause`` is the same for everything that one mend would end."""

    cause: str
    source: str
    severity: Severity = "error"
    title: str
    message: str
    next_step: str = ""
    runbook: str = ""
    run_id: str = ""
    job: str = ""
    asset: str = ""
    partition: str = ""
    kind: str = ""
    at: datetime

    @property
    def section(self) -> str:
        """The runbook's section on it."""
        return self.runbook or RUNBOOK.get(self.source, "failed-runs")


class Incident(Model):
    """What is known of one cause: ``episode`` counts how often it came back, ``told`` is what people heard of it."""

    cause: str
    trouble: Trouble
    open: bool
    episode: int
    told: Severity | None
    count: int
    first_at: datetime
    last_at: datetime
    closed_at: datetime | None = None
    began_at: tuple[datetime, ...] = ()
    """When it began, the last few times."""
    flapping: bool = False
    muted_until: datetime | None = None
    muted_by: str = ""

    def is_muted(self, now: datetime) -> bool:
        """Whether an operator asked not to hear of it for now."""
        return self.muted_until is not None and self.muted_until > now


class Alert(Model):
    """One message, under an id that stays the same however often it is sent."""

    id: str
    kind: Kind
    incident: Incident


class Undelivered(Exception):
    """Why a message did not arrive; ``alone`` says that others may, ``retry_after`` is in seconds.

    One that is ``final`` is not sent again: it would be refused for what it is.
    """

    def __init__(
        self, problem: str, *, alone: bool = False, final: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(problem)
        self.problem, self.alone, self.final, self.retry_after = problem, alone or final, final, retry_after


def seen(before: Incident | None, trouble: Trouble) -> Incident:
    """The incident of this cause after ``trouble`` was seen: opened, opened again, or counted."""
    if before is None or not before.open:
        return Incident(
            cause=trouble.cause,
            trouble=trouble,
            open=True,
            episode=before.episode + 1 if before else 1,
            told=before.told if before and before.flapping else None,
            count=1,
            first_at=trouble.at,
            last_at=trouble.at,
            muted_until=before.muted_until if before else None,
            muted_by=before.muted_by if before else "",
            began_at=((*before.began_at, trouble.at) if before else (trouble.at,))[-FLAPS:],
            flapping=before.flapping if before else False,
        )
    last = max(before.last_at, trouble.at)
    return before.model_copy(update={"trouble": trouble, "count": before.count + 1, "last_at": last})


def ended(before: Incident, now: datetime) -> Incident:
    """The incident once its trouble is over."""
    return before.model_copy(update={"open": False, "closed_at": now})


def announcement(incident: Incident, now: datetime) -> tuple[Incident, Alert | None]:
    """What people should hear of an incident's state, if they have not yet: at most one message per change of state."""
    severity = incident.trouble.severity
    kind: Kind | None = None
    if not incident.open:
        if incident.flapping:
            return incident, None
        kind = "recovery" if incident.told else None
        told = None
    elif incident.is_muted(now) or incident.told in (severity, "error"):
        return incident, None
    else:
        kind, told = "worse" if incident.told else "flapping" if _flaps(incident) else "alert", severity
    after = incident.model_copy(update={"told": told, "flapping": incident.flapping or kind == "flapping"})
    return after, Alert(id=alert_id(incident, kind), kind=kind, incident=after) if kind else None


def settled(incident: Incident, now: datetime) -> Incident:
    """A flapping incident that has not changed for a while, as one that is wrong or over like any other."""
    if not incident.flapping:
        return incident
    began, changed = incident.began_at, incident.began_at[-1] if incident.open else incident.closed_at
    turn = (began[-1] - began[0]) / (len(began) - 1)
    if changed and now - changed < min(max(2 * turn, CALM_LEAST), CALM_MOST):
        return incident
    announced = None if incident.open else incident.told
    return incident.model_copy(update={"flapping": False, "began_at": (), "told": announced})


def _flaps(incident: Incident) -> bool:
    began = incident.began_at
    return len(began) == FLAPS and began[-1] - began[0] <= FLAPPING_WITHIN


def alert_id(incident: Incident, kind: Kind) -> str:
    """The id of the message of this kind on this episode of an incident."""
    return str(uuid.uuid5(_NAMESPACE, f"{incident.cause}\n{incident.episode}\n{kind}"))


def fingerprint(kind: str, place: str, message: str, *details: str) -> str:
    """16 hex digits that failures of one cause share: numbers and ``details`` (a partition, a run) tell none apart."""
    for detail in sorted(filter(None, details), key=len, reverse=True):
        message = message.replace(detail, "…")
    cause = re.sub(r"[0-9]+", "#", f"{kind}:{place}:{message}")
    return hashlib.sha256(cause.encode(errors="replace")).hexdigest()[:16]


def retry_in(attempts: int, told: float | None = None) -> float:
    """Seconds until a message is tried again that was sent ``attempts`` times in vain; a server may say longer."""
    return max(min(RETRY_FIRST * 2.0 ** min(attempts - 1, 30), RETRY_MOST), min(told or 0.0, RETRY_MOST))


def overdue(incidents: Sequence[Incident], now: datetime) -> list[Incident]:
    """Open incidents that nobody saw for so long that they count as over."""
    return [incident for incident in incidents if incident.open and now - incident.last_at > FORGOTTEN]
