"""What Vercel answers, refuses and limits, and what a deployment makes of it."""

from pathlib import Path

import pytest
from deploying import BYPASS, Newsroom, Prober, get, vercel_target, write_site
from servers import vercel_server
from servers.loopback import Reply
from servers.vercel_server import PROJECT, TOKEN, VercelServer

from threadjuice_dagster.assets.deployment.deployments import staged_deployment
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.operations.deployment import vercel as vercel_module
from threadjuice_dagster.operations.deployment import vercel_uploads
from threadjuice_dagster.operations.deployment.service import DeploymentService
from threadjuice_dagster.operations.deployment.targets import Opened
from threadjuice_dagster.operations.deployment.vercel import VercelTarget
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.settings import load_settings
from threadjuice_dagster.wiring import build_resources


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
