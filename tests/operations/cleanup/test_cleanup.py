"""Clean-ups on a real PostgreSQL and real storages: what goes, what stays, and what a kill or a full disk leaves."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
import sqlalchemy as sa
from backup_keys import KEY, OTHER_KEY
from dagster._core.instance.ref import InstanceRef
from makers import make_draft, make_image, make_publication, make_score, make_thread
from moto.server import ThreadedMotoServer

from threadjuice_dagster.assets.upkeep.cleanup import content_cleanup, prune_runs
from threadjuice_dagster.database.embedded import EmbeddedServer
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.server import create_database, embedded_url
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.failures import PermanentFailure, TransientFailure
from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
from threadjuice_dagster.operations.backups.rules import Contents, Manifest, Proof, backup_id, dump_key
from threadjuice_dagster.operations.backups.service import BackupService
from threadjuice_dagster.operations.backups.store import BackupHistory
from threadjuice_dagster.operations.cleanup.rules import CleanupReport, RuleReport
from threadjuice_dagster.operations.cleanup.service import CleanupService, Site
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.operations.takedowns.store import Takedowns
from threadjuice_dagster.resources.encryption import Encryptor
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.storage import FolderStorage, S3Storage, Storage
from threadjuice_dagster.site.publisher import Publisher

QUOTED = "Measure it twice before you say a word."


def now() -> datetime:
    return datetime.now(UTC)


@dataclasses.dataclass
class Rooms:
    """A newsroom with an empty site, its clean-up desk, and an instance of Dagster."""

    service: CleanupService
    instance: dg.DagsterInstance
    site: Site = dataclasses.field(default_factory=lambda: Site(False, lambda: None))

    @property
    def store(self) -> Store:
        return self.service.database.store

    @property
    def takedowns(self) -> TakedownService:
        return self.service.takedown_service

    @property
    def cdn(self) -> Storage:
        return self.takedowns.cdn

    def clean(self, *, dry_run: bool = False, force: bool = False) -> CleanupReport:
        return self.service.clean(self.instance, self.site, now(), dry_run=dry_run, force=force)

    def change(self, **changes: Any) -> None:
        self.service = self.service.model_copy(update=changes)

    def execute(self, statement: str, **values: Any) -> Any:
        with self.store.engine.begin() as connection:
            found = connection.execute(sa.text(statement), values)
            return found.all() if found.returns_rows else found.rowcount

    def story(self, number: int, status: str = "rejected", days: int = 31, **draft: Any) -> str:
        """A story with everything a story has, in a status for so many days."""
        self.store.save_threads([make_thread(f"t{number}", source="reddit")])
        story_id = self.store.assign(self.store.open_order(1, None, None, 3))[0].story_id
        self.fill(story_id, number, **draft)
        if status in ("published", "withdrawn"):
            self.store.save(
                make_publication(self.store, story_id).model_copy(update={"image": picture(story_id, number)})
            )
        if status == "withdrawn":
            self.store.withdraw(story_id, "ada", "asked to")
        self.execute(
            "UPDATE assignments SET status = :status, updated_at = now() - make_interval(days => :days), run_id = NULL"
            " WHERE story_id = :id",
            status=status, days=days, id=story_id,
        )  # fmt: skip
        return story_id

    def fill(self, story_id: str, number: int, **draft: Any) -> None:
        for model in (make_draft(story_id, **draft), make_score(story_id), picture(story_id, number)):
            self.store.save(model)
        self.store.record_verdicts(story_id, {gate: GateFinding(True, f"about {QUOTED}") for gate in GATES})
        for variant in picture(story_id, number).variants:
            self.keep_file(variant.key)

    def keep_file(self, key: str, hours: float = 25) -> None:
        self.cdn.put(key, b"picture")
        if isinstance(self.cdn, FolderStorage):
            moment = now().timestamp() - hours * 3600
            os.utime(Path(self.cdn.root) / key, (moment, moment))

    def written(self) -> set[str]:
        return {row.story_id for row in self.execute("SELECT story_id FROM stories")}

    def archived(self) -> list[dict[str, Any]]:
        archive = self.takedowns.archive
        return [row for _, label in archive.labels() for row in archive.rows(label)]

    def back_up(self, hours: float = 1, *, proven: bool = True) -> None:
        prove_backup(self.service.backup_service, hours, proven=proven)


def picture(story_id: str, number: int) -> Any:
    image = make_image(story_id)
    variant = image.variants[0].model_copy(update={"key": f"img/{number:04}/480.jpg"})
    return image.model_copy(update={"variants": (variant,), "sha256": f"{number:064}"})


def prove_backup(service: BackupService, hours: float, *, proven: bool = True) -> None:
    """A backup that was taken so long ago, as its label and the history have it."""
    moment = now() - timedelta(hours=hours)
    identity = backup_id(moment, f"{abs(int(hours)):08x}")
    encryptor = Encryptor(service.encryption_key)
    manifest = Manifest(
        id=identity, key=dump_key(identity, encryptor.recipient), taken_at=moment, database="x",
        postgres="18", tools={}, recipient=encryptor.recipient, sha256="0" * 64, bytes=1, dump_bytes=1, seconds=1,
        contents=Contents(revision="0004", tables={}),
    )  # fmt: skip
    BackupStorage(service.storage, encryptor).put_manifest(manifest)
    history = BackupHistory(service.database.store.engine)
    history.add(manifest)
    history.add_proof(manifest.id, Proof(at=moment, problem="" if proven else "It could not be restored."))


def make_desk(url: str, cdn: Storage, vault: Storage, key: str = "", **settings: Any) -> CleanupService:
    database = Postgres(url=url, pool_size=3, migrates_itself=True)
    return CleanupService(
        database=database,
        backup_service=BackupService(database=database, storage=vault, encryption_key=key),
        takedown_service=TakedownService(database=database, storage=vault, cdn=cdn, encryption_key=key),
        **settings,
    )


@pytest.fixture
def rooms(prepared_url: str, tmp_path: Path) -> Iterator[Rooms]:
    cdn, vault = FolderStorage(root=str(tmp_path / "cdn")), FolderStorage(root=str(tmp_path / "vault"))
    with dg.DagsterInstance.ephemeral() as instance:
        rooms = Rooms(make_desk(prepared_url, cdn, vault), instance)
        rooms.back_up()
        yield rooms
        rooms.store.locks.close()
        rooms.store.engine.dispose()


def rule(report: CleanupReport, name: str) -> RuleReport:
    return next(one for one in report.rules if one.name == name)


def removed(report: CleanupReport) -> dict[str, int]:
    return {one.name: one.removed for one in report.rules if one.removed}


class TestADryRun:
    def test_says_what_would_go_and_removes_nothing(self, rooms: Rooms) -> None:
        rooms.story(1)
        rooms.keep_file("img/nobody/480.jpg")
        before = (rooms.written(), rooms.cdn.list(), rooms.takedowns.storage.list())
        report = rooms.clean(dry_run=True)
        assert rule(report, "rejected_drafts").found == 1
        assert rule(report, "orphan_files").found == 1
        assert (removed(report), report.archive) == ({}, "")
        assert (rooms.written(), rooms.cdn.list(), rooms.takedowns.storage.list()) == before

    def test_without_a_backup_says_that_nothing_would_go(self, rooms: Rooms, tmp_path: Path) -> None:
        rooms.story(1)
        rooms.execute("DELETE FROM backups")
        report = rooms.clean(dry_run=True)
        assert "no proven backup" in rule(report, "rejected_drafts").refused


class TestACleanUp:
    def test_removes_what_each_rule_finds_and_nothing_younger(self, rooms: Rooms) -> None:
        gone = {rooms.story(1, days=31), rooms.story(2, "withdrawn", days=91)}
        kept = {
            rooms.story(3, days=29), rooms.story(4, "withdrawn", days=89), rooms.story(5, "published", days=900),
            rooms.story(6, "held", days=900), rooms.story(7, "failed", days=900), rooms.story(8, "imported", days=900),
        }  # fmt: skip
        report = rooms.clean()
        assert rooms.written() == kept
        assert removed(report) == {"rejected_drafts": 1, "withdrawn_stories": 1, "orphan_files": 2}
        assert rooms.cdn.list() == [f"img/{number:04}/480.jpg" for number in range(3, 9)]
        for table in ("quality_scores", "gate_verdicts", "images", "image_variants", "publications"):
            assert not rooms.execute(f"SELECT 1 FROM {table} WHERE story_id = ANY(:ids)", ids=list(gone)), table

    def test_archives_every_row_before_it_goes(self, rooms: Rooms) -> None:
        story_id = rooms.story(1, "withdrawn", days=91)
        draft = rooms.store.draft(story_id)
        report = rooms.clean()
        rows = {one["table"]: one["row"] for one in rooms.archived()}
        assert set(rows) == {
            "assignments", "stories", "quality_scores", "gate_verdicts", "images", "image_variants", "publications",
        }  # fmt: skip
        assert type(draft).model_validate(rows["stories"]["record"]) == draft
        assert Path(report.archive.removeprefix("file://")).is_dir()

    def test_is_encrypted_as_backups_are(self, rooms: Rooms, prepared_url: str) -> None:
        cdn, vault = rooms.cdn, rooms.takedowns.storage
        rooms.service = make_desk(prepared_url, cdn, vault, key=KEY)
        rooms.back_up(hours=2)
        rooms.story(1)
        rooms.clean()
        parts = [key for key in vault.list("archive/") if key.endswith(".age")]
        assert len(parts) == 1
        assert vault.get(parts[0])[:3] == b"age"
        assert len(rooms.archived()) == 5 + len(GATES)
        assert all(b"moved by a metre" not in vault.get(key) for key in vault.list("archive/"))

    def test_keeps_a_story_s_thread_from_being_written_again(self, rooms: Rooms) -> None:
        story_id = rooms.story(1)
        rooms.clean()
        rooms.store.save_threads([make_thread("t1", source="reddit", score=9999)])
        assert rooms.store.unused_threads() == 0
        assert rooms.store.assign(rooms.store.open_order(1, None, None, 3)) == []
        assert rooms.store.status_counts() == {"rejected": 1}
        assert rooms.execute("SELECT error ->> 'kind' FROM assignments")[0][0] == "cleanup"
        assert rooms.store.assignment(story_id).thread_id == "t1"

    def test_twice_finds_nothing_the_second_time(self, rooms: Rooms) -> None:
        rooms.story(1)
        rooms.clean()
        report = rooms.clean()
        assert [one.found for one in report.rules] == [0] * 11
        assert report.archive == ""

    def test_keeps_the_audit_and_the_tombstones(self, rooms: Rooms) -> None:
        rooms.story(1, "withdrawn", days=91)
        rooms.takedowns.record_deletions([Tombstone(kind="thread", id="elsewhere")], rooms.instance)
        before = rooms.execute("SELECT * FROM audit"), rooms.execute("SELECT * FROM tombstones")
        rooms.clean()
        assert (rooms.execute("SELECT * FROM audit"), rooms.execute("SELECT * FROM tombstones")) == before
        assert len(before[0]) == 1

    def test_removes_what_was_noted_long_ago_and_nothing_young(self, rooms: Rooms) -> None:
        for days in (181, 179):
            rooms.execute("INSERT INTO events (kind, at) VALUES ('x', now() - make_interval(days => :days))", days=days)
            rooms.execute(
                "INSERT INTO pipeline_errors (asset, kind, message, next_step, fingerprint, at)"
                " VALUES ('a', 'permanent', 'No.', '', 'f', now() - make_interval(days => :days))", days=days,
            )  # fmt: skip
            for state in ("open", "over"):
                rooms.execute(
                    "INSERT INTO incidents (cause, source, open, record, last_at)"
                    " VALUES (:cause, 's', :open, '{}', now() - make_interval(days => :days))",
                    cause=f"{state}:{days}", open=state == "open", days=days,
                )  # fmt: skip
                rooms.execute(
                    "INSERT INTO alerts (id, record, created_at, delivered_at)"
                    " VALUES (:id, '{}', now() - make_interval(days => :days), :delivered)",
                    id=f"{state}:{days}", days=days,
                    delivered=datetime.now(UTC) - timedelta(days=days) if state == "over" else None,
                )  # fmt: skip
        rooms.story(1, "published")
        report = rooms.clean()
        assert removed(report) == {"old_events": 1, "old_errors": 1, "old_alerts": 1, "old_incidents": 1}
        assert {one["table"] for one in rooms.archived()} == {"pipeline_errors", "events", "alerts", "incidents"}
        assert {cause for (cause,) in rooms.execute("SELECT cause FROM incidents")} == {
            "open:181",
            "open:179",
            "over:179",
        }
        assert {name for (name,) in rooms.execute("SELECT id FROM alerts")} == {"open:181", "open:179", "over:179"}

    def test_drops_the_text_of_old_threads_and_archives_none_of_it(self, rooms: Rooms) -> None:
        rooms.story(1, "published")
        rooms.store.save_threads([make_thread("unused", source="reddit")])
        rooms.execute("UPDATE threads SET fetched_at = now() - interval '49 hours'")
        assert rule(rooms.clean(dry_run=True), "expired_threads").found == 2
        assert removed(rooms.clean()) == {"expired_threads": 2}
        assert rooms.store.thread("t1", text=False).expired
        assert rooms.archived() == []

    def test_removes_archives_that_are_old(self, rooms: Rooms) -> None:
        rooms.story(1)
        rooms.clean()
        assert rooms.takedowns.storage.list("archive/")
        rooms.back_up(hours=-24 * 91)
        report = rooms.service.clean(rooms.instance, rooms.site, now() + timedelta(days=91), dry_run=False)
        assert removed(report) == {"old_archives": 2}
        assert rooms.takedowns.storage.list("archive/") == []

    def test_leaves_a_story_alone_whose_run_lives(self, rooms: Rooms) -> None:
        story_id = rooms.story(1, "withdrawn", days=91)
        rooms.execute("UPDATE assignments SET run_id = 'a-run'")
        other = Store(sa.create_engine(rooms.store.engine.url))
        with other.locks.held("run:a-run"):
            assert rooms.clean().archive == ""
            assert rooms.written() == {story_id}
        other.locks.close()
        rooms.clean()
        assert rooms.written() == set()

    def test_removes_the_partition_and_the_runs_of_a_story(self, rooms: Rooms) -> None:
        gone, kept = rooms.story(1), rooms.story(2, "published")

        @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="stories"))
        def told() -> dg.MaterializeResult[None]:
            return dg.MaterializeResult(metadata={"text": dg.MetadataValue.md(QUOTED)})

        rooms.instance.add_dynamic_partitions("stories", [gone, kept, "of-somebody-else"])
        for story_id in (gone, kept):
            dg.materialize([told], instance=rooms.instance, partition_key=story_id)
        assert removed(rooms.clean())["story_runs"] == 1
        assert sorted(rooms.instance.get_dynamic_partitions("stories")) == sorted([kept, "of-somebody-else"])
        assert [run.tags["dagster/partition"] for run in rooms.instance.get_runs()] == [kept]


class TestTestContent:
    def test_goes_whatever_its_status_with_its_thread_and_its_page(self, rooms: Rooms) -> None:
        shown: list[list[str]] = []
        rooms.site = Site(True, lambda: shown.append([story.story_id for story in rooms.store.published()]))
        titled = rooms.story(1, "published", days=0, title="[TEST] A fence")
        drafted = rooms.story(2, "held", days=0, title="[test] Another one")
        kept = rooms.story(3, "published", title="Testing my patience")
        assert removed(rooms.clean()) == {"test_content": 2, "orphan_files": 2}
        assert rooms.written() == {kept}
        assert shown == [[kept]]
        assert not rooms.execute("SELECT 1 FROM assignments WHERE story_id = ANY(:ids)", ids=[titled, drafted])
        assert [row.id for row in rooms.execute("SELECT id FROM threads")] == ["t3"]
        assert {one["row"]["story_id"] for one in rooms.archived()} == {titled, drafted}
        decision = rooms.store.decisions()[0]
        assert (decision.action, decision.story_id, decision.actor) == ("withdraw", titled, "clean-up")

    def test_is_known_by_id_and_slug_as_well(self, rooms: Rooms) -> None:
        by_id, by_slug, kept = rooms.story(1), rooms.story(2, "published"), rooms.story(3, "published")
        rooms.execute("UPDATE publications SET slug = 'smoke-check-9' WHERE story_id = :id", id=by_slug)
        rooms.change(test_prefixes=[by_id.upper(), "smoke-"], rejected_days=9000)
        assert removed(rooms.clean())["test_content"] == 2
        assert rooms.written() == {kept}

    def test_is_no_published_story_of_any_other_rule(self, rooms: Rooms) -> None:
        stories = {rooms.story(1, "published", days=900)}
        for status in ("rejected", "withdrawn"):  # as no program leaves it
            rooms.execute("UPDATE assignments SET status = :status", status=status)
            assert removed(rooms.clean(force=True)) == {}
        assert rooms.written() == stories


class TestFiles:
    def test_of_a_story_being_made_are_left_alone(self, rooms: Rooms) -> None:
        rooms.story(1, "published")
        rooms.keep_file("img/young/480.jpg", hours=23)
        rooms.keep_file("img/old/480.jpg", hours=25)
        rooms.keep_file("favicon.ico", hours=900)
        assert removed(rooms.clean()) == {"orphan_files": 1}
        assert rooms.cdn.list() == ["favicon.ico", "img/0001/480.jpg", "img/young/480.jpg"]

    def test_that_another_story_shows_stay(self, rooms: Rooms) -> None:
        rooms.story(1)
        kept = rooms.story(2, "published")
        rooms.store.save(picture(kept, 1))
        rooms.clean()
        assert "img/0001/480.jpg" in rooms.cdn.list()

    def test_that_only_the_public_record_names_stay(self, rooms: Rooms) -> None:
        story_id = rooms.story(1, "published")
        rooms.store.save(picture(story_id, 2))  # chosen anew, not published yet
        rooms.keep_file("img/0002/480.jpg")
        assert removed(rooms.clean()) == {}
        assert rooms.cdn.list() == ["img/0001/480.jpg", "img/0002/480.jpg"]

    def test_stored_again_at_the_last_moment_stay(self, rooms: Rooms) -> None:
        rooms.story(1, "published")
        rooms.keep_file("img/back/480.jpg")
        again = FolderStorage(root=rooms.cdn.root)  # type: ignore[attr-defined]

        class Returning(FolderStorage):
            def entries(self, prefix: str = "") -> Iterator[tuple[str, datetime]]:
                yield from super().entries(prefix)
                again.put("img/back/480.jpg", b"picture")

        service = rooms.takedowns.model_copy(update={"cdn": Returning(root=again.root)})
        rooms.change(takedown_service=service)
        assert rule(rooms.clean(), "orphan_files").found == 1
        assert "img/back/480.jpg" in again.list()


class TestTheGuards:
    @pytest.mark.parametrize(("hours", "proven"), [(27, True), (1, False)])
    def test_refuse_without_a_backup_proven_lately(self, rooms: Rooms, hours: float, proven: bool) -> None:
        story_id = rooms.story(1)
        shutil.rmtree(Path(rooms.takedowns.storage.root))  # type: ignore[attr-defined]
        rooms.back_up(hours, proven=proven)
        with pytest.raises(PermanentFailure, match=r"no proven backup.*threadjuice maintenance backup"):
            rooms.clean(force=True)
        assert rooms.written() == {story_id}

    def test_do_not_stop_a_small_newsroom(self, rooms: Rooms) -> None:
        for number in range(3):
            rooms.story(number)
        for number in range(3, 5):
            rooms.story(number, "published")
        assert removed(rooms.clean())["rejected_drafts"] == 3

    def test_refuse_more_than_a_share_unless_forced(self, rooms: Rooms) -> None:
        for number in range(11):
            rooms.story(number)
        rooms.story(11, "published")
        report = rooms.clean()
        found = rule(report, "rejected_drafts")
        assert (found.found, found.removed, found.total) == (11, 0, 12)
        assert "11 of 12 (92%)" in found.refused
        assert report.refused == (found,)
        assert len(rooms.written()) == 12
        assert removed(rooms.clean(force=True))["rejected_drafts"] == 11

    def test_remove_nothing_from_a_database_without_stories(self, rooms: Rooms) -> None:
        rooms.keep_file("img/some/480.jpg")
        report = rooms.clean(force=True)
        assert "has no stories" in rule(report, "orphan_files").refused
        assert rooms.cdn.list() == ["img/some/480.jpg"]

    def test_remove_nothing_where_the_site_shows_stories_and_the_database_none(self, rooms: Rooms) -> None:
        story_id = rooms.story(1)
        rooms.site = Site(True, lambda: None)
        report = rooms.clean(force=True)
        assert "none that is public" in rule(report, "rejected_drafts").refused
        assert rooms.written() == {story_id}

    def test_say_that_picture_storage_lists_nothing(self, rooms: Rooms) -> None:
        rooms.story(1, "published")
        shutil.rmtree(Path(rooms.cdn.root))  # type: ignore[attr-defined]
        assert "lists no files" in rule(rooms.clean(), "orphan_files").refused


class TestATakedown:
    def test_of_an_archived_story_is_cut_out_of_the_archive(self, rooms: Rooms) -> None:
        rooms.story(1)
        kept = rooms.story(2)
        rooms.clean()
        assert {thread: stored.comments for thread, stored in rooms.takedowns.sources().items()} == {
            "t1": {"c2"},
            "t2": {"c2"},
        }
        rooms.takedowns.record_deletions([Tombstone(kind="thread", id="t1")], rooms.instance)
        assert {one["row"]["story_id"] for one in rooms.archived()} == {kept}
        assert {thread: stored.comments for thread, stored in rooms.takedowns.sources().items()} == {"t2": {"c2"}}
        label = next(label for _, label in rooms.takedowns.archive.labels())
        assert label.rows == len(rooms.archived())

    @pytest.mark.parametrize("reference", ["t3_t1", "t1_c2", "the story"])
    def test_finds_an_archived_story_by_any_of_its_names(self, rooms: Rooms, reference: str) -> None:
        story_id = rooms.story(1)
        rooms.clean()
        named = story_id if reference == "the story" else reference
        found = Takedowns(rooms.store.engine).find(named, rooms.takedowns.sources)
        rooms.takedowns.record_deletions([found], rooms.instance)
        assert rooms.takedowns.storage.list("archive/") == []

    def test_of_test_content_of_which_no_row_is_left_reaches_the_archive(self, rooms: Rooms) -> None:
        rooms.story(1, title="[test] A fence")
        rooms.clean()
        rooms.takedowns.record_deletions([Tombstone(kind="comment", id="c2", thread="t1")], rooms.instance)
        assert rooms.archived() == []

    def test_of_a_part_for_another_key_removes_the_part(self, rooms: Rooms, prepared_url: str) -> None:
        cdn, vault = rooms.cdn, rooms.takedowns.storage
        rooms.service = make_desk(prepared_url, cdn, vault, key=KEY)
        rooms.back_up(hours=2)
        rooms.story(1)
        rooms.clean()
        other = make_desk(prepared_url, cdn, vault, key=OTHER_KEY)
        other.takedown_service.record_deletions([Tombstone(kind="thread", id="t1")], rooms.instance)
        assert vault.list("archive/") == []

    def test_leaves_nothing_for_a_clean_up_to_archive(self, rooms: Rooms) -> None:
        story_id = rooms.story(1, "withdrawn", days=91)
        rooms.takedowns.record_deletions([Tombstone(kind="thread", id="t1")], rooms.instance)
        rooms.fill(story_id, 1)  # a run went on writing
        rooms.execute("UPDATE assignments SET updated_at = now() - interval '91 days'")
        rooms.clean()
        assert rooms.written() == set()
        assert rooms.archived() == []

    def test_cuts_its_words_out_of_archived_events(self, rooms: Rooms) -> None:
        story_id = rooms.story(1, "published")
        rooms.execute(
            "INSERT INTO events (kind, story_id, detail, at) VALUES ('x', :id, '{\"said\": \"words\"}',"
            " now() - interval '200 days'), ('y', NULL, '{}', now() - interval '200 days')", id=story_id,
        )  # fmt: skip
        rooms.clean()
        assert len(rooms.archived()) == 2
        rooms.takedowns.record_deletions([Tombstone(kind="thread", id="t1")], rooms.instance)
        assert [one["row"]["kind"] for one in rooms.archived()] == ["y"]


MOMENTS = ("while archiving", "before the rows go", "before the files go", "before the runs go", "in a takedown")
SCRIPT = """
import json, sys, time
from datetime import UTC, datetime
import dagster as dg
from dagster._core.instance.ref import InstanceRef
sys.path[:0] = json.loads(sys.argv[1])["path"]
import test_cleanup
from threadjuice_dagster.operations.cleanup import service as cleanup
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.resources.storage import FolderStorage

