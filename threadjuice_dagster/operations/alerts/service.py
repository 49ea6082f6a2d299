"""The watch: what went wrong, read from Dagster's own logs, and what is wrong now.

What becomes of it (one incident per cause, one message per change of state) is ``operations/alerts/rules.py``. Logs are
read from where they were left, with no gap: Dagster numbers its events before it stores them, so the newest minute is
read again each time.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterEventType

from threadjuice_dagster.domain.judging.gates import GATES
from threadjuice_dagster.failures import UnexpectedFailure
from threadjuice_dagster.operations.alerts.rules import Incident, Trouble, fingerprint, overdue
from threadjuice_dagster.operations.monitoring.freshness import FRESH

if TYPE_CHECKING:
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick

    from threadjuice_dagster.database.store import Store
    from threadjuice_dagster.operations.alerts.store import IncidentTransaction

BACK = timedelta(days=1)
"""How far back a log is read when nobody has read it before."""

UNSETTLED = timedelta(minutes=1)
"""For so long an event may still appear before one that is there already."""

AT_ONCE = 2000
"""Events read in one transaction."""

DAEMON_SILENCE = timedelta(minutes=5)
"""After which a daemon that should tell that it lives is taken for dead; it tells so twice a minute."""

GOING_ON = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]

_OUTCOME_TAG = "threadjuice/outcome"
_NOT_AN_OUTAGE = ("unsuitable",)


class Watch:
    """Looks at one Dagster instance and writes down what is wrong; after ``long_run_minutes`` a run takes too long."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        store: "Store",
        long_run_minutes: float = 60.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        from threadjuice_dagster.operations.alerts.store import Incidents

        self._instance, self._store, self._clock = instance, store, clock
        self._incidents = Incidents(store.engine)
        self._long_run = timedelta(minutes=long_run_minutes)

    def runs(self) -> None:
        """Runs that failed, and will not be tried again by Dagster; over once the asset (or the job) works again."""
        with self._incidents.reading("runs") as reading:
            self._read(reading, DagsterEventType.PIPELINE_FAILURE, self._run)
            now = self._clock()
            since = min(reading.position.get("newest", 0.0), now.timestamp())  # a clock may have been set back
            newest = self._newest_change(since)
            if newest > since:
                reading.end([one.cause for one in reading.open("run") if self._works_again(one)], now)
                reading.position = {**reading.position, "newest": newest}
            reading.end([one.cause for one in overdue(reading.open("run"), now)], now)

    def checks(self) -> None:
        """Asset checks that did not pass, in runs that failed and in runs that did not; over once they pass.

        The gates of stories are not among them: what they refuse is an editorial outcome.
        """
        with self._incidents.reading("checks") as reading:
            self._read(reading, DagsterEventType.ASSET_CHECK_EVALUATION, self._check)

    def ticks(self) -> None:
        """Ticks of schedules and sensors that failed; over once one succeeds, or the schedule or sensor is gone."""
        with self._incidents.reading("ticks") as reading:
            seen = dict(reading.position or {})
            states = self._instance.all_instigator_state()
            for state in states:
                seen[state.selector_id] = self._ticks_of(state, reading, seen.get(state.selector_id))
            reading.position = {state.selector_id: seen[state.selector_id] for state in states}
            there = {f"tick:{state.instigator_name}" for state in states}
            reading.end([one.cause for one in reading.open("tick") if one.cause not in there], self._clock())

    def now(self) -> None:
        """What is overdue, which runs take too long, and which outside services are down."""
        moment = self._clock()
        # Asked before the transaction begins: one that holds a connection and waits for another can starve the pool.
        wrong = {"freshness": self._stale, "duration": self._long_runs, "outage": self._outages}
        found = {source: list(ask(moment)) for source, ask in wrong.items()}
        with self._incidents.reading("now") as reading:
            for source, troubles in found.items():
                reading.now_wrong(source, troubles, moment)
        self._incidents.unmuted(moment)
        self._incidents.settle(moment)

    def daemon(self) -> None:
        """Whether the daemon lives: to be asked by a process that does not depend on it."""
        now = self._clock()
        heartbeats = self._instance.get_daemon_heartbeats()
        newest = max((beat.timestamp for beat in heartbeats.values()), default=0.0)
        silent = abs(now - datetime.fromtimestamp(newest, UTC)) > DAEMON_SILENCE
        since = f"since {datetime.fromtimestamp(newest, UTC):%Y-%m-%d %H:%M} UTC" if newest else "yet"
        dead = Trouble(
            cause="daemon",
            source="daemon",
            title="The Dagster daemon does not run",
            message=f"It has not told that it lives {since}: no schedule, sensor or queued run goes on.",
            next_step="Start it: threadjuice dev, or dagster-daemon run with this newsroom's DAGSTER_HOME.",
            at=now,
        )
        with self._incidents.reading("daemon") as reading:
            reading.now_wrong("daemon", [dead] if silent else [], now)

    def _read(
        self,
        reading: "IncidentTransaction",
        event_type: DagsterEventType,
        take: "Callable[[IncidentTransaction, dg.EventLogRecord], None]",
    ) -> None:
        """Hand every event of a type to ``take`` that it was not handed before, in order."""
        position = reading.position or {"after": 0, "seen": []}
        now = self._clock()
        records = self._instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(
                event_type=event_type,
                after_cursor=position["after"] or None,
                after_timestamp=None if position["after"] else (now - BACK).timestamp(),
            ),
            limit=AT_ONCE,
            ascending=True,
        )
        seen = set(position["seen"])
        for record in records:
            if record.storage_id not in seen:
                take(reading, record)
        settled = [one.storage_id for one in records if one.timestamp < (now - UNSETTLED).timestamp()]
        after = max(settled, default=position["after"])
        unsettled = [one.storage_id for one in records if one.storage_id > after]
        reading.position = {**position, "after": after, "seen": unsettled}

    def _run(self, reading: "IncidentTransaction", record: "dg.EventLogRecord") -> None:
        """A failed run, unless it is tried again, or failed for what a story is, or at a check that tells it itself."""
        run = self._instance.get_run_by_id(record.run_id)
        if run is None:
            return
        failed = self._failed_step(record.run_id)
        told = _told_by(failed, record)
        self._record(reading, run, failed.step_key if failed else run.job_name, told)
        again = run.tags.get("dagster/will_retry", "").lower() == "true"
        at_check = failed is not None and _class_of(failed) == "DagsterAssetCheckFailedError"
        if again or at_check or _OUTCOME_TAG in run.tags or told["kind"] in _NOT_AN_OUTAGE:
            return
        reading.note(self._failed_run(run, failed, told, _moment(record.timestamp)))

    def _failed_run(
        self, run: dg.DagsterRun, failed: "dg.DagsterEvent | None", told: dict[str, str], at: datetime
    ) -> Trouble:
        place = (failed.step_key if failed else None) or run.job_name
        partition = run.tags.get("dagster/partition", "")
        own = place if told["kind"] in ("unexpected", "crashed") else ""
        cause = f"run:{fingerprint(told['kind'], own, told['message'], partition, run.run_id)}"
        down = told["service"]
        return Trouble(
            cause=f"outage:{down}" if down else cause,
            source="outage" if down else "run",
            severity="warning" if told["kind"] == "usage" else "error",
            title=f"{down} is down" if down else f"{place} failed in {run.job_name}",
            message=told["message"],
            next_step=told["next step"],
            runbook=_runbook(place),
            run_id=run.run_id,
            job=run.job_name,
            asset=place if self._instance.has_asset_key(dg.AssetKey(place)) else "",
            partition=partition,
            kind=told["kind"],
            at=at,
        )

    def _failed_step(self, run_id: str) -> "dg.DagsterEvent | None":
        records = self._instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1).records
        return records[0].event_log_entry.dagster_event if records else None

    def _record(
        self, reading: "IncidentTransaction", run: dg.DagsterRun, place: str | None, told: dict[str, str]
    ) -> None:
        """Keep a failure that the run could not write down itself, because it was killed."""
        if told["kind"] == "crashed":
            story = run.tags.get("dagster/partition") if run.job_name == "story_job" else None
            error = UnexpectedFailure(told["message"], told["next step"])
            error.kind = "crashed"
            reading.keep_error(error, place or run.job_name, story, run.run_id)

    def _works_again(self, incident: Incident) -> bool:
        """Whether what failed was done since: an asset by anybody, unless only this one partition was in trouble."""
        trouble, since = incident.trouble, incident.last_at.timestamp()
        if trouble.asset:
            alone = [trouble.partition] if trouble.kind in ("unexpected", "permanent") and trouble.partition else None
            made = dg.AssetRecordsFilter(dg.AssetKey(trouble.asset), asset_partitions=alone, after_timestamp=since)
            return bool(self._instance.fetch_materializations(made, limit=1).records)
        done = [dg.DagsterRunStatus.SUCCESS]
        later = dg.RunsFilter(job_name=trouble.job, statuses=done, created_after=incident.last_at)
        return bool(self._instance.get_run_records(later, limit=1))

    def _newest_change(self, since: float) -> float:
        """When a run last ended; ``since`` if none did after that."""
        ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
        after = dg.RunsFilter(statuses=ended, updated_after=_moment(since))
        records = self._instance.get_run_records(after, limit=1, order_by="update_timestamp")
        return max((one.update_timestamp.replace(tzinfo=UTC).timestamp() for one in records), default=since)

    def _check(self, reading: "IncidentTransaction", record: "dg.EventLogRecord") -> None:
        event = record.event_log_entry.dagster_event
        evaluation = event.asset_check_evaluation_data if event else None
        if evaluation is None or evaluation.check_name in GATES:
            return
        asset = evaluation.asset_key.to_user_string()
        cause = f"check:{asset}:{evaluation.check_name}"
        at = _moment(record.timestamp)
        if evaluation.passed:
            reading.end([cause], at)
            return
        told = {name: str(value.value) for name, value in evaluation.metadata.items()}
        severity = evaluation.severity or dg.AssetCheckSeverity.ERROR
        trouble = Trouble(
            cause=cause,
            source="check",
            severity="error" if severity == dg.AssetCheckSeverity.ERROR else "warning",
            title=f"{evaluation.check_name} does not pass on {asset}",
            message=evaluation.description or "The check says no more.",
            next_step=told.get("next step", "Open the run for what the check found."),
            runbook=told.get("runbook", ""),
            run_id=record.run_id,
            asset=asset,
            at=at,
        )
        reading.note(trouble)

    def _ticks_of(self, state: "InstigatorState", reading: "IncidentTransaction", seen: float | None) -> float:
        """Note the failed ticks of a schedule or sensor after ``seen``; returns the moment of the newest."""
        from dagster._core.scheduler.instigation import TickStatus

        after = min(seen or (self._clock() - BACK).timestamp(), self._clock().timestamp())
        origin, cause = state.instigator_origin_id, f"tick:{state.instigator_name}"
        get = self._instance.get_ticks
        failed = get(origin, state.selector_id, after=after, statuses=[TickStatus.FAILURE], limit=AT_ONCE)
        for tick in reversed(failed):
            if not _was_stopped(state, tick):
                reading.note(_failed_tick(cause, state.instigator_name, tick))
        known = reading.incident(cause)
        if known and known.open:
            done = [TickStatus.SUCCESS, TickStatus.SKIPPED]
            if get(origin, state.selector_id, after=known.last_at.timestamp(), statuses=done, limit=1):
                reading.end([cause], self._clock())
        return max((tick.timestamp for tick in failed), default=after)

    def _stale(self, now: datetime) -> "Sequence[Trouble]":
        from dagster._core.definitions.freshness import FreshnessState

        due = {state.instigator_name for state in self._instance.all_instigator_state() if _runs(state)}
        wanted = {dg.AssetKey(name): fresh for name, fresh in FRESH.items() if fresh.made_by in due}
        known = self._instance.event_log_storage.get_freshness_state_records(list(wanted)) if wanted else {}
        return [
            Trouble(
                cause=f"freshness:{key.to_user_string()}",
                source="freshness",
                title=f"{key.to_user_string()} is overdue",
                message=f"It was not made in time: {wanted[key].told}.",
                next_step=f"See why {wanted[key].made_by} started no run, or why its run failed; then materialize it.",
                asset=key.to_user_string(),
                at=now,
            )
            for key, record in known.items()
            if record.freshness_state == FreshnessState.FAIL
        ]

    def _long_runs(self, now: datetime) -> "Sequence[Trouble]":
        records = self._instance.get_run_records(dg.RunsFilter(statuses=GOING_ON), limit=AT_ONCE)
        began = [(record.dagster_run, record.start_time or record.create_timestamp.timestamp()) for record in records]
        return [
            Trouble(
                cause=f"duration:{run.run_id}",
                source="duration",
                severity="warning",
                title=f"{run.job_name} takes long",
                message=f"The run started {_moment(at):%Y-%m-%d %H:%M} UTC and has not ended.",
                next_step="Open the run to see what it is at; terminate it there if it is stuck.",
                run_id=run.run_id,
                partition=run.tags.get("dagster/partition", ""),
                at=now,
            )
            for run, at in began
            if now - _moment(at) > self._long_run
        ]

    def _outages(self, now: datetime) -> "Sequence[Trouble]":
        from threadjuice_dagster.database.outages import Outages

        return [
            Trouble(
                cause=f"outage:{outage.service}",
                source="outage",
                title=f"{outage.service} is down",
                message=outage.message,
                next_step="Stories wait and go on by themselves. What it answers: threadjuice diagnose generation",
                at=now,
            )
            for outage in Outages(self._store.engine).ongoing()
        ]


