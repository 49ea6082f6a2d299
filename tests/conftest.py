"""Shared fixtures: an embedded PostgreSQL per test session, a fresh database and home per test."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from threadjuice_dagster.settings import variables

os.environ["TZ"] = "UTC"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine the tests run on reaches a test."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Address of an embedded server that lives as long as this test process."""
    from threadjuice_dagster.database.server import embedded_url

    with tempfile.TemporaryDirectory(prefix="tj-", ignore_cleanup_errors=True) as folder:
        yield embedded_url(Path(folder))


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


@pytest.fixture
def newsroom_environment(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a newsroom with a database and a home of its own, set for this process too."""
    variables = {"DATABASE_URL": database_url, "THREADJUICE_HOME": str(tmp_path / "home"), "DATABASE_POOL_SIZE": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("DAGSTER_HOME", "DAGSTER_DATABASE_URL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return variables
