"""The inbox, a folder or a bucket: any name, any kind of file, finished or not; none stops the others."""

import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
import sqlalchemy as sa
from corpora.stories import stories
from moto.server import ThreadedMotoServer
from servers.reddit_server import comment, listing, post

from threadjuice_dagster.assets.publication.content_validation import content_validation
from threadjuice_dagster.assets.publication.imported_stories import imported_stories
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.schema import require_schema
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.operations.imports.inbox import Inbox
from threadjuice_dagster.operations.imports.store import COUNTS, import_files
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.storage import FolderStorage, S3Storage, Storage
from threadjuice_dagster.sensors.inbox import import_inbox_sensor
from threadjuice_dagster.sources.registry import ThreadSources

SUBMISSION = "# The kettle\n\nIt sings at six.\n\n## 3 points\n\nMine sings too.\n"
SOUND = [{"title": story.title, "text": story.text} for story in stories("dev")[-10:]]


def record(number: int = 0, **changes: Any) -> dict[str, Any]:
    made = {"title": f"The fence moves {number} metres", "slug": f"fence-{number}", "category": "neighbours"}
    return {**made, "text": f"The fence moved by {number} metres while we were away.", **changes}


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


def stored(store: Store) -> list[str]:
    with store.engine.connect() as connection:
        return sorted(connection.scalars(sa.select(t.imports.c.story_id)))


