"""`threadjuice deploy` as operators and the sensor run it: to a folder, to a loopback Vercel, and back."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command
import dagster as dg
import pytest
import sqlalchemy as sa
import yaml
from servers.openai_server import OpenAIServer
from servers.vercel_server import PROJECT, TOKEN, VercelServer

from threadjuice_dagster.cli.app import app
from threadjuice_dagster.cli.printed import deployment_text
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.definitions import build_definitions
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.settings import load_settings

BYPASS = "a-bypass-secret"
WORKFLOWS = Path(__file__).parents[2] / ".github" / "workflows"


def threadjuice(*arguments: str, **variables: str) -> tuple[int, Any, str]:
    code, document, said = command.threadjuice(*arguments, **variables)
    assert not any(secret in f"{document}{said}" for secret in (TOKEN, BYPASS))
    return code, document, said


def states(document: Any) -> dict[str, str]:
    return {step["name"]: step["state"] for step in document["steps"]}


def checks(document: Any) -> dict[str, str]:
    return {check["name"]: check["state"] for check in document["checks"]}


def message(document: Any, name: str) -> str:
    return next(one["message"] for one in (*document["steps"], *document["checks"]) if one["name"] == name)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def vercel(monkeypatch: pytest.MonkeyPatch) -> Iterator[VercelServer]:
    with VercelServer(bypass=BYPASS) as server:
        monkeypatch.setenv("VERCEL_API_URL", server.url)
        monkeypatch.setenv("VERCEL_TOKEN", TOKEN)
        monkeypatch.setenv("VERCEL_PROJECT_ID", PROJECT)
        monkeypatch.setenv("VERCEL_PROTECTION_BYPASS", BYPASS)
        monkeypatch.setenv("PRODUCTION_URL", server.live_url)
        yield server


def test_deployments_to_a_folder_go_forth_and_back(newsroom_environment: dict[str, str]) -> None:
    home = Path(newsroom_environment["THREADJUICE_HOME"])
    assert threadjuice("content", "generate")[0] == 0
    code, built, _ = threadjuice("deploy", "build")
    assert (code, built["deployment"]["state"], states(built)) == (0, "built", {"build": "done"})
    code, staged, _ = threadjuice("deploy", "staging")
    assert code == 0
    assert staged["deployment"]["state"] == "staged"
    assert states(staged)["smoke_test"] == "done"
    assert checks(staged)["configured_writer_proven"] == checks(staged)["as_fast_as_live"] == "passed"
    assert "No model is configured" in message(staged, "configured_writer_proven")
    assert "Nothing is live yet" in message(staged, "as_fast_as_live")
    assert len(threadjuice("content", "list")[1]["stories"]) == 3
    assert (home / "deployment" / "staging" / "index.html").is_file()
    assert not (home / "deployment" / "production").exists()
    code, first, _ = threadjuice("deploy", "production")
    assert code == 0
    assert list(states(first)) == ["migrate", "build", "stage", "smoke_test", "promote", "validate", "contract"]
    assert set(states(first).values()) == {"done"}
    found = checks(first)
    assert len(found) == 13
    assert "configured_writer_proven" not in found  # it costs something, and was tried in staging
    assert {name for name, state in found.items() if state != "passed"} == {"backup_systems_operational"}
    assert found["backup_systems_operational"] == "warning"
    assert "files of 3 pictures came" in message(first, "image_loading_optimized")
    deployment = first["deployment"]
    assert deployment["state"] == "live"
    assert deployment["version"] == built["deployment"]["version"]
    assert deployment["url"].startswith("file://")
    code, refused, _ = threadjuice("deploy", "rollback")
    assert (code, refused["error"]["kind"]) == (2, "usage")
    assert threadjuice("content", "generate", "--count", "1")[0] == 0
    code, second, _ = threadjuice("deploy", "production")
    assert code == 0
    assert second["deployment"]["version"] != deployment["version"]
    assert all(f"{what} " in message(second, "as_fast_as_live") for what in ("front page", "story", "picture", "feed"))
    code, back, _ = threadjuice("deploy", "rollback")
    assert code == 0
    assert back["deployment"] == {**deployment, "state": "live"}
    assert states(back) == {"roll_back": "done", "verify_rollback": "done"}
    marker = json.loads((home / "deployment" / "production" / "version.json").read_text())
    assert marker["version"] == deployment["version"]
    listed = threadjuice("deploy", "history")[1]["deployments"]
    assert [(one["id"], one["state"], one["restorable"]) for one in listed] == [
        (second["deployment"]["id"], "rolled_back", True),
        (deployment["id"], "live", True),
        (staged["deployment"]["id"], "staged", False),
    ]
    assert threadjuice("deploy", "rollback", second["deployment"]["id"])[0] == 0
    nowhere = {"IMAGE_CDN_URL": "http://127.0.0.1:9"}
    assert threadjuice("maintenance", "optimize", **nowhere)[0] == 0
    code, third, _ = threadjuice("deploy", "production", **nowhere)
    assert (code, third["deployment"]["state"], set(states(third).values())) == (1, "live", {"done"})
    assert checks(third)["image_loading_optimized"] == "failed"
    assert "127.0.0.1 got no answer" in message(third, "image_loading_optimized")
    assert "failed      image_loading_optimized: 8 of 8 files fail" in deployment_text(third)
    assert not (home / "deployment" / "production" / "img").exists()


def test_deployments_to_vercel_are_promoted_refused_and_rolled_back(
    newsroom_environment: dict[str, str], vercel: VercelServer
) -> None:
    assert threadjuice("content", "generate", "--count", "2")[0] == 0
    code, first, _ = threadjuice("deploy", "production")
    assert code == 0, first
    assert first["deployment"]["id"] == vercel.live
    assert first["deployment"]["url"] == f"http://{vercel.hosts[vercel.live].name}"
    assert status_of(f"{vercel.live_url}/feed.xml") == 200
    capacity = next(row for row in threadjuice("deploy", "check")[1]["rows"] if row["name"] == "vercel_capacity")
    assert "for 2 stories. At 0.1 stories a day" in capacity["message"]
    sent = len(vercel.seen("create")[-1].json["files"])
    assert message(first, "stage") == f"{sent} of {sent} files were new there."
    uploads = len(vercel.seen("upload"))
    story = threadjuice("content", "list")[1]["stories"][0]
    page = f"{vercel.live_url}/story/{story['slug']}/index.html"
    assert status_of(page) == 200
    assert threadjuice("content", "withdraw", story["id"], "--reason", "asked for")[0] == 0
    assert status_of(page) == 200
    vercel.live_damage = {"index.html": 500}
    code, failed, _ = threadjuice("deploy", "production")
    assert code == 1
    assert states(failed)["validate"] == "failed"
    assert states(failed)["verify_rollback"] == "done"
    assert failed["deployment"]["state"] == "failed"
    assert vercel.live == first["deployment"]["id"]
    vercel.live_damage = {}
    assert threadjuice("deploy", "production")[0] == 0
    assert status_of(page) == 404
    assert len(vercel.seen("upload")) - uploads < uploads
    vercel.always("create", "expired")
    code, refused, _ = threadjuice("deploy", "production")
    assert code == 1
    assert "VERCEL_TOKEN" in refused["steps"][-1]["message"]
    code, back, _ = threadjuice("deploy", "rollback")
    assert (code, back["deployment"]["id"]) == (0, first["deployment"]["id"])
    assert vercel.live == first["deployment"]["id"]


def test_the_configured_writer_proves_itself_once_for_each_staging_and_is_metered(
    newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadjuice_dagster.resources.openai_connection.sleep", lambda seconds: None)
    with OpenAIServer() as openai:
        for name, value in {"OPENAI_API_KEY": "sk-hunter2", "OPENAI_BASE_URL": openai.url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CONTENT_GENERATION_RATE_LIMIT", "1000")
        code, staged, _ = threadjuice("deploy", "staging")
        assert code == 0, staged
        assert checks(staged)["configured_writer_proven"] == "passed"
        assert "gpt-4o" in message(staged, "configured_writer_proven")
        assert {len(openai.seen("write")), len(openai.seen("judge"))} <= {1, 2, 3}
        written = len(openai.seen("write"))
        assert threadjuice("content", "list")[1]["stories"] == []
        database = Postgres(url=newsroom_environment["DATABASE_URL"], pool_size=2)
        with database.store.engine.connect() as connection:
            (spent,) = connection.execute(sa.select(t.model_usage).where(t.model_usage.c.purpose == "trial"))
        assert (spent.requests >= 3, spent.cost_usd > 0, spent.story_id) == (True, True, None)
        assert threadjuice("deploy", "production")[0] == 0
        assert len(openai.seen("write")) == written
        openai.always("write", "invented_quote")
        code, staged, _ = threadjuice("deploy", "staging")
        assert (code, staged["deployment"]["state"]) == (1, "staged")
        assert checks(staged)["configured_writer_proven"] == "failed"
        assert "would not be published" in message(staged, "configured_writer_proven")
        written = len(openai.seen("write"))
        defs = build_definitions(load_settings({**newsroom_environment, "OPENAI_BASE_URL": openai.url}))
        by_sensor = defs.resolve_job_def("staging_job").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(), tags={"dagster/sensor_name": "site_sensor"}, raise_on_error=False
        )
        (trial,) = (
            one for one in by_sensor.get_asset_check_evaluations() if one.check_name == "configured_writer_proven"
        )
        assert (trial.passed, "Not tried" in str(trial.description)) == (True, True)
        assert len(openai.seen("write")) == written
        openai.heal()
        written = len(openai.seen("write"))
        code, staged, _ = threadjuice("deploy", "staging", DAILY_BUDGET_USD="0.0001")
        assert (code, checks(staged)["configured_writer_proven"]) == (0, "warning")
        assert "DAILY_BUDGET_USD" in message(staged, "configured_writer_proven")
        assert len(openai.seen("write")) == written
        openai.always("write", "503")
        for fallback in ({}, {"WRITER_FALLBACK": "extractive"}):
            code, staged, _ = threadjuice("deploy", "staging", **fallback)
            assert checks(staged)["configured_writer_proven"] in ("warning", "failed")
            assert "hunter2" not in json.dumps(staged)


def test_a_story_taken_down_leaves_the_site_and_every_kept_deployment(
    newsroom_environment: dict[str, str], vercel: VercelServer
) -> None:
    assert threadjuice("content", "generate", "--count", "2")[0] == 0
    _, first, _ = threadjuice("deploy", "production")
    story = threadjuice("content", "list")[1]["stories"][0]
    assert threadjuice("content", "takedown", story["id"], "--reason", "deleted at its source")[0] == 0
    code, second, _ = threadjuice("deploy", "production")
    assert code == 0
    assert states(second)["expire"] == "done"
    assert status_of(f"{vercel.live_url}/story/{story['slug']}/index.html") == 404
    assert first["deployment"]["id"] not in vercel.deployments
    code, refused, _ = threadjuice("deploy", "rollback", first["deployment"]["id"])
    assert (code, refused["error"]["kind"]) == (2, "usage")


def test_workflows_run_commands_that_there_are_and_deploy_only_what_was_tested() -> None:
    deploy = yaml.safe_load((WORKFLOWS / "deploy.yml").read_text())
    ci = yaml.safe_load((WORKFLOWS / "ci.yml").read_text())
    known = {
        command.name or command.callback.__name__
        for group in app.registered_groups
        if group.name == "deploy"
        for command in group.typer_instance.registered_commands
        if command.callback
    }
    lines = [step["run"] for step in deploy["jobs"]["deploy"]["steps"] if "run" in step]
    used = {line.split()[2] for line in lines if line.startswith("threadjuice deploy")}
    assert used - {'"$THREADJUICE_ENV"'} <= known
    assert {"staging", "production"} <= known
    assert deploy["jobs"]["deploy"]["needs"] == "test"
    assert deploy["jobs"]["test"]["uses"] == "./.github/workflows/ci.yml"
    assert "workflow_call" in ci[True]
    assert deploy[True]["push"]["branches"] == ["**"]
    secrets = [name for name, value in deploy["jobs"]["deploy"]["env"].items() if "secrets." in value]
    assert {"VERCEL_TOKEN", "DATABASE_URL", "OPENAI_API_KEY"} <= set(secrets)


def test_the_sensor_deploys_where_publications_are_deployed_by_themselves(
    newsroom_environment: dict[str, str],
) -> None:
    database = Postgres(url=newsroom_environment["DATABASE_URL"], pool_size=2, migrates_itself=True)
    for variables, job in (
        ({}, "site_job"),
        ({"AUTO_DEPLOY": "true"}, "production_job"),
        ({"AUTO_DEPLOY": "true", "THREADJUICE_ENV": "staging"}, "staging_job"),
    ):
        definitions = build_definitions(load_settings({**newsroom_environment, **variables}))
        sensor = definitions.get_repository_def().get_sensor_def("site_sensor")
        change(database)
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(
                instance=instance, resources={"database": database, "policy": (definitions.resources or {})["policy"]}
            ) as context,
        ):
            asked = sensor(context)
            assert isinstance(asked, dg.RunRequest), asked
            assert asked.job_name == job
            assert isinstance(sensor(context), dg.SkipReason)
            change(database)
            assert isinstance(sensor(context), dg.RunRequest)


def change(database: Postgres) -> None:
    """What a story leaves that was taken down some seconds ago."""
    with database.store.engine.begin() as connection:
        at = sa.text("now() - interval '10 seconds'")
        connection.execute(t.events.insert().values(kind="story_taken_down", story_id="x", detail={}, at=at))
