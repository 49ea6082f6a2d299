"""The environment check: what is there, what is wrong, and what mends it, whatever the outside systems do."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import boto3
import dagster as dg
import pytest
import sqlalchemy as sa
from makers import make_thread
from moto.server import ThreadedMotoServer
from servers.loopback import LoopbackServer, Reply, Request
from servers.openai_server import OpenAIServer
from servers.pictures import Answer, PictureServer, picture_server
from servers.reddit_server import CLIENT_ID, CLIENT_SECRET, RedditServer

from threadjuice_dagster.assets.deployment.checklist import (
    AFTER,
    BEFORE,
    CheckContext,
    deployment_preconditions,
    deployment_results,
)
from threadjuice_dagster.assets.deployment.environment_report import environment_report
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.database.tables import backups
from threadjuice_dagster.failures import TransientFailure, Unsuitable
from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
from threadjuice_dagster.operations.environment.rules import EnvironmentReport
from threadjuice_dagster.operations.findings import Finding
from threadjuice_dagster.resources.encryption import Encryptor
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.settings import read_settings, variables
from threadjuice_dagster.wiring import build_resources

SECRETS = {
    "OPENAI_API_KEY": "sk-hunter2-openai",
    "REDDIT_CLIENT_SECRET": "hunter2-reddit",
    "UNSPLASH_ACCESS_KEY": "hunter2-unsplash",
    "VERCEL_TOKEN": "hunter2-vercel",
    "BACKUP_ENCRYPTION_KEY": "age-secret-key-1hunter2qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqm5k35e",
}
Check = Callable[..., EnvironmentReport]


class Plain(LoopbackServer):
    """Answers everything as scripted for ``any``, else with ``document``."""

    document: ClassVar[dict[str, Any]] = {"id": "prj_1", "name": "threadjuice", "autoAssignCustomDomains": False}

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        return "any"

    def answer(self, request: Request) -> Reply:
        return Reply(self.document)


@pytest.fixture
def check(newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Check:
    """Reports on the newsroom's environment with these variables set as well, or only on the systems named."""

    def run(
        *names: str, seconds: float = 5.0, service: Any = None, database: Any = None, **changes: str
    ) -> EnvironmentReport:
        for name, value in changes.items():
            monkeypatch.setenv(name, value)
        settings, problems = read_settings()
        with build_resources(settings)["environment"].process_config_and_initialize_cm() as environment:
            given = {"seconds": seconds, "database": environment.database.model_copy(update=database or {})}
            return environment.model_copy(update={**given, **(service or {})}).report(settings, problems, names)

    return run


@pytest.fixture
def plain() -> Iterator[Plain]:
    with Plain() as server:
        yield server


@pytest.fixture
def openai() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def reddit() -> Iterator[RedditServer]:
    with RedditServer() as server:
        yield server


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    with picture_server() as server:
        yield server


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket="a-bucket")
    yield url
    server.stop()


@pytest.fixture
def aws(s3_server: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_S3": s3_server,
        "AWS_ACCESS_KEY_ID": "hunter2-id",
        "AWS_SECRET_ACCESS_KEY": "hunter2-secret",
        "AWS_REGION": "us-east-1",
    }


def test_a_fresh_local_newsroom_is_ok_and_says_what_stands_in(check: Check) -> None:
    report = check()
    assert report.ok
    assert {row.name for row in report.rows if row.kind == "variable"} == set(variables())
    systems = {row.name: row for row in report.rows if row.kind == "system"}
    assert systems["database"].state == "ok"
    assert systems["openai"].state == systems["vercel"].state == systems["cdn"].state == "stand-in"
    assert "extractive" in report.row("OPENAI_API_KEY").message
    assert report.row("CONTENT_GENERATION_RATE_LIMIT").message == "Not set: 10."
    assert all(row.latency_ms is not None for row in systems.values())
    assert not list(Path(read_settings()[0].home).rglob("*.tmp"))


def test_the_database_and_its_pool_are_really_asked(check: Check) -> None:
    report = check("database", "database_pool", DATABASE_POOL_SIZE="3")
    assert [row.state for row in report.rows] == ["ok", "ok"]
    assert "PostgreSQL 1" in report.row("database").message
    assert "3 were opened at once" in report.row("database_pool").message


