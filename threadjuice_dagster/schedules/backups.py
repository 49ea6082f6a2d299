"""The day's backup."""

from datetime import UTC
from zoneinfo import ZoneInfo

import dagster as dg

from threadjuice_dagster.jobs import backup_job


def daily_backup(timezone: str, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """Back up at three, for the day it is then in UTC; proven by a restore, and old ones deleted."""

    @dg.schedule(
        name="daily_backup_0300",
        job=backup_job,
        cron_schedule="0 3 * * *",
        execution_timezone=timezone,
        default_status=status,
        description="Every day at 03:00: back the database up, prove it by a restore, prune by BACKUP_RETENTION.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        moment = context.scheduled_execution_time
        day, key = (f"{moment.astimezone(zone):%Y-%m-%d}" for zone in (UTC, ZoneInfo(timezone)))
        return dg.RunRequest(run_key=key, partition_key=day)

    return schedule
