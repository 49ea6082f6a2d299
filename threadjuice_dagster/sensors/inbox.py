"""From files in the inbox to stories, and from imported stories to checked ones."""

import time
from pathlib import Path

import dagster as dg

from threadjuice_dagster.assets.imports import waiting_files
from threadjuice_dagster.jobs import import_stories_job, validate_content_job
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import FolderStorage, Storage

QUIET_SECONDS = 5
"""How long a file in the folder must have been left alone: a shorter time, and somebody may still be writing it."""

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
        if any(_is_quiet(inbox, key) for key in waiting_files(inbox)):
            return dg.RunRequest(job_name=import_stories_job.name)
        from threadjuice_dagster.database.validation import Validation

        if Validation(database.store).has_work():
            return dg.RunRequest(job_name=validate_content_job.name)
        return dg.SkipReason("The inbox is empty, and every imported story was checked and handed over.")

    return import_inbox_sensor


def _busy(instance: dg.DagsterInstance) -> str:
    """Why nothing is started now: one run at a time, and a pause after one that failed."""
    for job in _JOBS:
        for record in instance.get_run_records(dg.RunsFilter(job_name=job), limit=1):
            if not record.dagster_run.is_finished:
                return f"{job} is still running."
            if record.dagster_run.is_failure and time.time() - (record.end_time or 0) < PAUSE_SECONDS:
                return f"{job} failed; it is tried again after {PAUSE_SECONDS // 60} minutes."
    return ""


def _is_quiet(inbox: Storage, key: str) -> bool:
    """Whether a file is there in full; in a bucket every one is."""
    if not isinstance(inbox, FolderStorage):
        return True
    path = Path(inbox.root) / key
    return path.exists() and time.time() - path.stat().st_mtime >= QUIET_SECONDS
