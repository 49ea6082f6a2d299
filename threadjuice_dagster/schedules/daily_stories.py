"""The day's stories."""

import dagster as dg

from threadjuice_dagster.jobs import discover_stories_job


def daily_stories(timezone: str, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """Discover and assign the day's stories at nine; ``story_assignment_sensor`` has them written."""
    return dg.ScheduleDefinition(
        name="daily_stories_0900",
        job=discover_stories_job,
        cron_schedule="0 9 * * *",
        execution_timezone=timezone,
        default_status=status,
        description="Every day at 09:00: find threads and assign DAILY_STORY_COUNT stories.",
    )
