"""What starts imports: files in the inbox; and imported stories that nobody has checked yet."""

import time

import dagster as dg

from threadjuice_dagster.jobs import import_stories_job, validate_content_job
from threadjuice_dagster.operations.imports.inbox import QUIET_SECONDS, Inbox
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import Storage

PAUSE_SECONDS = 300
"""After a run that failed."""


@dg.sensor(
    jobs=[import_stories_job, validate_content_job],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Imports files put into the inbox, then checks what was imported and hands over what passed.",
)
def import_inbox_sensor(
    context: dg.SensorEvaluationContext, database: Database, inbox: Storage
) -> dg.RunRequest | dg.SkipReason:
    """Start an import where a whole file waits, else a validation where imported stories are unchecked."""
    from threadjuice_dagster.operations.imports.validation import Validation

    if reason := _why_to_wait(context.instance):
        return dg.SkipReason(reason)
    ready, refused = _count_files(inbox, database)
    if ready:
        return dg.RunRequest(job_name=import_stories_job.name)
    if Validation(database.store).has_work():
        return dg.RunRequest(job_name=validate_content_job.name)
    left = f" {refused} files that could not be taken are left alone." if refused else ""
    return dg.SkipReason(f"The inbox is empty, and every imported story was checked and handed over.{left}")


def _why_to_wait(instance: dg.DagsterInstance) -> str:
    """Return why no run is started now: another is running, or one failed a moment ago; else an empty text."""
    for job in (import_stories_job.name, validate_content_job.name):
        for record in instance.get_run_records(dg.RunsFilter(job_name=job), limit=1):
            if not record.dagster_run.is_finished:
                return f"{job} is still running."
            if record.dagster_run.is_failure and 0 <= time.time() - (record.end_time or 0) < PAUSE_SECONDS:
                return f"{job} failed; it is tried again after {PAUSE_SECONDS // 60} minutes."
    return ""


def _count_files(inbox: Storage, database: Database) -> tuple[int, int]:
    """Return how many files are whole and untried, and how many could not be taken when they were tried."""
    from threadjuice_dagster.operations.imports.inbox import passed_over

    box, moment = Inbox(inbox), time.time()
    marks = {file.mark for file in box.waiting() if box.is_quiet(file, QUIET_SECONDS, moment)}
    refused = passed_over(database.store.engine, sorted(marks))
    return len(marks - refused), len(refused)
