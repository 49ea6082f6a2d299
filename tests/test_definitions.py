"""The code location: it loads, its graph is the one described, nothing is empty, and no secret shows."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import dagster as dg
import pytest

from threadjuice_dagster import jobs
from threadjuice_dagster.assets.deployment.checklist import BEFORE
from threadjuice_dagster.definitions import build_definitions
from threadjuice_dagster.domain.judging.gates import GATES
from threadjuice_dagster.instance import POOLS
from threadjuice_dagster.settings import load_settings

EDGES = {
    "database_schema": set(),
    "editorial_catalogue": {"database_schema"},
    "threads": set(),
    "story_assignments": {"threads"},
    "story_draft": {"story_assignments"},
    "quality_score": {"story_draft"},
    "story_image": {"story_draft", "quality_score"},
    "image_library": {"published_story", "content_cleanup"},
    "published_story": {"story_draft", "quality_score", "story_image"},
    "imported_stories": set(),
    "content_validation": {"imported_stories"},
    "review_desk": {"quality_score"},
    "takedowns": set(),
    "database_backup": {"database_schema"},
    "expired_backups": {"database_backup"},
    "content_cleanup": {"database_backup"},
    "environment_report": set(),
    "site": {"published_story", "database_schema"},
    "staged_deployment": {"site"},
    "production_deployment": {"staged_deployment"},
    "engagement_metrics": {"site"},
    "database_health": {"expired_backups", "content_cleanup"},
    "generation_metrics": {"site"},
    "image_delivery": {"image_library"},
    "error_report": set(),
}
SCHEDULES = {
    "daily_stories_0900",
    "daily_backup_0300",
    "weekly_maintenance_sunday_0200",
    "weekly_pruning_sunday_0500",
    "hourly_monitoring",
}
SENSORS = {
    "story_assignment_sensor",
    "import_inbox_sensor",
    "site_sensor",
    "takedown_sensor",
    "failed_run_alert_sensor",
    "failed_check_alert_sensor",
    "failed_tick_alert_sensor",
    "overdue_alert_sensor",
}
SECRETS = {
    "OPENAI_API_KEY": "sk-hunter2-openai",
    "REDDIT_CLIENT_ID": "hunter2-reddit-id",
    "REDDIT_CLIENT_SECRET": "hunter2-reddit",
    "UNSPLASH_ACCESS_KEY": "hunter2-unsplash",
    "MONITORING_WEBHOOK": "https://hooks.example/hunter2",
    "VERCEL_TOKEN": "hunter2-vercel",
    "VERCEL_AUTOMATION_BYPASS_SECRET": "hunter2-automation",
    "VERCEL_PROTECTION_BYPASS": "hunter2-bypass",
    "DATABASE_REPLICA_URL": "postgresql://hunter2:hunter2@127.0.0.1:1/none",
    "BACKUP_ENCRYPTION_KEY": "age-secret-key-1hunter2qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqm5k35e",
    "OPENAI_API_KEY_NEXT": "sk-hunter2-next",
    "MONITORING_WEBHOOK_SECRET": "hunter2-webhook",
}


@pytest.fixture
def definitions() -> dg.Definitions:
    return build_definitions(load_settings({}))


def test_the_graph_is_the_one_described(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found = {
        key.path[-1]: {parent.path[-1] for parent in graph.get(key).parent_keys} for key in graph.get_all_asset_keys()
    }
    assert found == EDGES


def test_checks_schedules_sensors_and_jobs_are_found_in_their_folders(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert {schedule.name for schedule in repository.schedule_defs} == SCHEDULES
    assert {sensor.name for sensor in repository.sensor_defs} == SENSORS
    assert len(definitions.resolve_asset_graph().asset_check_keys) >= 37
    written = re.findall(r"^(\w+_job) = |^def (\w+_job)\(", Path(jobs.__file__).read_text(), re.MULTILINE)
    assert {job.name for job in definitions.jobs or []} == {first or second for first, second in written}


def test_dg_checks_and_lists_the_definitions(tmp_path: Path) -> None:
    environment = {**os.environ, "THREADJUICE_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    program = str(Path(sys.executable).with_name("dg"))

    def run(*arguments: str) -> str:
        root = Path(__file__).parents[1]
        return subprocess.run(
            [program, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert "All definitions loaded successfully" in run("check", "defs")
    listed = json.loads(run("list", "defs", "--json"))
    assert {asset["key"] if "key" in asset else asset["asset_key"] for asset in listed["assets"]} == set(EDGES)


def test_every_pool_of_a_step_is_declared(definitions: dg.Definitions) -> None:
    named = {op.pool for asset in definitions.resolve_asset_graph().assets_defs for op in [asset.op] if op.pool}
    assert named == set(POOLS)


def test_processes_that_declare_the_pools_together_all_succeed(newsroom_environment: dict[str, str]) -> None:
    code = (
        "from threadjuice_dagster.cli.session import open_session\n"
        "from threadjuice_dagster.settings import load_settings\n"
        "with open_session(load_settings()) as newsroom:\n"
        "    newsroom.run('prepare_database_job'); print(len(newsroom.instance.event_log_storage.get_pool_limits()))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=120)[0].strip() for process in processes] == [str(len(POOLS))] * 4


def test_every_gate_is_a_blocking_check(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert blocking - {"restore_is_proven", *BEFORE} == set(GATES)


def test_every_asset_has_a_description_owners_kinds_and_a_group(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
        assert spec.group_name != "default", spec.key


def test_no_job_is_empty_and_each_says_what_it_does(definitions: dg.Definitions) -> None:
    for job in definitions.jobs or []:
        resolved = definitions.resolve_job_def(job.name)
        assert resolved.asset_layer.executable_asset_keys or job.name in ("restore_job", "prune_runs_job"), job.name
        assert job.description, job.name


def test_the_daily_stories_are_due_at_nine_in_the_chosen_time_zone() -> None:
    settings = load_settings({"THREADJUICE_TIMEZONE": "Europe/Berlin", "THREADJUICE_ENV": "production"})
    schedule = build_definitions(settings).resolve_schedule_def("daily_stories_0900")
    assert schedule.cron_schedule == "0 9 * * *"
    assert schedule.execution_timezone == "Europe/Berlin"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_on_a_laptop_no_schedule_runs_by_itself_but_sensors_do(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("daily_stories_0900")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    for sensor in definitions.sensors or []:
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING  # type: ignore[union-attr]


def test_no_secret_shows_in_graphql(newsroom_environment: dict[str, str], tmp_path: Path) -> None:
    from threadjuice_dagster.instance import prepare_home

    settings = load_settings({**newsroom_environment, **SECRETS, "IMAGE_PROVIDERS": "unsplash,title_card"})
    environment = {**os.environ, **SECRETS, "IMAGE_PROVIDERS": "unsplash,title_card", **prepare_home(settings)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workspace = f"{environment['DAGSTER_HOME']}/workspace.yaml"
    command = [sys.executable, "-m", "dagster_webserver", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        answer = ask(port, RESOURCES)
        assert {"writer", "threads", "pictures"} <= {
            found["name"] for found in answer["data"]["allTopLevelResourceDetailsOrError"]["results"]
        }
        assert "hunter2" not in json.dumps(answer) + json.dumps(ask(port, JOBS)) + (tmp_path / "log").read_text()
    finally:
        process.terminate()
        process.wait(30)


SELECTOR = '{repositoryName: "__repository__", repositoryLocationName: "threadjuice"}'
RESOURCES = f"""{{ allTopLevelResourceDetailsOrError(repositorySelector: {SELECTOR}) {{ __typename
    ... on ResourceDetailsList {{ results {{ name configuredValues {{ key value type }} nestedResources {{ name
    resource {{ name configuredValues {{ key value }} }} }} }} }} }} }}"""
JOBS = f"""{{ repositoryOrError(repositorySelector: {SELECTOR}) {{ ... on Repository {{ jobs {{ name
    modes {{ resources {{ name description configField {{ configType {{ key }} defaultValueAsJson }}
    }} }} }} }} }} }}"""


def ask(port: int, query: str) -> dict[str, dict[str, dict[str, list[dict[str, str]]]]]:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", data=body, headers={"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.loads(response.read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
