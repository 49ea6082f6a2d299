"""The newsroom's timetable. A schedule that names no time zone follows THREADJUICE_TIMEZONE.

Outside a developer's machine schedules run by default; ``definitions.py`` sets that, and the time zone. What a schedule
starts belongs in ``jobs.py``.
"""

from collections.abc import Mapping
from datetime import UTC, timedelta

import dagster as dg

from threadjuice_dagster import jobs


@dg.schedule(
    job=jobs.discover_stories_job,
    cron_schedule="0 9 * * *",
    description="Every day at 09:00: find threads and assign DAILY_STORY_COUNT stories.",
)
def daily_stories_0900() -> dg.RunRequest:
    """Discover threads and assign the day's stories; ``story_assignment_sensor`` has them written."""
    return dg.RunRequest()


@dg.schedule(
    job=jobs.backup_job,
    cron_schedule="0 3 * * *",
    description="Every day at 03:00: back the database up, prove it by a restore, prune by BACKUP_RETENTION.",
)
def daily_backup_0300(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Back up once a local day, for the day that it then is in UTC."""
    return _run_of_the_day(context)


@dg.schedule(
    job=jobs.maintenance_job,
    cron_schedule="0 2 * * 0",
    description="Every Sunday at 02:00: back up, clean up, mend pictures, measure. A step that fails stops the rest.",
)
def weekly_maintenance_sunday_0200(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Back up, clean up, sweep the pictures and measure, one after the other."""
    return _run_of_the_day(context, jobs.MAINTENANCE)


@dg.schedule(
    job=jobs.prune_runs_job,
    cron_schedule="0 5 * * 0",
    description="Every Sunday at 05:00: delete runs older than RUN_RETENTION_DAYS.",
)
def weekly_pruning_sunday_0500() -> dg.RunRequest:
    """Prune Dagster's own history, after the upkeep."""
    return dg.RunRequest()


@dg.schedule(
    job=jobs.monitoring_job,
    cron_schedule="0 * * * *",
    execution_timezone="UTC",
    description="Every hour: measure database, generation, pictures, errors and readers; ask every outside system.",
)
def hourly_monitoring(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Measure the day that goes on, at midnight the one that just ended: each day's last run is after its end."""
    moment = context.scheduled_execution_time.astimezone(UTC)
    day = moment - timedelta(minutes=1)
    return dg.RunRequest(run_key=f"{moment:%Y-%m-%dT%H:%M}", partition_key=f"{day:%Y-%m-%d}")


def _run_of_the_day(context: dg.ScheduleEvaluationContext, config: Mapping[str, object] | None = None) -> dg.RunRequest:
    """Return a request that is made once a local day; its partition is the day in UTC."""
    moment = context.scheduled_execution_time
    return dg.RunRequest(
        run_key=f"{moment:%Y-%m-%d}", partition_key=f"{moment.astimezone(UTC):%Y-%m-%d}", run_config=config
    )
