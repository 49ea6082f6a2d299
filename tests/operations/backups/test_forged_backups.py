"""Backups that somebody with access to the storage has forged: refused, and never able to run anything."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from backup_keys import KEY
from makers import make_thread
from test_backups import databases_like, drop_kept, now, restore

from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.database.schema import migrate
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.database.tools import find_tool
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.operations.backups import rules
from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
from threadjuice_dagster.operations.backups.dump import take_backup
from threadjuice_dagster.operations.backups.restore import plan_restore, prove
from threadjuice_dagster.operations.backups.rules import Manifest
from threadjuice_dagster.operations.backups.service import BackupService
from threadjuice_dagster.operations.backups.store import read_contents, read_records
from threadjuice_dagster.operations.cleanup.archive import Archive
from threadjuice_dagster.operations.cleanup.rules import ARCHIVE, Label
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.resources.encryption import Encryptor
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.storage import FolderStorage
from threadjuice_dagster.resources.zstd import zstd

PROGRAM = "COPY (SELECT 1) TO PROGRAM 'cat > {marker}'"
EVIL = (
    "CREATE FUNCTION run() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {program}; RETURN true; END $$",
    "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM run(); RETURN new; END $$",
    "ALTER TABLE personas ADD CONSTRAINT evil CHECK (run())",
    "CREATE TRIGGER evil BEFORE INSERT OR UPDATE ON threads FOR EACH ROW EXECUTE FUNCTION fire()",
    "CREATE TABLE evil (n int CHECK (run()))",
    "INSERT INTO evil VALUES (1)",
    "CREATE MATERIALIZED VIEW evil_view AS SELECT run()",
    "CREATE EXTENSION vector",
)


@pytest.fixture(scope="module")
def marker() -> Iterator[Path]:
    """A file that programs of the server can make, whoever it runs as."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the tests' own folders are closed to other users
        Path(folder).chmod(0o777)
        yield Path(folder) / "ran"


@pytest.fixture(scope="module")
def url(server_url: str, templates: dict[str, str]) -> Iterator[str]:
    """A newsroom's database with some rows; what restores keep of it is dropped in the end."""
    server = sa.make_url(server_url)
    name = f"forged_{os.getpid()}"
    outside = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with outside.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE "{templates[""]}"'))
    address = server.set(database=name).render_as_string(hide_password=False)
    engine = lone_engine(address)
    store = Store(engine)
    store.save_threads([make_thread(f"abc{number}") for number in range(20)])
    store.locks.close()
    yield address
    drop_kept(address)
    with outside.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    outside.dispose()