@pytest.fixture
def store(prepared_url: str) -> Iterator[Store]:
    store = open_store(prepared_url, 4)
    require_schema(store, migrate_if_missing=True)
    yield store
    store.locks.close()
    store.engine.dispose()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    if request.param == "folder":
        return FolderStorage(root=str(tmp_path / "inbox"))
    address = request.getfixturevalue("s3_server")
    for name, value in (("AWS_ENDPOINT_URL_S3", address), ("AWS_ACCESS_KEY_ID", "AKID"),
                        ("AWS_SECRET_ACCESS_KEY", "s3cr3t"), ("AWS_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket="stories")
    return S3Storage(bucket="stories", prefix=f"in-{tmp_path.name}", any_key=True)


def tick(database: Postgres, inbox: Storage) -> str:
    """The job that the sensor asks for, or why it asks for none."""
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"database": database, "inbox": inbox}
        with dg.build_sensor_context(instance=instance, resources=resources) as context:
            found = import_inbox_sensor.evaluate_tick(context)
            return found.run_requests[0].job_name or "" if found.run_requests else found.skip_message or ""


class TestInbox:
    def run(self, store: Store, inbox: Storage, folder: Path, **config: Any) -> dict[str, Any]:
        resources = {
            "database": Postgres(url=store.engine.url.render_as_string(hide_password=False), pool_size=4),
            "inbox": inbox,
            "imports_folder": FolderStorage(root=str(folder / "imports")),
            "policy": EditorialPolicy(),
        }
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                [imported_stories, content_validation],
                resources=resources,
                instance=instance,
                run_config={"ops": {"imported_stories": {"config": {"quiet_seconds": 0, **config}}}},
            )
            assert result.success
            events = [
                result.asset_materializations_for_node(one)[0] for one in ("imported_stories", "content_validation")
            ]
        return {key: value.value for event in events for key, value in event.metadata.items()}

    def test_files_are_imported_checked_and_archived_with_their_rejects_beside_them(
        self, store: Store, inbox: Storage, tmp_path: Path
    ) -> None:
        inbox.put("monday/a.jsonl", lines({**SOUND[0], "category": "food", "slug": "one"}, {"title": "bad"}))
        inbox.put("b.json", json.dumps([record(1)]).encode())
        inbox.put("b.json.part", b"not yet")
        found = self.run(store, inbox, tmp_path)
        assert [found[name] for name in COUNTS] == [3, 2, 0, 0, 1, 0]
        assert (found["checked"], found["passed"], found["released"]) == (2, 1, 1)
        assert inbox.list() == [
            "archived/b.json",
            "archived/monday/a.jsonl",
            "archived/monday/a.jsonl.rejects.jsonl",
            "b.json.part",
        ]
        assert json.loads(inbox.get("archived/monday/a.jsonl.rejects.jsonl"))["record"] == {"title": "bad"}
        assert self.run(store, inbox, tmp_path)["read"] == 0

    def test_threads_are_stored_unused_and_archived(self, store: Store, inbox: Storage, tmp_path: Path) -> None:
        saved = [listing([{"kind": "t3", "data": post("kettle")}]), listing([comment("c1", "Mine sings too.")])]
        inbox.put("mail/kettle.md", SUBMISSION.encode())
        inbox.put("threads/kettle.json", json.dumps(saved).encode())
        inbox.put("threads/packed.md.gz", gzip.compress(SUBMISSION.replace("kettle", "teapot").encode()))
        inbox.put("story.json", json.dumps([record(1)]).encode())
        found = self.run(store, inbox, tmp_path)
        assert (found["read"], found["imported"], found["refused_files"]) == (1, 1, "none")
        assert found["threads"].count(": stored") == 3
        assert store.unused_threads() == 3
        assert sorted(inbox.list()) == [f"archived/{name}" for name in
            ("mail/kettle.md", "story.json", "threads/kettle.json", "threads/packed.md.gz")]  # fmt: skip

    def test_an_order_for_submissions_takes_those_of_the_inbox(
        self, store: Store, inbox: Storage, tmp_path: Path
    ) -> None:
        inbox.put("kettle.md", SUBMISSION.encode())
        self.run(store, inbox, tmp_path)
        assert ThreadSources(specs=["submission"]).candidates(5).threads == []
        (assigned,) = store.assign(store.open_order(1, None, None, 1, source="submission"))
        assert assigned.story_id.startswith("sub-")

    def test_a_corrected_submission_replaces_the_thread(self, store: Store, inbox: Storage, tmp_path: Path) -> None:
        for text, said in ((SUBMISSION, "stored"), (SUBMISSION, "unchanged"), (SUBMISSION + "\nIn G.\n", "stored")):
            inbox.put("kettle.md", text.encode())
            found = self.run(store, inbox, tmp_path)
            assert f"{said}`" in found["threads"]
        assert store.unused_threads() == 1
        thread_id = found["threads"].removeprefix("* `").partition(" ")[0]
        assert store.thread(thread_id).comments[0].body.endswith("In G.")

    def test_a_thread_that_cannot_be_read_says_why_and_stops_no_other(
        self, store: Store, inbox: Storage, tmp_path: Path
    ) -> None:
        inbox.put("a.md", b"# The kettle\nIt sings.\n## A\n## B\nNo.\n")
        inbox.put("b.md", b"---\ntitle: A story\ncategory: food\n---\nIt sings.\n")
        inbox.put("threads/c.json", b"{}")
        inbox.put("d.md", SUBMISSION.encode())
        found = self.run(store, inbox, tmp_path)
        refused = found["refused_files"].splitlines()
        assert ["line 3: this comment has no text" in refused[0], "line 3: “category”" in refused[1]] == [True, True]
        assert "no thread of a known source" in refused[2]
        assert store.unused_threads() == 1
        assert inbox.list() == ["a.md", "archived/d.md", "b.md", "threads/c.json"]
        assert "could not be taken before" in self.run(store, inbox, tmp_path)["left_alone"]

    def test_a_dry_run_stores_no_thread(self, store: Store, inbox: Storage, tmp_path: Path) -> None:
        inbox.put("kettle.md", SUBMISSION.encode())
        assert "it would be stored" in self.run(store, inbox, tmp_path, dry_run=True)["threads"]
        assert (store.unused_threads(), inbox.list()) == (0, ["kettle.md"])

    def test_an_archived_file_is_never_overwritten(self, store: Store, inbox: Storage, tmp_path: Path) -> None:
        for number in (1, 2):
            inbox.put("a.json", json.dumps(record(number)).encode())
            assert self.run(store, inbox, tmp_path)["imported"] == 1
        assert inbox.list() == ["archived/2/a.json", "archived/a.json"]

    def test_a_file_in_the_folder_may_have_any_name(self, store: Store, tmp_path: Path) -> None:
        inbox = FolderStorage(root=str(tmp_path / "inbox"))
        (tmp_path / "inbox").mkdir()
        (tmp_path / "inbox" / "Geschichten für Zoë (2).json").write_text(json.dumps([record(1), {"title": "bad"}]))
        assert self.run(store, inbox, tmp_path)["imported"] == 1
        assert len(inbox.list()) == len([key for key in inbox.list() if key.startswith("archived/")]) == 2

    def test_a_dry_run_leaves_the_inbox_as_it_is(self, store: Store, inbox: Storage, tmp_path: Path) -> None:
        inbox.put("a.json", json.dumps(record(1)).encode())
        assert self.run(store, inbox, tmp_path, dry_run=True)["imported"] == 1
        assert inbox.list() == ["a.json"]
        assert stored(store) == []

    def test_a_file_stays_in_the_inbox_while_its_rows_are_not_stored(
        self, store: Store, inbox: Storage, tmp_path: Path
    ) -> None:
        inbox.put("a.json", json.dumps(record(1)).encode())
        with store.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE stories RENAME TO away"))
        with pytest.raises(Exception, match=r"stories.*does not exist"):
            self.run(store, inbox, tmp_path)
        assert inbox.list() == ["a.json"]

    def test_whatever_lies_there_the_story_files_beside_it_are_imported(self, store: Store, tmp_path: Path) -> None:
        root, outside = tmp_path / "inbox", tmp_path / "outside"
        root.mkdir()
        outside.mkdir()
        (outside / "secret.json").write_bytes(lines(record(99)))
        names = (b"plain.json", b"no\xffutf8.json", b"esc\x1b[2J\nape.json", "turn\u202enosj.json".encode(), b"x" * 250)
        for number, name in enumerate(names):
            (root / os.fsdecode(name)).write_bytes(lines(record(number), {"title": "bad"}))
        (root / "mac.csv").write_bytes(b"title,category,text\rThe goat,neighbours,Some text.\r")
        (root / "broken.zst").write_bytes(b"\x28\xb5\x2f\xfdnonsense")
        (root / "link.json").symlink_to(outside / "secret.json")
        (root / "dangling.json").symlink_to(outside / "nowhere.json")
        (root / "loop").symlink_to(root)
        (root / "outside").symlink_to(outside)
        os.mkfifo(root / "pipe.json")
        left = ("~$a.json", ".~lock.a.json#", "a.json.crdownload", "b.part", "c.tmp", ".hidden.json", "_drafts/d.json")
        (root / "_drafts").mkdir()
        for name in left:
            (root / name).write_bytes(lines(record(98)))
        found = self.run(store, FolderStorage(root=str(root)), tmp_path)
        assert [found[name] for name in COUNTS] == [12, 6, 0, 0, 6, 0]
        assert "imported-fence-99" not in stored(store)
        assert "imported-fence-98" not in stored(store)
        assert all((root / name).exists() for name in left)
        assert (outside / "secret.json").exists()
        for name in ("link.json", "dangling.json", "loop", "outside", "pipe.json"):
            assert f"* `{name} (no file by itself)`" in found["left_alone"].splitlines()
        assert all(line.isprintable() for text in found.values() if isinstance(text, str) for line in text.split("\n"))
        assert r"`archived/esc\x1b[2J\nape.json.rejects.jsonl`" in found["rejects"]
        assert (root / "archived" / "broken.zst.rejects.jsonl").exists()
        assert self.run(store, FolderStorage(root=str(root)), tmp_path)["read"] == 0

    def test_a_file_that_is_still_being_written_is_left_for_later(self, store: Store, tmp_path: Path) -> None:
        root = tmp_path / "inbox"
        root.mkdir()
        old = time.time() - 60
        (root / "done.jsonl").write_bytes(lines(record(2)))
        with (root / "open.jsonl").open("wb", buffering=0) as writer:
            writer.write(lines(record(1)))
            for name in ("open.jsonl", "done.jsonl"):
                os.utime(root / name, (old, old))
            found = self.run(store, FolderStorage(root=str(root)), tmp_path, quiet_seconds=0.05)
            assert found["left_alone"] == "* `open.jsonl (still being written)`"
        assert stored(store) == ["imported-fence-2"]
        assert self.run(store, FolderStorage(root=str(root)), tmp_path, quiet_seconds=0.05)["imported"] == 1

    def test_a_file_that_grew_while_it_was_read_stays_and_is_read_again(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from threadjuice_dagster.operations.imports import store as imports

        inbox = FolderStorage(root=str(tmp_path / "inbox"))
        inbox.put("grows.jsonl", lines(record(1)))
        real = imports.import_files

        def grow(*arguments: Any, **options: Any) -> Any:
            done = real(*arguments, **options)
            inbox.put("grows.jsonl", lines(record(1), record(2)))
            return done

        with monkeypatch.context() as patched:
            patched.setattr(imports, "import_files", grow)
            found = self.run(store, inbox, tmp_path)
        assert found["left_alone"] == "* `grows.jsonl (it changed while it was read)`"
        assert self.run(store, inbox, tmp_path)["imported"] == 1
        assert stored(store) == ["imported-fence-1", "imported-fence-2"]

    def test_a_file_is_known_by_its_time_and_one_that_is_young_is_not_quiet(self, inbox: Storage) -> None:
        inbox.put("a.json", lines(record(1)))
        box = Inbox(inbox)
        (file,) = box.waiting()
        assert box.is_unchanged(file)
        assert not box.is_unchanged(file._replace(changed=file.changed - 5))
        quiet = [box.is_quiet(file, 5, file.changed + age) for age in (0, 4, 6, -60)]
        assert quiet == [False, False, True, True]
        inbox.delete("a.json")
        assert not box.is_unchanged(file)

    def test_a_key_of_a_bucket_may_be_any(self, store: Store, tmp_path: Path, s3_server: str, inbox: Storage) -> None:
        if not isinstance(inbox, S3Storage):
            return
        for number, key in enumerate(("My Stories (2).json", "esc\x1bape.json", "ä/ö.json", "x" * 900 + ".json")):
            inbox.put(key, lines(record(number), {"title": "bad"}))
        inbox.client.put_object(Bucket=inbox.bucket, Key=f"{inbox.prefix}/folder/", Body=b"")
        found = self.run(store, inbox, tmp_path)
        assert [found[name] for name in COUNTS] == [8, 4, 0, 0, 4, 0]
        left = [key for key in inbox.list() if not key.startswith("archived/")]
        assert left == ["folder/"]
        assert len([key for key in inbox.list() if key.endswith(".rejects.jsonl")]) == 4

    def test_a_file_that_cannot_be_moved_away_is_remembered_until_it_changes(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = tmp_path / "inbox"
        root.mkdir()
        (root / "a.json").write_bytes(lines(record(1)))
        (root / "b.json").write_bytes(lines(record(2)))
        real = Inbox.archive

        def stuck(self: Inbox, file: Any, *rest: Any) -> list[str]:
            if file.key == "a.json":
                raise PermissionError(13, "Permission denied")
            return real(self, file, *rest)

        monkeypatch.setattr(Inbox, "archive", stuck)
        inbox = FolderStorage(root=str(root))
        found = self.run(store, inbox, tmp_path)
        assert (found["imported"], found["read"]) == (2, 2)
        assert "a.json: [Errno 13] Permission denied" in found["refused_files"]
        assert Ledger(store.engine).errors(limit=1)[0]["message"].startswith("a.json of the inbox could not be taken")
        old = time.time() - 60
        os.utime(root / "a.json", (old, old))
        database = Postgres(url=store.engine.url.render_as_string(hide_password=False), pool_size=4)
        assert tick(database, inbox) == "import_stories_job"  # it changed
        self.run(store, inbox, tmp_path)
        assert self.run(store, inbox, tmp_path)["read"] == 0
        assert "1 files that could not be taken are left alone" in tick(database, inbox) or tick(database, inbox) == (
            "validate_content_job"
        )
        monkeypatch.setattr(Inbox, "archive", real)
        os.utime(root / "a.json", (old - 1, old - 1))
        assert self.run(store, inbox, tmp_path)["unchanged"] == 1
        assert not (root / "a.json").exists()

    def test_categories_are_mapped_by_the_settings_and_a_wrong_map_takes_no_file(
        self, store: Store, tmp_path: Path
    ) -> None:
        root = tmp_path / "inbox"
        root.mkdir()
        (root / "a.json").write_bytes(lines(record(1, category="revenge")))
        with pytest.raises(Exception, match="no category 'astrology'"):
            self.run(store, FolderStorage(root=str(root)), tmp_path, map_category=["revenge=astrology"])
        assert (root / "a.json").exists()
        found = self.run(store, FolderStorage(root=str(root)), tmp_path, map_category=["revenge=workplace"])
        assert found["imported"] == 1


def test_the_sensor_waits_for_quiet_files_imports_once_and_then_checks(store: Store, tmp_path: Path) -> None:
    inbox = FolderStorage(root=str(tmp_path / "inbox"))
    database = Postgres(url=store.engine.url.render_as_string(hide_password=False), pool_size=4)
    assert "inbox is empty" in tick(database, inbox)
    inbox.put("a.json", json.dumps(record(1)).encode())
    assert "inbox is empty" in tick(database, inbox)
    old = time.time() - 60
    os.utime(tmp_path / "inbox" / "a.json", (old, old))
    assert tick(database, inbox) == "import_stories_job"
    import_files(store, [tmp_path / "inbox" / "a.json"], tmp_path / "imports")
    (tmp_path / "inbox" / "a.json").unlink()
    assert tick(database, inbox) == "validate_content_job"
