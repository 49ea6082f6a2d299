"""Incidents and the outbox of messages on them. What opens, ends and announces one is ``operations/alerts/rules.py``.

An incident, the message on it and how far a log was read are written in one transaction: whoever is killed before
its end reads the log again from where it stood, and whoever is killed after it has lost nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.ledger import error_row
from threadjuice_dagster.database.locks import lock_key
from threadjuice_dagster.database.rows import upsert
from threadjuice_dagster.failures import ThreadJuiceError, UsageError
from threadjuice_dagster.operations.alerts.rules import (
    RETRY_MOST,
    Alert,
    Incident,
    Trouble,
    Undelivered,
    announcement,
    ended,
    retry_in,
    seen,
    settled,
)

_Outcome = Literal["arrived", "refused", "nothing"]
_ALONE, GIVEN_UP = "refused: ", "given up: "
"""How the problem of a message begins that waits alone, and of one that is not sent again."""

TRIES = 10
"""Times a message is sent that is refused for itself, nobody knows why."""


class Incidents:
    """What is wrong, what was, and what people were told."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def reading(self, stream: str) -> "Iterator[IncidentTransaction]":
        """Read one log from where it was left; what is found and how far it was read are kept together, or neither."""
        with self._engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key(f"alerts:{stream}"))))
            where = t.alert_positions.c.stream == stream
            position = connection.scalar(sa.select(t.alert_positions.c.position).where(where))
            reading = IncidentTransaction(connection, position)
            yield reading
            if reading.position != position:
                row = {"stream": stream, "position": reading.position}
                connection.execute(upsert(t.alert_positions, row))

    def note(self, *troubles: Trouble) -> None:
        """Count troubles that were met elsewhere than in a log, and have people told of what is new."""
        with self._engine.begin() as connection:
            for trouble in troubles:
                IncidentTransaction(connection, None).note(trouble)

    def end(self, cause: str, now: datetime) -> None:
        """What this cause led to is over."""
        with self._engine.begin() as connection:
            IncidentTransaction(connection, None).end([cause], now)

    def end_where(self, source: str, is_mended: Callable[[Trouble], bool], now: datetime) -> None:
        """What of this source is found to be mended is over."""
        with self._engine.begin() as connection:
            reading = IncidentTransaction(connection, None)
            reading.end([one.cause for one in reading.open(source) if is_mended(one.trouble)], now)

    def listed(self, *, everything: bool = False, limit: int = 200) -> list[Incident]:
        """Open incidents, or all there were; those seen last first."""
        query = sa.select(t.incidents.c.record).order_by(t.incidents.c.last_at.desc()).limit(limit)
        query = query if everything else query.where(t.incidents.c.open)
        with self._engine.connect() as connection:
            return [Incident.model_validate(record) for record in connection.scalars(query)]

    def count(self, *, everything: bool = False) -> int:
        """How many incidents are open, or how many there were."""
        query = sa.select(sa.func.count()).select_from(t.incidents)
        with self._engine.connect() as connection:
            return connection.scalar(query if everything else query.where(t.incidents.c.open)) or 0

    def mute(self, cause: str, until: datetime | None, by: str, now: datetime) -> Incident:
        """Keep quiet about a cause until then (None: speak again). Raises ``UsageError`` for a cause nobody knows."""
        with self._engine.begin() as connection:
            known = IncidentTransaction(connection, None).incident(cause)
            if known is None:
                raise UsageError(f"There is no incident {cause[:100]!r}.", "List them with: threadjuice alerts list")
            muted = known.model_copy(update={"muted_until": until, "muted_by": by if until else ""})
            return IncidentTransaction(connection, None).tell(muted, now)

    def unmuted(self, now: datetime) -> None:
        """Tell of what is still wrong after the time somebody had muted it for."""
        was_muted = t.incidents.c.record["muted_until"].astext.is_not(None)
        query = sa.select(t.incidents.c.record).where(t.incidents.c.open, was_muted)
        with self._engine.begin() as connection:
            for record in connection.scalars(query).all():
                IncidentTransaction(connection, None).tell(Incident.model_validate(record), now)

    def settle(self, now: datetime) -> None:
        """Tell how it stands with what came and went, and has not changed for a while."""
        flapping = t.incidents.c.record["flapping"].astext == "true"
        with self._engine.begin() as connection:
            for record in connection.scalars(sa.select(t.incidents.c.record).where(flapping)).all():
                incident = Incident.model_validate(record)
                if (after := settled(incident, now)) != incident:
                    IncidentTransaction(connection, None).tell(after, now)

    def deliver(self, send: Callable[[Alert], None], most: int, clock: Callable[[], datetime]) -> int:
        """Send what waits in the outbox, oldest first, at most so many; returns how many arrived.

        ``send`` raises ``Undelivered``. One process delivers at a time. A message is marked when it has arrived, so
        whoever is killed in between sends it again, under the same id.
        """
        arrived = 0
        while arrived < most and (outcome := self._deliver_next(send, clock)) != "nothing":
            arrived += outcome == "arrived"
        return arrived

    def waiting(self) -> int:
        """How many messages have not arrived yet, and are sent again."""
        query = sa.select(sa.func.count()).where(*_waiting())
        with self._engine.connect() as connection:
            return connection.scalar(query) or 0

    def problem(self) -> str:
        """Why messages wait or were given up: of the oldest that waits, else of the newest that was given up."""
        columns = t.alerts.c
        stuck = sa.select(columns.problem).where(*_waiting(), columns.problem != "").order_by(columns.number)
        lost = sa.select(columns.problem).where(columns.problem.startswith(GIVEN_UP)).order_by(columns.number.desc())
        with self._engine.connect() as connection:
            refusal = connection.scalar(stuck.limit(1)) or connection.scalar(lost.limit(1)) or ""
        return refusal.removeprefix(_ALONE)

    def given_up(self) -> int:
        """How many messages were refused for good."""
        query = sa.select(sa.func.count()).where(t.alerts.c.problem.startswith(GIVEN_UP))
        with self._engine.connect() as connection:
            return connection.scalar(query) or 0

    def messages(self, limit: int = 50) -> list[dict[str, Any]]:
        """The newest messages with what became of them."""
        query = sa.select(t.alerts).order_by(t.alerts.c.number.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def _deliver_next(self, send: Callable[[Alert], None], clock: Callable[[], datetime]) -> _Outcome:
        """Send one message, unless none is due or none will arrive now. One refused for what it is waits alone."""
        columns, now = t.alerts.c, clock()
        is_due = (columns.due_at <= now) | (columns.due_at > now + timedelta(seconds=2 * RETRY_MOST))
        waits_alone = columns.problem.startswith(_ALONE) & ~is_due
        query = sa.select(t.alerts, is_due.label("is_due")).where(*_waiting(), ~waits_alone).order_by(columns.number)
        with self._engine.begin() as connection:
            if not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(lock_key("alerts:delivery")))):
                return "nothing"
            row = connection.execute(query.limit(1)).one_or_none()
            if row is None or not row.is_due:
                return "nothing"
            this = t.alerts.update().where(columns.number == row.number)
            try:
                send(Alert.model_validate(row.record))
            except Undelivered as failure:
                due = clock() + timedelta(seconds=retry_in(row.attempts + 1, failure.retry_after))
                final = failure.final or (failure.alone and row.attempts + 1 >= TRIES)
                problem = (GIVEN_UP if final else _ALONE if failure.alone else "") + failure.problem
                connection.execute(this.values(attempts=row.attempts + 1, due_at=due, problem=problem))
                return "refused" if failure.alone else "nothing"
            connection.execute(this.values(attempts=row.attempts + 1, delivered_at=clock(), problem=""))
            return "arrived"