given = json.loads(sys.argv[1])

def pause(*_, **__):
    print("PAUSED", flush=True)
    time.sleep(600)

class Vault(FolderStorage):
    def put_stream(self, key, source):
        if given["moment"] == "while archiving" and key.endswith(".zst"):
            first = source.read(100)
            class Half:
                def read(self, size=-1, again=[first]):
                    return again.pop() if again else pause()
            source = Half()
        super().put_stream(key, source)
        if given["moment"] == "before the rows go" and key.endswith(".json"):
            pause()
        if given["moment"] == "in a takedown" and key.endswith(".zst"):
            pause()

class Pictures(FolderStorage):
    def delete(self, key):
        pause() if given["moment"] == "before the files go" else super().delete(key)

desk = test_cleanup.make_desk(given["url"], Pictures(root=given["cdn"]), Vault(root=given["vault"]))
if given["moment"] == "before the runs go":
    cleanup.forget_story = pause
with dg.DagsterInstance.from_ref(InstanceRef.from_dir(given["dagster"])) as instance:
    if given["moment"] == "in a takedown":
        desk.takedown_service.record_deletions([Tombstone(kind="thread", id="t1")], instance)
    site = cleanup.Site(False, lambda: None)
    desk.clean(instance, site, datetime.now(UTC), dry_run=False)
