"""Shared fixtures: an embedded PostgreSQL per test session, a fresh database and home per test."""

import ast
import gc
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from threadjuice_dagster.settings import variables

os.environ["TZ"] = "UTC"
gc.set_threshold(
    100_000, 20, 100
)  # Dagster keeps some million objects, which are not worth looking through all the time


SLOW_IMPORTS = {
    "dagster",
    "sqlalchemy",
    "psycopg",
    "subprocess",
    "moto",
    "playwright",
    "servers",
    "command",
    "history",
    "many",
}
SLOW_ROOMS = {"assets", "cli", "database", "definitions", "instance", "jobs", "schedules", "sensors", "site", "wiring"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="run only tests of pure code: no database, no browser, no process"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``--quick``, leave out the files that import a database, Dagster, a server or a process."""
    if not config.getoption("--quick") or not collection_path.name.startswith("test_"):
        return None
    modules: set[str] = set()
    for node in ast.walk(ast.parse(collection_path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    rooms = {module.removeprefix("threadjuice_dagster.").partition(".")[0] for module in modules}
    return bool(SLOW_IMPORTS & rooms or SLOW_ROOMS & rooms) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--quick``, leave out what needs a database, and the trials on the two halves of a corpus (20 s of CPU)."""
    if config.getoption("--quick"):
        items[:] = [
            item for item in items if "server_url" not in getattr(item, "fixturenames", ()) and not _trial(item)
        ]


def pytest_unconfigure() -> None:
    """Silence what SQLAlchemy logs of Dagster's in-memory instances, whose SQLite connections end with the process."""
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def _trial(item: pytest.Item) -> bool:
    return any(value in ("dev", "unseen") for value in getattr(getattr(item, "callspec", None), "params", {}).values())


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine the tests run on reaches a test."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Address of an embedded server that lives as long as this test process, and need not outlive the machine."""
    import sqlalchemy as sa

    from threadjuice_dagster.database.embedded import EmbeddedServer
    from threadjuice_dagster.database.server import embedded_url

    memory = Path("/dev/shm")  # files in memory are made ten times as fast
    place = memory if memory.is_dir() and shutil.disk_usage(memory).free > 4_000_000_000 else None
    with tempfile.TemporaryDirectory(prefix="tj-", dir=place, ignore_cleanup_errors=True) as folder:
        url = embedded_url(Path(folder))
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))
        engine.dispose()
        yield url
        EmbeddedServer(Path(folder)).leave()


@pytest.fixture
def database_url(server_url: str) -> Iterator[str]:
    """Address of an empty database of its own."""
    import sqlalchemy as sa

    from threadjuice_dagster.database.server import create_database

    url = sa.engine.make_url(server_url)
    name = f"t_{uuid.uuid4().hex[:12]}"
    create_database(url, name)
    yield url.set(database=name).render_as_string(hide_password=False)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for database in (name, f"{name}_dagster"):
            connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)'))
    engine.dispose()


@pytest.fixture(scope="session")
def templates(server_url: str) -> dict[str, str]:
    """Databases with every table of the newsroom's and of Dagster's, by what the copy of each is to be called after.

    Copying is much faster than making the tables; a process of its own makes them, and leaves nobody connected.
    """
    import sqlalchemy as sa

    from threadjuice_dagster.database.server import create_database

    url = sa.engine.make_url(server_url)
    create_database(url, "prepared")
    with tempfile.TemporaryDirectory() as home:
        given = {"DATABASE_URL": url.set(database="prepared").render_as_string(hide_password=False)}
        subprocess.run(
            [sys.executable, "-c", _PREPARE], check=True, env={**os.environ, **given, "THREADJUICE_HOME": home}
        )
    return {"": "prepared", "_dagster": "prepared_dagster"}


_PREPARE = """
from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.wiring import build_resources
from threadjuice_dagster.settings import load_settings
settings = load_settings()
with open_instance(settings), build_resources(settings)["database"].process_config_and_initialize_cm() as database:
    database.store
"""


@contextmanager
def _copied(server_url: str, templates: dict[str, str]) -> Iterator[str]:
    import sqlalchemy as sa

    url = sa.engine.make_url(server_url)
    name = f"t_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for suffix, template in templates.items():
            connection.execute(sa.text(f'CREATE DATABASE "{name}{suffix}" TEMPLATE "{template}"'))
    yield url.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        for suffix in templates:
            connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}{suffix}" WITH (FORCE)'))
    engine.dispose()


@pytest.fixture
def prepared_url(server_url: str, templates: dict[str, str]) -> Iterator[str]:
    """Address of a database of its own with the newsroom's tables, empty; Dagster's is beside it."""
    with _copied(server_url, templates) as url:
        yield url


@pytest.fixture(scope="module")
def shared_url(server_url: str, templates: dict[str, str]) -> Iterator[str]:
    """The same for all tests of a file, which leave rows to one another."""
    with _copied(server_url, templates) as url:
        yield url


@pytest.fixture
def newsroom_environment(prepared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a newsroom with a database and a home of its own, set for this process too."""
    variables = {"DATABASE_URL": prepared_url, "THREADJUICE_HOME": str(tmp_path / "home"), "DATABASE_POOL_SIZE": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("DAGSTER_HOME", "DAGSTER_DATABASE_URL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return variables
