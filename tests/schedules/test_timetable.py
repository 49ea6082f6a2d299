"""What schedules ask for through a year of any zone: each day's work once, whatever the zone does with its hours."""

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from threadjuice_dagster.definitions import build_definitions
from threadjuice_dagster.schedules import timetable
from threadjuice_dagster.settings import load_settings

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 365
ZONES = (
    "UTC",
    "Europe/Berlin",  # two o'clock is left out in spring and comes twice in autumn
    "America/Santiago",  # midnight is left out
    "Australia/Lord_Howe",  # half an hour
    "Asia/Kolkata",  # its hours begin at half past ours
    "Pacific/Auckland",  # its morning is the day before in UTC
    "America/St_Johns",
)


def schedule_in(zone: str, name: str) -> dg.ScheduleDefinition:
    """A schedule as it is loaded with this time zone."""
    schedule = build_definitions(load_settings({"THREADJUICE_TIMEZONE": zone})).resolve_schedule_def(name)
    return cast(dg.ScheduleDefinition, schedule)


def moments(schedule: dg.ScheduleDefinition, days: int = DAYS) -> list[datetime]:
    """When a schedule ticks."""
    zone, end = schedule.execution_timezone or "UTC", BEGIN + timedelta(days=days)
    ticks = schedule_execution_time_iterator(BEGIN.timestamp(), str(schedule.cron_schedule), zone, True)
    return list(itertools.takewhile(lambda moment: moment.astimezone(UTC) < end, ticks))


def asked(schedule: dg.ScheduleDefinition, days: int = DAYS) -> list[tuple[datetime, dg.RunRequest]]:
    """The runs a schedule asks for, with their moments."""
    found = []
    for moment in moments(schedule, days):
        with dg.build_schedule_context(scheduled_execution_time=moment) as context:
            found.append((moment, cast(dg.RunRequest, getattr(timetable, schedule.name)(context))))
    return found


@pytest.mark.parametrize("zone", ZONES)
def test_every_day_of_a_year_has_its_stories_and_its_backup_once(zone: str) -> None:
    for schedule in (schedule_in(zone, "daily_stories_0900"), schedule_in(zone, "daily_backup_0300")):
        days = Counter(moment.astimezone(ZoneInfo(zone)).date() for moment in moments(schedule))
        assert set(days.values()) == {1}, schedule.name
        assert max(days) - min(days) == timedelta(days=len(days) - 1)
        assert len(days) in (DAYS, DAYS + 1)
    backups = [request.run_key for _, request in asked(schedule_in(zone, "daily_backup_0300"))]
    assert len(set(backups)) == len(backups)


@pytest.mark.parametrize("zone", ZONES)
def test_every_week_of_a_year_has_its_upkeep_once(zone: str) -> None:
    runs = asked(schedule_in(zone, "weekly_maintenance_sunday_0200"))
    assert len({request.run_key for _, request in runs}) == len(runs)
    weeks = Counter(tuple(moment.astimezone(ZoneInfo(zone)).isocalendar())[:2] for moment, _ in runs)
    assert set(weeks.values()) == {1}
    assert len(weeks) == 52


def test_every_hour_of_utc_is_measured_once_and_each_day_last_when_it_is_over() -> None:
    runs = asked(schedule_in("Europe/Berlin", "hourly_monitoring"), days=40)
    assert len({request.run_key for _, request in runs}) == len(runs) == 40 * 24
    last = {request.partition_key: moment.astimezone(UTC) for moment, request in runs}
    for day, moment in list(last.items())[:-1]:
        assert moment == datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