print("ENDED", flush=True)
"""


@contextlib.contextmanager
def stopped(rooms: Rooms, moment: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A clean-up in a process of its own, stopped at a moment and killed at the end of the block."""
    given = {
        "moment": moment, "path": [str(Path(__file__).parent), str(Path(__file__).parents[2])],
        "dagster": str(folder / "dagster"),
        "url": rooms.store.engine.url.render_as_string(hide_password=False), "cdn": str(folder / "cdn"),
        "vault": str(folder / "vault"),
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, json.dumps(given)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("PAUSED")
    yield process
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def killed_at(rooms: Rooms, moment: str, folder: Path) -> None:
    with stopped(rooms, moment, folder):
        pass


@pytest.fixture
def retry_lost_connection(prepared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rooms]:
    """Rooms whose Dagster instance another process can open too, with two stories to remove and one to keep."""
    cdn, vault = FolderStorage(root=str(tmp_path / "cdn")), FolderStorage(root=str(tmp_path / "vault"))
    address = sa.make_url(prepared_url).set(
        drivername="postgresql+psycopg2", database=f"{sa.make_url(prepared_url).database}_dagster"
    )
    create_database(sa.make_url(prepared_url), str(address.database))
    (tmp_path / "dagster").mkdir()
    config = f"storage:\n  postgres:\n    postgres_url: {json.dumps(address.render_as_string(hide_password=False))}\n"
    (tmp_path / "dagster" / "dagster.yaml").write_text(f"{config}telemetry: {{enabled: false}}\n")
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path / "dagster"))) as instance:
        rooms = Rooms(make_desk(prepared_url, cdn, vault), instance)
        rooms.back_up()
        stories = [rooms.story(1), rooms.story(2, "withdrawn", days=91), rooms.story(3, "published")]
        instance.add_dynamic_partitions("stories", stories)
        yield rooms
        rooms.store.locks.close()
        rooms.store.engine.dispose()