def test_more_connections_than_the_server_takes_are_a_warning(check: Check) -> None:
    row = check("database_pool", database={"max_connections": 5000}).row("database_pool")
    assert row.state == "warning"
    assert "DATABASE_MAX_CONNECTIONS" in row.next_step


def test_a_pool_that_no_process_can_have_is_a_warning(check: Check) -> None:
    row = check("database_pool", DATABASE_POOL_SIZE="50").row("database_pool")
    assert (row.state, "not DATABASE_POOL_SIZE=50" in row.message) == ("warning", True)
    assert "DATABASE_MAX_CONNECTIONS" in row.next_step
    assert check("database_pool", DATABASE_POOL_SIZE="20").row("database_pool").state == "ok"


def test_dagsters_database_and_a_replica_are_asked_where_they_are_set(
    check: Check, newsroom_environment: dict[str, str]
) -> None:
    there, gone = newsroom_environment["DATABASE_URL"], "postgresql://127.0.0.1:9/none"
    report = check("dagster_database", "database_replica", DAGSTER_DATABASE_URL=there, service={"replica_url": gone})
    assert [row.state for row in report.rows] == ["failed", "ok"]
    assert "DATABASE_REPLICA_URL" in report.row("database_replica").next_step


def test_with_the_database_down_every_other_row_is_there(check: Check) -> None:
    report = check(DATABASE_URL="postgresql://u:hunter2@127.0.0.1:9/none")
    assert {row.name for row in report.failed()} == {"database", "database_pool", "database_backups"}
    assert "DATABASE_URL" in report.row("database").next_step
    assert report.row("cdn").state == "stand-in"
    assert "hunter2" not in report.model_dump_json()


def test_pending_migrations_warn_in_production_before_they_are_run(check: Check, database_url: str) -> None:
    row = check("database", THREADJUICE_ENV="production", DATABASE_URL=database_url).row("database")
    assert row.state == "warning"
    assert "deploy migrate" in row.next_step