def _waiting() -> "tuple[sa.ColumnElement[bool], ...]":
    """What is true of messages that have not arrived and are sent again."""
    return t.alerts.c.delivered_at.is_(None), ~t.alerts.c.problem.startswith(GIVEN_UP)


class IncidentTransaction:
    """One transaction in which troubles are written down. ``position`` is how far the log was read."""

    def __init__(self, connection: sa.Connection, position: Any) -> None:
        self.connection, self.position = connection, position

    def note(self, trouble: Trouble) -> None:
        """A trouble was seen."""
        self.tell(seen(self.incident(trouble.cause), trouble), trouble.at)

    def end(self, causes: Iterable[str], now: datetime) -> None:
        """These causes are over, where they were open."""
        for cause in causes:
            known = self.incident(cause)
            if known and known.open:
                self.tell(ended(known, now), now)

    def now_wrong(self, source: str, troubles: Sequence[Trouble], now: datetime) -> None:
        """All that is wrong now of one source: what is new is opened, what is gone is over, the rest is as it was."""
        wrong = {trouble.cause: trouble for trouble in troubles}
        known = {incident.cause for incident in self.open(source)}
        for cause, trouble in wrong.items():
            if cause not in known:
                self.note(trouble)
        self.end(known - wrong.keys(), now)

    def keep_error(self, error: ThreadJuiceError, asset: str, story_id: str | None, run_id: str) -> None:
        """Write down why a run failed, unless it did so itself."""
        columns = t.pipeline_errors.c
        if not self.connection.scalar(sa.select(sa.exists().where(columns.run_id == run_id))):
            self.connection.execute(t.pipeline_errors.insert().values(error_row(error, asset, story_id, run_id)))

    def open(self, *sources: str) -> list[Incident]:
        """The open incidents of these sources."""
        query = sa.select(t.incidents.c.record).where(t.incidents.c.open, t.incidents.c.source.in_(sources))
        return [Incident.model_validate(record) for record in self.connection.scalars(query)]

    def incident(self, cause: str) -> Incident | None:
        """What is known of a cause; nobody else writes of it until the end of the transaction."""
        self.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key(f"incident:{cause}"))))
        record = self.connection.scalar(sa.select(t.incidents.c.record).where(t.incidents.c.cause == cause))
        return Incident.model_validate(record) if record else None

    def tell(self, incident: Incident, now: datetime) -> Incident:
        """Store an incident, and with it the message on it that people have not had yet."""
        incident, alert = announcement(incident, now)
        row = {
            "cause": incident.cause,
            "source": incident.trouble.source,
            "open": incident.open,
            "record": incident.model_dump(mode="json"),
            "last_at": incident.last_at,
        }
        self.connection.execute(upsert(t.incidents, row))
        if alert:
            message = insert(t.alerts).values(id=alert.id, record=alert.model_dump(mode="json"), due_at=now)
            self.connection.execute(message.on_conflict_do_nothing())
        return incident
