"""A newsroom with a year behind it: every report, command, sensor and schedule answers, in short, and with what is so.

Its database keeps the time of a zone whose summer begins at midnight: a day there without a first hour is no day less.
"""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from command import threadjuice
from history import A_DAY, CENTS, DAYS, ERRORS_A_DAY, INCIDENTS, live_a_year, measured, statuses

from threadjuice_dagster.assets.publication.review_desk import review_desk
from threadjuice_dagster.assets.upkeep.backups import expired_backups
from threadjuice_dagster.cli.maintenance import clean_up
from threadjuice_dagster.cli.session import NewsroomSession, open_session
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.definitions import build_definitions
from threadjuice_dagster.failures import PermanentFailure, UsageError
from threadjuice_dagster.operations.deployment.store import Deployments
from threadjuice_dagster.operations.engagement.store import ViewCounts, through
from threadjuice_dagster.operations.monitoring.generation_store import spent_by_day
from threadjuice_dagster.settings import load_settings

TABLE_ROWS, TEXT = 100, 20_000
"""Rows and characters that a report of any newsroom keeps to."""


class Year:
    """A newsroom that was filled at ``now``; Dagster knows the sizes its database had."""

    def __init__(self, newsroom: NewsroomSession, variables: dict[str, str], now: datetime) -> None:
        self.newsroom, self.variables, self.now, self.today = newsroom, variables, now, now.date()

    @property
    def store(self) -> Store:
        return self.newsroom.store

    def command(self, *arguments: str) -> Any:
        """What a command prints; none of them may end in anything unforeseen."""
        code, document, said = threadjuice(*arguments, **self.variables)
        assert code in (0, 1), said
        assert "error" not in document, document
        return document

    def report(self, job: str, day: date | None = None, **config: Any) -> dict[str, dict[str, Any]]:
        """What a job's assets say of a day, by asset."""
        key = {"partition_key": f"{day:%Y-%m-%d}"} if day else {}
        result = self.newsroom.execute(job, **key, run_config=config)
        assert result.success
        return {event.asset_key.path[-1]: told(event) for event in result.get_asset_materialization_events()}  # type: ignore[union-attr]


def told(event: dg.DagsterEvent) -> dict[str, Any]:
    """The metadata of a report, which are short whatever they are about."""
    found = event.step_materialization_data.materialization.metadata
    for name, value in found.items():
        if isinstance(value, dg.TableMetadataValue):
            assert len(value.records) <= TABLE_ROWS, name
        assert len(str(value.value)) <= TEXT, name
    return {name: value.value for name, value in found.items()}


