"""How old what matters may become before somebody is told, and which schedule it is that keeps it young."""

from datetime import timedelta
from typing import NamedTuple

import dagster as dg


class Fresh(NamedTuple):
    """A promise: ``made_by`` makes the asset in time. While that schedule is off, nobody promised anything."""

    policy: dg.FreshnessPolicy
    made_by: str
    told: str


def _within(hours: int, made_by: str) -> Fresh:
    window = timedelta(hours=hours)
    policy = dg.FreshnessPolicy.time_window(fail_window=window, warn_window=window - timedelta(hours=1))
    return Fresh(policy, made_by, f"{made_by} should make it at least every {hours} hours")


FRESH = {
    "database_backup": _within(26, "daily_backup_0300"),
    "story_assignments": _within(26, "daily_stories_0900"),
    "site": _within(27, "daily_stories_0900"),
    **{
        name: _within(3, "hourly_monitoring")
        for name in ("database_health", "generation_metrics", "image_delivery", "engagement_metrics", "error_report")
    },
}
