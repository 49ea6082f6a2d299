"""Backups day after day: the first one, two at once, storage that fails or is full of files, what restores leave."""

import json
import logging
import os
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from backup_keys import KEY, OTHER_KEY
from command import threadjuice
from makers import make_thread
from test_backups import drop_kept, now, restore

from threadjuice_dagster.database.assignments import run_lock
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.database.schema import head_revision
from threadjuice_dagster.database.store import open_store
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure
from threadjuice_dagster.operations.backups import rules
from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
from threadjuice_dagster.operations.backups.dump import take_backup
from threadjuice_dagster.operations.backups.loading import RestoreScript
from threadjuice_dagster.operations.backups.restore import prove
from threadjuice_dagster.operations.backups.restore_server import RestoreServer
from threadjuice_dagster.operations.backups.service import BackupService
from threadjuice_dagster.operations.backups.store import read_records
from threadjuice_dagster.operations.imports import store as imports
from threadjuice_dagster.operations.imports.store import import_files
from threadjuice_dagster.resources.encryption import Encryptor
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.storage import FolderStorage, Source


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    return FolderStorage(root=str(tmp_path / "backups"))


def make_desk(url: str, folder: FolderStorage, **options: Any) -> BackupService:
    database = Postgres(url=url, pool_size=3, **options)
    return BackupService(database=database, storage=folder, encryption_key=KEY, retention="1d")


@pytest.fixture
def service(prepared_url: str, folder: FolderStorage) -> Iterator[BackupService]:
    service = make_desk(prepared_url, folder)
    yield service
    service.database.store.locks.close()
    service.database.store.engine.dispose()
    drop_kept(prepared_url)


class TestTheFirstBackup:
    def test_as_the_very_first_command_brings_a_database_of_our_own_to_its_tables(
        self, database_url: str, folder: FolderStorage
    ) -> None:
        service = make_desk(database_url, folder, migrates_itself=True)
        manifest = service.take()
        assert manifest.contents.revision == head_revision()
        assert service.prove(manifest.id).problem == ""
        service.database.store.locks.close()
        service.database.store.engine.dispose()

    def test_of_a_database_without_tables_is_refused_and_leaves_nothing(
        self, database_url: str, folder: FolderStorage
    ) -> None:
        with pytest.raises(ConfigurationError, match="threadjuice database seed"):
            make_desk(database_url, folder).take()
        assert folder.list() == []

    def test_that_an_earlier_version_took_of_no_tables_says_so(self, prepared_url: str, folder: FolderStorage) -> None:
        vault = BackupStorage(folder, Encryptor(""))
        manifest = take_backup(vault, prepared_url)
        empty = rules.Contents(revision=None, tables={})
        vault.put_manifest(manifest.model_copy(update={"contents": empty}))
        assert "without the newsroom's tables" in prove(vault, prepared_url, manifest.id, now()).problem


class TestTwoBackupsAtOnce:
    def test_the_first_to_expire_leaves_the_other_while_its_run_lives(
        self, service: BackupService, prepared_url: str
    ) -> None:
        other_run = Locks(prepared_url)
        with other_run.held(run_lock("run of 02:00")):
            unproven = service.take("run of 02:00")
            mine = service.take("run of 03:00")
            assert service.prove(mine.id).problem == ""
            assert service.expire() == []
            assert service.prove(unproven.id).problem == ""
        assert service.expire() == [unproven.id]
        other_run.close()

    def test_one_whose_run_was_killed_before_it_was_judged_expires(self, service: BackupService) -> None:
        unproven, proven = service.take("killed"), service.take("run")
        service.prove(proven.id)
        assert service.expire() == [unproven.id]

    def test_what_another_process_restores_does_not_expire_under_it(
        self, service: BackupService, prepared_url: str
    ) -> None:
        older, newer = service.take(), service.take()
        for manifest in (older, newer):
            service.prove(manifest.id)
        with RestoreServer(prepared_url) as other, other.reading(older.id):
            assert service.expire() == []
        assert service.expire() == [older.id]
        with pytest.raises(PermanentFailure, match="There is no backup"):
            service.plan(older.id)

    def test_the_one_that_waited_is_of_the_moment_of_its_turn(self, service: BackupService, prepared_url: str) -> None:
        waiting, taken = threading.Event(), []
        locks = Locks(sa.make_url(prepared_url))
        with locks.held("backup") as got:
            assert got
            other = threading.Thread(target=lambda: taken.append(service.take(say=lambda _: waiting.set())))
            other.start()
            assert waiting.wait(60)
            turn = datetime.now(UTC)
        other.join(60)
        locks.close()
        assert taken[0].taken_at >= turn

    def test_it_is_recorded_before_anybody_can_see_it(self, prepared_url: str, folder: FolderStorage) -> None:
        class Looking(FolderStorage):
            def put(self, key: str, data: bytes, *rest: str) -> None:
                if key.endswith("manifest.json"):
                    assert rules.id_of(key) in (read_records(prepared_url) or {})
                super().put(key, data, *rest)

        service = make_desk(prepared_url, Looking(root=folder.root))
        assert service.take().id in (read_records(prepared_url) or {})
        service.database.store.locks.close()
        service.database.store.engine.dispose()


