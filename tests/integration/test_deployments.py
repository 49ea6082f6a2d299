"""Deployments to a folder and to a loopback Vercel: staged, tested, promoted, refused, rolled back, killed."""

import errno
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from servers import vercel_server
from servers.loopback import Reply
from servers.vercel_server import PROJECT, TOKEN, VercelServer

from threadjuice_dagster.assets.deployment.deployments import production_deployment, staged_deployment
from threadjuice_dagster.database import schema
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.schema import current_revision, expanded_revision, head_revision, migrate
from threadjuice_dagster.failures import ConfigurationError, ThreadJuiceError, UsageError
from threadjuice_dagster.operations.deployment import targets as deployer
from threadjuice_dagster.operations.deployment import vercel as vercel_module
from threadjuice_dagster.operations.deployment import vercel_uploads
from threadjuice_dagster.operations.deployment.service import DeploymentService
from threadjuice_dagster.operations.deployment.store import Deployments
from threadjuice_dagster.operations.deployment.targets import KEEP, Deployer, LocalTarget, Opened, manifest_of
from threadjuice_dagster.operations.deployment.vercel import VercelTarget
from threadjuice_dagster.resources import http
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.settings import load_settings
from threadjuice_dagster.site.publisher import Publisher
from threadjuice_dagster.wiring import build_resources

BYPASS = "a-bypass-secret"
ROOT = Path(__file__).parents[2]


def write_site(home: Path, version: str, stories: int = 3) -> dict[str, str]:
    """A built site every file of which tells its version; returns its pages and the stylesheet each one needs."""
    sheet = f"assets/site.{hashlib.sha1(version.encode()).hexdigest()[:8]}.css"
    page = f'<html><head><link rel="stylesheet" href="{{root}}{sheet}"></head><body>version {version}</body></html>'
    files = {
        "index.html": page.format(root=""),
        "404.html": "<html>not here</html>",
        "about/index.html": page.format(root="../"),
        "feed.xml": f"<rss><!-- version {version} --></rss>",
        "robots.txt": "User-agent: *\n",
        sheet: f"/* version {version} */",
        "img/ab/480.jpg": "a picture that never changes",
        "version.json": json.dumps({"version": version, "stories": stories}),
        **{f"story/s{number}/index.html": page.format(root="../../") for number in range(stories)},
    }
    folder = home / "site" / "versions" / version
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    link = home / "site" / "current-next"
    link.symlink_to(Path("versions") / version)
    link.replace(home / "site" / "current")
    return files


@pytest.fixture
def database(shared_url: str) -> Postgres:
    """The database that all tests here use one after the other, with no deployment in it."""
    database = Postgres(url=shared_url, pool_size=2)
    with database.store.engine.begin() as connection:
        for table in (t.deployment_steps, t.deployments, t.events):
            connection.execute(table.delete())
    return database


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setattr(http, "_BACKOFF", 0.01)


@pytest.fixture
def vercel() -> Iterator[VercelServer]:
    with VercelServer(bypass=BYPASS) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def vercel_target(server: VercelServer, **changes: Any) -> VercelTarget:
    values = {
        "token": TOKEN,
        "project_id": PROJECT,
        "bypass": BYPASS,
        "api_url": server.url,
        "site_url": server.live_url,
        "poll_seconds": 0.02,
        "confirm_seconds": 1.0,
    }
    return VercelTarget(**{**values, **changes})


