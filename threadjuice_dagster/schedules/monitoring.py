"""The newsroom measured, hour by hour."""

from datetime import UTC, timedelta

import dagster as dg

from threadjuice_dagster.jobs import monitoring_job


def hourly_monitoring(status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """Every hour of UTC the day that is ending or going on: so each day's last run is after its end."""

    @dg.schedule(
        name="hourly_monitoring",
        job=monitoring_job,
        cron_schedule="0 * * * *",
        execution_timezone="UTC",
        default_status=status,
        description="Every hour: measure database, generation, pictures, errors and readers; ask every outside system.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        moment = context.scheduled_execution_time.astimezone(UTC)
        day = moment - timedelta(minutes=1)
        return dg.RunRequest(run_key=f"{moment:%Y-%m-%dT%H:%M}", partition_key=f"{day:%Y-%m-%d}")

    return schedule