class TestACleanUpThatWasKilled:
    @pytest.mark.parametrize("moment", MOMENTS[:4])
    def test_loses_nothing_and_the_next_one_finishes_it(
        self, retry_lost_connection: Rooms, tmp_path: Path, moment: str
    ) -> None:
        drafts = {
            story_id: retry_lost_connection.store.draft(story_id).model_dump(mode="json")
            for story_id in retry_lost_connection.written()
        }
        killed_at(retry_lost_connection, moment, tmp_path)
        left = retry_lost_connection.written()
        archived = {
            one["row"]["story_id"]: one["row"]["record"]
            for one in retry_lost_connection.archived()
            if one["table"] == "stories"
        }
        assert {story_id: drafts[story_id] for story_id in archived} == archived
        assert left | set(archived) == set(drafts)
        for table in ("quality_scores", "gate_verdicts", "images", "image_variants"):
            assert {
                row[0] for row in retry_lost_connection.execute(f"SELECT DISTINCT story_id FROM {table}")
            } == left, table
        assert {
            f"img/{number:04}/480.jpg" for number, story_id in enumerate(sorted(drafts), 1) if story_id in left
        } <= set(retry_lost_connection.cdn.list())
        retry_lost_connection.clean()
        kept = {story_id for story_id in drafts if story_id.endswith("-t3")}
        assert retry_lost_connection.written() == kept
        assert retry_lost_connection.cdn.list() == ["img/0003/480.jpg"]
        assert set(retry_lost_connection.instance.get_dynamic_partitions("stories")) == kept
        assert {one["row"]["story_id"] for one in retry_lost_connection.archived()} == set(drafts) - kept

    def test_leaves_no_part_without_a_label_for_ever(self, retry_lost_connection: Rooms, tmp_path: Path) -> None:
        killed_at(retry_lost_connection, "while archiving", tmp_path)
        stray = "archive/2020-01-01T000000Z-00000000/rejected_drafts-00001.jsonl.zst"
        retry_lost_connection.takedowns.storage.put(stray, b"half")
        retry_lost_connection.clean()
        assert stray not in retry_lost_connection.takedowns.storage.list()

    def test_holds_another_one_up_only_while_it_lives(self, retry_lost_connection: Rooms, tmp_path: Path) -> None:
        told, done = threading.Event(), threading.Event()

        def clean() -> None:
            retry_lost_connection.service.clean(
                retry_lost_connection.instance,
                retry_lost_connection.site,
                now(),
                dry_run=False,
                tell=lambda _: told.set(),
            )
            done.set()

        other = threading.Thread(target=clean)
        with stopped(retry_lost_connection, "before the rows go", tmp_path):
            other.start()
            assert told.wait(30)
            assert len(retry_lost_connection.written()) == 3
        other.join(60)
        assert done.is_set()
        assert len(retry_lost_connection.written()) == 1

    def test_in_a_takedown_leaves_the_rest_of_it_to_the_next_one(
        self, retry_lost_connection: Rooms, tmp_path: Path
    ) -> None:
        kept = retry_lost_connection.story(4)
        retry_lost_connection.clean()
        killed_at(retry_lost_connection, "in a takedown", tmp_path)
        retry_lost_connection.takedowns.replay(retry_lost_connection.instance)
        assert not [one for one in retry_lost_connection.archived() if one["row"]["story_id"].endswith("-t1")]
        assert all("t1" not in label.stories.values() for _, label in retry_lost_connection.takedowns.archive.labels())
        assert kept in {one["row"]["story_id"] for one in retry_lost_connection.archived()}


