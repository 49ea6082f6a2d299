"""Backups and restores as the command line does them, from a working newsroom to an empty machine."""

import shutil
from pathlib import Path
from typing import Any

import boto3
import pytest
import sqlalchemy as sa
from backup_keys import KEY, OTHER_KEY
from command import threadjuice
from moto.server import ThreadedMotoServer

from threadjuice_dagster.settings import load_settings


@pytest.fixture(autouse=True)
def _encrypted(newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_ENCRYPTION_KEY", KEY)


def restored(backup: str) -> dict[str, Any]:
    code, planned, said = threadjuice("database", "restore", backup)
    assert code == 0, said
    code, done, said = threadjuice("database", "restore", backup, "--confirm", planned["plan"]["token"])
    assert code == 0, said
    return done["restored"]


def published() -> dict[str, str]:
    return {
        story["id"]: story["page"] for story in threadjuice("content", "list", "--status", "published")[1]["stories"]
    }


def empty_the_machine(url: str, home: Path) -> None:
    """Only the backups and their key survive."""
    for folder in home.iterdir():
        if folder.name != "backups":
            shutil.rmtree(folder)
    target = sa.make_url(url)
    engine = sa.create_engine(target.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for name in (target.database, f"{target.database}_dagster"):
            connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


def test_a_newsroom_is_back_on_an_empty_machine_without_what_was_taken_down_since(
    newsroom_environment: dict[str, str],
) -> None:
    assert threadjuice("content", "generate", "--count", "2")[0] == 0
    kept, gone = published()
    code, document, said = threadjuice("maintenance", "backup")
    assert code == 0, said
    backup = document["backup"]
    assert backup["proven"]
    assert backup["encrypted"]
    assert threadjuice("content", "takedown", gone, "--reason", "the author asked for it")[0] == 0
    home = load_settings().home
    empty_the_machine(newsroom_environment["DATABASE_URL"], home)

    code, listed, _ = threadjuice("database", "backups")
    assert code == 0
    assert [one["id"] for one in listed["backups"]] == [backup["id"]]
    report = restored(backup["id"])

    assert report["rows"] == backup["rows"]
    pages = published()
    assert list(pages) == [kept]
    assert Path(pages[kept]).is_file()
    assert gone not in "".join(path.read_text() for path in (home / "site" / "current").rglob("*.html"))
    assert list((home / "cdn").rglob("*.avif"))
    code, document, said = threadjuice("maintenance", "backup")
    assert code == 0, said
    assert document["backup"]["proven"]


def test_public_stories_whose_pictures_are_gone_get_new_ones_and_withdrawn_ones_do_not() -> None:
    assert threadjuice("content", "generate", "--count", "2")[0] == 0
    kept, gone = published()
    assert threadjuice("content", "withdraw", gone, "--reason", "a mistake")[0] == 0
    shutil.rmtree(load_settings().home / "cdn")
    code, document, said = threadjuice("maintenance", "optimize")
    assert code == 0, said
    assert {name: document["images"][name] for name in ("lacking", "redrawn", "left")} == {
        "lacking": 1,
        "redrawn": 1,
        "left": 0,
    }
    story = threadjuice("content", "show", kept)[1]
    assert all((load_settings().home / "cdn" / one["key"]).is_file() for one in story["image"]["variants"])
    assert threadjuice("content", "show", gone)[1]["status"] == "withdrawn"
    assert threadjuice("maintenance", "optimize")[1]["images"]["lacking"] == 0


def optimized() -> dict[str, int]:
    code, document, said = threadjuice("maintenance", "optimize")
    assert code == 0, said
    return {name: document["images"][name] for name in ("lacking", "outdated", "renewed", "redrawn", "left")}


def test_pictures_are_encoded_anew_for_another_quality_and_brought_to_a_new_cdn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert threadjuice("content", "generate", "--count", "1")[0] == 0
    story = next(iter(published()))
    nothing = dict.fromkeys(("lacking", "outdated", "renewed", "redrawn", "left"), 0)

    def variants() -> dict[str, dict[str, Any]]:
        shown = threadjuice("content", "show", story)[1]["image"]["variants"]
        return {f"{one['width']} {one['format']}": one for one in shown}

    assert optimized() == nothing
    before = variants()
    monkeypatch.setenv("IMAGE_OPTIMIZATION_QUALITY", "50")
    assert optimized() == {**nothing, "outdated": 1, "renewed": 1}
    after = variants()
    assert after.keys() == before.keys()
    assert all(after[name]["key"] != before[name]["key"] for name in before)
    assert sum(one["bytes"] for one in after.values()) < 0.8 * sum(one["bytes"] for one in before.values())
    page = Path(published()[story])
    assert all((page.parents[2] / one["key"]).is_file() for one in after.values())
    assert optimized() == nothing

    # A bucket is set: the files are brought there as they are, and the site carries none any more.
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    aws = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**aws, "AWS_ENDPOINT_URL_S3": address}.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="img")
    monkeypatch.setenv("CDN_BUCKET", "img")
    monkeypatch.setenv("IMAGE_CDN_URL", f"{address}/img")
    assert threadjuice("deploy", "build")[0] == 0  # until then the site carries them still
    assert (page.parents[2] / "img").is_dir()
    assert optimized() == {**nothing, "lacking": 1, "renewed": 1}
    assert {name: one["key"] for name, one in variants().items()} == {name: one["key"] for name, one in after.items()}
    assert all(one["url"] == f"{address}/img/{one['key']}" for one in variants().values())
    assert not (Path(published()[story]).parents[2] / "img").exists()
    assert optimized() == nothing
    monkeypatch.setenv("IMAGE_CDN_URL", f"{address}/moved")
    assert optimized() == {**nothing, "outdated": 1, "renewed": 1}
    assert f"{address}/moved/img/" in Path(published()[story]).read_text()
    server.stop()


def test_a_backup_that_is_not_proven_is_told_and_exits_with_1(newsroom_environment: dict[str, str]) -> None:
    assert threadjuice("database", "seed")[0] == 0
    assert threadjuice("maintenance", "backup")[0] == 0
    server = sa.make_url(newsroom_environment["DATABASE_URL"])
    engine = sa.create_engine(server, poolclass=sa.NullPool)
    with engine.begin() as connection:  # a row that its table's own key refuses when it comes back
        connection.execute(sa.text("ALTER TABLE categories DROP CONSTRAINT categories_pkey CASCADE"))
        connection.execute(sa.text("INSERT INTO categories SELECT * FROM categories LIMIT 1"))
    code, document, said = threadjuice("maintenance", "backup")
    assert code == 1, said
    assert not document["backup"]["proven"]
    assert "categories_pkey" in document["backup"]["problem"]
    _, listed, _ = threadjuice("database", "backups")
    assert [one["proven"] for one in listed["backups"]] == [False, True]


def test_a_wrong_key_is_told_before_anything_is_touched(
    newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert threadjuice("database", "seed")[0] == 0
    backup = threadjuice("maintenance", "backup")[1]["backup"]["id"]
    token = threadjuice("database", "restore", backup)[1]["plan"]["token"]
    monkeypatch.setenv("BACKUP_ENCRYPTION_KEY", OTHER_KEY)
    code, document, _ = threadjuice("database", "restore", backup, "--confirm", token)
    assert code == 2
    assert "another key" in document["error"]["message"]
    assert threadjuice("status")[0] == 0