class Newsroom:
    """Runs the deployment's assets as jobs do, with a home of its own."""

    def __init__(self, database: Postgres, home: Path, deployer: Deployer) -> None:
        self.database, self.home, self.deployer = database, home, deployer
        self.service = DeploymentService(database=self.database, deployer=deployer, settle_seconds=0.2)
        self.book = Deployments(database.unchecked_store, deployer.place)
        self.result: dg.ExecuteInProcessResult
        self.run_id, self.error = "", ""

    def run(self, *assets: Any, **config: Any) -> bool:
        given = {"ops": {"production_deployment": {"config": config}}} if config else {}
        self.result = dg.materialize(
            list(assets),
            raise_on_error=False,
            run_config={**given, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            resources={
                "database": self.database,
                "deployment_service": self.service,
                "publisher": Publisher(folder=str(self.home / "site")),
            },
        )
        self.run_id = self.result.run_id
        return self.result.success

    def deploy(self, version: str, **site: Any) -> bool:
        """What the assets do, without a run around it."""
        write_site(self.home, version, **site)
        return self.stage() and self._do(lambda: self.service.promote(self.run_id))

    def stage(self) -> bool:
        self.run_id = uuid.uuid4().hex
        return self._do(lambda: self.service.stage(self.home / "site", self.run_id, datetime.now(UTC)))

    def promote(self) -> bool:
        self.run_id = uuid.uuid4().hex
        return self._do(lambda: self.service.promote(self.run_id))

    def roll_back(self, reference: str = "previous") -> bool:
        self.run_id = uuid.uuid4().hex
        return self._do(lambda: self.service.roll_back(reference, self.run_id))

    def _do(self, act: Callable[[], Any]) -> bool:
        try:
            act()
        except ThreadJuiceError as error:
            self.error = str(error)
            return False
        return True

    @property
    def steps(self) -> dict[str, str]:
        return {step.name: step.state for step in self.book.steps(self.run_id)}

    def message(self, name: str) -> str:
        return next(step.message for step in self.book.steps(self.run_id) if step.name == name)

    @property
    def live(self) -> str:
        live = self.book.live()
        return live.version if live else ""

    @property
    def address(self) -> str:
        """Where operators are told that readers are."""
        live = self.book.live()
        assert live
        return self.service.with_public_address(live).url

    def seen(self) -> str:
        """The version that readers see."""
        with self.deployer.opened() as opened:
            return str(json.loads(get(f"{opened.url}/version.json")[1])["version"])


@pytest.fixture(params=["local", "vercel"])
def newsroom(request: pytest.FixtureRequest, database: Postgres, home: Path, vercel: VercelServer) -> Newsroom:
    local = LocalTarget(folder=str(home / "deployment"))
    return Newsroom(database, home, local if request.param == "local" else vercel_target(vercel))


@pytest.fixture
def local(database: Postgres, home: Path) -> Newsroom:
    return Newsroom(database, home, LocalTarget(folder=str(home / "deployment")))


@pytest.fixture
def on_vercel(database: Postgres, home: Path, vercel: VercelServer) -> Newsroom:
    return Newsroom(database, home, vercel_target(vercel))


def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Prober:
    """A reader who loads a page and then what it needs, every 20 ms, and remembers what was wrong."""

    def __init__(self, url: str) -> None:
        self.url, self.wrong, self.versions, self.loads = url, list[str](), list[str](), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Prober":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        paths = ("/", "/story/s1/index.html", "/about/index.html", "/feed.xml", "/img/ab/480.jpg")
        while not self._stop.wait(0.02):
            try:
                self._load(paths[self.loads % len(paths)])
            except Exception as error:
                self.wrong.append(repr(error))
            self.loads += 1

    def _load(self, path: str) -> None:
        status, body = get(self.url + path)
        if status != 200:
            self.wrong.append(f"{path} answered {status}")
            return
        text = body.decode()
        if "version " not in text:
            return
        version = text.partition("version ")[2].split("<")[0].split(" ")[0]
        if self.versions[-1:] != [version]:
            self.versions.append(version)
        if "stylesheet" in text:
            sheet = text.partition('href="')[2].partition('"')[0].replace("../", "")
            status, style = get(f"{self.url}/{sheet}")
            if status != 200 or f"version {version} " not in style.decode():
                self.wrong.append(f"the stylesheet of {path} answered {status}")


@contextmanager
def damaged(newsroom: Newsroom, vercel: VercelServer, path: str) -> Iterator[None]:
    """What is staged meanwhile serves something else at a path."""
    vercel.damage = {path: b"something else"}
    stage = LocalTarget.stage

    def stage_damaged(self: LocalTarget, *arguments: Any) -> Any:
        staged = stage(self, *arguments)
        file = Path(self.folder) / "versions" / staged.id / path
        file.unlink()
        file.write_text("something else")
        return staged

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalTarget, "stage", stage_damaged)
        yield
    vercel.damage = {}


@dg.asset(name="site")
def failing_build() -> None:
    raise RuntimeError("A page refers to a picture that is not there.")


def test_readers_see_no_error_and_no_mix_through_deployments_failures_and_a_rollback(
    newsroom: Newsroom, vercel: VercelServer
) -> None:
    assert newsroom.deploy("v0")
    with newsroom.deployer.opened() as opened, Prober(opened.url) as prober:
        for number in range(1, 11):
            assert newsroom.deploy(f"v{number}")
            time.sleep(0.1)
        assert not newsroom.run(failing_build, staged_deployment, production_deployment)
        assert newsroom.steps == {}
        with damaged(newsroom, vercel, "feed.xml"):
            assert not newsroom.deploy("v11")
        assert newsroom.steps == {"stage": "done", "smoke_test": "failed"}
        assert newsroom.roll_back()
        assert newsroom.steps == {"roll_back": "done", "verify_rollback": "done"}
        time.sleep(0.1)
    assert prober.wrong == []
    assert prober.versions == [*(f"v{number}" for number in range(11)), "v9"]
    assert prober.loads > 20


def test_a_deployment_is_recorded_step_by_step_and_shown_to_the_operator(newsroom: Newsroom) -> None:
    write_site(newsroom.home, "v1")
    assert newsroom.run(staged_deployment, production_deployment)
    assert newsroom.steps == dict.fromkeys(("stage", "smoke_test", "promote", "validate", "contract"), "done")
    deployment = newsroom.book.of_run(newsroom.run_id)
    assert deployment
    assert (deployment.version, deployment.state) == ("v1", "live")
    shown = newsroom.result.asset_materializations_for_node("staged_deployment")[0].metadata
    assert shown["url"].value == deployment.url
    assert shown["version"].value == "v1"
    assert shown["files uploaded"].value >= 10
    assert "smoke_test" in str(shown["steps"].value)
    assert newsroom.seen() == "v1"
    write_site(newsroom.home, "v2")
    assert newsroom.run(staged_deployment, production_deployment)
    assert newsroom.run(production_deployment, roll_back="previous")
    assert newsroom.steps == {"roll_back": "done", "verify_rollback": "done"}
    assert newsroom.seen() == "v1"


def test_the_address_of_what_is_live_in_a_folder_is_one_that_shows_it(database: Postgres, home: Path) -> None:
    folder = home / "deployment"
    first = Newsroom(database, home, LocalTarget(folder=str(folder)))
    assert first.deploy("v1")
    assert first.address == (folder / "production" / "index.html").as_uri()
    with LocalTarget(folder=str(folder)).server(0) as server:  # as ``threadjuice dev`` does
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        served = Newsroom(database, home, LocalTarget(folder=str(folder), port=server.server_port))
        assert served.deploy("v2")
        assert served.address == f"{server.url}/"
        assert b"version v2" in get(f"{server.url}/")[1]
        assert served.roll_back()
        assert served.address == f"{server.url}/"
        server.shutdown()
    elsewhere = LocalTarget(folder=str(folder), site_url="https://stories.example", port=server.server_port)
    assert Newsroom(database, home, elsewhere).address == "https://stories.example"