def test_two_clean_ups_at_once_archive_each_row_once(retry_lost_connection: Rooms) -> None:
    for number in range(4, 10):
        retry_lost_connection.story(number)
    cleaned = [threading.Thread(target=retry_lost_connection.clean) for _ in range(2)]
    for thread in cleaned:
        thread.start()
    for thread in cleaned:
        thread.join(60)
    assert len(retry_lost_connection.written()) == 1
    stories = [one["row"]["story_id"] for one in retry_lost_connection.archived() if one["table"] == "stories"]
    assert len(stories) == len(set(stories)) == 8


def test_a_full_disk_under_the_archive_is_one_clear_line_and_loses_nothing(
    retry_lost_connection: Rooms, tmp_path: Path
) -> None:
    def fill(size: int) -> None:
        with (tmp_path / "vault" / "filler").open("wb") as file:
            file.write(b"x" * size)

    before = retry_lost_connection.written()
    manifest = retry_lost_connection.takedowns.storage.list("backups/")[0]
    kept = retry_lost_connection.takedowns.storage.get(manifest)
    command = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(tmp_path / "vault")]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        retry_lost_connection.takedowns.storage.put(manifest, kept)
        fill(24_000)
        with pytest.raises(TransientFailure, match="No space left on device"):
            retry_lost_connection.clean()
        archived = {one["row"]["story_id"] for one in retry_lost_connection.archived()}
        assert len(archived) < 2
        assert (retry_lost_connection.written() | archived, retry_lost_connection.written() & archived) == (
            before,
            set(),
        )
        fill(0)
        retry_lost_connection.clean()
        assert len(retry_lost_connection.written()) == 1
        assert len({one["row"]["story_id"] for one in retry_lost_connection.archived()}) == 2
    finally:
        subprocess.run(["umount", str(tmp_path / "vault")], check=True)