@pytest.fixture(scope="module")
def taken(url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with one backup each, by the key it was taken with."""
    folders = {key: tmp_path_factory.mktemp("taken") / "backups" for key in ("", KEY)}
    for key, folder in folders.items():
        take_backup(BackupStorage(FolderStorage(root=str(folder)), Encryptor(key)), url, now() - timedelta(days=1))
    return folders


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    return FolderStorage(root=str(tmp_path / "backups"))


def copied(folder: FolderStorage, taken: dict[str, Path], key: str) -> tuple[BackupStorage, Manifest]:
    shutil.copytree(taken[key], folder.root)
    vault = BackupStorage(folder, Encryptor(key))
    return vault, vault.manifests()[0]


@pytest.fixture
def signed(folder: FolderStorage, taken: dict[str, Path]) -> tuple[BackupStorage, Manifest]:
    """A backup that a key has signed, and where it is."""
    return copied(folder, taken, KEY)


@pytest.fixture
def plain(folder: FolderStorage, taken: dict[str, Path]) -> tuple[BackupStorage, Manifest]:
    """A backup that was taken without a key, and where it is."""
    return copied(folder, taken, "")


def stored_manifest(vault: BackupStorage, identity: str) -> dict[str, Any]:
    return dict(json.loads(vault.storage.get(rules.manifest_key(identity))))


def store_manifest(vault: BackupStorage, identity: str, content: dict[str, Any]) -> None:
    vault.storage.put(rules.manifest_key(identity), json.dumps(content).encode())


@pytest.fixture(scope="module")
def evil_dump(url: str, marker: Path) -> bytes:
    """A whole dump of a copy of the database in which everything that can be made to run something does."""
    name = f"{sa.make_url(url).database}_evil"
    outside = lone_engine(sa.make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    evil = sa.make_url(url).set(database=name)
    with outside.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        connection.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE "{sa.make_url(url).database}"'))
    with lone_engine(evil).begin() as connection:
        for statement in EVIL:
            connection.exec_driver_sql(statement.replace("{program}", PROGRAM.format(marker=marker)))
    assert marker.exists(), "the server runs programs for those who may"
    marker.unlink()
    with find_tool("pg_dump", "18.0").running(evil, "--format=custom", "--compress=0") as process:
        assert process.stdout
        dump = process.stdout.read()
    assert not marker.exists()
    with outside.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    return with_statement(dump, PROGRAM.format(marker=marker))


def with_statement(dump: bytes, statement: str) -> bytes:
    """The dump, in whose table of contents the statement that loads the audit is another one."""
    before = b"COPY public.audit (id, story_id, action, actor, reason, detail, at) FROM stdin;\n"
    assert before in dump
    after = f"{statement};".encode()
    assert len(after) < len(before)
    return dump.replace(before, after + b" " * (len(before) - len(after) - 1) + b"\n")


def forge(vault: BackupStorage, manifest: Manifest, dump: bytes, key: str = "") -> None:
    """Put a dump in a backup's place, under a manifest that fits it, encrypted for ``key`` but not signed."""
    import pyrage

    stored = zstd.compress(dump)
    recipient = Encryptor(key).recipient
    if recipient:
        stored = pyrage.encrypt(stored, [pyrage.x25519.Recipient.from_str(recipient)])
    for name in rules.dump_keys(manifest.id):
        vault.storage.delete(name)
    vault.storage.put(rules.dump_key(manifest.id, recipient), stored)
    content = stored_manifest(vault, manifest.id)
    content.pop("signature", None)
    changes = {"sha256": hashlib.sha256(stored).hexdigest(), "bytes": len(stored), "dump_bytes": len(dump)}
    place = {"key": rules.dump_key(manifest.id, recipient), "recipient": recipient}
    store_manifest(vault, manifest.id, {**content, **changes, **place})


def in_database(url: str) -> set[str]:
    """What there is in a database beside the newsroom's own."""
    with lone_engine(url).connect() as connection:
        query = "SELECT proname FROM pg_proc WHERE oid >= 16384 UNION SELECT extname FROM pg_extension"
        objects = "SELECT relname FROM pg_class WHERE relname LIKE 'evil%' UNION SELECT conname FROM pg_constraint"
        triggers = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        return set(connection.execute(sa.text(f"{query} UNION {objects} UNION {triggers}")).scalars())


def definitions(url: str) -> list[str]:
    """Everything that the tables of a database are made of."""
    query = """
        SELECT format('%s: %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
        UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
            WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT format('%s %s', tgenabled, pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT format('%s.%s %s %s %s %s', table_name, column_name, data_type, is_nullable, column_default,
            is_identity) FROM information_schema.columns WHERE table_schema = 'public'
        ORDER BY 1
    """
    with lone_engine(url).connect() as connection:
        return list(connection.execute(sa.text(query)).scalars())


class TestAForgedDump:
    def test_runs_nothing_and_leaves_nothing_but_its_rows_even_where_nothing_speaks_against_it(
        self, url: str, plain: tuple[BackupStorage, Manifest], evil_dump: bytes, marker: Path
    ) -> None:
        vault, manifest = plain
        before, made = in_database(url), definitions(url)
        forge(vault, manifest, evil_dump)
        assert prove(vault, url, manifest.id, now()).problem == ""
        kept = restore(vault, url, manifest)
        assert not marker.exists()
        assert in_database(url) == before
        assert definitions(url) == made
        with lone_engine(url).connect() as connection:
            found = read_contents(connection)
        former = sa.make_url(url).set(database=kept).render_as_string(hide_password=False)
        with lone_engine(former).connect() as connection:
            assert {**read_contents(connection).tables, "public.backups": None} == {
                **found.tables,
                "public.backups": None,
            }
        drop_kept(url)

    def test_that_is_plain_while_a_key_is_set_is_listed_as_such_and_refused(
        self, url: str, signed: tuple[BackupStorage, Manifest], evil_dump: bytes, marker: Path
    ) -> None:
        vault, manifest = signed
        forge(vault, manifest, evil_dump)
        (listed,) = vault.backups()
        assert (listed.proven_at, listed.is_ours) == (None, False)
        assert "plain and unsigned" in listed.problem
        assert "plain and unsigned" in prove(vault, url, manifest.id, now()).problem
        with pytest.raises(PermanentFailure, match="--unverified"):
            plan_restore(vault, url, manifest.id, now())
        assert not marker.exists()

    def test_that_is_encrypted_for_the_right_key_is_refused_all_the_same(
        self, url: str, signed: tuple[BackupStorage, Manifest], evil_dump: bytes
    ) -> None:
        vault, manifest = signed
        forge(vault, manifest, evil_dump, KEY)
        (listed,) = vault.backups()
        assert listed.proven_at is None
        assert "Nothing verifies" in listed.problem
        with pytest.raises(PermanentFailure, match="Nothing verifies"):
            restore(vault, url, manifest)
        plan = plan_restore(vault, url, manifest.id, now(), allow_unverified=True)
        assert "Nothing verifies" in plan.warning

    def test_that_unpacks_without_end_is_given_up_at_the_manifests_figure(
        self, url: str, plain: tuple[BackupStorage, Manifest]
    ) -> None:
        vault, manifest = plain
        forge(vault, manifest, b"PGDMP" + b"\0" * 50_000_000)
        content = stored_manifest(vault, manifest.id)
        store_manifest(vault, manifest.id, {**content, "dump_bytes": 1000})
        assert "unpacks to more" in prove(vault, url, manifest.id, now()).problem

    @pytest.mark.parametrize("dump", [b"", b"PGDMP", b"PGDMP\x01\x10\x00" + b"\xff" * 3000, b"#!/bin/sh\ntouch x\n"])
    def test_that_is_none_is_a_problem_in_one_line(
        self, url: str, plain: tuple[BackupStorage, Manifest], dump: bytes
    ) -> None:
        vault, manifest = plain
        forge(vault, manifest, dump)
        problem = prove(vault, url, manifest.id, now()).problem
        assert problem
        assert "\n" not in problem
        assert databases_like(url, "_restore_") == []


class TestAForgedManifest:
    @pytest.mark.parametrize(
        "change",
        [
            {"taken_at": "2030-01-01T00:00:00Z"},
            {"dump_bytes": 1},
            {"sha256": "0" * 64},
            {"contents": {"revision": "0001", "tables": {}}},
            {"postgres": "99"},
            {"signature": "0" * 64},
            {"signature": "ü"},
            {"signature": 1},
            {"signature": []},
        ],
        ids=str,
    )
    def test_is_told_by_its_signature(
        self, url: str, signed: tuple[BackupStorage, Manifest], change: dict[str, Any]
    ) -> None:
        vault, manifest = signed
        store_manifest(vault, manifest.id, {**stored_manifest(vault, manifest.id), **change})
        assert "altered or forged" in prove(vault, url, manifest.id, now()).problem
        (listed,) = vault.backups()
        assert "altered or forged" in listed.problem
        with pytest.raises(PermanentFailure, match="altered or forged"):
            plan_restore(vault, url, manifest.id, now(), allow_unverified=True)

    def test_that_was_merely_laid_out_anew_is_as_good_as_before(self, signed: tuple[BackupStorage, Manifest]) -> None:
        vault, manifest = signed
        content = dict(reversed(stored_manifest(vault, manifest.id).items()))
        store_manifest(vault, manifest.id, {**content, "signed": False})
        assert "altered" in vault.backups()[0].problem  # it says more than was signed
        store_manifest(vault, manifest.id, content)
        assert vault.backups()[0].problem == ""

    def test_of_another_backup_is_none_in_this_ones_folder(
        self, url: str, signed: tuple[BackupStorage, Manifest]
    ) -> None:
        vault, older = signed
        newer = take_backup(vault, url, now())
        for name in ("manifest.json", "dump.zst.age"):
            moved = vault.storage.get(f"{rules.PREFIX}{older.id}/{name}")
            vault.storage.put(f"{rules.PREFIX}{newer.id}/{name}", moved)
        assert [one.id for one in vault.manifests()] == [older.id]
        with pytest.raises(PermanentFailure, match="cut short or altered"):
            plan_restore(vault, url, newer.id, now(), allow_unverified=True)

    @pytest.mark.parametrize("key", ["tombstones/thread-abc.json", "../outside", "backups/other/dump.zst"])
    def test_reaches_nothing_outside_of_its_folder(self, plain: tuple[BackupStorage, Manifest], key: str) -> None:
        vault, manifest = plain
        vault.storage.put("tombstones/thread-abc.json", b"{}")
        store_manifest(vault, manifest.id, {**stored_manifest(vault, manifest.id), "key": key})
        assert vault.backups() == []
        vault.delete(manifest.id)
        assert vault.storage.list() == ["tombstones/thread-abc.json"]

    @pytest.mark.parametrize("text", [b"[]", b"1", b'"x"', b"{}", b"[" * 100_000, b"\xff", b""], ids=range(7))
    def test_of_any_form_hides_no_other_backup(self, signed: tuple[BackupStorage, Manifest], text: bytes) -> None:
        vault, manifest = signed
        vault.storage.put(rules.manifest_key(rules.backup_id(now(), "0" * 8)), text)
        assert [one.id for one in vault.manifests()] == [manifest.id]


class TestWithoutAKey:
    @pytest.fixture
    def service(self, url: str, folder: FolderStorage) -> Iterator[BackupService]:
        service = BackupService(database=Postgres(url=url, pool_size=3), storage=folder, retention="1d")
        yield service
        service.database.store.locks.close()
        service.database.store.engine.dispose()
        with lone_engine(url).begin() as connection:
            connection.execute(sa.text("DELETE FROM backups"))
        drop_kept(url)

    def test_the_digest_that_the_database_recorded_decides(
        self, service: BackupService, evil_dump: bytes, marker: Path
    ) -> None:
        taken = service.take()
        assert service.prove(taken.id).problem == ""
        assert "is not signed" in service.plan(taken.id).warning
        forge(BackupStorage(service.storage, Encryptor("")), taken, evil_dump)
        (listed,) = service.backups()
        assert (listed.proven_at, listed.is_ours) == (None, False)
        assert "the database recorded another dump" in listed.problem
        with pytest.raises(PermanentFailure, match="recorded another dump"):
            service.plan(taken.id, allow_unverified=True)
        assert not marker.exists()

    def test_a_backup_that_the_database_does_not_know_is_refused_unless_somebody_vouches_for_it(
        self, service: BackupService, url: str, folder: FolderStorage
    ) -> None:
        service.take()
        stranger = take_backup(BackupStorage(folder, Encryptor("")), url, now() + timedelta(minutes=1))
        with pytest.raises(PermanentFailure, match="Nothing verifies"):
            service.plan(stranger.id)
        plan = service.plan(stranger.id, allow_unverified=True)
        assert service.restore(stranger.id, plan.token, allow_unverified=True).rows

    def test_going_back_to_an_older_backup_forgets_no_newer_one(self, service: BackupService, url: str) -> None:
        older = service.take()
        newer = service.take()
        assert service.prove(newer.id).problem == ""
        service.restore(older.id, service.plan(older.id).token)
        records = read_records(url)
        assert records is not None
        assert (records[newer.id].sha256, bool(records[newer.id].proven_at)) == (newer.sha256, True)
        assert service.restore(newer.id, service.plan(newer.id).token).backup == newer.id

    def test_nothing_speaks_against_a_backup_on_an_empty_machine(self, service: BackupService, url: str) -> None:
        manifest = service.take()
        fresh = sa.make_url(url).set(database=f"{sa.make_url(url).database}_fresh")
        address = fresh.render_as_string(hide_password=False)
        elsewhere = BackupService(database=Postgres(url=address, pool_size=2), storage=service.storage)
        plan = elsewhere.plan(manifest.id)
        assert "whoever can write to the storage" in plan.warning
        assert elsewhere.restore(manifest.id, plan.token).rows == manifest.contents.rows


class TestABackupOfAnEarlierVersion:
    """It is encrypted, and carries no signature."""

    @pytest.fixture
    def unsigned(self, signed: tuple[BackupStorage, Manifest]) -> tuple[BackupStorage, Manifest]:
        vault, manifest = signed
        content = stored_manifest(vault, manifest.id)
        del content["signature"]
        store_manifest(vault, manifest.id, content)
        return signed

    def test_is_restored_if_the_database_recorded_it(self, url: str, unsigned: tuple[BackupStorage, Manifest]) -> None:
        vault, manifest = unsigned
        record = rules.Record.model_validate(manifest.model_dump())
        knowing = BackupStorage(vault.storage, vault.encryptor, {manifest.id: record})
        assert prove(knowing, url, manifest.id, now()).problem == ""
        other = record.model_copy(update={"sha256": "0" * 64})
        mistaken = BackupStorage(vault.storage, vault.encryptor, {manifest.id: other})
        assert "another dump" in prove(mistaken, url, manifest.id, now()).problem

    def test_needs_somebody_to_vouch_for_it_where_only_storage_and_key_are_left(
        self, url: str, unsigned: tuple[BackupStorage, Manifest]
    ) -> None:
        vault, manifest = unsigned
        with pytest.raises(PermanentFailure, match="--unverified"):
            plan_restore(vault, url, manifest.id, now())
        assert plan_restore(vault, url, manifest.id, now(), allow_unverified=True).rows


class TestTheRoleThatRestores:
    def test_is_no_superuser_and_is_gone_afterwards(self, url: str, signed: tuple[BackupStorage, Manifest]) -> None:
        seen: list[Any] = []

        def look(address: str) -> None:
            with lone_engine(address).connect() as connection:
                query = "SELECT rolsuper OR rolcreaterole OR rolcreatedb, session_user FROM pg_roles"
                seen.append(connection.execute(sa.text(f"{query} WHERE rolname = current_user")).one())

        vault, manifest = signed
        restore(vault, url, manifest, look)
        assert [may for may, _ in seen] == [False]
        with lone_engine(url).connect() as connection:
            roles = connection.execute(sa.text("SELECT rolname FROM pg_roles")).scalars().all()
            assert seen[0].session_user not in roles  # other restores may be under way on this server
            owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
            assert connection.execute(sa.text(owners)).scalars().all() == ["postgres"]
        drop_kept(url)


class TestAForgedLabelOfTheArchive:
    def test_has_nothing_deleted_but_its_own_part(self, url: str, signed: tuple[BackupStorage, Manifest]) -> None:
        vault, manifest = signed
        label = Label(
            key=manifest.key,
            rule="x",
            rows=1,
            sha256="",
            bytes=1,
            recipient="",
            stories={"s": "t1"},
            sources={"t1": ()},
        )
        vault.storage.put(f"{ARCHIVE}2026-01-01T000000Z-00000000/x.json", label.model_dump_json().encode())
        locks = Locks(url)
        Archive(vault.storage, vault.encryptor, locks).forget([Tombstone(kind="thread", id="t1")])
        locks.close()
        assert vault.storage.exists(manifest.key)


class TestADatabaseThatOthersUseToo:
    def test_is_backed_up_and_restored_without_what_is_not_ours(self, url: str, folder: FolderStorage) -> None:
        """As a user who may create databases and nothing else, beside objects that it may not even read."""
        name = f"{sa.make_url(url).database}_shared"
        server = sa.make_url(url)
        shared = server.set(database=name)
        outside = lone_engine(server, isolation_level="AUTOCOMMIT")
        with outside.connect() as connection:
            connection.execute(sa.text("DROP ROLE IF EXISTS tj_shared"))
            connection.execute(sa.text("CREATE ROLE tj_shared LOGIN CREATEDB PASSWORD 'tj'"))
            connection.execute(sa.text(f'CREATE DATABASE "{name}" OWNER tj_shared'))
        theirs = (
            "CREATE EXTENSION vector",
            "CREATE SCHEMA secret CREATE TABLE numbers (n int)",
            "CREATE TABLE public.theirs (v vector(3))",
            "CREATE MATERIALIZED VIEW public.matview AS SELECT 1 AS n",
            "CREATE SEQUENCE public.their_sequence",
            "REVOKE ALL ON public.theirs, public.matview, public.their_sequence FROM PUBLIC",
        )
        with lone_engine(shared).begin() as connection:
            for statement in theirs:
                connection.execute(sa.text(statement))
        address = shared.set(username="tj_shared", password="tj").render_as_string(hide_password=False)
        migrate(lone_engine(address))
        vault = BackupStorage(folder, Encryptor(KEY))
        manifest = take_backup(vault, address, now())
        assert prove(vault, address, manifest.id, now()).problem == ""
        plan = plan_restore(vault, address, manifest.id, now())
        assert plan.leaves_behind == ("extension vector", "public.matview", "public.theirs", "secret.numbers")
        kept = restore(vault, address, manifest)
        assert "vector" in in_database(shared.set(database=kept).render_as_string(hide_password=False))
        assert "vector" not in in_database(address)
        with outside.connect() as connection:
            for database in (kept, name):
                connection.execute(sa.text(f'DROP DATABASE "{database}" WITH (FORCE)'))
            connection.execute(sa.text("DROP ROLE tj_shared"))