def _told_by(failed: "dg.DagsterEvent | None", record: "dg.EventLogRecord") -> dict[str, str]:
    """What a failed run said: kind, message and next step of its first failed step, or that it said nothing."""
    data = failed.step_failure_data if failed else None
    user = data.user_failure_data if data else None
    if user:
        said = {name: str(value.value or "") for name, value in user.metadata.items()}
        told = {name: said.get(name, "") for name in ("kind", "next step", "service")}
        return {**told, "message": (user.description or "").removesuffix(told["next step"]).strip() or "It failed."}
    if data and data.error:
        message = _innermost(data.error)
        return {"kind": "unexpected", "message": message, "next step": "Open the run for its log.", "service": ""}
    words = (record.event_log_entry.user_message or record.event_log_entry.message or "").strip().splitlines()
    message = words[0] if words else "The run's process ended without a word."
    return {"kind": "crashed", "message": message, "next step": "Open the run for its log.", "service": ""}


def _was_stopped(state: "InstigatorState", tick: "InstigatorTick") -> bool:
    """Whether the daemon was stopped in the middle of a sensor's tick. Its next tick makes up for it.

    A daemon that stops forgets its code locations before its ticks have ended; at no other time is one unknown to it.
    A schedule's tick is not made up for, so it is told.
    """
    from dagster._core.scheduler.instigation import InstigatorType

    is_sensor = state.instigator_type == InstigatorType.SENSOR
    return is_sensor and tick.error is not None and tick.error.cls_name == "DagsterCodeLocationNotFoundError"


def _failed_tick(cause: str, name: str, tick: "InstigatorTick") -> Trouble:
    return Trouble(
        cause=cause,
        source="tick",
        title=f"{name} failed",
        message=_innermost(tick.error) if tick.error else "The tick failed without a word.",
        next_step=f"Open {name} in the Dagster UI under Automation for the tick's traceback.",
        at=_moment(tick.timestamp),
    )


def _innermost(error: Any) -> str:
    """The first cause's message, in one line."""
    while error.cause is not None:
        error = error.cause
    return " ".join(error.message.split())[:500]


def _class_of(event: "dg.DagsterEvent") -> str:
    data = event.step_failure_data
    return data.error.cls_name or "" if data and data.error else ""


def _runbook(place: str) -> str:
    """The section of the runbook on what failed; the one on failed runs where there is no better one."""
    subjects = {
        "story_draft": "content-generation-failure",
        "quality_score": "content-generation-failure",
        "story_image": "image-loading-problems",
        "image_library": "image-loading-problems",
        "image_delivery": "image-loading-problems",
        "database_schema": "database-issues",
        "database_health": "database-issues",
        "database_backup": "backups",
    }
    return subjects.get(place, "")


def _runs(state: "InstigatorState") -> bool:
    return bool(state.is_running)


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
