"""An import whose database server or disk gives out in the middle: nothing is lost, and the next one goes on."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from command import threadjuice

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.embedded import EmbeddedServer
from threadjuice_dagster.database.server import embedded_url
from threadjuice_dagster.database.store import open_store

RECORDS = 12_000


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a server that only this test uses."""
    monkeypatch.setenv("THREADJUICE_HOME", str(tmp_path / "home"))
    return embedded_url(tmp_path / "home")


@contextmanager
def disk_of(folder: Path, size: str) -> Iterator[Path]:
    """A folder that holds no more than that."""
    folder.mkdir(parents=True)
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command here")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds 100 kB."""
    with disk_of(tmp_path / "small", "100k") as folder:
        yield folder


def story_file(path: Path) -> Path:
    """Good records, and every hundredth after it a bad one."""
    with path.open("w") as file:
        for number in range(RECORDS):
            record = {"title": f"Fence {number}", "slug": f"fence-{number}", "category": "neighbours"}
            file.write(json.dumps({**record, "text": f"The fence moved {number} metres. " * 20}) + "\n")
            if number % 100 == 99:
                file.write(json.dumps({"title": "no text at all " * 20}) + "\n")
    return path


def command(path: Path, *options: str) -> list[str]:
    code = "from threadjuice_dagster.cli.app import main; main()"
    return [sys.executable, "-c", code, "content", "import", str(path), *options, "--json"]


def imported(*arguments: Any) -> tuple[int, dict[str, Any]]:
    result = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=240, check=False)
    return result.returncode, json.loads(result.stdout)


def stored(url: str) -> int:
    with open_store(url, 2).engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(t.stories)) or 0


def test_a_server_restart_in_the_middle_is_told_in_one_line_and_the_next_import_goes_on(
    own_server: str, tmp_path: Path
) -> None:
    path = story_file(tmp_path / "stories.jsonl")
    assert imported(path, "--dry-run")[1]["imported"] == RECORDS
    assert not stored(own_server)
    process = subprocess.Popen(command(path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while not stored(own_server):
        assert process.poll() is None, "it ended before the server could be restarted"
    EmbeddedServer(tmp_path / "home").control("restart", "-m", "immediate")  # no goodbye to its clients
    document = json.loads(process.communicate(timeout=120)[0])
    assert process.returncode == 1
    assert document["error"]["kind"] == "transient", document
    assert 0 < stored(own_server) < RECORDS
    code, document = imported(path)
    assert (code, document["imported"], document["rejected"]) == (1, RECORDS, RECORDS // 100), document
    assert len(Path(document["rejects_file"]).read_text().splitlines()) == RECORDS // 100
    assert stored(own_server) == RECORDS


def test_a_full_disk_under_the_rejects_is_told_in_one_line_and_loses_no_record(
    newsroom_environment: dict[str, str], small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(newsroom_environment["THREADJUICE_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    (home / "imports").symlink_to(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 90_000)
    path = story_file(tmp_path / "stories.jsonl")
    code, document = imported(path)
    assert code == 1
    assert document["error"]["message"] == "The disk is full.", document
    before = stored(newsroom_environment["DATABASE_URL"])
    assert before < RECORDS
    filler.unlink()
    code, document = imported(path)
    assert (code, document["imported"], document["rejected"]) == (1, RECORDS, RECORDS // 100), document
    assert len(Path(document["rejects_file"]).read_text().splitlines()) == RECORDS // 100
    assert stored(newsroom_environment["DATABASE_URL"]) == RECORDS


@pytest.fixture
def server_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an embedded server with a newsroom in it, on a disk of its own."""
    monkeypatch.setenv("THREADJUICE_HOME", str(tmp_path / "home"))
    with disk_of(tmp_path / "home" / "postgres", "300m") as folder:
        embedded_url(tmp_path / "home")
        assert threadjuice("database", "seed")[0] == 0
        yield folder
        EmbeddedServer(tmp_path / "home").leave()


def test_a_full_disk_under_the_database_ends_an_import_in_one_line_and_the_next_goes_on(
    server_on_a_disk: Path, tmp_path: Path
) -> None:
    path = story_file(tmp_path / "stories.jsonl")
    filler = server_on_a_disk / "filler"
    with filler.open("wb") as file:
        file.truncate(0)
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(server_on_a_disk).free - 4_000_000)
    result = subprocess.run(command(path), capture_output=True, text=True, timeout=120, check=False)
    document = json.loads(result.stdout)
    assert result.returncode == 1
    assert "disk" in str(document["error"]), document
    assert "full" in str(document["error"]), document
    assert "Traceback" not in result.stderr
    filler.unlink()
    url = embedded_url(tmp_path / "home")
    before = stored(url)
    assert before < RECORDS
    with open_store(url, 2).engine.connect() as connection:
        counts = connection.scalar(sa.select(t.import_files.c.counts))
    assert before == (counts["imported"] if counts else 0), "half a batch was written"
    code, document = imported(path)
    assert (code, document["imported"], document["rejected"]) == (1, RECORDS, RECORDS // 100), document
    assert stored(url) == RECORDS
