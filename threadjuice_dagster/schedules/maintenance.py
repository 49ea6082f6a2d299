"""The week's upkeep."""

from datetime import UTC
from zoneinfo import ZoneInfo

import dagster as dg

from threadjuice_dagster.jobs import MAINTENANCE, maintenance_job, prune_runs_job


def weekly_maintenance(timezone: str, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """Backup, clean-up, image sweep and figures on Sunday at two, one after the other."""

    @dg.schedule(
        name="weekly_maintenance_sunday_0200",
        job=maintenance_job,
        cron_schedule="0 2 * * 0",
        execution_timezone=timezone,
        default_status=status,
        description="Every Sunday at 02:00: back up, clean up, mend pictures, measure. What fails keeps back the rest.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        moment = context.scheduled_execution_time
        day, key = (f"{moment.astimezone(zone):%Y-%m-%d}" for zone in (UTC, ZoneInfo(timezone)))
        return dg.RunRequest(run_key=key, partition_key=day, run_config=MAINTENANCE)

    return schedule


def weekly_pruning(timezone: str, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """Dagster's own history, after the upkeep."""
    return dg.ScheduleDefinition(
        name="weekly_pruning_sunday_0500",
        job=prune_runs_job,
        cron_schedule="0 5 * * 0",
        execution_timezone=timezone,
        default_status=status,
        description="Every Sunday at 05:00: delete runs older than RUN_RETENTION_DAYS.",
    )