def test_only_files_that_are_new_there_are_brought(newsroom: Newsroom) -> None:
    for number in range(KEEP + 1):
        assert newsroom.deploy(f"v{number}")
    # Three files never change, and both take over a stylesheet, which the folder lacks; Vercel has functions as well.
    beside = len(vercel_uploads.function_files()) + 1
    told = f"8 of {12 + beside}" if isinstance(newsroom.deployer, VercelTarget) else "9 of 12"
    assert newsroom.message("stage") == f"{told} files were new there."


def test_a_page_loaded_before_a_deployment_still_finds_its_stylesheet_after_it(newsroom: Newsroom) -> None:
    old = next(path for path in write_site(newsroom.home, "v1") if path.endswith(".css"))
    for version in ("v1", "v2"):
        assert newsroom.deploy(version)
    with newsroom.deployer.opened() as opened:
        assert get(f"{opened.url}/{old}")[0] == 200
    assert newsroom.deploy("v3")
    with newsroom.deployer.opened() as opened:
        assert get(f"{opened.url}/{old}")[0] == 404


def test_a_staged_site_that_serves_something_else_is_never_shown(newsroom: Newsroom, vercel: VercelServer) -> None:
    assert newsroom.deploy("v1")
    for path in ("index.html", "feed.xml", "img/ab/480.jpg", "version.json", "story/s1/index.html"):
        with damaged(newsroom, vercel, path):
            assert not newsroom.deploy("v2"), path
        assert newsroom.steps == {"stage": "done", "smoke_test": "failed"}
        assert newsroom.seen() == newsroom.live == "v1"
    assert newsroom.deploy("v3")


def test_a_site_that_fails_where_readers_are_is_rolled_back_and_that_is_verified(
    on_vercel: Newsroom, vercel: VercelServer
) -> None:
    assert on_vercel.deploy("v1")
    vercel.live_damage = {"story/s2/index.html": 500}
    assert not on_vercel.deploy("v2")
    assert on_vercel.steps == {
        "stage": "done",
        "smoke_test": "done",
        "promote": "done",
        "validate": "failed",
        "roll_back": "done",
        "verify_rollback": "done",
    }
    assert on_vercel.seen() == on_vercel.live == "v1"
    vercel.live_damage = {}
    assert on_vercel.deploy("v3")
    assert on_vercel.seen() == "v3"


def test_a_first_deployment_that_fails_where_readers_are_says_that_there_is_none_before(
    on_vercel: Newsroom, vercel: VercelServer
) -> None:
    vercel.live_damage = {"index.html": 500}
    assert not on_vercel.deploy("v1")
    assert on_vercel.steps["roll_back"] == "skipped"
    assert on_vercel.live == ""


def test_what_was_live_before_this_newsroom_deployed_is_restored_by_the_name_vercel_gives_it(
    on_vercel: Newsroom, vercel: VercelServer
) -> None:
    assert on_vercel.deploy("v1")
    with on_vercel.database.store.engine.begin() as connection:
        connection.execute(t.deployments.delete())
    vercel.live_damage = {"index.html": 500}
    assert not on_vercel.deploy("v2")
    assert on_vercel.steps["verify_rollback"] == "done"
    assert on_vercel.seen() == "v1"


def test_an_alias_that_never_confirms_ends_in_a_rollback(on_vercel: Newsroom, vercel: VercelServer) -> None:
    assert on_vercel.deploy("v1")
    vercel.alias_job = "in-progress"
    assert not on_vercel.deploy("v2")
    assert on_vercel.steps["promote"] == "failed"
    assert "within 1 seconds" in on_vercel.message("promote")
    assert on_vercel.steps["verify_rollback"] == "done"
    assert len(vercel.seen("rollback")) == 1
    vercel.alias_job = "succeeded"
    assert on_vercel.deploy("v3")


def test_an_alias_request_that_fails_is_told_at_once(on_vercel: Newsroom, vercel: VercelServer) -> None:
    assert on_vercel.deploy("v1")
    vercel.alias_job = "failed"
    assert not on_vercel.deploy("v2")
    assert "every domain" in on_vercel.message("promote")
    assert on_vercel.seen() == on_vercel.live == "v1"


def test_a_promotion_is_done_when_the_project_says_so_and_not_before(on_vercel: Newsroom, vercel: VercelServer) -> None:
    vercel.alias_after, vercel.alias_lag = 3, 2
    assert on_vercel.deploy("v1")
    asked = len(vercel.seen("project"))
    assert on_vercel.deploy("v2")
    assert on_vercel.steps["promote"] == "done"
    assert len(vercel.seen("project")) - asked >= 2 + 3
    assert on_vercel.seen() == "v2"


@pytest.mark.parametrize("fault", ["429:0", "503", "reset", "forgets", "truncated", "cut", "lost:503", "lost:reset"])
def test_a_passing_fault_of_vercel_is_ridden_out(on_vercel: Newsroom, vercel: VercelServer, fault: str) -> None:
    kinds = ("create",) if fault == "forgets" else ("create", "upload", "deployment", "project", "promote")
    for kind in kinds:
        vercel.script(kind, "ok" if kind == "create" else fault, fault)
    assert on_vercel.deploy("v1"), on_vercel.error
    assert on_vercel.seen() == "v1"


