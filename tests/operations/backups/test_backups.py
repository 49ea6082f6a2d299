"""Backups on a real PostgreSQL and both storages: taken, proven, damaged, interrupted, restored."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import dagster as dg
import pytest
import sqlalchemy as sa
from backup_keys import KEY, OTHER_KEY
from makers import make_draft, make_image, make_publication, make_score, make_thread
from moto.server import ThreadedMotoServer
from waiting import eventually

from threadjuice_dagster.assets.upkeep.backup_checks import restore_is_proven
from threadjuice_dagster.assets.upkeep.backups import database_backup, expired_backups, restore_database
from threadjuice_dagster.database import schema
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.database.schema import head_revision, migrate
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.database.tools import find_tool
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure, UsageError
from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
from threadjuice_dagster.operations.backups.dump import take_backup
from threadjuice_dagster.operations.backups.restore import plan_restore, prove, restore_backup
from threadjuice_dagster.operations.backups.restore_server import RestoreServer
from threadjuice_dagster.operations.backups.rules import Manifest, Proof, manifest_key
from threadjuice_dagster.operations.backups.service import BackupService
from threadjuice_dagster.operations.backups.store import BackupHistory, read_contents
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.resources.encryption import Encryptor, identity_of_passphrase
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.storage import FolderStorage, S3Storage, Source, Storage


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A migrated database with some rows, and a pool of connections to it."""
    engine = sa.create_engine(database_url, pool_pre_ping=True)
    migrate(engine)
    store = Store(engine)
    Catalogue(store.engine).seed()
    store.save_threads([make_thread(f"abc{number}") for number in range(20)])
    yield engine
    store.locks.close()
    engine.dispose()
    drop_kept(database_url)


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    return FolderStorage(root=str(tmp_path / "backups"))


@pytest.fixture
def vault(folder: FolderStorage) -> BackupStorage:
    return BackupStorage(folder, Encryptor(""))


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3_server,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket="vault")
    for item in client.list_objects_v2(Bucket="vault").get("Contents", []):
        client.delete_object(Bucket="vault", Key=item["Key"])
    return S3Storage(bucket="vault")


def databases_like(url: str, part: str) -> list[str]:
    outside = sa.create_engine(sa.make_url(url).set(database="postgres"), poolclass=sa.NullPool)
    with outside.connect() as connection:
        names = connection.execute(sa.text("SELECT datname FROM pg_database ORDER BY 1")).scalars()
        return [name for name in names if part in name]