def test_a_server_restart_in_the_middle_is_told_in_one_line_and_the_next_one_finishes(tmp_path: Path) -> None:
    """On a server of its own, stopped without a goodbye while the archive is being written."""
    home, url = tmp_path / "home", embedded_url(tmp_path / "home")

    class Restarting(FolderStorage):
        def put_stream(self, key: str, source: Any) -> None:
            super().put_stream(key, source)
            if key.endswith(".json") and key.startswith("archive/") and not (tmp_path / "restarted").exists():
                (tmp_path / "restarted").touch()
                restart(home)

    cdn, vault = FolderStorage(root=str(tmp_path / "cdn")), Restarting(root=str(tmp_path / "vault"))
    with dg.DagsterInstance.ephemeral() as instance:
        rooms = Rooms(make_desk(url, cdn, vault), instance)
        rooms.back_up()
        stories = [rooms.story(1), rooms.story(2, "withdrawn", days=91), rooms.story(3, "published")]
        with pytest.raises(sa.exc.DBAPIError):
            rooms.clean()
        assert rooms.written() == set(stories)
        assert len(rooms.cdn.list()) == 3
        rooms.clean()
        assert rooms.written() == {stories[2]}
        assert len(rooms.cdn.list()) == 1
        rooms.store.locks.close()
        rooms.store.engine.dispose()


