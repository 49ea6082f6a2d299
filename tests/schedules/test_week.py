"""A week of the daemon under a clock moved by hand: what is started, in which order, and nothing twice."""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs

from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.settings import load_settings

BEGIN = datetime(2026, 10, 19, 22, 0, tzinfo=UTC)
"""A Tuesday's midnight in Berlin, where clocks go back an hour on the Sunday: two o'clock comes twice."""

HOURS = 7 * 24
OUTAGE = range(50, 74)
"""Hours in which no daemon runs: from Thursday at two in the morning to Friday at two."""

log = logging.getLogger(__name__)


@pytest.fixture
def daemon(
    newsroom_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkspaceProcessContext]:
    monkeypatch.setenv("THREADJUICE_ENV", "production")
    monkeypatch.setenv("THREADJUICE_TIMEZONE", "Europe/Berlin")
    monkeypatch.setenv("IMAGE_PROVIDERS", "title_card")
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(module_name="threadjuice_dagster.definitions", working_directory=str(tmp_path)),
        location_name="threadjuice",
    )
    with (
        open_instance(load_settings()) as instance,
        create_test_daemon_workspace_context(InProcessWorkspaceLoadTarget(origin), instance) as context,
    ):
        leave_out_the_hours(context)
        yield context


def leave_out_the_hours(daemon: WorkspaceProcessContext) -> None:
    """Stop ``hourly_monitoring``: what it asks for is seen in ``tests/test_clock_changes.py``."""
    (location,) = daemon.create_request_context().code_locations
    (repository,) = location.get_repositories().values()
    hourly = repository.get_schedule("hourly_monitoring")
    daemon.instance.stop_schedule(hourly.get_remote_origin_id(), hourly.selector_id, hourly)


def test_a_week_starts_what_it_should_once_through_a_change_of_clocks_and_a_dead_daemon(
    daemon: WorkspaceProcessContext,
) -> None:
    instance, known = daemon.instance, {}
    for hour in range(HOURS):
        if hour in OUTAGE:
            continue
        moment = BEGIN + timedelta(hours=hour, seconds=5)
        with freeze_time(moment):
            list(launch_scheduled_runs(daemon, log, moment, known))
            if hour % 12 == 0:
                list(execute_sensor_iteration(daemon, log, None, None))
        _end_queued_runs(instance)
    runs = list(reversed(instance.get_runs()))
    started = Counter(run.job_name for run in runs)
    assert started["discover_stories_job"] == 7
    assert started["backup_job"] == 7  # Thursday's was missed, and made up for on Friday
    assert started["maintenance_job"] == started["prune_runs_job"] == 1
    assert started["takedowns_job"] == (HOURS - len(OUTAGE)) // 12
    assert set(started) <= {
        *("discover_stories_job", "backup_job", "maintenance_job", "prune_runs_job"),
        *("takedowns_job", "site_job"),
    }
    keys = [(run.job_name, run.tags["dagster/run_key"]) for run in runs if "dagster/run_key" in run.tags]
    assert len(keys) == len(set(keys))
    (week,) = [run for run in runs if run.job_name == "maintenance_job"]
    assert week.tags["dagster/partition"] == "2026-10-25"
    assert week.run_config["ops"]["content_cleanup"]["config"]["dry_run"] is False
    days = [run.tags["dagster/partition"] for run in runs if run.job_name == "backup_job"]
    assert days == sorted(days)
    assert days == [f"2026-10-{day}" for day in range(20, 27)]
    failed = [
        (state.instigator_name, tick.error)
        for state in instance.all_instigator_state()
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, statuses=[TickStatus.FAILURE])
    ]
    assert failed == []


def test_a_clock_that_goes_a_day_ahead_and_back_starts_nothing_twice_and_misses_no_day(
    daemon: WorkspaceProcessContext,
) -> None:
    for hour in (0, 4, 10, 34, 38, 14, 26, 28, 34, 50, 52, 58):  # after ten hours it goes a day ahead, and then back
        moment = BEGIN + timedelta(hours=hour, seconds=5)
        with freeze_time(moment):
            list(launch_scheduled_runs(daemon, log, moment, {}))
    runs = daemon.instance.get_runs()
    days = [run.tags["dagster/partition"] for run in runs if run.job_name == "backup_job"]
    assert sorted(days) == ["2026-10-20", "2026-10-21", "2026-10-22"]
    assert sum(run.job_name == "discover_stories_job" for run in runs) == 3


def _end_queued_runs(instance: dg.DagsterInstance) -> None:
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
        instance.report_dagster_event(_success(run), run.run_id)


def _success(run: dg.DagsterRun) -> dg.DagsterEvent:
    return dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.PIPELINE_SUCCESS.value, job_name=run.job_name, message="done"
    )