def test_a_database_of_a_newer_version_has_failed(check: Check, newsroom_environment: dict[str, str]) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(app_url(newsroom_environment["DATABASE_URL"]), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    row = check("database").row("database")
    assert row.state == "failed"
    assert "9999" in row.message


def test_an_invalid_variable_fails_its_row_and_the_system_that_goes_by_it_only(check: Check, plain: Plain) -> None:
    report = check(MONITORING_WEBHOOK="not an address", OPENAI_TIMEOUT_SECONDS="soon", VERCEL_PROJECT_ID="prj_1")
    assert {row.name for row in report.failed()} == {"MONITORING_WEBHOOK", "OPENAI_TIMEOUT_SECONDS", "webhook"}
    assert "example: OPENAI_TIMEOUT_SECONDS=60" in report.row("OPENAI_TIMEOUT_SECONDS").message
    assert "MONITORING_WEBHOOK" in report.row("webhook").message
    assert report.row("database").state == "ok"


def test_no_row_shows_a_secret(check: Check, plain: Plain, aws: dict[str, str]) -> None:
    bad = {"OPENAI_BASE_URL": f"{plain.url}/v1", "VERCEL_API_URL": plain.url, "UNSPLASH_API_URL": plain.url}
    plain.always("any", "401")
    report = check(
        **SECRETS, **bad, **aws, REDDIT_CLIENT_ID="an-app", praw_reddit_url=plain.url, VERCEL_PROJECT_ID="prj_1",
        MONITORING_WEBHOOK=f"{plain.url}/hooks/hunter2", CDN_BUCKET="a-bucket", IMAGE_PROVIDERS="unsplash",
        OPENVERSE_API_URL=f"http://me:hunter2@127.0.0.1:{plain.url.rsplit(':')[-1]}",
    )  # fmt: skip
    assert len(report.failed()) >= 5
    assert "hunter2" not in report.model_dump_json()
    assert report.row("OPENAI_API_KEY").message == "set"


def test_production_without_its_address_has_failed_and_stand_ins_warn(check: Check) -> None:
    report = check("none", THREADJUICE_ENV="production")
    assert report.rows == ()
    report = check(THREADJUICE_ENV="production", IMAGE_PROVIDERS="title_card", THREAD_SOURCES="samples")
    assert [row.name for row in report.failed()] == ["PRODUCTION_URL"]
    assert "PRODUCTION_URL=https://" in report.row("PRODUCTION_URL").next_step
    assert report.row("BACKUP_BUCKET").state == "warning"
    assert report.row("REDDIT_CLIENT_ID").state == "stand-in"


class TestOpenAI:
    @pytest.fixture
    def given(self, openai: OpenAIServer) -> dict[str, str]:
        return {"OPENAI_API_KEY": "sk-hunter2", "OPENAI_BASE_URL": openai.url}

    def test_a_good_key_and_model_take_one_small_request_of_each_kind(
        self, check: Check, openai: OpenAIServer, given: dict[str, str]
    ) -> None:
        row = check("openai", **given).row("openai")
        assert row.state == "ok"
        assert [one.kind for one in openai.requests] == ["models", "probe", "probe", "moderate"]
        assert [one.json.get("response_format", {}).get("type") for one in openai.requests[1:3]] == [
            None,
            "json_schema",
        ]
        assert "json_schema" in row.message
        assert "it moderates" in row.message

    @pytest.mark.parametrize(
        ("fault", "message", "mend"),
        [
            ("wrong_key", "refused the key", "OPENAI_API_KEY"),
            ("no_model", "gpt-4o", "OPENAI_MODEL"),
            ("429:1", "limits", "OPENAI_"),
            ("500", "fails", "OPENAI_"),
            ("html", "JSON", "OPENAI_"),
            ("reset", "cannot be reached", "OPENAI_"),
        ],
    )
    def test_a_fault_fails_the_row_and_names_the_variable(
        self, check: Check, openai: OpenAIServer, given: dict[str, str], fault: str, message: str, mend: str
    ) -> None:
        openai.always("models", fault)
        row = check("openai", **given).row("openai")
        assert row.state == "failed"
        assert message in row.message
        assert mend in row.next_step

    def test_a_judge_that_is_not_there_is_named(self, check: Check, given: dict[str, str]) -> None:
        row = check("openai", **given, OPENAI_JUDGE_MODEL="gpt-none").row("openai")
        assert row.state == "failed"
        assert "gpt-none" in row.message

    def test_a_server_that_only_lists_its_models_is_asked_for_the_list(
        self, check: Check, openai: OpenAIServer, given: dict[str, str]
    ) -> None:
        openai.always("models", "only_a_list")
        assert check("openai", **given).row("openai").state == "ok"
        assert check("openai", **given, OPENAI_MODEL="gpt-none").row("openai").state == "failed"

    def test_a_limit_above_the_servers_own_is_a_warning(
        self, check: Check, openai: OpenAIServer, given: dict[str, str]
    ) -> None:
        openai.always("models", Reply({"id": "gpt-4o"}, headers={"x-ratelimit-limit-requests": "3"}))
        row = check("openai", **given).row("openai")
        assert row.state == "warning"
        assert "CONTENT_GENERATION_RATE_LIMIT=3" in row.next_step

    def test_a_server_that_hangs_does_not_hang_the_report(
        self, check: Check, openai: OpenAIServer, given: dict[str, str]
    ) -> None:
        openai.always("models", "slow:5")
        began = time.monotonic()
        row = check("openai", "cdn", **given, seconds=0.1).row("openai")
        assert time.monotonic() - began < 4
        assert (row.state, row.message) == ("failed", "No answer within 0.6 s.")
        assert "OPENAI_BASE_URL" in row.next_step


class TestReddit:
    @pytest.fixture
    def given(self, reddit: RedditServer) -> dict[str, str]:
        credentials = {"REDDIT_CLIENT_ID": CLIENT_ID, "REDDIT_CLIENT_SECRET": CLIENT_SECRET}
        return {**credentials, "praw_reddit_url": reddit.url, "praw_oauth_url": reddit.url}

    def test_good_credentials_take_one_request_for_a_token(
        self, check: Check, reddit: RedditServer, given: dict[str, str]
    ) -> None:
        assert check("threads", **given).row("threads").state == "ok"
        assert [one.kind for one in reddit.requests] == ["token"]

    @pytest.mark.parametrize("fault", ["401", "404", "429:1", "500", "not_json"])
    def test_a_fault_fails_the_row_and_names_a_variable(
        self, check: Check, reddit: RedditServer, given: dict[str, str], fault: str
    ) -> None:
        reddit.always("token", fault)
        row = check("threads", **given).row("threads")
        assert row.state == "failed"
        assert "REDDIT_CLIENT_ID" in row.next_step

    def test_half_of_the_credentials_fail_both_rows(self, check: Check, given: dict[str, str]) -> None:
        report = check(**{**given, "REDDIT_CLIENT_SECRET": ""})
        assert {row.name for row in report.failed()} == {"REDDIT_CLIENT_SECRET", "threads"}


class TestPictures:
    def test_openverse_is_asked_once_where_it_is_used(self, check: Check, pictures: PictureServer) -> None:
        pictures.serve_openverse(pictures.openverse_result("a"))
        row = check("openverse", OPENVERSE_API_URL=pictures.url, IMAGE_PROVIDERS="openverse,title_card").rows[0]
        assert row.state == "ok"
        assert len(pictures.requests) == 1

    @pytest.mark.parametrize(
        "answer", [Answer(429), Answer(500), Answer(404), Answer(200, b"<html>"), Answer(200, b"{}")]
    )
    def test_openverse_that_does_not_answer_as_it_should_has_failed(
        self, check: Check, pictures: PictureServer, answer: Answer
    ) -> None:
        pictures.script["/v1/images/"] = answer
        row = check("openverse", OPENVERSE_API_URL=pictures.url).rows[0]
        assert row.state == "failed"
        assert "OPENVERSE_API_URL" in row.next_step
        assert len(pictures.requests) == 1

    def test_a_key_of_unsplash_that_works_is_not_used_before_unsplash_agreed(
        self, check: Check, pictures: PictureServer
    ) -> None:
        pictures.serve_unsplash(pictures.unsplash_result("a"))
        given = {"UNSPLASH_API_URL": pictures.url, "UNSPLASH_ACCESS_KEY": "hunter2"}
        assert check("unsplash", **given).rows[0].state == "warning"
        assert check("unsplash", **given, UNSPLASH_UNATTENDED="true").rows[0].state == "ok"

    def test_a_wrong_key_of_unsplash_has_failed(self, check: Check, pictures: PictureServer) -> None:
        pictures.script["/search/photos"] = Answer(401)
        row = check("unsplash", UNSPLASH_API_URL=pictures.url, UNSPLASH_ACCESS_KEY="hunter2").rows[0]
        assert row.state == "failed"
        assert "UNSPLASH_ACCESS_KEY" in row.next_step


class TestStorage:
    def test_a_bucket_is_written_read_and_left_as_it_was(
        self, check: Check, aws: dict[str, str], s3_server: str
    ) -> None:
        buckets = {"CDN_BUCKET": "a-bucket", "BACKUP_BUCKET": "a-bucket", "INBOX_BUCKET": "a-bucket"}
        report = check("cdn", "backups", "inbox", **aws, **buckets)
        assert [row.state for row in report.rows] == ["ok", "ok", "ok"]
        client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
        assert not client.list_objects_v2(Bucket="a-bucket").get("Contents")

    def test_a_bucket_that_is_not_there_has_failed(self, check: Check, aws: dict[str, str]) -> None:
        row = check("cdn", **aws, CDN_BUCKET="another-bucket").rows[0]
        assert row.state == "failed"
        assert "another-bucket" in row.message

    def test_a_bucket_that_may_only_be_read_has_failed(self, check: Check, aws: dict[str, str], plain: Plain) -> None:
        denied = b"<Error><Code>AccessDenied</Code></Error>"
        plain.always("any", Reply(raw=denied, status=403, headers={"Content-Type": "application/xml"}))
        row = check("backups", **{**aws, "AWS_ENDPOINT_URL_S3": plain.url}, BACKUP_BUCKET="a-bucket").rows[0]
        assert row.state == "failed"
        assert "refused" in row.message
        assert "AWS_" in row.next_step

    def test_a_folder_that_may_not_be_written_has_failed(
        self, check: Check, newsroom_environment: dict[str, str]
    ) -> None:
        home = Path(newsroom_environment["THREADJUICE_HOME"])
        home.mkdir()
        (home / "cdn").write_text("a file where the folder should be")
        assert check("cdn").rows[0].state == "failed"

    def test_pictures_that_readers_cannot_fetch_are_a_warning(
        self, check: Check, aws: dict[str, str], plain: Plain
    ) -> None:
        plain.always("any", "404")
        row = check("cdn", **aws, CDN_BUCKET="a-bucket", IMAGE_CDN_URL=plain.url).rows[0]
        assert row.state == "warning"
        assert "IMAGE_CDN_URL" in row.next_step

    def test_pictures_of_a_folder_are_fetched_as_readers_do(
        self, check: Check, newsroom_environment: dict[str, str]
    ) -> None:
        cdn = Path(newsroom_environment["THREADJUICE_HOME"]) / "cdn"
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(cdn))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            row = check("cdn", IMAGE_CDN_URL=f"http://127.0.0.1:{server.server_port}").rows[0]
            server.shutdown()
        assert row.state == "stand-in"
        assert "written, read and removed" in row.message

    def test_a_backup_key_with_a_wrong_checksum_has_failed(self, check: Check) -> None:
        row = check("backups", BACKUP_ENCRYPTION_KEY="AGE-SECRET-KEY-1" + "Q" * 58).rows[0]
        assert row.state == "failed"
        assert "BACKUP_ENCRYPTION_KEY" in row.message