def drop_kept(url: str) -> None:
    outside = sa.create_engine(sa.make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = str(sa.make_url(url).database)
    with outside.connect() as connection:
        for kept in [one for one in databases_like(url, name) if one != name]:
            connection.execute(sa.text(f'DROP DATABASE "{kept}" WITH (FORCE)'))
    outside.dispose()


def threads_in(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM threads")).scalar() or 0)


def fill(engine: sa.Engine, rows: int) -> None:
    """Rows of 64 random bytes that no compression makes smaller."""
    with engine.begin() as connection:
        filler = "SELECT 'filler', encode(sha512(g::text::bytea), 'base64') FROM generate_series(1, :rows) g"
        connection.execute(sa.text(f"INSERT INTO events (kind, actor) {filler}"), {"rows": rows})


def forget_threads(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM threads"))


def proof_of(vault: BackupStorage, url: str, manifest: Manifest) -> Proof:
    return prove(vault, url, manifest.id, now())


def token_for(vault: BackupStorage, url: str, manifest: Manifest) -> str:
    return plan_restore(vault, url, manifest.id, now()).token


def restore(vault: BackupStorage, url: str, manifest: Manifest, prepare: Callable[[str], None] = lambda _: None) -> str:
    later = now() + timedelta(minutes=1)  # a name of its own for what is kept
    return restore_backup(vault, url, manifest.id, token_for(vault, url, manifest), later, prepare).kept


class TestABackup:
    @pytest.mark.parametrize("key", ["", KEY])
    @pytest.mark.parametrize("place", ["folder", "bucket"])
    def test_is_proven_by_a_restore_from_either_storage_plain_or_encrypted(
        self, engine: sa.Engine, database_url: str, place: str, key: str, request: pytest.FixtureRequest
    ) -> None:
        vault = BackupStorage(request.getfixturevalue(place), Encryptor(key))
        manifest = take_backup(vault, database_url, now())
        assert [one.id for one in vault.manifests()] == [manifest.id]
        assert manifest.contents.revision == head_revision()
        assert manifest.contents.tables["public.threads"].rows == 20
        stored = vault.storage.get(manifest.key)
        assert len(stored) == manifest.bytes
        assert (b"neighborsfromhell" in stored, stored[:3] == b"age") == (False, bool(key))
        proof = proof_of(vault, database_url, manifest)
        assert (proof.problem, proof.differences) == ("", ())
        assert databases_like(database_url, "_restore_") == []

    def test_opens_with_zstd_and_pg_restore_alone(
        self, engine: sa.Engine, database_url: str, vault: BackupStorage
    ) -> None:
        manifest = take_backup(vault, database_url, now())
        from threadjuice_dagster.resources.zstd import zstd

        assert zstd.decompress(vault.storage.get(manifest.key))[:5] == b"PGDMP"

    def test_describes_the_moment_of_its_snapshot(self, engine: sa.Engine, database_url: str, tmp_path: Path) -> None:
        class Changing(FolderStorage):
            def put_stream(self, key: str, source: Source) -> None:
                forget_threads(engine)
                super().put_stream(key, source)

        vault = BackupStorage(Changing(root=str(tmp_path)), Encryptor(""))
        manifest = take_backup(vault, database_url, now())
        assert manifest.contents.tables["public.threads"].rows == 20
        assert threads_in(engine) == 0
        assert proof_of(vault, database_url, manifest).problem == ""

    def test_compares_tables_with_any_name_and_type_by_their_content(self, engine: sa.Engine) -> None:
        with engine.begin() as connection:
            for statement in (
                "CREATE TYPE mood AS ENUM ('calm', 'cross')",
                'CREATE TABLE "Odd ""name"" %s" ("a %(b)s" mood, j json, p point, m money, n numeric[])',
                """INSERT INTO "Odd ""name"" %s" VALUES ('cross', '{"a":1}', '(1,2)', 3, '{1.50}')""",
                "CREATE TABLE empty_handed ()",
                "INSERT INTO empty_handed DEFAULT VALUES",
            ):
                connection.exec_driver_sql(statement.replace("%", "%%"))
        with engine.connect() as connection:
            before = read_contents(connection)
            assert before.tables['public."Odd ""name"" %s"'].rows == before.tables["public.empty_handed"].rows == 1
            connection.exec_driver_sql("""UPDATE "Odd ""name"" %%s" SET "a %%(b)s" = 'calm'""")
            assert read_contents(connection) != before

    def test_waits_for_another_one_and_both_end_well(
        self, engine: sa.Engine, database_url: str, vault: BackupStorage
    ) -> None:
        told, done = threading.Event(), []
        locks = Locks(sa.make_url(database_url))

        def back_up() -> None:
            done.append(take_backup(vault, database_url, now(), lambda _: told.set()))

        with locks.held("backup") as got:
            assert got
            threads = [threading.Thread(target=back_up) for _ in range(2)]
            for thread in threads:
                thread.start()
            assert told.wait(30)
            assert vault.storage.list() == []
        for thread in threads:
            thread.join(60)
        locks.close()
        assert {one.id for one in vault.manifests()} == {one.id for one in done}
        assert len(done) == 2
        assert [proof_of(vault, database_url, one).problem for one in done] == ["", ""]

    def test_whose_dump_ends_early_is_never_whole(self, engine: sa.Engine, database_url: str, tmp_path: Path) -> None:
        fill(engine, 100_000)

        class Slow(FolderStorage):
            def put_stream(self, key: str, source: Source) -> None:
                source.read(1000)
                with engine.begin() as connection:
                    dumps = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
                    assert connection.execute(sa.text(dumps)).scalars().all() == [True]
                super().put_stream(key, source)

        storage = Slow(root=str(tmp_path / "slow"))
        with pytest.raises(TransientFailure, match="pg_dump failed"):
            take_backup(BackupStorage(storage, Encryptor("")), database_url, now())
        assert storage.list() == []
        assert [path for path in (tmp_path / "slow").rglob("*") if path.is_file()] == []

    def test_into_a_full_disk_is_one_clear_line_and_the_next_one_succeeds(
        self, engine: sa.Engine, database_url: str, tmp_path: Path
    ) -> None:
        fill(engine, 20_000)
        with small_disk(tmp_path / "small") as disk:
            vault = BackupStorage(FolderStorage(root=str(disk)), Encryptor(KEY))
            with pytest.raises(TransientFailure, match="No space left on device"):
                take_backup(vault, database_url, now())
            assert vault.manifests() == []
            assert [path for path in disk.rglob("*") if path.is_file()] == []
            subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
            manifest = take_backup(vault, database_url, now())
            assert proof_of(vault, database_url, manifest).problem == ""

    def test_that_was_killed_leaves_nothing_that_looks_whole_and_is_cleaned_up(
        self, engine: sa.Engine, database_url: str, vault: BackupStorage, tmp_path: Path
    ) -> None:
        killed_at("after the first block", database_url, tmp_path)
        killed_at("before the manifest", database_url, tmp_path)
        assert vault.manifests() == []
        left = [path for path in (tmp_path / "backups").rglob("*") if path.is_file()]
        assert len(left) == 2
        manifest = take_backup(vault, database_url, now())
        assert [path for path in left if path.exists()] == left
        take_backup(vault, database_url, now() + timedelta(days=2))
        assert [path for path in left if path.exists()] == []
        assert proof_of(vault, database_url, manifest).problem == ""


@pytest.fixture
def pair(engine: sa.Engine, database_url: str, vault: BackupStorage) -> tuple[Manifest, Manifest]:
    """Two backups of different contents."""
    first = take_backup(vault, database_url, now() - timedelta(days=1))
    forget_threads(engine)
    return first, take_backup(vault, database_url, now())


class TestADamagedBackup:
    @pytest.mark.parametrize("kept", [0, 1, 100, -1])
    def test_that_was_cut_short_is_found(
        self, pair: tuple[Manifest, Manifest], database_url: str, vault: BackupStorage, kept: int
    ) -> None:
        manifest = pair[0]
        vault.storage.put(manifest.key, vault.storage.get(manifest.key)[:kept])
        assert "is cut short" in proof_of(vault, database_url, manifest).problem

    @pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
    def test_of_which_one_byte_was_altered_is_found(
        self, pair: tuple[Manifest, Manifest], database_url: str, vault: BackupStorage, part: float
    ) -> None:
        manifest = pair[0]
        data = bytearray(vault.storage.get(manifest.key))
        data[int(len(data) * part)] ^= 1
        vault.storage.put(manifest.key, bytes(data))
        assert "was altered" in proof_of(vault, database_url, manifest).problem

    def test_under_whose_manifest_is_another_dump_names_the_other(
        self, pair: tuple[Manifest, Manifest], database_url: str, vault: BackupStorage
    ) -> None:
        first, second = pair
        vault.storage.put(second.key, vault.storage.get(first.key))
        problem = proof_of(vault, database_url, second).problem
        assert "the dump of another backup" in problem
        assert first.id in problem

    def test_whose_manifest_was_moved_to_another_dump_is_found_by_its_contents(
        self, pair: tuple[Manifest, Manifest], database_url: str, vault: BackupStorage
    ) -> None:
        first, second = pair
        vault.storage.put(second.key, vault.storage.get(first.key))
        stored = ("sha256", "bytes", "dump_bytes")
        vault.put_manifest(second.model_copy(update={name: getattr(first, name) for name in stored}))
        proof = proof_of(vault, database_url, second)
        assert "public.threads has 20 rows instead of 0" in proof.problem

    def test_with_one_value_changed_is_found_although_all_counts_agree(
        self, pair: tuple[Manifest, Manifest], engine: sa.Engine, database_url: str, vault: BackupStorage
    ) -> None:
        before = take_backup(vault, database_url, now())
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE personas SET record = record || '{\"x\": 1}' WHERE position = 1"))
        after = take_backup(vault, database_url, now())
        vault.put_manifest(after.model_copy(update={"contents": before.contents}))
        assert proof_of(vault, database_url, after).differences == (
            f"public.personas has other contents in its {before.contents.tables['public.personas'].rows} rows",
        )

    def test_that_was_uploaded_by_half_is_found(
        self, pair: tuple[Manifest, Manifest], database_url: str, vault: BackupStorage
    ) -> None:
        vault.storage.delete(pair[0].key)
        assert "only the manifest is in storage" in proof_of(vault, database_url, pair[0]).problem
        vault.storage.delete(manifest_key(pair[1].id))
        assert [one.id for one in vault.manifests()] == [pair[0].id]
        assert "There is no backup" in proof_of(vault, database_url, pair[1]).problem

    def test_whose_manifest_cannot_be_read_is_found_and_hides_no_other(
        self, pair: tuple[Manifest, Manifest], database_url: str, vault: BackupStorage
    ) -> None:
        key = manifest_key(pair[0].id)
        vault.storage.put(key, vault.storage.get(key)[:-20])
        assert "manifest" in proof_of(vault, database_url, pair[0]).problem
        assert [one.id for one in vault.manifests()] == [pair[1].id]

    def test_is_not_restored_and_the_live_database_stays(
        self, pair: tuple[Manifest, Manifest], engine: sa.Engine, database_url: str, vault: BackupStorage
    ) -> None:
        data = bytearray(vault.storage.get(pair[0].key))
        data[-1] ^= 1
        vault.storage.put(pair[0].key, bytes(data))
        with pytest.raises(PermanentFailure, match="was altered"):
            restore(vault, database_url, pair[0])
        assert threads_in(engine) == 0
        name = str(sa.make_url(database_url).database)
        assert databases_like(database_url, name) == [name]


class TestAKey:
    @pytest.fixture
    def encrypted_backup(self, engine: sa.Engine, database_url: str, folder: FolderStorage) -> Manifest:
        return take_backup(BackupStorage(folder, Encryptor(KEY)), database_url, now())

    def test_that_is_wrong_is_told_and_says_which_one_is_right(
        self, encrypted_backup: Manifest, database_url: str, folder: FolderStorage
    ) -> None:
        problem = proof_of(BackupStorage(folder, Encryptor(OTHER_KEY)), database_url, encrypted_backup).problem
        assert "another key" in problem
        assert Encryptor(KEY).recipient in problem
        assert KEY not in problem

    def test_that_is_not_set_is_told(
        self, encrypted_backup: Manifest, database_url: str, folder: FolderStorage
    ) -> None:
        assert (
            "BACKUP_ENCRYPTION_KEY is not set"
            in proof_of(BackupStorage(folder, Encryptor("")), database_url, encrypted_backup).problem
        )

    def test_of_age_itself_is_taken_as_it_is(self, engine: sa.Engine, database_url: str, folder: FolderStorage) -> None:
        import pyrage

        identity = pyrage.x25519.Identity.generate()
        vault = BackupStorage(folder, Encryptor(str(identity)))
        manifest = take_backup(vault, database_url, now())
        assert manifest.recipient == str(identity.to_public())
        assert len(pyrage.decrypt(folder.get(manifest.key), [identity])) > 1000
        assert proof_of(vault, database_url, manifest).problem == ""

    @pytest.mark.parametrize("key", ["tiny", "correct horse battery staple", "AGE-SECRET-KEY-1NOTONE"])
    def test_that_cannot_be_one_is_refused_without_showing_it(self, key: str) -> None:
        with pytest.raises(ConfigurationError, match="BACKUP_ENCRYPTION_KEY") as caught:
            Encryptor(key)
        assert key not in str(caught.value)
        assert "database new-key" in str(caught.value.next_step)

    def test_that_an_earlier_version_made_of_a_passphrase_is_found_again(self) -> None:
        identity = identity_of_passphrase("correct horse battery staple")
        assert Encryptor(identity).recipient == "age1juht3nf8m7s2hpskjnatd8rdwq6ehgvw8m8grdy35yrtupy3ms4qqzkjl5"
        assert Encryptor(identity).sign(b"x") == "a7dcdb2da4109384def64f3e67514c080ec8c80fc5196c6798a9a2e8766040ec"


class TestARestore:
    def test_puts_the_backup_in_place_and_keeps_the_database_before_it(
        self, pair: tuple[Manifest, Manifest], engine: sa.Engine, database_url: str, vault: BackupStorage
    ) -> None:
        assert threads_in(engine) == 0
        kept = restore(vault, database_url, pair[0])
        assert threads_in(engine) == 20
        assert kept.startswith(f"{sa.make_url(database_url).database}_before_")
        old = sa.create_engine(sa.make_url(database_url).set(database=kept), poolclass=sa.NullPool)
        assert threads_in(old) == 0
        known = BackupStorage(vault.storage, vault.encryptor, BackupHistory(engine).records()).backups()
        assert [bool(one.proven_at) for one in known] == [False, True]

    def test_needs_a_token_that_fits_no_other_restore(
        self, pair: tuple[Manifest, Manifest], engine: sa.Engine, database_url: str, vault: BackupStorage
    ) -> None:
        first, second = pair
        token = token_for(vault, database_url, first)
        for backup, confirm in ((first, ""), (first, "yes"), (second, token)):
            with pytest.raises(UsageError, match="token"):
                restore_backup(vault, database_url, backup.id, confirm, now())
        assert restore_backup(vault, database_url, first.id, token, now()).rows == first.contents.rows
        with pytest.raises(UsageError, match="as it is now"):
            restore_backup(vault, database_url, first.id, token, now())

    def test_works_where_there_is_no_database_yet(
        self, engine: sa.Engine, database_url: str, folder: FolderStorage
    ) -> None:
        vault = BackupStorage(folder, Encryptor(KEY))
        manifest = take_backup(vault, database_url, now())
        fresh = sa.make_url(database_url).set(database=f"{sa.make_url(database_url).database}_fresh")
        address = fresh.render_as_string(hide_password=False)
        assert restore(vault, address, manifest) == ""
        found = sa.create_engine(fresh, poolclass=sa.NullPool)
        assert threads_in(found) == 20

    def test_over_an_empty_database_keeps_no_empty_one(
        self, engine: sa.Engine, database_url: str, vault: BackupStorage
    ) -> None:
        manifest = take_backup(vault, database_url, now())
        name = f"{sa.make_url(database_url).database}_empty"
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
        fresh = sa.make_url(database_url).set(database=name)
        assert restore(vault, fresh.render_as_string(hide_password=False), manifest) == ""
        assert databases_like(database_url, name) == [name]

    def test_of_an_older_backup_is_migrated_before_it_goes_live(self, database_url: str, vault: BackupStorage) -> None:
        from alembic import command

        engine = sa.create_engine(database_url, pool_pre_ping=True)
        with engine.connect() as connection:
            command.upgrade(schema._config(connection), "0002")
            connection.commit()
        manifest = take_backup(vault, database_url, now())
        assert manifest.contents.revision == "0002"
        token = token_for(vault, database_url, manifest)
        restored = restore_backup(vault, database_url, manifest.id, token, now())
        assert (restored.migrated_from, restored.revision) == ("0002", head_revision())
        with engine.connect() as connection:
            assert schema.current_revision(connection) == head_revision()
        engine.dispose()
        drop_kept(database_url)

    @pytest.mark.parametrize("revision", ["9999", "0005"])
    def test_of_a_migration_that_this_version_does_not_know_is_refused(
        self, pair: tuple[Manifest, Manifest], database_url: str, vault: BackupStorage, revision: str
    ) -> None:
        newer = pair[0].contents.model_copy(update={"revision": revision})
        vault.put_manifest(pair[0].model_copy(update={"contents": newer}))
        with pytest.raises(ConfigurationError, match=rf"{revision}.*Install the ThreadJuice version that took it"):
            plan_restore(vault, database_url, pair[0].id, now())
        assert revision in proof_of(vault, database_url, pair[0]).problem

    def test_sends_clients_away_and_their_pools_connect_again(
        self, pair: tuple[Manifest, Manifest], engine: sa.Engine, database_url: str, vault: BackupStorage
    ) -> None:
        ending, failures, seen = threading.Event(), [], set()

        def read_on() -> None:
            while not ending.is_set():
                try:
                    seen.add(threads_in(engine))
                except sa.exc.DBAPIError as error:
                    failures.append(error)

        readers = [threading.Thread(target=read_on) for _ in range(3)]
        for reader in readers:
            reader.start()
        try:
            restore(vault, database_url, pair[0])
        finally:
            ending.set()
            for reader in readers:
                reader.join(30)
        assert threads_in(engine) == 20
        assert seen <= {0, 20}
        assert len(failures) < 20

    def test_is_refused_while_another_one_goes_on(
        self, pair: tuple[Manifest, Manifest], engine: sa.Engine, database_url: str, vault: BackupStorage
    ) -> None:
        with (
            RestoreServer(database_url) as other,
            other.restoring(),
            pytest.raises(TransientFailure, match="Another restore"),
        ):
            restore(vault, database_url, pair[0])
        assert threads_in(engine) == 0

    @pytest.mark.parametrize(
        "moment",
        [
            *("in the restore", "before the keys are made", "before it goes live", "after it was handed over"),
            *("between the renames", "at the end"),
        ],
    )
    def test_that_was_killed_leaves_the_old_database_or_the_new_one(
        self,
        moment: str,
        pair: tuple[Manifest, Manifest],
        engine: sa.Engine,
        database_url: str,
        vault: BackupStorage,
        tmp_path: Path,
    ) -> None:
        killed_at(moment, database_url, tmp_path, pair[0].id)
        assert threads_in(engine) == (20 if moment == "at the end" else 0)
        restore(vault, database_url, pair[0])
        assert threads_in(engine) == 20
        assert databases_like(database_url, "_restore_") == []
        with engine.connect() as connection:  # a role was made for each restore, and for the killed one too
            roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE :like"
            name = sa.make_url(database_url).database
            assert connection.scalar(sa.text(roles), {"like": f"{name}%"}) == 0

    def test_leaves_the_scratch_database_of_a_living_process_alone(
        self, pair: tuple[Manifest, Manifest], database_url: str, vault: BackupStorage
    ) -> None:
        with RestoreServer(database_url) as other, other.scratch() as url:
            assert proof_of(vault, database_url, pair[0]).problem == ""
            assert databases_like(database_url, "_restore_") == [url.database]


@pytest.fixture
def service(engine: sa.Engine, database_url: str, folder: FolderStorage) -> BackupService:
    return BackupService(
        database=Postgres(url=database_url, pool_size=3), storage=folder, encryption_key=KEY, retention="1d"
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run_backup(service: BackupService, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [database_backup, restore_is_proven, expired_backups],
        resources={"database": service.database, "backup_service": service},
        partition_key=f"{now():%Y-%m-%d}",
        instance=instance,
        raise_on_error=False,
    )


class TestInDagster:
    def test_a_backup_is_taken_proven_and_older_ones_expire(
        self, service: BackupService, instance: dg.DagsterInstance, engine: sa.Engine
    ) -> None:
        older = service.take()
        assert run_backup(service, instance).success
        newest, *rest = service.backups()
        assert newest.proven_at
        assert rest == []
        with engine.connect() as connection:
            rows = {row.id: row for row in connection.execute(sa.select(t.backups))}
        assert rows[older.id].deleted_at is not None
        row = rows[newest.manifest.id]
        assert (row.encrypted, row.problem, row.sha256) == (True, "", newest.manifest.sha256)
        assert [one["differences"] for one in row.evidence] == [[]]

    def test_a_backup_that_cannot_be_restored_fails_the_run_and_nothing_expires(
        self, service: BackupService, instance: dg.DagsterInstance, database_url: str, tmp_path: Path
    ) -> None:
        assert run_backup(service, instance).success
        storage = Damaging(root=service.storage.root)  # type: ignore[attr-defined]
        damaging = BackupService(database=service.database, storage=storage, encryption_key=KEY, retention="1d")
        result = run_backup(damaging, instance)
        assert not result.success
        evaluation = result.get_asset_check_evaluations()[0]
        assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert "was altered" in str(evaluation.description)
        assert result.asset_materializations_for_node("expired_backups") == []
        bad, good = service.backups()
        assert ("was altered" in bad.problem, bad.proven_at) == (True, None)
        assert good.proven_at

    def test_a_proof_that_fails_for_an_outage_says_nothing_of_the_backup(
        self, service: BackupService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manifest = service.take()
        folder = Path(service.storage.root) / "backups"  # type: ignore[attr-defined]
        path = next(folder.rglob("dump*"))
        path.unlink()
        path.symlink_to("/proc/self/mem")  # reading it fails
        with pytest.raises(TransientFailure):
            service.prove(manifest.id)
        assert service.backups()[0].problem == ""

    def test_a_restore_shows_its_token_first_and_replays_takedowns_since_the_backup(
        self, service: BackupService, instance: dg.DagsterInstance, engine: sa.Engine, tmp_path: Path
    ) -> None:
        takedowns = TakedownService(
            database=service.database, storage=service.storage, cdn=FolderStorage(root=str(tmp_path / "cdn"))
        )
        store = service.database.store
        story = published(store)
        manifest = service.take()
        takedowns.record_deletions([Tombstone(kind="thread", id=str(store.assignment(story).thread_id))], instance)
        assert store.published() == []

        @dg.job
        def restore_job() -> None:
            restore_database()

        def run(**config: str) -> dg.ExecuteInProcessResult:
            return restore_job.execute_in_process(
                run_config={"ops": {"restore_database": {"config": {"backup": manifest.id, **config}}}},
                resources={"backup_service": service, "takedown_service": takedowns},
                instance=instance,
                raise_on_error=False,
            )

        asked = run()
        said = str(asked.failure_data_for_node("restore_database"))
        token = service.plan(manifest.id).token
        assert token in said
        assert run(confirm=token).success
        assert service.backups()[0].proven_at
        assert store.published() == []
        assert threads_in(engine) > 0

    def test_todays_partition_is_there_before_the_day_ends(self) -> None:
        assert database_backup.partitions_def is not None
        assert f"{now():%Y-%m-%d}" in database_backup.partitions_def.get_partition_keys()


class TestTheTools:
    def test_of_the_package_are_used_for_its_own_server(self) -> None:
        assert int(find_tool("pg_dump", "18.4").version.split(".")[0]) >= 18

    def test_on_path_are_used_for_a_newer_server_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = tmp_path / "pg_dump"
        program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 99.3'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        assert find_tool("pg_dump", "99.1").version == "99.3"
        assert find_tool("pg_dump", "18.0").version.startswith("18.")

    def test_that_are_all_older_than_the_server_are_refused_with_the_next_step(self) -> None:
        with pytest.raises(ConfigurationError, match=r"PostgreSQL 99\.1.*client programs"):
            find_tool("pg_dump", "99.1")

    def test_are_never_given_a_password_for_all_to_see(self, database_url: str, tmp_path: Path) -> None:
        url = sa.make_url(database_url).set(password="hunter2-database")
        with sa.create_engine(database_url).connect() as connection:  # a table that is locked keeps pg_dump running
            connection.exec_driver_sql("CREATE TABLE held (id int)")
            connection.commit()
            connection.exec_driver_sql("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
            with find_tool("pg_dump", "18.0").running(url, "--format=custom") as process:
                about = Path(f"/proc/{process.pid}")  # both files are empty for a moment while the program is loaded
                assert eventually(lambda: bool((about / "environ").read_text() and (about / "cmdline").read_text()))
                command, environment = (about / "cmdline").read_text(), (about / "environ").read_text()
                assert process.stdout
                connection.rollback()
                process.stdout.read()
        assert "hunter2" not in command
        assert "PGPASSWORD=hunter2-database" in environment


class Damaging(FolderStorage):
    """A folder that changes one byte of every dump."""

    def put_stream(self, key: str, source: Source) -> None:
        super().put_stream(key, source)
        if key.endswith("manifest.json"):
            return
        data = bytearray(self.get(key))
        data[len(data) // 2] ^= 1
        (Path(self.root) / key).write_bytes(bytes(data))


def published(store: Store) -> str:
    store.save_threads([make_thread("zzz9", engagement=1e9)])
    story_id = store.assign(store.open_order(1, None, None, 3))[0].story_id
    for model in (make_draft(story_id), make_score(story_id), make_image(story_id)):
        store.save(model)
    store.record_verdicts(story_id, {gate: GateFinding(True, "fine") for gate in GATES})
    store.save(make_publication(store, story_id))
    return story_id


class small_disk:  # noqa: N801
    """A disk of 300 kB, where this process may mount one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        self._folder.mkdir()
        if shutil.which("mount") is None:
            pytest.skip("there is no mount command here")
        command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(self._folder)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
        return self._folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self._folder)], check=True)


PAUSES = {
    "after the first block": "take",
    "before the manifest": "take",
    "in the restore": "restore",
    "before the keys are made": "restore",
    "before it goes live": "restore",
    "after it was handed over": "restore",
    "between the renames": "restore",
    "at the end": "restore",
}
SCRIPT = """
import json, sys, time
from datetime import UTC, datetime
import sqlalchemy as sa
from threadjuice_dagster.operations.backups import dump, loading, restore, restore_server
from threadjuice_dagster.resources.encryption import Encryptor, identity_of_passphrase
from threadjuice_dagster.resources.storage import FolderStorage

moment, url, root, identity = json.loads(sys.argv[1])

def pause(*_):
    print("PAUSED", flush=True)
    time.sleep(600)

class Pausing(FolderStorage):
    def put_stream(self, key, source):
        class Half:
            def read(self, size=-1):
                data = source.read(1000)
                return data if self.first else pause()
            first = True
        if moment == "after the first block":
            half = Half()
            plain = half.read
            def read(size=-1):
                if half.first:
                    half.first = False
                    return source.read(1000)
                pause()
            half.read = read
            source = half
        super().put_stream(key, source)
        if moment == "before the manifest":
            pause()

vault = dump.BackupStorage(Pausing(root=root), Encryptor(""))
if not identity:
    dump.take_backup(vault, url, datetime.now(UTC))
if moment == "in the restore":
    vault.encryptor.decrypt = lambda source, target, encrypted: (target.write(b"PGDMP"), pause())
if moment == "before the keys are made":
    loading._copy_rows = pause
if moment == "after it was handed over":
    restore_server.RestoreServer.swap = pause
if moment == "between the renames":
    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def stop(connection, cursor, statement, *rest):
        if statement.startswith("ALTER DATABASE") and "_restore_" in statement.split(" RENAME ")[0]:
            pause()
plan = restore.plan_restore(vault, url, identity, datetime.now(UTC))
prepare = pause if moment == "before it goes live" else lambda _: None
restore.restore_backup(vault, url, identity, plan.token, datetime.now(UTC), prepare)
pause()
"""


def killed_at(moment: str, url: str, tmp_path: Path, identity: str = "") -> None:
    """Back up or restore in a process of its own that is killed at a moment."""
    assert (PAUSES[moment] == "restore") == bool(identity)
    arguments = json.dumps([moment, url, str(tmp_path / "backups"), identity])
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "PAUSED\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_both_storages_are_what_a_vault_takes(folder: FolderStorage) -> None:
    assert isinstance(folder, Storage)
