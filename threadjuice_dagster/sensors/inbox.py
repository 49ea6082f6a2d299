"""From files in the inbox to stories, and from imported stories to checked ones."""

import time

import dagster as dg

from threadjuice_dagster.jobs import import_stories_job, validate_content_job
from threadjuice_dagster.operations.imports.inbox import QUIET_SECONDS, Inbox
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import Storage

PAUSE_SECONDS = 300
"""After a run that failed."""

_JOBS = ("import_stories_job", "validate_content_job")


def inbox_sensor(status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor that imports what is put into the inbox, and has imported stories checked and handed over."""

    @dg.sensor(
        name="import_inbox_sensor",
        jobs=[import_stories_job, validate_content_job],
        minimum_interval_seconds=30,
        default_status=status,
        description="Imports files put into the inbox, then checks what was imported and hands over what passed.",
    )
    def import_inbox_sensor(
        context: dg.SensorEvaluationContext, database: Database, inbox: Storage
    ) -> dg.RunRequest | dg.SkipReason:
        if busy := _busy(context.instance):
            return dg.SkipReason(busy)
        ready, known = _ready(inbox, database)
        if ready:
            return dg.RunRequest(job_name=import_stories_job.name)
        from threadjuice_dagster.operations.imports.validation import Validation

        if Validation(database.store).has_work():
            return dg.RunRequest(job_name=validate_content_job.name)
        left = f" {known} files that could not be taken are left alone." if known else ""
        return dg.SkipReason(f"The inbox is empty, and every imported story was checked and handed over.{left}")

    return import_inbox_sensor


def _busy(instance: dg.DagsterInstance) -> str:
    """Why nothing is started now: one run at a time, and a pause after one that failed."""
    for job in _JOBS:
        for record in instance.get_run_records(dg.RunsFilter(job_name=job), limit=1):
            if not record.dagster_run.is_finished:
                return f"{job} is still running."
            if record.dagster_run.is_failure and 0 <= time.time() - (record.end_time or 0) < PAUSE_SECONDS:
                return f"{job} failed; it is tried again after {PAUSE_SECONDS // 60} minutes."
    return ""


def _ready(inbox: Storage, database: Database) -> tuple[int, int]:
    """Files that are there in full and were not tried yet, and those that could not be taken as they are."""
    from threadjuice_dagster.operations.imports.inbox_store import passed_over

    box, moment = Inbox(inbox), time.time()
    marks = {file.mark for file in box.waiting() if box.is_quiet(file, QUIET_SECONDS, moment)}
    known = passed_over(database.store.engine, sorted(marks))
    return len(marks - known), len(known)
