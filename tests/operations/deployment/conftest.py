"""Fixtures: a database, a home, a loopback Vercel, and newsrooms that deploy to it or to a folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deploying import BYPASS, Newsroom, vercel_target
from servers.vercel_server import VercelServer

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.operations.deployment.targets import LocalTarget
from threadjuice_dagster.resources import http
from threadjuice_dagster.resources.postgres import Postgres


@pytest.fixture
def database(shared_url: str) -> Postgres:
    """The database that all tests here use one after the other, with no deployment in it."""
    database = Postgres(url=shared_url, pool_size=2)
    with database.store.engine.begin() as connection:
        for table in (t.deployment_steps, t.deployments, t.events):
            connection.execute(table.delete())
    return database


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setattr(http, "_BACKOFF", 0.01)


@pytest.fixture
def vercel() -> Iterator[VercelServer]:
    with VercelServer(bypass=BYPASS) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(params=["local", "vercel"])
def newsroom(request: pytest.FixtureRequest, database: Postgres, home: Path, vercel: VercelServer) -> Newsroom:
    local = LocalTarget(folder=str(home / "deployment"))
    return Newsroom(database, home, local if request.param == "local" else vercel_target(vercel))


@pytest.fixture
def local(database: Postgres, home: Path) -> Newsroom:
    return Newsroom(database, home, LocalTarget(folder=str(home / "deployment")))


@pytest.fixture
def on_vercel(database: Postgres, home: Path, vercel: VercelServer) -> Newsroom:
    return Newsroom(database, home, vercel_target(vercel))


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "site"