def restart(home: Path) -> None:
    EmbeddedServer(home).control("restart", "-m", "immediate")


class TestTheAsset:
    def materialize(self, rooms: Rooms, tmp_path: Path, **config: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [content_cleanup],
            instance=rooms.instance,
            resources={
                "database": rooms.service.database,
                "cleanup_service": rooms.service,
                "publisher": Publisher(folder=str(tmp_path / "site"), pictures_root=str(tmp_path / "cdn")),
            },
            run_config={"ops": {"content_cleanup": {"config": config}}} if config else None,
            raise_on_error=False,
        )

    def test_is_a_dry_run_unless_told_otherwise(self, rooms: Rooms, tmp_path: Path) -> None:
        story_id = rooms.story(1)
        result = self.materialize(rooms, tmp_path)
        told = result.asset_materializations_for_node("content_cleanup")[0].metadata
        assert told["dry run"].value == "yes: nothing was removed"
        assert told["found"].value == 1
        assert rooms.written() == {story_id}

    def test_cleans_up_when_told_to_and_shows_what_went(self, rooms: Rooms, tmp_path: Path) -> None:
        rooms.story(1)
        result = self.materialize(rooms, tmp_path, dry_run=False)
        assert result.success
        told = result.asset_materializations_for_node("content_cleanup")[0].metadata
        record = next(one.data for one in told["rules"].records if one.data["name"] == "rejected_drafts")
        assert record == {"name": "rejected_drafts", "found": 1, "removed": 1, "refused": "", "share": 1.0}
        assert "archive/" in told["archive"].value
        assert result.get_asset_check_evaluations()[0].passed
        assert rooms.written() == set()

    def test_builds_the_site_anew_without_test_content(self, rooms: Rooms, tmp_path: Path) -> None:
        gone, kept = rooms.story(1, "published", title="[test] A fence"), rooms.story(2, "published")
        publisher = Publisher(folder=str(tmp_path / "site"), pictures_root=str(tmp_path / "cdn"))
        publisher.build(rooms.store.published())
        slugs = {story.story_id: story.slug for story in rooms.store.published()}
        self.materialize(rooms, tmp_path, dry_run=False)
        pages = {path.name for path in (publisher.current / "story").iterdir()}
        assert slugs[kept] in pages
        assert slugs[gone] not in pages

    def test_warns_of_what_a_guard_held_back(self, rooms: Rooms, tmp_path: Path) -> None:
        for number in range(11):
            rooms.story(number)
        result = self.materialize(rooms, tmp_path, dry_run=False)
        assert result.success
        check = result.get_asset_check_evaluations()[0]
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "rejected_drafts: 11 of 11" in str(check.description)
        assert self.materialize(rooms, tmp_path, dry_run=False, force=True).get_asset_check_evaluations()[0].passed

    def test_fails_without_a_backup_and_names_the_command(self, rooms: Rooms, tmp_path: Path) -> None:
        rooms.execute("DELETE FROM backups")
        result = self.materialize(rooms, tmp_path, dry_run=False)
        assert not result.success
        assert "threadjuice maintenance backup" in Ledger(rooms.store.engine).errors()[0]["next_step"]


@dg.job
def prune_runs_job() -> None:
    prune_runs()