class TestVercel:
    def given(self, plain: Plain) -> dict[str, str]:
        return {"VERCEL_TOKEN": "hunter2", "VERCEL_PROJECT_ID": "prj_1", "VERCEL_API_URL": plain.url}

    def test_a_project_that_leaves_domains_to_promotion_is_ok(self, check: Check, plain: Plain) -> None:
        row = check("vercel", **self.given(plain)).rows[0]
        assert row.state == "ok"
        assert [(one.method, one.path) for one in plain.requests] == [("GET", "/v9/projects/prj_1")]
        assert plain.requests[0].headers["authorization"] == "Bearer hunter2"

    @pytest.mark.parametrize("fault", ["401", "403", "404", "429:1", "500"])
    def test_a_fault_fails_the_row(self, check: Check, plain: Plain, fault: str) -> None:
        plain.always("any", fault)
        row = check("vercel", **self.given(plain)).rows[0]
        assert row.state == "failed"
        assert "VERCEL_" in row.next_step

    def test_a_project_that_gives_out_its_domains_by_itself_is_a_warning(self, check: Check, plain: Plain) -> None:
        plain.always("any", Reply({"id": "prj_1", "autoAssignCustomDomains": True}))
        row = check("vercel", **self.given(plain)).rows[0]
        assert row.state == "warning"
        assert "Auto-assign" in row.next_step

    def test_a_token_without_a_project_fails_both_rows(self, check: Check, plain: Plain) -> None:
        report = check(VERCEL_TOKEN="hunter2", VERCEL_API_URL=plain.url)
        assert {row.name for row in report.failed()} == {"VERCEL_PROJECT_ID", "vercel"}
        assert not plain.requests