class TestAStorageThatFails:
    def test_at_the_last_byte_of_a_dump_leaves_no_backup(
        self, prepared_url: str, folder: FolderStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vault = BackupStorage(folder, Encryptor(""))
        with monkeypatch.context() as failing:
            failing.setattr(os, "fsync", fail)
            with pytest.raises(TransientFailure, match="Input/output error"):
                take_backup(vault, prepared_url)
        assert [path for path in Path(folder.root).rglob("*") if path.is_file()] == []
        assert prove(vault, prepared_url, take_backup(vault, prepared_url).id, now()).problem == ""

    def test_at_the_last_byte_of_a_manifest_leaves_no_backup_and_the_dump_goes_in_time(
        self, prepared_url: str, folder: FolderStorage
    ) -> None:
        class Failing(FolderStorage):
            def put(self, key: str, data: bytes, *rest: str) -> None:
                raise TransientFailure(f"{key} could not be written.")

        with pytest.raises(TransientFailure):
            take_backup(BackupStorage(Failing(root=folder.root), Encryptor("")), prepared_url)
        vault = BackupStorage(folder, Encryptor(""))
        assert vault.manifests() == []
        assert len(folder.list()) == 1
        taken = take_backup(vault, prepared_url, now() + timedelta(days=2))
        assert {rules.id_of(key) for key in folder.list()} == {taken.id}

    def test_at_the_last_byte_of_a_restore_says_nothing_of_the_backup(
        self, service: BackupService, folder: FolderStorage
    ) -> None:
        manifest = service.take()

        class Failing(FolderStorage):
            def get_stream(self, key: str) -> Any:
                return Cut(super().get_stream(key), manifest.bytes - 1 if "dump" in key else 1 << 30)

        with pytest.raises(TransientFailure, match="broke off"):
            BackupService(
                database=service.database, storage=Failing(root=folder.root), encryption_key=service.encryption_key
            ).prove(manifest.id)
        assert service.prove(manifest.id).problem == ""


def fail(_: int) -> None:
    raise OSError(5, os.strerror(5))


class Cut:
    """A stored file that cannot be read beyond so many bytes."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._left = stream, most

    def __enter__(self) -> Source:
        self._source = self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stream.__exit__(*error)

    def read(self, size: int = -1, /) -> bytes:
        data = bytes(self._source.read(min(size, self._left) if size >= 0 else self._left))
        self._left -= len(data)
        if not self._left:
            raise TransientFailure("The storage broke off.")
        return data


class TestAStorageFullOfFiles:
    def test_is_listed_once_and_only_what_is_asked_for_is_read(self, tmp_path: Path) -> None:
        class Counting(FolderStorage):
            def entries(self, prefix: str = "") -> Iterator[tuple[str, datetime]]:
                calls.append(("list", prefix))
                taken = (rules.backup_id(now() - timedelta(hours=hour), f"{hour:08x}") for hour in range(5000))
                for identity in taken:
                    yield rules.manifest_key(identity), now()
                    yield rules.dump_key(identity, ""), now()

            def get_stream(self, key: str) -> Any:
                calls.append(("get", key))
                return super().get_stream(key)

        calls: list[tuple[str, str]] = []
        vault = BackupStorage(Counting(root=str(tmp_path)), Encryptor(""))
        assert len(vault.identities()) == 5000
        vault.clean(now())
        assert calls == [("list", rules.PREFIX)] * 2
        assert vault.manifests() == []
        assert len(calls) == 3 + 5000


class TestWhatRestoresPutAside:
    def test_is_told_of_and_dropped_after_a_month_unless_somebody_is_connected(
        self, service: BackupService, prepared_url: str
    ) -> None:
        live = str(sa.make_url(prepared_url).database)
        old, used, young = (rules.kept_name(live, now() - timedelta(days=days)) for days in (50, 40, 3))
        outside = lone_engine(sa.make_url(prepared_url).set(database="postgres"), isolation_level="AUTOCOMMIT")
        with outside.connect() as connection:
            for name in (old, used, young, f"{live}_before_the_move"):
                connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
        with RestoreServer(prepared_url) as server:
            assert [one.name for one in server.kept()] == [old, used, young]
        with lone_engine(sa.make_url(prepared_url).set(database=used)).connect():
            assert service.drop_kept() == [old]
        assert service.drop_kept() == [used]
        with RestoreServer(prepared_url) as server:
            assert [one.name for one in server.kept()] == [young]


class TestAnImportDuringARestore:
    def test_ends_with_one_line_and_done_again_loses_nothing(
        self,
        prepared_url: str,
        folder: FolderStorage,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        store = open_store(prepared_url, 3)
        Catalogue(store.engine).seed()
        store.save_threads([make_thread("abc1")])
        file = tmp_path / "stories.jsonl"
        text = "The fence moved by a metre. " * 30
        records = [
            {"slug": f"s-{n}", "title": f"A fence {n}", "category": "workplace", "body": text} for n in range(50)
        ]
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
        monkeypatch.setattr(imports, "BATCH_RECORDS", 10)
        vault = BackupStorage(folder, Encryptor(""))
        manifest = take_backup(vault, prepared_url)
        write, batches = imports._FileImport._write, []

        def restoring(self: Any, *arguments: Any) -> None:
            batches.append(1)
            if len(batches) == 3:
                restore(vault, prepared_url, manifest)
            write(self, *arguments)

        monkeypatch.setattr(imports._FileImport, "_write", restoring)
        with caplog.at_level(logging.WARNING), pytest.raises(TransientFailure, match=r"put in its .* Run this again"):
            import_files(store, [file], tmp_path / "imports")
        assert "Traceback" not in caplog.text
        assert [one for one in caplog.records if one.name.startswith("sqlalchemy")] == []
        done = import_files(store, [file], tmp_path / "imports")
        assert (done.read, done.imported) == (50, 50)
        store.locks.close()
        store.engine.dispose()
        drop_kept(prepared_url)


class TestTheScriptOfADump:
    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 64])
    def test_is_told_apart_into_lines_and_rows_however_it_arrives(self, size: int) -> None:
        text = b"--\nCOPY a (x) FROM stdin;\n\\.\n\nCOPY b (x) FROM stdin;\n1\\n\n.\n\\\\.\n\\.x\n\\.\nSELECT 1;\n"
        script = RestoreScript(Pieces(text, size))  # type: ignore[arg-type]
        lines, rows = [], []
        for line in script.lines():
            lines.append(line)
            if line.startswith("COPY"):
                rows.append(b"".join(script.rows()))
        assert lines == ["--", "COPY a (x) FROM stdin;", "", "COPY b (x) FROM stdin;", "SELECT 1;"]
        assert rows == [b"", b"1\\n\n.\n\\\\.\n\\.x\n"]

    def test_that_ends_within_rows_is_no_whole_one(self) -> None:
        script = RestoreScript(BytesIO(b"COPY a (x) FROM stdin;\n1\n2\n"))
        assert next(script.lines()).startswith("COPY")
        with pytest.raises(PermanentFailure, match="ends within the rows"):
            list(script.rows())

    def test_of_which_a_line_has_no_end_is_read_in_little_memory(self) -> None:
        class Endless:
            left = 400

            def read1(self, _: int) -> bytes:
                self.left -= 1
                return random.randbytes(1 << 18).replace(b"\n", b" ") if self.left else b""

        assert list(RestoreScript(Endless()).lines()) == []  # type: ignore[arg-type]


class Pieces:
    """A stream that gives few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._stream, self._size = BytesIO(data), size

    def read1(self, _: int) -> bytes:
        return self._stream.read(self._size)


def test_the_command_says_who_vouches_for_what_it_lists(newsroom_environment: dict[str, str]) -> None:
    assert threadjuice("maintenance", "backup")[0] == 0
    (listed,) = threadjuice("database", "backups")[1]["backups"]
    assert (listed["proven"], listed["encrypted"], listed["signed"], listed["problem"]) == (True, False, False, "")
    code, refused, _ = threadjuice("database", "restore", listed["id"], BACKUP_ENCRYPTION_KEY=KEY)
    assert code == 1
    assert "plain and unsigned" in refused["error"]["message"]
    assert "--unverified" in refused["error"]["next_step"]
    code, plan, _ = threadjuice("database", "restore", listed["id"], "--unverified", BACKUP_ENCRYPTION_KEY=OTHER_KEY)
    assert (code, "plain and unsigned" in plan["plan"]["warning"]) == (0, True)