@dg.asset(
    partitions_def=dg.DynamicPartitionsDefinition(name="stories"), check_specs=[dg.AssetCheckSpec("fine", asset="told")]
)
def told() -> dg.MaterializeResult:  # type: ignore[type-arg]
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset
def broken() -> None:
    raise dg.Failure("It does not work.")


class TestRuns:
    def run(self, rooms: Rooms, asset: Any, story_id: str | None = None) -> str:
        """A run of an asset a hundred days ago."""
        result = dg.materialize([asset], instance=rooms.instance, partition_key=story_id, raise_on_error=False)
        with rooms.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
            aged = "UPDATE runs SET update_timestamp = update_timestamp - interval '100 days' WHERE run_id = :id"
            connection.execute(sa.text(aged), {"id": result.run_id})
        return result.run_id

    def prune(self, rooms: Rooms) -> set[str]:
        """The runs that are left, without the prunings' own."""
        prune_runs_job.execute_in_process(instance=rooms.instance, resources={"cleanup_service": rooms.service})
        return {run.run_id for run in rooms.instance.get_runs() if run.job_name != prune_runs_job.name}

    def test_that_are_old_and_repeated_go_with_all_they_said(self, retry_lost_connection: Rooms) -> None:
        published = next(story_id for story_id in retry_lost_connection.written() if story_id.endswith("-t3"))
        old, newest = (self.run(retry_lost_connection, told, published) for _ in range(2))
        assert self.prune(retry_lost_connection) == {newest}
        assert retry_lost_connection.instance.all_logs(old) == []
        assert len(retry_lost_connection.instance.all_logs(newest)) > 5
        assert retry_lost_connection.instance.get_latest_materialization_event(told.key).run_id == newest  # type: ignore[union-attr]
        assert retry_lost_connection.instance.get_materialized_partitions(told.key) == {published}

    def test_that_failed_last_stay_until_a_newer_one(self, retry_lost_connection: Rooms) -> None:
        first, last = (self.run(retry_lost_connection, broken) for _ in range(2))
        assert self.prune(retry_lost_connection) == {last}
        assert first != last

    def test_of_stories_that_are_undecided_stay(self, retry_lost_connection: Rooms) -> None:
        held = retry_lost_connection.story(4, "held")
        retry_lost_connection.instance.add_dynamic_partitions("stories", [held])
        runs = {self.run(retry_lost_connection, told, held) for _ in range(2)}
        assert self.prune(retry_lost_connection) == runs
        retry_lost_connection.execute("UPDATE assignments SET status = 'rejected'")
        assert len(self.prune(retry_lost_connection)) == 1

    def test_that_are_young_or_alive_stay(self, retry_lost_connection: Rooms) -> None:
        published = next(story_id for story_id in retry_lost_connection.written() if story_id.endswith("-t3"))
        alive, _ = (self.run(retry_lost_connection, told, published) for _ in range(2))
        url = retry_lost_connection.store.engine.url.render_as_string(hide_password=False)
        strict, retry_lost_connection.service = (
            retry_lost_connection.service,
            make_desk(url, retry_lost_connection.cdn, retry_lost_connection.takedowns.storage, run_days=101),
        )
        assert len(self.prune(retry_lost_connection)) == 2
        retry_lost_connection.service = strict
        other = Store(sa.create_engine(retry_lost_connection.store.engine.url))
        with other.locks.held(f"run:{alive}"):
            assert len(self.prune(retry_lost_connection)) == 2
        other.locks.close()
        assert len(self.prune(retry_lost_connection)) == 1

    def test_beyond_the_limit_are_left_to_the_next_time(
        self, retry_lost_connection: Rooms, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("threadjuice_dagster.operations.cleanup.run_history.BATCH", 2)
        published = next(story_id for story_id in retry_lost_connection.written() if story_id.endswith("-t3"))
        for _ in range(6):
            self.run(retry_lost_connection, told, published)
        assert retry_lost_connection.service.prune_runs(retry_lost_connection.instance, now(), 3) == 4
        assert retry_lost_connection.service.prune_runs(retry_lost_connection.instance, now(), 3) == 1
        assert len(retry_lost_connection.instance.get_runs()) == 1


class TestABucket:
    @pytest.fixture
    def buckets(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Storage, Storage]]:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        server.start()
        address = "http://{}:{}".format(*server.get_host_and_port())
        for name, value in {
            "AWS_ENDPOINT_URL_S3": address, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "us-east-1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        # Every server of this process shows the buckets of all, so these have names of their own.
        for name in ("cleaned-pictures", "cleaned-vault"):
            boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket=name)
        yield S3Storage(bucket="cleaned-pictures"), S3Storage(bucket="cleaned-vault")
        server.stop()

    def test_is_cleaned_up_as_a_folder_is(self, buckets: tuple[Storage, Storage], prepared_url: str) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            rooms = Rooms(make_desk(prepared_url, *buckets, key=KEY), instance)
            rooms.story(1)
            rooms.story(2, "published")
            prove_backup(rooms.service.backup_service, 1)
            assert rule(rooms.clean(), "orphan_files").found == 0  # all of them are young
            prove_backup(rooms.service.backup_service, -24)
            later = now() + timedelta(hours=25)
            report = rooms.service.clean(instance, rooms.site, later, dry_run=False)
            assert removed(report) == {"orphan_files": 1}
            assert rooms.cdn.list() == ["img/0002/480.jpg"]
            assert {one["row"]["story_id"] for one in rooms.archived()} == {"reddit-t1"}
            rooms.store.locks.close()
            rooms.store.engine.dispose()