class TestWebhook:
    @pytest.mark.parametrize(
        ("answer", "state"),
        [("ok", "ok"), ("405", "ok"), ("501", "ok"), ("404", "warning"), ("500", "failed"), ("reset", "failed")],
    )
    def test_it_is_reached_without_a_message(self, check: Check, plain: Plain, answer: str, state: str) -> None:
        plain.always("any", answer)
        row = check("webhook", MONITORING_WEBHOOK=f"{plain.url}/hooks/hunter2").rows[0]
        assert row.state == state
        assert [(one.method, one.body) for one in plain.requests] == [("OPTIONS", b"")]
        assert "hunter2" not in row.model_dump_json()


def test_one_unforeseen_error_is_one_failed_row() -> None:
    from threadjuice_dagster.operations.environment.service import Question, ask_all

    def broken() -> Finding:
        raise RuntimeError("with sk-hunter2 in it")

    def fine() -> Finding:
        return Finding(state="ok", message="fine")

    rows = ask_all([Question("a", ("A",), broken, 1), Question("b", (), fine, 1)], {})
    assert [row.state for row in rows] == ["failed", "ok"]
    assert "hunter2" not in rows[0].message


def test_the_asset_reports_every_row_and_stays_green(check: Check) -> None:
    settings, _ = read_settings()
    resources = {name: build_resources(settings)[name] for name in ("database", "environment")}
    result = dg.materialize([environment_report], resources=resources)
    assert result.success
    told = result.asset_materializations_for_node("environment_report")[0].metadata
    systems = told["systems"].value.records  # type: ignore[union-attr]
    assert {"database", "openai", "webhook"} <= {record.data["name"] for record in systems}
    assert told["failed"].value == 0
    assert told["verdict"].value == "ok"


