"""Servers as they are met outside: one that speaks German, one behind TLS, and a replica that streams."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from command import threadjuice
from makers import make_thread
from servers.postgres import PostgresServer, debian_programs
from sqlalchemy.dialects.postgresql import JSONB
from waiting import eventually

from threadjuice_dagster.assets.steps import classified
from threadjuice_dagster.database.engine import lone_engine, pooled_engine
from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.database.server import app_url, create_database
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, ThreadJuiceError
from threadjuice_dagster.resources.postgres import Postgres, Replica

GERMAN = "de_DE.utf8"


def german_programs() -> Path | None:
    """A PostgreSQL with German texts, where the system has the language too."""
    languages = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.split()
    translated = any(Path("/usr/share/locale/de/LC_MESSAGES").glob("postgres-*.mo"))
    return debian_programs() if translated and GERMAN in languages else None


def failure_at(address: str) -> ThreadJuiceError:
    """What the first connection to an address comes to."""
    with pytest.raises(sa.exc.DBAPIError) as raised:
        lone_engine(app_url(address)).connect()
    return classified(raised.value)


class TestGerman:
    @pytest.fixture(scope="class")
    def german(self) -> Iterator[PostgresServer]:
        programs = german_programs()
        if programs is None:
            pytest.skip("no PostgreSQL with German texts is installed here")
        with PostgresServer(programs, lc_messages=GERMAN, max_connections="20") as server:
            yield server

    def test_refusals_are_told_apart_by_their_code(self, german: PostgresServer) -> None:
        refused = failure_at(german.url(user="niemand"))
        assert isinstance(refused, ConfigurationError)
        assert "existiert nicht" in str(refused), "it is not German"
        assert isinstance(failure_at(german.url("nirgends")), ConfigurationError)

    def test_a_server_without_room_is_waited_for(self, german: PostgresServer) -> None:
        with lone_engine(app_url(german.url()), isolation_level="AUTOCOMMIT").connect() as admin:
            admin.exec_driver_sql("CREATE ROLE eng LOGIN CONNECTION LIMIT 1")
            first = lone_engine(app_url(german.url(user="eng"))).connect()
            threading.Timer(0.5, first.close).start()
            with lone_engine(app_url(german.url(user="eng"))).connect() as second:
                assert second.exec_driver_sql("SELECT current_user").scalar() == "eng"

    def test_a_newsroom_works_and_creates_its_databases_twice(
        self, german: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = sa.make_url(german.url())
        create_database(url, "redaktion")
        create_database(url, "redaktion")
        given = {"DATABASE_URL": german.url("redaktion"), "THREADJUICE_HOME": str(tmp_path), "DATABASE_POOL_SIZE": "2"}
        code, document, told = threadjuice("database", "seed", **given)
        assert code == 0, (document, told)
        for text in ("a\0b", "a\ud800b"):
            value = sa.cast({"a": text}, JSONB)
            with (
                pytest.raises(PermanentFailure, match="which no database stores"),
                lone_engine(app_url(german.url())).connect() as connection,
            ):
                connection.execute(sa.select(value))

    def test_a_database_that_is_gone_is_given_up(self, german: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
        from threadjuice_dagster.database import locks as module

        monkeypatch.setattr(module, "LONGEST_PAUSE", 1.0)
        url = sa.make_url(app_url(german.url("weg")))
        create_database(url.set(database="postgres"), "weg")
        locks = Locks(url)
        assert locks.kept(["a"])
        with lone_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT").connect() as admin:
            admin.exec_driver_sql("DROP DATABASE weg WITH (FORCE)")
        assert eventually(lambda: locks._connection is None)
        locks.close()

    def test_a_query_that_takes_too_long_and_a_user_without_rights(self, german: PostgresServer) -> None:
        with (
            pytest.raises(sa.exc.DBAPIError) as raised,
            pooled_engine(app_url(german.url()), 1, 0.2).connect() as connection,
        ):
            connection.exec_driver_sql("SELECT pg_sleep(20)")
        assert "DATABASE_STATEMENT_TIMEOUT_SECONDS" in str(classified(raised.value))
        with lone_engine(app_url(german.url()), isolation_level="AUTOCOMMIT").connect() as admin:
            admin.exec_driver_sql("CREATE ROLE arm LOGIN")
        with pytest.raises(ConfigurationError, match="may not create the database reich"):
            create_database(sa.make_url(german.url(user="arm")), "reich")


class TestTls:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed here")
        folder = tmp_path_factory.mktemp("tls")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
        for name in ("ca", "other"):
            files = (f"{folder}/{name}.key", "-out", f"{folder}/{name}.crt")
            openssl("req", "-x509", "-days", "2", "-subj", f"/CN={name}", *key, *files)
        openssl("req", "-subj", "/CN=localhost", *key, f"{folder}/server.key", "-out", f"{folder}/server.csr")
        (folder / "san").write_text("subjectAltName=DNS:localhost\n")
        signed = ("-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", "2")
        files = ("-in", f"{folder}/server.csr", "-extfile", f"{folder}/san", "-out", f"{folder}/server.crt")
        openssl("x509", "-req", *signed, *files)
        return folder

    @pytest.fixture(scope="class")
    def server(self, folder: Path) -> Iterator[PostgresServer]:
        programs = debian_programs()
        if programs is None:
            pytest.skip("no PostgreSQL with TLS is installed here")
        with PostgresServer(programs, listen_addresses="localhost") as server:
            for name in ("server.crt", "server.key"):
                shutil.copy(folder / name, server.data / name)
                (server.data / name).chmod(0o600)
                server.own(server.data / name)
            (server.data / "pg_hba.conf").write_text("hostssl all all all trust\n")
            with (server.data / "postgresql.conf").open("a") as file:
                file.write("ssl = on\n")
            server.control("restart", "-m", "fast")
            yield server

    def test_with_its_own_ca_a_newsroom_works_over_it(
        self, server: PostgresServer, folder: Path, tmp_path: Path
    ) -> None:
        address = server.url("news", sslmode="verify-full", sslrootcert=f"{folder}/ca.crt")
        address = address.replace("127.0.0.1", "localhost")
        create_database(sa.make_url(address).set(database="postgres"), "news")
        given = {"DATABASE_URL": address, "THREADJUICE_HOME": str(tmp_path), "DATABASE_POOL_SIZE": "2"}
        code, document, told = threadjuice("database", "seed", **given)
        assert code == 0, (document, told)
        with lone_engine(app_url(address)).connect() as connection:
            assert connection.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").scalar()
        code, document, told = threadjuice(
            "maintenance", "backup", **given, PATH=f"{server.programs}:{os.environ['PATH']}"
        )
        assert (code, document["backup"]["proven"]) == (0, True), told
        rows = threadjuice("deploy", "check", **given, PATH="/nowhere")[1]["rows"]
        row = next(row for row in rows if row["name"] == "database_backups")
        assert (row["state"], "TLS" in row["message"], "PATH" in row["next_step"]) == ("failed", True, True)

    @pytest.mark.parametrize(
        ("host", "query", "says"),
        [
            ("localhost", {"sslmode": "verify-full", "sslrootcert": "other.crt"}, "certificate verify failed"),
            ("localhost", {"sslmode": "verify-full", "sslrootcert": "none.crt"}, "none.crt"),
            ("127.0.0.1", {"sslmode": "verify-full", "sslrootcert": "ca.crt"}, "127.0.0.1"),
        ],
        ids=["another CA", "no CA", "another name"],
    )
    def test_a_certificate_that_is_not_trusted_is_one_line_and_configuration(
        self, server: PostgresServer, folder: Path, tmp_path: Path, host: str, query: dict[str, str], says: str
    ) -> None:
        query = {**query, "sslrootcert": f"{folder}/{query['sslrootcert']}"}
        address = server.url("news", **query).replace("127.0.0.1", host)
        given = {"DATABASE_URL": address, "THREADJUICE_HOME": str(tmp_path)}
        code, document, told = threadjuice("status", **given)
        assert code == 2
        assert says in document["error"]["message"]
        assert "sslrootcert" in document["error"]["next_step"]
        assert "hunter2" not in str(document) + told
        row = next(row for row in threadjuice("deploy", "check", **given)[1]["rows"] if row["name"] == "database")
        assert (row["state"], says in row["message"]) == ("failed", True)

    def test_a_server_without_tls_where_it_is_demanded(self, server_url: str) -> None:
        with PostgresServer(listen_addresses="localhost") as plain:
            failure = failure_at(plain.url(sslmode="require"))
        assert isinstance(failure, ConfigurationError)
        assert "sslmode" in failure.next_step


class TestStreaming:
    def test_a_replica_is_read_until_it_stops_following_and_takes_no_writes(self, tmp_path: Path) -> None:
        with PostgresServer(listen_addresses="127.0.0.1", max_wal_senders="4") as primary:
            create_database(sa.make_url(primary.url()), "news")
            database = Postgres(url=primary.url("news"), pool_size=2, migrates_itself=True)
            database.store.save_threads([make_thread("abc1")])
            with PostgresServer(copy_of=primary, listen_addresses="127.0.0.1") as copy:
                replica = Replica(database=database, url=copy.url("news"))
                assert eventually(lambda: replica.reads().source == "replica")
                database.store.save_threads([make_thread("abc2")])
                assert eventually(lambda: replica.reads().store.unused_threads() == 2)

                given = {"DATABASE_URL": copy.url("news"), "THREADJUICE_HOME": str(tmp_path)}
                code, document, _ = threadjuice("status", **given)
                assert (code, "takes no writes" in document["error"]["message"]) == (2, True)

                given = {"THREADJUICE_HOME": str(tmp_path)}
                asked = {"DATABASE_URL": primary.url("news"), "DATABASE_REPLICA_URL": copy.url("news")}
                rows = threadjuice("deploy", "check", **given, **asked)[1]["rows"]
                assert {row["name"]: row["state"] for row in rows}["database_replica"] == "ok"

                with lone_engine(app_url(copy.url("news")), isolation_level="AUTOCOMMIT").connect() as admin:
                    admin.exec_driver_sql("SELECT pg_wal_replay_pause()")
                with database.store.engine.begin() as connection:
                    old = "INSERT INTO events (kind, at) VALUES ('x', now() - make_interval(secs => 90))"
                    connection.exec_driver_sql(old)
                assert "lags" in replica.reads().source

                with lone_engine(app_url(copy.url("news")), isolation_level="AUTOCOMMIT").connect() as admin:
                    admin.exec_driver_sql("SELECT pg_wal_replay_resume()")
                assert eventually(lambda: replica.reads().source == "replica")
            assert "does not answer" in replica.reads().source


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