@pytest.fixture(scope="module")
def year(shared_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    before = dict(os.environ)
    home = tmp_path_factory.mktemp("year")
    variables = {"DATABASE_URL": shared_url, "THREADJUICE_HOME": str(home), "DATABASE_POOL_SIZE": "2"}
    os.environ.update(variables)
    store = open_store(app_url(shared_url), 2)
    with store.engine.begin() as connection:
        name = connection.engine.url.database
        connection.exec_driver_sql(f"ALTER DATABASE \"{name}\" SET timezone = 'America/Santiago'")
    store.engine.dispose()
    now = live_a_year(store, home / "cdn", f"folder {home / 'deployment'}")
    with open_session(load_settings()) as newsroom:
        measured(newsroom.instance)
        variables |= {name: os.environ[name] for name in ("DAGSTER_HOME", "DAGSTER_DATABASE_URL")}
        yield Year(newsroom, variables, now)
    store.engine.dispose()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _environment(year: Year, monkeypatch: pytest.MonkeyPatch, _clean_environment: None) -> None:
    for name, value in year.variables.items():
        monkeypatch.setenv(name, value)


def test_the_figures_of_today_are_those_of_today(year: Year) -> None:
    found = year.report("monitoring_job", year.today)
    assert set(found) == {
        *("database_health", "generation_metrics", "image_delivery", "engagement_metrics", "error_report"),
        "environment_report",
    }
    of_day = statuses(1)
    generation = found["generation_metrics"]
    assert (generation["stories"], generation["published"]) == (of_day.total(), of_day["published"])
    assert generation["cost_usd"] == pytest.approx(of_day.total() * sum(CENTS.values()) / 100)
    assert found["error_report"]["errors"] == found["error_report"]["causes"] == ERRORS_A_DAY
    assert found["database_health"]["growth MB"] == pytest.approx(found["database_health"]["size MB"] - 99, abs=0.01)
    assert found["image_delivery"]["wrong"] == 0
    assert found["image_delivery"]["stories"] == 8


@pytest.mark.parametrize("days_ago", [1, 100, 364])
def test_the_figures_of_any_day_can_be_had_again(year: Year, days_ago: int) -> None:
    found = year.report("monitoring_job", year.today - timedelta(days=days_ago))
    of_day = statuses(days_ago + 1) - statuses(days_ago)
    generation = found["generation_metrics"]
    expected = {"published": of_day["published"] + of_day["withdrawn"], "held": of_day["held"]}
    assert {name: generation[name] for name in expected} == expected
    assert generation["rejected"] == of_day["rejected"]
    assert found["error_report"]["errors"] == ERRORS_A_DAY
    assert sum(int(one.data["count"]) for one in found["error_report"]["by cause"].records) == ERRORS_A_DAY


def test_plots_of_many_days_have_every_day_once(year: Year) -> None:
    engine, before = year.store.engine, DAYS - 1
    spent = spent_by_day(engine, year.today, before)
    assert spent == pytest.approx([0.06 * A_DAY] * before + [0.06 * (A_DAY - 1)])
    views = ViewCounts(through(engine)).views(year.today, before)
    assert [row.day for row in views] == [year.today - timedelta(days=days) for days in range(before, -1, -1)]
    with engine.connect() as connection:
        all_views = connection.scalar(sa.text("SELECT sum(count) FROM engagement WHERE event = 'view'"))
    assert sum(row.views for row in views) == all_views


def test_the_desk_says_how_many_wait_and_shows_the_newest(year: Year) -> None:
    definitions = {name: one for name, one in year.newsroom.resources.items() if name in ("database", "publisher")}
    result = dg.materialize([review_desk], resources=definitions, instance=year.newsroom.instance)
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert (metadata["held"].value, metadata["rejected"].value) == (statuses()["held"], statuses()["rejected"])
    shown = str(metadata["stories"].value)
    assert shown.count("(held, ") + shown.count("(rejected, ") == 50


@pytest.mark.parametrize("job", ["takedowns_job", "validate_content_job", "prune_runs_job"])
def test_upkeep_of_every_kind_ends_well(year: Year, job: str) -> None:
    year.report(job)


def test_a_clock_that_is_a_day_ahead_deletes_nothing_and_is_told(year: Year, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("upkeep.cleanup", "upkeep.backups", "publication.takedowns", "monitoring.database_health"):
        monkeypatch.setattr(f"threadjuice_dagster.assets.{module}.now", lambda: datetime.now(UTC) + timedelta(days=1))
    ahead = r"clock is 1 d 0 h ahead of the database server's"
    with pytest.raises(PermanentFailure, match=ahead):
        clean_up(year.newsroom, dry_run=False, force=False)
    assert not year.newsroom.execute("prune_runs_job").success
    assert "ahead" in year.report("takedowns_job")["takedowns"]["held back"]
    resources = {name: year.newsroom.resources[name] for name in ("database", "backup_service")}
    result = dg.materialize([expired_backups], partition_key=f"{year.today}", resources=resources)
    (event,) = result.get_asset_materialization_events()
    assert (told(event)["deleted"], told(event)["databases dropped"]) == (0, 0)
    found = {one["name"]: one for one in year.command("diagnose", "database")["findings"]}
    assert found["clocks_agree"]["state"] == "failed"
    assert "NTP" in found["clocks_agree"]["next_step"]


def test_a_newsroom_that_stood_still_is_not_cleaned_up_unasked(year: Year, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = datetime.now(UTC) - timedelta(days=5)
    monkeypatch.setattr("threadjuice_dagster.operations.clock.clocks", lambda engine: (datetime.now(UTC), stopped))
    with pytest.raises(PermanentFailure, match="Nothing was written for 5 days") as failed:
        clean_up(year.newsroom, dry_run=False, force=False)
    assert "--force" in failed.value.next_step
    with pytest.raises(PermanentFailure, match="no proven backup"):
        clean_up(year.newsroom, dry_run=False, force=True)


def test_every_command_that_tells_the_state_of_things_does(year: Year) -> None:
    assert year.command("status")["stories"] == dict(statuses())
    for subject in ("generation", "database", "images"):
        found = {one["name"]: one["state"] for one in year.command("diagnose", subject)["findings"]}
        assert found["database"] == "ok"
    listed = year.command("alerts", "list", "--all")
    assert len(listed["incidents"]) + listed["more"] >= INCIDENTS
    sources = {one["cause"].partition(":")[0] for one in year.command("watch")["incidents"]}
    assert sources.isdisjoint({"tick", "freshness", "duration", "outage"})
    assert sources > {"check", "daemon"}
    assert len(year.command("content", "list", "--status", "held")["stories"]) == statuses()["held"]
    assert {row["state"] for row in year.command("deploy", "check")["rows"]} <= {"ok", "stand-in", "warning"}
    assert year.command("deploy", "history")["deployments"][0]["state"] == "live"


def test_the_weeks_upkeep_takes_a_backup_that_is_the_newest_from_then_on(year: Year) -> None:
    done = year.command("maintenance", "full")
    assert {one["state"] for one in done["assets"]} == {"done"}
    assert "backup_is_recent" not in {one["name"] for one in done["checks"]}
    (stored,) = year.command("database", "backups")["backups"]
    newest = year.command("diagnose", "database")["findings"]
    assert {one["state"] for one in newest if one["name"] == "backup_is_recent"} == {"ok"}
    assert any(stored["id"] in one["message"] for one in newest)


def test_a_deployment_that_shows_what_was_taken_down_is_not_gone_back_to_however_many_came_after_it(
    year: Year,
) -> None:
    book = Deployments(year.store, year.newsroom.resources["deployment_service"].deployer.place)
    with year.store.engine.begin() as connection:
        event = {"story": "year-1459", "at": year.now - timedelta(days=200, hours=12)}
        taken_down = "INSERT INTO events (kind, story_id, at) VALUES ('story_taken_down', :story, :at)"
        connection.execute(sa.text(taken_down), event)
    with pytest.raises(UsageError, match="taken down"):
        book.restorable("deployment-361")
    assert book.restorable("deployment-198").platform_id == "deployment-198"
    assert book.restorable("previous").platform_id == "deployment-1"


def test_every_sensor_and_schedule_ticks(year: Year) -> None:
    definitions = build_definitions(load_settings(), year.newsroom.resources)
    repository = definitions.get_repository_def()
    for sensor in repository.sensor_defs:
        needed = {name: year.newsroom.resources[name] for name in sensor.required_resource_keys}
        with dg.build_sensor_context(year.newsroom.instance, resources=needed, definitions=definitions) as context:
            assert sensor(context) is not None, sensor.name
    for schedule in repository.schedule_defs:
        given = {"scheduled_execution_time": year.now, "repository_def": repository}
        with dg.build_schedule_context(year.newsroom.instance, **given) as context:
            assert schedule.evaluate_tick(context).run_requests, schedule.name
    assert {sensor.name for sensor in repository.sensor_defs} > {"site_sensor", "failed_run_alert_sensor"}
    assert datetime.now(UTC) > year.now
