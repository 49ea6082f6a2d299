"""Deployments to a folder and to a loopback Vercel: staged, tested, promoted, refused, rolled back, migrated."""

import os
import subprocess
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
from deploying import Newsroom, Prober, damaged, get, vercel_target, write_site
from servers.vercel_server import VercelServer

from threadjuice_dagster.assets.deployment.deployments import production_deployment, staged_deployment
from threadjuice_dagster.database import schema
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.schema import current_revision, expanded_revision, head_revision, migrate
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.operations.deployment import vercel_uploads
from threadjuice_dagster.operations.deployment.targets import KEEP, LocalTarget, manifest_of
from threadjuice_dagster.operations.deployment.vercel import VercelTarget
from threadjuice_dagster.resources.postgres import Postgres


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