def test_vercel_is_asked_again_no_sooner_than_it_wants(on_vercel: Newsroom, vercel: VercelServer) -> None:
    vercel.script("deployment", Reply({"readyState": "BUILDING"}, headers={"Retry-After": "1"}))
    vercel.script("upload", "429:1")
    assert on_vercel.deploy("v1")
    first, second = vercel.seen("deployment")[:2]
    assert second.at - first.at >= 1.0


def test_a_deployment_that_vercel_cannot_make_ready_is_told_and_changes_nothing(
    on_vercel: Newsroom, vercel: VercelServer
) -> None:
    assert on_vercel.deploy("v1")
    vercel.script("create", "ok", "broken")
    assert not on_vercel.deploy("v2")
    assert "ERROR" in on_vercel.message("stage")
    assert on_vercel.seen() == "v1"


@pytest.mark.parametrize(
    ("kind", "fault", "told", "next_step"),
    [
        ("create", "limited", '402: Resource is limited - try again in 24 hours (more than 100, code: "api', "plan"),
        ("upload", "uploads", '429: Too many requests - try again in 24 hours (more than 5000, code: "api-up', "later"),
        ("deployment", "404", "404: scripted 404", "VERCEL_PROJECT_ID"),
        ("create", "500", "500: scripted 500", "later"),
        ("create", "many", "400: Invalid request: `files` should NOT have more than 15000 items", "CDN_BUCKET"),
        ("create", "echo", "400: What is *** and ***? (odd)", "documentation"),
    ],
)
def test_vercel_s_own_reason_is_told_without_our_secrets(
    on_vercel: Newsroom,
    vercel: VercelServer,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    fault: str,
    told: str,
    next_step: str,
) -> None:
    assert on_vercel.deploy("v1")
    if fault == "many":
        monkeypatch.setattr(vercel_server, "MOST_FILES", 5)
    elif fault == "echo":
        error = {"code": "odd", "message": f"What is {TOKEN}\n and {BYPASS}?"}
        vercel.always(kind, Reply({"error": error}, 400))
    else:
        vercel.always(kind, fault)
    assert not on_vercel.deploy("v2")
    assert told in on_vercel.message("stage")
    assert next_step in on_vercel.message("stage")
    assert TOKEN not in on_vercel.message("stage")
    assert len(vercel.seen("upload")) <= 30  # what is to be waited for until tomorrow is not sent again and again
    assert on_vercel.seen() == "v1"
    vercel.heal()
    monkeypatch.setattr(vercel_server, "MOST_FILES", 15_000)
    assert on_vercel.deploy("v3")


@pytest.mark.parametrize("kind", ["create", "upload", "deployment", "project", "promote"])
def test_an_outage_of_any_part_of_vercel_leaves_readers_a_whole_version(
    on_vercel: Newsroom, vercel: VercelServer, kind: str
) -> None:
    on_vercel.service = DeploymentService(
        database=on_vercel.database, deployer=vercel_target(vercel, ready_seconds=0.1, confirm_seconds=0.1)
    )
    assert on_vercel.deploy("v1")
    # What Vercel says to an upload or a promotion does not matter, only that it does as it is asked.
    for fault in ("503", "lost:reset") if kind in ("upload", "promote") else ("503", "truncated"):
        vercel.always(kind, fault)
        vercel.always("rollback", "503" if kind == "promote" else "ok")
        deployed = on_vercel.deploy(f"{kind} {fault}")
        vercel.heal()
        assert deployed == (kind == "promote" and fault == "lost:reset"), on_vercel.error
        assert on_vercel.seen() == on_vercel.live == (f"{kind} {fault}" if deployed else "v1")


def test_an_expired_token_is_one_clear_line_without_the_token(on_vercel: Newsroom, vercel: VercelServer) -> None:
    vercel.always("create", "expired")
    assert not on_vercel.deploy("v1")
    assert "VERCEL_TOKEN" in on_vercel.message("stage")
    assert len(vercel.seen("create")) == 1
    assert not on_vercel.run(staged_deployment)
    told = "".join(str(event) for event in on_vercel.result.all_events)
    assert "VERCEL_TOKEN" in told
    assert TOKEN not in told + on_vercel.message("stage")
    assert BYPASS not in told


def test_a_protected_deployment_is_tested_with_the_bypass_and_told_of_without(
    database: Postgres, home: Path, vercel: VercelServer
) -> None:
    assert Newsroom(database, home, vercel_target(vercel)).deploy("v1")
    for bypass, redirects, told in (
        ("", False, "protection answers 401"),
        ("", True, "protection answers 302"),
        ("wrong", False, "does not take the bypass secret"),
    ):
        vercel.redirects_to_login = redirects
        locked_out = Newsroom(database, home, vercel_target(vercel, bypass=bypass))
        assert not locked_out.deploy("v2")
        assert told in locked_out.message("smoke_test")
        assert "VERCEL_AUTOMATION_BYPASS_SECRET" in locked_out.message("smoke_test")
        assert "none" not in locked_out.message("smoke_test")


def test_a_protected_domain_of_the_project_is_opened_and_no_other_is_told_the_secret(
    database: Postgres, home: Path, vercel: VercelServer
) -> None:
    vercel.live_host.bypass = BYPASS
    newsroom = Newsroom(database, home, vercel_target(vercel))
    assert newsroom.deploy("v1")
    assert newsroom.deploy("v2"), newsroom.error
    with vercel_target(vercel, site_url="https://elsewhere.example").opened() as opened:
        assert opened == Opened("https://elsewhere.example", {})
    assert not Newsroom(database, home, vercel_target(vercel, bypass="")).deploy("v3")


