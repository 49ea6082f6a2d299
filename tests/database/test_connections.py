"""Connections: bounded over all processes, limited in time, taken up again after every kind of outage."""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from makers import make_thread
from waiting import eventually

from threadjuice_dagster.assets.steps import classified
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.embedded import EmbeddedServer
from threadjuice_dagster.database.engine import STARTERS, UNHURRIED, lone_engine, pooled_engine
from threadjuice_dagster.database.locks import Locks, is_held
from threadjuice_dagster.database.server import create_database, embedded_url
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.failures import ConfigurationError, TransientFailure
from threadjuice_dagster.resources import postgres
from threadjuice_dagster.resources.postgres import Postgres, Replica


class OwnServer:
    """An embedded server that a test may restart; to its clients it is a server like any other."""

    def __init__(self, folder: Path) -> None:
        self._url = sa.make_url(embedded_url(folder))
        STARTERS.clear()
        self._server = EmbeddedServer(folder)

    def database(self) -> str:
        name = f"t_{uuid.uuid4().hex[:12]}"
        create_database(self._url, name)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def stop(self) -> None:
        self._server.control("stop", "-m", "fast")

    def restart(self, mode: str = "fast") -> None:
        self._server.control("restart", "-m", mode)

    def leave(self) -> None:
        self._server.leave()


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with tempfile.TemporaryDirectory(prefix="tj-", ignore_cleanup_errors=True) as folder:
        own = OwnServer(Path(folder))
        yield own
        own.leave()


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(database_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def kill_sessions(connection: sa.Connection) -> None:
    """Ends every other session of the database, as a restore does."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) {others}"))


class TestLimits:
    def test_an_ordinary_query_that_takes_too_long_is_stopped_and_told_as_that(self, database_url: str) -> None:
        engine = pooled_engine(database_url, 1, 0.2)
        with pytest.raises(sa.exc.OperationalError) as raised, engine.connect() as connection:
            connection.execute(sa.text("SELECT pg_sleep(20)"))
        failure = classified(raised.value)
        assert isinstance(failure, TransientFailure)
        assert "DATABASE_STATEMENT_TIMEOUT_SECONDS" in str(failure)
        assert "statement timeout" in str(failure)

    def test_bulk_work_and_work_outside_the_pool_are_not_limited(self, database_url: str) -> None:
        with pooled_engine(database_url, 1, 0.2).begin() as connection:
            connection.exec_driver_sql(UNHURRIED)
            connection.execute(sa.text("SELECT pg_sleep(0.5)"))
        with lone_engine(database_url).connect() as connection:
            assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "0"

    def test_the_limit_is_back_after_bulk_work(self, database_url: str) -> None:
        engine = pooled_engine(database_url, 1, 0.2)
        with engine.begin() as connection:
            connection.exec_driver_sql(UNHURRIED)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "200ms"
            assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "10min"

    def test_what_the_address_asks_for_counts(self, database_url: str) -> None:
        url = sa.make_url(database_url).update_query_dict(
            {"application_name": "mine", "options": "-c statement_timeout=7s", "keepalives_idle": "5"}
        )
        with pooled_engine(url, 1).connect() as connection:
            assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "7s"
            assert connection.exec_driver_sql("SHOW application_name").scalar() == "mine"
            assert "10min" in str(connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar())

    def test_an_address_nobody_answers_at_fails_at_once(self) -> None:
        began = time.monotonic()
        with pytest.raises(sa.exc.OperationalError):
            pooled_engine("postgresql+psycopg://user@127.0.0.1:1/none", 1).connect()
        assert time.monotonic() - began < 20  # the patience for servers that were there is three times that

    def test_a_wrong_password_is_told_without_the_password_and_at_once(self, server: OwnServer) -> None:
        url = sa.make_url(server.database()).set(username="nobody", password="hunter2")
        with pytest.raises(ConfigurationError) as raised:
            _ = Postgres(url=url.render_as_string(hide_password=False)).store
        assert "hunter2" not in str(raised.value)
        assert "nobody" in str(raised.value)


CROWD = """
import sys, threading, time
from threadjuice_dagster.resources import postgres
database = postgres.Postgres(url=sys.argv[1], pool_size=9, max_connections=12, migrates_itself=True)
store = database.store
import sqlalchemy as sa
def work():
    for _ in range(5):
        with store.engine.connect() as connection:
            connection.execute(sa.text("SELECT pg_sleep(0.05)"))
with store.locks.held(f"one {sys.argv[2]}") as got:
    assert got
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


class TestTheBoundOverProcesses:
    def test_a_crowd_of_processes_stays_within_it_and_all_of_them_get_done(
        self, database_url: str, engine: sa.Engine
    ) -> None:
        _ = Postgres(url=database_url, migrates_itself=True).store
        close_all(database_url)
        command = [sys.executable, "-c", CROWD, database_url]
        crowd = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE) for number in range(8)]
        seen: list[int] = []
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with engine.connect() as connection:
            while any(process.poll() is None for process in crowd):
                seen.append(connection.execute(sa.text(query)).scalar() or 0)
        assert [process.returncode for process in crowd] == [0] * 8, crowd[0].stderr
        assert 3 <= max(seen) <= 12

    def test_a_process_that_finds_no_room_says_which_setting_to_raise(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "SLOT_SECONDS", 0.0)
        here = Locks(database_url)
        assert here.kept(["seat 0"])
        with pytest.raises(TransientFailure, match=r"1 processes .*DATABASE_MAX_CONNECTIONS \(it is 6\)"):
            _ = Postgres(url=database_url, max_connections=6, pool_size=2).store
        here.close()

    def test_one_process_gets_the_pool_it_asks_for_and_others_have_room_beside_it(self, database_url: str) -> None:
        asked = Postgres(url=database_url, pool_size=20, migrates_itself=True)
        assert asked.largest_pool == asked.store.engine.pool.size() == 20  # type: ignore[attr-defined]
        others = [Locks(database_url) for _ in range(7)]
        assert [other.kept(asked._slots) for other in others] == [True] * 6 + [False]
        for other in others:
            other.close()
        close_all(database_url)

    def test_the_next_that_asks_gets_what_is_left_and_one_that_does_not_ask_its_share(self, database_url: str) -> None:
        here = Locks(database_url)
        asked = Postgres(url=database_url, pool_size=20, migrates_itself=True)
        assert here.kept_of(asked._further_slots[1:]) == 3
        assert asked.store.engine.pool.size() == 9  # type: ignore[attr-defined]
        here.close()
        close_all(database_url)
        assert Postgres(url=database_url).store.engine.pool.size() == 4  # type: ignore[attr-defined]
        close_all(database_url)

    def test_threads_that_open_it_together_take_one_seat(self, database_url: str, engine: sa.Engine) -> None:
        stores: set[Store] = set()
        database = Postgres(url=database_url, pool_size=2)
        threads = [threading.Thread(target=lambda: stores.add(database.unchecked_store)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(stores) == 1
        close_all(database_url)

    def test_a_process_waits_without_a_connection(self, database_url: str, engine: sa.Engine) -> None:
        here, waiting = Locks(database_url), Locks(database_url)
        assert here.kept(["seat"])
        assert not waiting.kept(["seat"])
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with engine.connect() as connection:
            assert eventually(lambda: connection.execute(sa.text(query)).scalar() == 1)
        here.close()
        assert waiting.kept(["seat"])
        waiting.close()

    def test_the_seat_of_a_killed_process_is_free(self, database_url: str) -> None:
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        process = context.Process(target=take_seat, args=(database_url, ready))
        process.start()
        assert ready.wait(60)
        here = Locks(database_url)
        assert not here.kept(["seat"])
        process.kill()
        process.join()
        assert eventually(lambda: here.kept(["seat"]))
        here.close()

    def test_a_server_without_room_is_waited_for(self, server: OwnServer) -> None:
        url = server.database()
        role = f"narrow_{uuid.uuid4().hex[:8]}"
        with sa.create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(sa.text(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1"))
        narrow = sa.make_url(url).set(username=role)
        first = lone_engine(narrow).connect()
        threading.Timer(0.5, first.close).start()
        with lone_engine(narrow).connect() as second:
            assert second.exec_driver_sql("SELECT current_user").scalar() == role


def take_seat(url: str, ready: Any) -> None:
    locks = Locks(url)
    if locks.kept(["seat"]):
        ready.set()
    time.sleep(120)


def close_all(url: str) -> None:
    """Gives back the seat and the connections this process has."""
    for key in [key for key in postgres._stores if key[0] == url]:
        store = postgres._stores.pop(key)
        store.locks.close()
        store.engine.dispose()


class TestLocksOutliveTheirConnection:
    def test_a_lock_is_taken_again_when_its_session_is_ended(self, database_url: str, engine: sa.Engine) -> None:
        locks = Locks(database_url)
        with locks.held("run:one") as got, engine.connect() as connection:
            assert got
            kill_sessions(connection)
            assert is_held(connection, "run:one")
            assert not Locks(database_url).kept(["run:one"])
            with locks.held("run:two") as another:
                assert another
        with engine.connect() as connection:
            assert not is_held(connection, "run:one")
        locks.close()

    def test_a_database_that_is_gone_is_asked_for_seldom(
        self, server_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries: list[float] = []
        url = sa.make_url(server_url).set(database="gone")
        create_database(sa.make_url(server_url), "gone")
        locks = Locks(url)
        connect = locks._engine.connect
        monkeypatch.setattr(locks._engine, "connect", lambda: (tries.append(time.monotonic()), connect())[1])
        with locks.held("run:one"), lone_engine(server_url, isolation_level="AUTOCOMMIT").connect() as connection:
            tries.clear()
            connection.execute(sa.text("DROP DATABASE gone WITH (FORCE)"))
            time.sleep(4)
        assert 1 <= len(tries) <= 4
        locks.close()

    def test_a_lock_that_was_given_back_is_not_taken_again(self, database_url: str, engine: sa.Engine) -> None:
        locks = Locks(database_url)
        with locks.held("kept"):
            with locks.held("brief"), locks.held("brief"):
                pass
            with engine.connect() as connection:
                kill_sessions(connection)
                assert is_held(connection, "kept")
                assert not is_held(connection, "brief")
        locks.close()

    @pytest.mark.parametrize("mode", ["fast", "immediate"])
    def test_nobody_is_thought_dead_because_the_server_restarted(self, server: OwnServer, mode: str) -> None:
        url = server.database()
        alive, judge = Locks(url), lone_engine(url)
        with alive.held("run:one"):
            for _ in range(3):
                server.restart(mode)
                with judge.connect() as connection:  # the first thing anybody asks
                    assert is_held(connection, "run:one")
        with judge.connect() as connection:
            assert not is_held(connection, "run:one")
        alive.close()

    def test_a_run_that_died_in_the_outage_is_known_to_be_dead(self, server: OwnServer) -> None:
        url = server.database()
        server.restart()
        with lone_engine(url).connect() as connection:
            assert not is_held(connection, "run:gone")

    def test_a_lock_another_process_took_meanwhile_is_told_of(
        self, database_url: str, engine: sa.Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        locks, other = Locks(database_url), Locks(database_url)
        with locks.held("run:one"):
            with locks._turn, engine.connect() as connection:  # it cannot take it again before the other has it
                kill_sessions(connection)
                assert other.kept(["run:one"])
            assert eventually(lambda: "run:one" in caplog.text)
        other.close()
        locks.close()


class TestRestarts:
    @pytest.mark.parametrize("mode", ["fast", "immediate"])
    def test_an_idle_pool_works_on_after_a_restart(self, server: OwnServer, mode: str) -> None:
        store = Postgres(url=server.database(), migrates_itself=True).store
        store.save_threads([make_thread("abc1")])
        server.restart(mode)
        assert store.save_threads([make_thread("abc2")]) == 1
        assert store.unused_threads() == 2

    def test_a_server_that_is_away_for_a_while_is_waited_for(self, server: OwnServer) -> None:
        store = Postgres(url=server.database(), migrates_itself=True).store
        server.stop()
        back = threading.Timer(1.5, server.restart)  # it starts one that is down, with its old options
        back.start()
        assert store.unused_threads() == 0
        back.join()

    @pytest.mark.parametrize("mode", ["fast", "immediate"])
    def test_a_story_is_published_once_though_the_server_restarts_in_the_middle(
        self, server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
    ) -> None:
        url = server.database()
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("THREADJUICE_HOME", str(tmp_path))
        monkeypatch.setenv("DATABASE_POOL_SIZE", "2")
        engine = lone_engine(url)
        command = [sys.executable, "-c", "from threadjuice_dagster.cli.app import main; main()"]
        subprocess.run([*command, "database", "seed"], check=True, capture_output=True)
        process = subprocess.Popen(
            [*command, "content", "generate", "--count", "1", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for table in ("assignments", "stories", "quality_scores", "images"):  # once after each step
            assert eventually(lambda name=table: rows(engine, name) or process.poll() is not None, 120)  # type: ignore[misc]
            server.restart(mode)
        said, told = process.communicate(timeout=200)
        assert process.returncode == 0, said + told
        assert [story["status"] for story in json.loads(said)["stories"]] == ["published"]
        assert rows(engine, "publications") == 1
        assert rows(engine, "assignments") == 1


def rows(engine: sa.Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(sa.table(table))) or 0


class TestTheReplica:
    """Two databases stand in: what one has and the other has not is the lag."""

    @pytest.fixture
    def primary(self, database_url: str) -> Postgres:
        database = Postgres(url=database_url, pool_size=2, migrates_itself=True)
        database.store.save_threads([make_thread("abc1")])
        return database

    @pytest.fixture
    def replica_url(self, server: OwnServer) -> str:
        url = server.database()
        store = Postgres(url=url, pool_size=2, migrates_itself=True).store
        store.save_threads([make_thread("abc1"), make_thread("abc2")])
        return url

    def test_reads_come_from_the_replica_and_writes_are_refused_there(
        self, primary: Postgres, replica_url: str
    ) -> None:
        reads = Replica(database=primary, url=replica_url).reads()
        assert (reads.source, reads.store.unused_threads()) == ("replica", 2)
        refuses_writes(reads.store)

    def test_without_one_the_primary_is_read_and_writes_are_refused_there_too(self, primary: Postgres) -> None:
        reads = Replica(database=primary).reads()
        assert reads.store.unused_threads() == 1
        assert reads.source.startswith("primary")
        refuses_writes(reads.store)
        assert primary.store.save_threads([make_thread("abc3")]) == 1  # the pool they share still writes

    def test_one_that_does_not_answer_is_told_of_and_the_primary_is_read(
        self, primary: Postgres, caplog: pytest.LogCaptureFixture
    ) -> None:
        reads = Replica(database=primary, url="postgresql://reader:hunter2@127.0.0.1:1/none").reads()
        assert reads.store.unused_threads() == 1
        assert "does not answer" in reads.source
        assert "does not answer" in caplog.text
        assert "hunter2" not in caplog.text + reads.source

    def test_one_that_lags_is_told_of_and_the_primary_is_read(self, primary: Postgres, replica_url: str) -> None:
        happened(primary.store, seconds_ago=90)
        replica = Replica(database=primary, url=replica_url)
        assert replica.reads().source == "primary: the replica lags more than 60 s"
        happened(Postgres(url=replica_url).store, seconds_ago=90)
        assert replica.reads().source == "replica"
        happened(primary.store, seconds_ago=5)
        assert replica.reads().source == "replica"

    def test_one_at_another_migration_is_not_read(self, primary: Postgres, replica_url: str) -> None:
        with sa.create_engine(replica_url).begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
        assert "lags" in Replica(database=primary, url=replica_url).reads().source

    def test_it_is_read_while_the_primary_is_away(self, replica_url: str) -> None:
        away = Postgres(url="postgresql://user@127.0.0.1:1/none")
        reads = Replica(database=away, url=replica_url).reads()
        assert (reads.source, reads.store.unused_threads()) == ("replica", 2)

    def test_where_neither_answers_that_is_a_transient_failure(self) -> None:
        away = Postgres(url="postgresql://user@127.0.0.1:1/none")
        with pytest.raises(TransientFailure):
            Replica(database=away, url="postgresql://user@127.0.0.1:1/other").reads()


def happened(store: Store, seconds_ago: float) -> None:
    with store.engine.begin() as connection:
        statement = "INSERT INTO events (kind, at) VALUES ('x', now() - make_interval(secs => :seconds))"
        connection.execute(sa.text(statement), {"seconds": seconds_ago})


def refuses_writes(store: Store) -> None:
    for write in (
        lambda: store.save_threads([make_thread("abc9")]),
        lambda: store.open_order(1, None, None, 1),
        lambda: Catalogue(store.engine).seed(),
    ):
        with pytest.raises(sa.exc.InternalError, match="read-only transaction"):
            write()


def test_a_run_needs_no_tables_to_begin_with(database_url: str) -> None:
    """Where only a migration may make them, the migration itself must be able to run."""
    import dagster as dg

    @dg.asset
    def looks(database: postgres.Database) -> None:
        database.unchecked_store.engine.connect().close()

    bare = Postgres(url=database_url, pool_size=2, migrates_itself=False)
    assert dg.materialize([looks], resources={"database": bare}).success
    with pytest.raises(ConfigurationError, match="deploy migrate"):
        _ = bare.store