class TestCommand:
    def run(self, **changes: str) -> tuple[int, dict[str, Any], str]:
        command = [
            sys.executable,
            "-c",
            "from threadjuice_dagster.cli.app import main; main()",
            "deploy",
            "check",
            "--json",
        ]
        done = subprocess.run(command, env={**os.environ, **changes}, capture_output=True, text=True, timeout=120)
        return done.returncode, json.loads(done.stdout), done.stderr

    def test_a_good_environment_exits_0(self, newsroom_environment: dict[str, str]) -> None:
        code, document, _ = self.run()
        assert code == 0
        assert document["ok"] is True
        assert document["environment"] == "local"
        assert {"name", "kind", "state", "latency_ms", "message", "next_step"} <= set(document["rows"][0])

    def test_a_wrong_variable_and_a_dead_database_exit_1_with_every_row(
        self, newsroom_environment: dict[str, str]
    ) -> None:
        code, document, _ = self.run(DATABASE_URL="postgresql://127.0.0.1:9/none", DAILY_STORY_COUNT="some")
        failed = [row["name"] for row in document["rows"] if row["state"] == "failed"]
        assert code == 1
        assert failed == ["DAILY_STORY_COUNT", "database", "database_pool", "database_backups"]
        assert len(document["rows"]) > len(variables())


@dg.asset
def staged_deployment() -> None:
    """Stands for the deployment that is looked at before it goes live."""


@dg.asset(deps=[staged_deployment])
def production_deployment() -> None:
    """Stands for the deployment that is live."""


def live_folder(environment: dict[str, str]) -> Path:
    """The live site of the local target, with one story and its picture."""
    site = Path(environment["THREADJUICE_HOME"]) / "deployment" / "production"
    for path, text in {
        "index.html": FRONT_PAGE,
        "story/a/index.html": "A story",
        "img/a.jpg": PICTURE,
        "img/b.jpg": PICTURE,
    }.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, encoding="latin-1")
    return site


PICTURE = "\xff\xd8\xff a picture, by its first bytes"
FRONT_PAGE = """
<a href="story/a/"><img class="blur" src="data:image/png;base64,AAAA" alt="">
<picture><source type="image/avif" srcset="img/a.jpg 480w,
  img/b.jpg 768w"><img alt="" src="img/a.jpg" width="4" height="3"></picture></a>
"""