def test_the_bypass_is_read_under_vercel_s_own_name_first() -> None:
    given = {"VERCEL_TOKEN": TOKEN, "VERCEL_PROJECT_ID": PROJECT}
    for names, read in (
        (("VERCEL_AUTOMATION_BYPASS_SECRET", "VERCEL_PROTECTION_BYPASS"), "VERCEL_AUTOMATION_BYPASS_SECRET"),
        (("VERCEL_PROTECTION_BYPASS",), "VERCEL_PROTECTION_BYPASS"),
    ):
        settings = load_settings({**given, **dict.fromkeys(names, BYPASS)})
        target = build_resources(settings)["deployment_service"].deployer
        assert target._resolved_config_dict["bypass"] == {"env": read}


def test_a_large_site_is_sent_in_bundles_of_which_only_those_that_changed_are_new(
    on_vercel: Newsroom, vercel: VercelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert on_vercel.deploy("v1", stories=30)
    monkeypatch.setattr(vercel_uploads, "MOST_LOOSE", 20)
    monkeypatch.setattr(vercel_uploads, "BUNDLES", 8)
    old = next(path for path in write_site(on_vercel.home, "v2", stories=30) if path.endswith(".css"))
    with on_vercel.deployer.opened() as opened, Prober(opened.url) as prober:
        assert on_vercel.deploy("v2", stories=30), on_vercel.error
        assert on_vercel.deploy("v3", stories=30), on_vercel.error
    assert prober.wrong == []
    assert on_vercel.roll_back()
    assert {file["file"].partition("/")[0] for file in vercel.seen("create")[-1].json["files"]} == {
        "api", "bundles", "public", "vercel.json"
    }  # fmt: skip
    served = vercel.hosts[vercel.live].files
    assert served is not None
    assert {path: served[path].decode() for path in write_site(on_vercel.home, "v2", stories=30)} == write_site(
        on_vercel.home, "v2", stories=30
    )
    assert on_vercel.deploy("v4", stories=30)
    with on_vercel.deployer.opened() as opened:
        assert get(f"{opened.url}/{old}")[0] == 200  # the stylesheet of the deployment before
    assert on_vercel.message("stage").endswith(" files were new there.")
    changed = (
        write_site(on_vercel.home, "v4", stories=30) and on_vercel.home / "site" / "current" / "story/s7/index.html"
    )
    changed.write_text("<html>version v4, corrected</html>")
    assert on_vercel.stage()
    assert on_vercel.message("stage").startswith("1 of ")


def test_pictures_that_are_more_than_vercel_takes_are_refused_before_anything_is_sent(
    on_vercel: Newsroom, vercel: VercelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vercel_module, "HEAVIEST_UPLOAD", 20)
    assert not on_vercel.deploy("v1")
    assert "CDN_BUCKET" in on_vercel.message("stage")
    assert vercel.requests == []


def test_a_plan_that_cannot_roll_back_so_far_promotes_the_earlier_deployment(
    on_vercel: Newsroom, vercel: VercelServer
) -> None:
    for version in ("v1", "v2"):
        assert on_vercel.deploy(version)
    vercel.plan = "hobby"
    assert on_vercel.roll_back()
    assert on_vercel.seen() == on_vercel.live == "v1"


def test_a_team_s_project_is_asked_for_in_its_name(database: Postgres, home: Path, vercel: VercelServer) -> None:
    assert Newsroom(database, home, vercel_target(vercel, team_id="team_x")).deploy("v1")
    assert {request.query.get("teamId") for request in vercel.requests} == {"team_x"}


def test_a_domain_is_found_out_where_none_is_set(database: Postgres, home: Path, vercel: VercelServer) -> None:
    assert Newsroom(database, home, vercel_target(vercel, site_url="")).deploy("v1")


def test_a_token_without_a_project_is_a_matter_of_configuration() -> None:
    with pytest.raises(ConfigurationError, match="VERCEL_PROJECT_ID"):
        VercelTarget(token="x", project_id="").live()


def test_a_place_that_sends_no_headers_is_told_of_and_one_that_sends_others_is_refused(
    on_vercel: Newsroom, vercel: VercelServer
) -> None:
    assert on_vercel.deploy("v1")
    assert "headers" not in on_vercel.message("validate")
    vercel.live_host.bare = True
    assert on_vercel.deploy("v2")
    assert "none of the headers" in on_vercel.message("validate")
    vercel.live_host.bare = False
    vercel.live_host.overlay = {"Cache-Control": "public, max-age=31536000, immutable"}
    assert not on_vercel.deploy("v3")
    assert "Cache-Control" in on_vercel.message("validate")


def test_a_rollback_goes_to_any_deployment_that_was_live(newsroom: Newsroom) -> None:
    ids = []
    for version in ("v1", "v2", "v3"):
        assert newsroom.deploy(version)
        live = newsroom.book.live()
        assert live
        ids.append(live.id)
    assert newsroom.roll_back()
    assert newsroom.seen() == "v2"
    assert newsroom.roll_back()
    assert newsroom.seen() == "v1"
    assert newsroom.roll_back(ids[2])
    assert newsroom.seen() == newsroom.live == "v3"
    with pytest.raises(UsageError, match="no deployment 'nonsense'"):
        newsroom.service.restorable("nonsense")
    assert newsroom.roll_back(ids[0])
    with pytest.raises(UsageError, match="no earlier deployment"):
        newsroom.service.restorable("previous")


def test_a_deployment_that_is_not_kept_cannot_be_gone_back_to(local: Newsroom) -> None:
    for number in range(KEEP + 1):
        assert local.deploy(f"v{number}")
    assert len(list((local.home / "deployment" / "versions").iterdir())) == KEEP
    first = local.book.newest()[-1]
    assert [local.service.is_restorable(one) for one in local.book.newest()] == [True] * KEEP + [False]
    assert not local.roll_back(first.id)
    assert "not kept" in local.message("roll_back")
    assert local.seen() == local.live == f"v{KEEP}"


def test_what_was_taken_down_does_not_come_back_with_a_rollback(newsroom: Newsroom) -> None:
    for version in ("v1", "v2"):
        assert newsroom.deploy(version)
    first, live = newsroom.book.newest()[1], newsroom.book.live()
    assert live
    with newsroom.database.store.engine.begin() as connection:
        connection.execute(t.events.insert().values(kind="story_taken_down", story_id="x", detail={}))
    with pytest.raises(UsageError, match="taken down"):
        newsroom.service.restorable("previous")
    assert newsroom.deploy("v3")
    assert newsroom.steps["expire"] == "done"
    assert not newsroom.deployer.keeps(first.platform_id)
    assert not newsroom.deployer.keeps(live.platform_id)
    with pytest.raises(UsageError):
        newsroom.service.restorable("previous")
    assert newsroom.deploy("v4")
    assert "expire" not in newsroom.steps
    assert newsroom.roll_back()
    assert newsroom.seen() == "v3"


def test_the_site_of_a_database_that_never_had_a_story_takes_no_live_one_s_place(newsroom: Newsroom) -> None:
    assert newsroom.deploy("v1")
    assert not newsroom.deploy("v2", stories=0)
    assert "DATABASE_URL" in newsroom.message("stage")
    with newsroom.database.store.engine.begin() as connection:
        connection.execute(t.events.insert().values(kind="story_published", story_id="x", detail={}))
    assert newsroom.deploy("v3", stories=0)


def test_an_older_staged_deployment_does_not_replace_a_newer_live_one(newsroom: Newsroom) -> None:
    write_site(newsroom.home, "v1")
    assert newsroom.stage()
    assert newsroom.deploy("v2")
    assert newsroom.promote()
    assert newsroom.steps == {"promote": "skipped"}
    assert newsroom.seen() == newsroom.live == "v2"


def test_a_finished_site_is_asked_for_where_there_is_none(local: Newsroom) -> None:
    assert not local.stage()
    assert "no finished site" in local.error
    assert not local.promote()
    assert "No deployment is staged" in local.error


def test_versions_share_their_files_and_none_changes_with_another(local: Newsroom) -> None:
    kept: dict[str, dict[str, str]] = {}
    for number in range(KEEP + 3):
        wanted = write_site(local.home, f"v{number}", stories=2 + number % 3)
        if number > KEEP:  # what all kept versions share is another file from now on
            wanted["robots.txt"] = "User-agent: nobody\n"
            robots = local.home / "site" / "versions" / f"v{number}" / "robots.txt"
            robots.unlink()
            robots.write_text(wanted["robots.txt"])
        else:
            share(local.home, number, "robots.txt")
        assert local.stage()
        assert local.promote()
        live = local.book.live()
        assert live
        kept[live.id] = wanted
        for folder in (local.home / "deployment" / "versions").iterdir():
            found = {file.path for file in manifest_of(folder)}
            assert found >= kept[folder.name].keys()
            assert all((folder / path).read_text() == text for path, text in kept[folder.name].items())
            extra = found - kept[folder.name].keys()
            assert all(path.startswith("assets/") for path in extra)
            assert len(extra) <= 1
    picture = local.home / "deployment" / "production" / "img" / "ab" / "480.jpg"
    assert picture.stat().st_nlink > 1


def share(home: Path, number: int, path: str) -> None:
    """Make a file of a build the same file as in the build before, as builds do with what did not change."""
    if number:
        here, before = (home / "site" / "versions" / f"v{one}" / path for one in (number, number - 1))
        here.unlink()
        here.hardlink_to(before)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no second file system")
def test_files_are_copied_where_they_cannot_be_linked(database: Postgres, home: Path) -> None:
    folder = Path(f"/dev/shm/threadjuice-{os.getpid()}")
    try:
        newsroom = Newsroom(database, home, LocalTarget(folder=str(folder)))
        assert newsroom.deploy("v1")
        assert (folder / "production" / "img" / "ab" / "480.jpg").stat().st_nlink == 1
        assert newsroom.seen() == "v1"
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


SCRIPT = """
import json, os, signal, sys, uuid
from datetime import UTC, datetime
from pathlib import Path
from threadjuice_dagster.operations.deployment.targets import LocalTarget
from threadjuice_dagster.operations.deployment.service import DeploymentService
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.operations.deployment.vercel import VercelTarget
from threadjuice_dagster.settings import load_settings

url, home, moment, settings = sys.argv[1:]
settings = json.loads(settings)

def reach(name):
    if name == moment:
        if os.environ.get("PAUSE"):
            print("paused", flush=True)
            sys.stdin.readline()
        else:
            os.kill(os.getpid(), signal.SIGKILL)

class Target(LocalTarget if "folder" in settings else VercelTarget):
    def _confirm(self, identity):
        reach("unconfirmed")
        super()._confirm(identity)

    def _upload(self, contents):
        super()._upload(dict(list(contents.items())[:2]))
        reach("half of the files")
        super()._upload(contents)

    def _create(self, name, files):
        created = super()._create(name, files)
        if not created[1]:
            reach("after creation")
        return created

    def stage(self, *arguments):
        reach("before staging")
        staged = super().stage(*arguments)
        reach("after staging")
        return staged

    def promote(self, identity):
        reach("before promotion")
        super().promote(identity)
        reach("after promotion")

    def restore(self, identity):
        reach("before rollback")
        super().restore(identity)
        reach("after rollback")

    def opened(self, deployment=None):
        reach("smoke test" if deployment else "validation")
        return super().opened(deployment)

    def _point(self, name, identity):
        beside = Path(self.folder) / f".{name}-next"
        if moment == f"pointing {name}":
            beside.symlink_to("versions/nowhere")
        reach(f"pointing {name}")
        super()._point(name, identity)

import threadjuice_dagster.operations.deployment.targets as module
link, count = module.link, [0]
def counted(*arguments):
    count[0] += 1
    if count[0] == 4:
        reach("half of the files")
    link(*arguments)
module.link = counted

def deploy(action):
    desk = DeploymentService(
        database=Postgres(url=url, pool_size=2), deployer=Target(**settings), settle_seconds=0.2
    )
    run = uuid.uuid4().hex
    if action == "roll back":
        return desk.roll_back("previous", run)
    desk.stage(Path(f"{home}/site"), run, datetime.now(UTC))
    desk.promote(run)

if moment:
    deploy("deploy")
    print("done", flush=True)
else:  # a process for each line of input, which spares it the imports
    while line := sys.stdin.readline():
        moment, action = json.loads(line)
        if not (child := os.fork()):
            deploy(action)
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)
"""

MOMENTS = (
    "before staging",
    "half of the files",
    "pointing staging",
    "after staging",
    "smoke test",
    "before promotion",
    "pointing production",
    "after promotion",
    "validation",
)


def start(newsroom: Newsroom, moment: str, **environment: str) -> "subprocess.Popen[str]":
    settings = json.dumps({name: getattr(newsroom.deployer, name) for name in type(newsroom.deployer).model_fields})
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, newsroom.database.url, str(newsroom.home), moment, settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@contextmanager
def killer(newsroom: Newsroom) -> Iterator[Callable[..., None]]:
    """Starts a deployment or rollback, and kills its process at a moment."""
    with start(newsroom, "") as process:
        assert process.stdin
        assert process.stdout

        def kill(moment: str, action: str = "deploy") -> None:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([moment, action]) + "\n")
            process.stdin.flush()
            assert process.stdout.readline().strip() == str(int(signal.SIGKILL)), moment

        yield kill
        process.stdin.close()


