"""What readers did, summed up while the day goes on."""

from datetime import UTC, timedelta

import dagster as dg

from threadjuice_dagster.jobs import engagement_job


def hourly_engagement(status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """Every hour the day it was an hour ago, in UTC: so each day's last run is after its end."""

    @dg.schedule(
        name="hourly_engagement",
        job=engagement_job,
        cron_schedule="5 * * * *",
        execution_timezone="UTC",
        default_status=status,
        description="Every hour: sum up what readers did on the day, and after midnight on the day that ended.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        moment = context.scheduled_execution_time.astimezone(UTC)
        return dg.RunRequest(run_key=f"{moment:%Y-%m-%dT%H}", partition_key=f"{moment - timedelta(hours=1):%Y-%m-%d}")

    return schedule