class TestChecklist:
    @pytest.fixture
    def deploy(self, newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        """Deploys with these variables set as well; returns what became of each line, and whether it went live."""

        def run(**changes: str) -> tuple[dict[str, dg.AssetCheckEvaluation], bool]:
            for name, value in changes.items():
                monkeypatch.setenv(name, value)
            settings, _ = read_settings()
            assets = [staged_deployment, production_deployment, deployment_preconditions, deployment_results]
            result = dg.materialize(assets, resources=build_resources(settings), raise_on_error=False)
            live = bool(result.asset_materializations_for_node("production_deployment"))
            return {one.check_name: one for one in result.get_asset_check_evaluations()}, live

        return run

    @pytest.fixture
    def see(self, newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finding]:
        """Evaluates one line, with these variables set as well."""

        def run(name: str, **changes: str) -> Finding:
            for variable, value in changes.items():
                monkeypatch.setenv(variable, value)
            settings, _ = read_settings()
            built = build_resources(settings)["environment"]
            with built.process_config_and_initialize_cm() as service, dg.DagsterInstance.ephemeral() as instance:
                scene = CheckContext(
                    instance,
                    service.database,
                    service,
                    service.deployment_service,
                    service.pictures,
                    service.backup_service,
                )
                return {**BEFORE, **AFTER}[name](scene)

        return run

    @pytest.fixture
    def database(self, newsroom_environment: dict[str, str]) -> Postgres:
        return Postgres(url=newsroom_environment["DATABASE_URL"], pool_size=2, migrates_itself=True)

    def test_a_fresh_local_newsroom_goes_live_and_is_told_of_its_missing_backup(
        self, deploy: Callable[..., Any], newsroom_environment: dict[str, str]
    ) -> None:
        live_folder(newsroom_environment)
        lines, live = deploy()
        assert live
        assert list(lines) == [*BEFORE, *AFTER]
        failed = [name for name, line in lines.items() if not line.passed]
        assert failed == ["backup_systems_operational"]
        assert lines["backup_systems_operational"].severity == dg.AssetCheckSeverity.WARN
        assert "maintenance backup" in lines["backup_systems_operational"].description

    def test_a_wrong_variable_stops_a_deployment(self, deploy: Callable[..., Any]) -> None:
        lines, live = deploy(THREADJUICE_ENV="production", IMAGE_PROVIDERS="title_card", THREAD_SOURCES="samples")
        assert not live
        assert lines["environment_variables_configured"].severity == dg.AssetCheckSeverity.ERROR
        assert "PRODUCTION_URL" in lines["environment_variables_configured"].description
        assert "database_connections_stable" not in lines

    def test_an_outage_elsewhere_does_not_stop_a_deployment_but_is_told_of(self, deploy: Callable[..., Any]) -> None:
        nowhere = "http://127.0.0.1:9"
        given = {"OPENAI_API_KEY": "sk-hunter2", "OPENAI_BASE_URL": f"{nowhere}/v1", "MONITORING_WEBHOOK": nowhere}
        lines, live = deploy(**given)
        assert live
        for name in ("environment_variables_configured", "monitoring_systems_active", "content_generation_works"):
            assert not lines[name].passed
            assert lines[name].severity == dg.AssetCheckSeverity.WARN
        given |= {"THREADJUICE_ENV": "production", "PRODUCTION_URL": "https://x.example", "THREAD_SOURCES": "samples"}
        lines, live = deploy(**given, IMAGE_PROVIDERS="title_card")
        assert live
        assert lines["content_generation_works"].severity == dg.AssetCheckSeverity.ERROR
        assert not any("hunter2" in line.description for line in lines.values())

    def test_migrations_that_cannot_be_tried_stop_a_deployment(
        self, deploy: Callable[..., Any], database: Postgres, newsroom_environment: dict[str, str]
    ) -> None:
        import sqlalchemy as sa

        assert database.store
        url = sa.engine.make_url(newsroom_environment["DATABASE_URL"])
        user = f"u_{url.database}"
        engine = sa.create_engine(app_url(url), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {user} LOGIN")
            for what in ("TABLES", "SEQUENCES"):
                connection.exec_driver_sql(f"GRANT ALL ON ALL {what} IN SCHEMA public TO {user}")
            lines, live = deploy(DATABASE_URL=url.set(username=user).render_as_string(hide_password=False))
            connection.exec_driver_sql(f"DROP OWNED BY {user}")
            connection.exec_driver_sql(f"DROP ROLE {user}")
        assert not live
        assert "may not" in lines["database_migrations_tested"].description

    def test_a_limit_above_the_servers_own_is_told_of(self, see: Callable[..., Finding], openai: OpenAIServer) -> None:
        given = {"OPENAI_API_KEY": "sk-hunter2", "OPENAI_BASE_URL": openai.url}
        assert see("api_rate_limits_configured", **given).passed
        openai.always("models", Reply({"id": "gpt-4o"}, headers={"x-ratelimit-limit-requests": "3"}))
        line = see("api_rate_limits_configured", **given)
        assert line.state == "warning"
        assert "CONTENT_GENERATION_RATE_LIMIT=3" in line.message

    def test_production_needs_somewhere_for_alerts_to_go(self, see: Callable[..., Finding]) -> None:
        assert see("monitoring_systems_active").passed
        assert not see(
            "monitoring_systems_active",
            THREADJUICE_ENV="production",
            THREAD_SOURCES="samples",
            IMAGE_PROVIDERS="title_card",
        ).passed

    def test_the_live_site_is_measured_as_readers_see_it(
        self, see: Callable[..., Finding], newsroom_environment: dict[str, str]
    ) -> None:
        site = live_folder(newsroom_environment)
        page, picture = site / "index.html", site / "img" / "a.jpg"
        assert see("image_loading_optimized").passed
        assert see("performance_metrics_green").passed
        picture.write_text("no picture")
        line = see("image_loading_optimized")
        assert line.state == "failed"
        assert "img/a.jpg is called image/jpeg and is none" in line.message
        picture.unlink()
        page.write_text(page.read_text() + " " * 400_000)
        assert "img/a.jpg answers 404" in see("image_loading_optimized").message
        assert not see("performance_metrics_green").passed
        page.write_text(FRONT_PAGE.replace("img/", ""))
        for name in ("a.jpg", "b.jpg"):  # whose addresses do not name their content
            (site / name).write_text(PICTURE, encoding="latin-1")
        line = see("image_loading_optimized")
        assert line.state == "warning"
        assert "cached for 0 s" in line.message
        page.write_text(FRONT_PAGE.replace('width="4"', ""))
        picture.write_text(PICTURE, encoding="latin-1")
        assert "1 have no JPEG or no size" in see("image_loading_optimized").message

    def test_too_many_errors_of_a_day_are_told_of(self, see: Callable[..., Finding], database: Postgres) -> None:
        ledger = Ledger(database.store.engine)
        for number in range(3):
            ledger.add_error(TransientFailure("It fails."), "story_draft", None, f"run {number}")
            ledger.add_error(Unsuitable("Too thin."), "story_draft", None, f"run {number}")
        assert see("error_rates_within_threshold").passed
        ledger.add_error(TransientFailure("It fails."), "story_draft", None, "one more")
        assert not see("error_rates_within_threshold").passed

    def test_stories_that_fail_are_told_of(self, see: Callable[..., Finding], database: Postgres) -> None:
        database.store.save_threads([make_thread("abc1"), make_thread("abc2")])
        order = database.store.open_order(2, None, None, 6)
        stories = [one.story_id for one in database.store.assign(order)]
        assert see("content_generation_works").passed
        for story in stories:
            database.store.fail(story, TransientFailure("It fails."))
        line = see("content_generation_works")
        assert not line.passed
        assert "2 of 2" in line.message

    def test_only_a_backup_that_was_proven_lately_is_enough(
        self, see: Callable[..., Finding], database: Postgres
    ) -> None:
        assert database.store
        with build_resources(read_settings()[0])["backup_service"].process_config_and_initialize_cm() as service:
            taken = service.take()
            assert not see("backup_systems_operational").passed
            service.prove(taken.id)
            assert see("backup_systems_operational").passed
            older = taken.model_copy(update={"taken_at": taken.taken_at - timedelta(hours=27)})
            BackupStorage(service.storage, Encryptor("")).put_manifest(older)
            assert not see("backup_systems_operational").passed
            with database.store.engine.begin() as connection:
                connection.execute(sa.update(backups).values(taken_at=older.taken_at))
        line = see("backup_systems_operational")
        assert not line.passed
        assert "27.0 hours" in line.message