def test_whatever_kills_a_deployment_readers_see_a_whole_version_and_the_next_one_works(local: Newsroom) -> None:
    versions = [f"v{number}" for number in range(KEEP + 1)]
    for version in versions:  # so many that the next one is made of the oldest
        assert local.deploy(version)
    with killer(local) as kill:
        for number, moment in enumerate(MOMENTS):
            killed, after = f"killed{number}", f"after{number}"
            write_site(local.home, killed)
            before = local.seen()
            kill(moment)
            shown = killed if moment in ("after promotion", "validation") else before
            with local.deployer.opened() as opened, Prober(opened.url) as prober:
                time.sleep(0.2)
            assert (prober.versions, prober.wrong) == ([shown], []), moment
            run_id = local.book.newest(1)[0].run_id
            assert local.book.steps(run_id)[-1].state == "interrupted"
            assert local.deploy(after), (moment, local.error)
            assert local.book.newest(2)[1].state == "interrupted"
            assert local.seen() == local.live == after
            unfinished = [path.name for path in (local.home / "deployment").rglob(".*")]
            assert unfinished == []


def test_whatever_kills_a_deployment_to_vercel_readers_see_a_whole_version_and_the_next_one_works(
    on_vercel: Newsroom, vercel: VercelServer
) -> None:
    assert on_vercel.deploy("v1")
    with killer(on_vercel) as kill:
        for moment in ("half of the files", "after creation", "smoke test", "before promotion"):
            write_site(on_vercel.home, f"killed {moment}")
            kill(moment)
            assert on_vercel.seen() == on_vercel.live == "v1"
        write_site(on_vercel.home, "staged")  # the next one may be for staging alone: readers see nothing of it
        assert on_vercel.stage(), on_vercel.error
        assert on_vercel.seen() == on_vercel.live == "v1"
        for moment in ("unconfirmed", "validation"):
            write_site(on_vercel.home, f"killed {moment}")
            before = on_vercel.live
            kill(moment)
            assert (on_vercel.seen(), on_vercel.live) == (f"killed {moment}", before)
            assert on_vercel.deploy(f"after {moment}"), (moment, on_vercel.error)
            assert on_vercel.seen() == on_vercel.live == f"after {moment}"
    killed = [one for one in on_vercel.book.newest() if one.state == "interrupted"]
    assert len(killed) == 6
    assert sum(one.platform_id in vercel.deployments for one in killed) >= 4
    with on_vercel.database.store.engine.begin() as connection:  # what they may show is taken down, and so they go
        connection.execute(t.events.insert().values(kind="story_taken_down", story_id="x", detail={}))
    assert on_vercel.deploy("last")
    assert not any(one.platform_id in vercel.deployments for one in killed)


