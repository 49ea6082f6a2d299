"""Databases a newsroom cannot use: each is one line with the next step, exit code 2, and red in ``deploy check``."""

import shutil
import threading
import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from command import threadjuice
from makers import make_thread
from servers.pgbouncer import PgBouncer

from threadjuice_dagster.database.engine import lone_engine, pooled_engine
from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.database.replica import problem
from threadjuice_dagster.database.server import app_url, create_database
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.database.suitability import require_session
from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.resources.postgres import Postgres

pytestmark = pytest.mark.usefixtures("newsroom_environment")
needs_pgbouncer = pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed here")

CREATE = "CREATE DATABASE {} ENCODING '{}' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc TEMPLATE template0"


@pytest.fixture
def admin(server_url: str) -> Iterator[sa.Connection]:
    """A superuser's connection, outside of transactions."""
    with lone_engine(server_url, isolation_level="AUTOCOMMIT").connect() as connection:
        yield connection


def refused(address: str, **variables: str) -> str:
    """What a command says of an address, and that ``deploy check`` is red about it as well."""
    given = {"DATABASE_URL": address, **variables}
    code, document, _ = threadjuice("status", **given)
    assert (code, document["error"]["kind"]) == (2, "configuration"), document
    told = f"{document['error']['message']} {document['error']['next_step']}"
    assert "\n" not in told
    code, report, _ = threadjuice("deploy", "check", **given)
    assert code == 1
    failed = [row for row in report["rows"] if row["state"] == "failed"]
    assert any("database" in row["name"].lower() for row in failed), failed
    assert "hunter2" not in str(document) + str(report)
    return told


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgresql://u:hunter2@127.0.0.1:abc/d", "port"),
        ("postgresql://u:hunter2@127.0.0.1:99999/d", "port"),
        ("postgresql://u:p@hunter2@127.0.0.1/d", "%40"),
        ("postgresql://u:p/hunter2@127.0.0.1/d", "%2F"),
        ("postgresql://u:hunter2@127.0.0.1/d?sslmod=require", "sslmod"),
    ],
)
def test_an_address_that_cannot_be_one(address: str, says: str) -> None:
    told = refused(address)
    assert says in told
    assert "DATABASE_URL" in told


def test_a_database_that_is_not_utf8(server_url: str, admin: sa.Connection) -> None:
    for encoding in ("LATIN1", "SQL_ASCII"):
        name = f"t_{uuid.uuid4().hex[:12]}"
        admin.exec_driver_sql(CREATE.format(name, encoding))
        told = refused(str(sa.make_url(server_url).set(database=name)))
        assert encoding in told
        assert "ENCODING 'UTF8'" in told
        admin.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_database_that_takes_no_writes(prepared_url: str, admin: sa.Connection) -> None:
    name = sa.make_url(prepared_url).database
    admin.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    told = refused(prepared_url)
    assert "default_transaction_read_only" in told
    admin.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert "takes no writes" in refused(
        prepared_url, DAGSTER_DATABASE_URL=_readonly(f"{name}_dagster", prepared_url, admin)
    )


def _readonly(name: str, beside: str, admin: sa.Connection) -> str:
    admin.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    return str(sa.make_url(beside).set(database=name))


@pytest.fixture
def role(admin: sa.Connection) -> str:
    """A user that owns nothing and may create nothing."""
    name = f"r_{uuid.uuid4().hex[:8]}"
    admin.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
    return name


def test_a_user_who_may_not_create_databases(database_url: str, admin: sa.Connection, role: str) -> None:
    url = sa.make_url(database_url)
    admin.exec_driver_sql(f"ALTER DATABASE {url.database} OWNER TO {role}")
    own = str(url.set(username=role))
    told = refused(own)
    assert f"{url.database}_dagster" in told
    assert "CREATEDB" in told
    create_database(url, f"{url.database}_dagster")
    admin.exec_driver_sql(f"ALTER DATABASE {url.database}_dagster OWNER TO {role}")
    assert threadjuice("database", "seed", DATABASE_URL=own)[0] == 0
    rows = {row["name"]: row for row in threadjuice("deploy", "check", DATABASE_URL=own)[1]["rows"]}
    assert rows["database"]["state"] == "ok"
    assert rows["database_backups"]["state"] == "failed"
    assert f"ALTER ROLE {role} CREATEDB" in rows["database_backups"]["next_step"]
    code, document, _ = threadjuice("maintenance", "backup", DATABASE_URL=own)
    assert code
    assert "CREATEDB" in str(document)