def test_whatever_kills_a_rollback_readers_see_a_whole_version_and_it_can_be_finished(
    newsroom: Newsroom, vercel: VercelServer
) -> None:
    on_vercel = isinstance(newsroom.deployer, VercelTarget)
    for version in ("v1", "v2"):
        assert newsroom.deploy(version)
    with killer(newsroom) as kill:
        for moment, after in (
            ("before rollback", newsroom.roll_back),
            ("unconfirmed", newsroom.roll_back),
            ("after rollback", lambda: newsroom.deploy("v3")),
            ("validation", newsroom.roll_back),
        ):
            if moment == "unconfirmed" and not on_vercel:
                continue
            live, earlier = newsroom.live, newsroom.service.restorable("previous").version
            kill(moment, "roll back")
            assert newsroom.seen() == (live if moment == "before rollback" else earlier), moment
            assert after(), (moment, newsroom.error)
            assert newsroom.seen() == newsroom.live == ("v3" if moment == "after rollback" else earlier)
            assert newsroom.deploy(f"after {moment}"), (moment, newsroom.error)


def test_a_full_disk_is_told_and_leaves_readers_what_they_see(local: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.deploy("v1")
    write_site(local.home, "v2")
    link, count = deployer.link, itertools.count()

    def full(source: str, place: str) -> None:
        if next(count) >= 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        link(source, place)

    monkeypatch.setattr(deployer, "link", full)
    assert not local.run(staged_deployment, production_deployment)
    assert "No space left" in local.message("stage")
    told = [event.step_failure_data.user_failure_data for event in local.result.all_events if event.is_step_failure]
    assert [one.description for one in told if one] == ["The disk is full. Free space where THREADJUICE_HOME is."]
    assert local.seen() == local.live == "v1"
    monkeypatch.setattr(deployer, "link", link)
    assert local.deploy("v3")
    assert [path.name for path in (local.home / "deployment").rglob(".*")] == []


def test_a_killed_rollback_is_finished_by_the_next(local: Newsroom) -> None:
    for version in ("v1", "v2", "v3"):
        assert local.deploy(version)
    local.deployer.restore(local.book.newest()[1].platform_id)  # as far as a rollback that was killed then
    assert (local.seen(), local.live) == ("v2", "v3")
    assert local.roll_back()
    assert local.seen() == local.live == "v2"


def test_a_rollback_after_a_killed_deployment_goes_to_the_last_that_was_in_order(local: Newsroom) -> None:
    assert local.deploy("v1")
    assert local.deploy("v2")
    write_site(local.home, "v3")
    with start(local, "after promotion") as process:
        process.communicate()
    assert local.seen() == "v3"
    assert local.roll_back()
    assert local.seen() == local.live == "v2"


def test_of_two_deployments_at_once_the_second_waits_for_the_first(local: Newsroom) -> None:
    write_site(local.home, "v1")
    with start(local, "smoke test", PAUSE="yes") as first:
        assert first.stdout
        assert first.stdout.readline() == "paused\n"
        with start(local, "never") as second:
            assert second.stderr
            assert "waits until it has ended" in second.stderr.readline()
            assert local.live == ""
            first.communicate("\n")
            assert (first.returncode, second.wait()) == (0, 0)
    newer, older = local.book.newest()
    assert newer.state == "live"
    # Staging and promoting take a turn each: the second may be live before the first is to be promoted.
    assert older.state in ("superseded", "staged")
    assert [one.state for one in local.book.steps(local.book.newest()[0].run_id)] == ["done"] * 5


MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None
{mark}

def upgrade():
    op.{action}


def downgrade():
    pass
"""


@pytest.fixture
def later_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations there are, one that adds a table and one that takes another away."""
    import shutil

    folder = tmp_path / "migrations"
    shutil.copytree(Path(schema.__file__).parent / "migrations", folder)
    expand = {"revision": "8001", "before": head_revision(), "mark": ""}
    add = "create_table('added', sa.Column('id', sa.BigInteger(), primary_key=True))"
    contract = {"revision": "8002", "before": "8001", "mark": "contract = True"}
    take = "drop_table('rate_tickets')"
    (folder / "versions" / "8001_expand.py").write_text(MIGRATION.format(**expand, action=add))
    (folder / "versions" / "8002_contract.py").write_text(MIGRATION.format(**contract, action=take))
    monkeypatch.setattr(schema, "_migrations", lambda: folder)
    return folder


def test_what_a_migration_takes_away_goes_only_when_the_new_version_is_validated(
    prepared_url: str, home: Path, vercel: VercelServer, later_migrations: Path
) -> None:
    on_vercel = Newsroom(Postgres(url=prepared_url, pool_size=2), home, vercel_target(vercel))
    engine = on_vercel.database.unchecked_store.engine

    def revision() -> str | None:
        with engine.connect() as connection:
            return current_revision(connection)

    assert (expanded_revision(), head_revision()) == ("8001", "8002")
    assert migrate(engine)[1] == revision() == "8001"
    vercel.live_damage = {"index.html": 500}
    assert not on_vercel.deploy("v1")
    assert revision() == "8001"
    vercel.live_damage = {}
    assert on_vercel.deploy("v2")
    assert on_vercel.message("contract") == "From 8001 to 8002."
    assert revision() == "8002"
    assert migrate(engine) == ("8002", "8002")
    assert on_vercel.deploy("v3")


def test_a_migration_that_only_takes_away_is_not_waited_for_once_one_follows_it(later_migrations: Path) -> None:
    follow = {"revision": "8003", "before": "8002", "mark": "", "action": "create_table('third')"}
    (later_migrations / "versions" / "8003_expand.py").write_text(MIGRATION.format(**follow))
    assert expanded_revision() == head_revision() == "8003"