def test_a_user_or_a_database_that_is_not_there(server_url: str) -> None:
    url = sa.make_url(server_url)
    assert "nobody" in refused(str(url.set(username="nobody", password="hunter2")).replace("***", "hunter2"))
    assert "CREATE DATABASE" in refused(str(url.set(database="nowhere")))


@needs_pgbouncer
class TestPgBouncer:
    @pytest.mark.parametrize(
        "settings",
        [{}, {"default_pool_size": "1"}, {"default_pool_size": "2", "server_round_robin": "1"}],
        ids=["as it comes", "one backend", "in turn"],
    )
    def test_in_transaction_mode_it_is_found_out_whatever_backends_it_has(
        self, server_url: str, settings: dict[str, str]
    ) -> None:
        with PgBouncer(server_url, "transaction", ignore_startup_parameters="options", **settings) as pooler:
            locks = Locks(app_url(pooler.url(server_url)))
            with pytest.raises(ConfigurationError, match="transaction mode"):
                locks.kept(["a"])
            locks.close()

    def test_with_others_at_work_in_transaction_mode_it_is_found_out(self, server_url: str) -> None:
        with PgBouncer(server_url, "transaction", server_round_robin="1") as pooler:
            engine = lone_engine(app_url(pooler.url(server_url)))
            busy = [engine.connect() for _ in range(3)]
            for connection in busy:
                connection.exec_driver_sql("SELECT 1")
            busy.pop().close()
            with pytest.raises(ConfigurationError, match="transaction mode"), engine.connect() as connection:
                require_session(connection)
            for connection in busy:
                connection.close()

    def test_in_transaction_mode_every_command_and_deploy_check_refuse_it_with_the_mend(
        self, prepared_url: str
    ) -> None:
        with PgBouncer(prepared_url, "transaction", ignore_startup_parameters="options") as pooler:
            told = refused(f"{pooler.url(prepared_url)}?pgbouncer=true&connection_limit=1&schema=public")
        assert "session port" in told

    def test_in_transaction_mode_it_is_no_replica_to_read_from(self, prepared_url: str) -> None:
        with PgBouncer(prepared_url, "transaction") as pooler:
            replica = Store(pooled_engine(app_url(pooler.url(prepared_url)), 2, patience=0))
            assert "transaction mode" in problem(replica, lambda: open_store(prepared_url, 2), 60)
            replica.engine.dispose()

    def test_in_session_mode_a_story_is_written_though_no_start_parameter_is_ignored(self, prepared_url: str) -> None:
        """As PgBouncer is without settings: limits of sessions are set once they are there."""
        with PgBouncer(prepared_url, "session", default_pool_size="30") as pooler:
            address = f"{pooler.url(prepared_url)}?pgbouncer=true"
            code, document, told = threadjuice("content", "generate", "--count", "1", DATABASE_URL=address)
            assert code == 0, (document, told)
            with pooled_engine(app_url(address), 1, 7).connect() as connection:
                assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "7s"
            rows = {row["name"]: row for row in threadjuice("deploy", "check", DATABASE_URL=address)[1]["rows"]}
            assert rows["database"]["state"] == "ok"


def test_what_goes_wrong_later_is_told_by_its_code(prepared_url: str, admin: sa.Connection) -> None:
    """The database becomes a replica while a process works with it."""
    from threadjuice_dagster.assets.steps import classified

    store = Postgres(url=prepared_url, pool_size=2).store
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = on")
        connection.commit()
        with pytest.raises(sa.exc.DBAPIError) as raised:
            connection.execute(sa.text("DELETE FROM threads"))
        connection.rollback()
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.commit()
    failure = classified(raised.value)
    assert isinstance(failure, ConfigurationError)
    assert "primary" in failure.next_step
    assert store.save_threads([make_thread("abc1")]) == 1


def test_a_server_that_was_waited_for_in_vain_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadjuice_dagster.database import engine as module

    tries: list[float] = []
    engine = pooled_engine("postgresql+psycopg://user@127.0.0.1:1/none", 1, patience=0.5)
    mine = threading.get_ident()  # watchers of other tests may be waiting as well
    monkeypatch.setattr(module.time, "sleep", lambda pause: threading.get_ident() == mine and tries.append(pause))
    module._reached.add(("127.0.0.1", 1, None))
    for _ in range(2):
        with pytest.raises(sa.exc.OperationalError):
            engine.connect()
        waited, tries[:] = len(tries), []
    assert waited == 0
