"""The file .env: read as UTF-8 with or without a mark, and one clear line for everything that is none."""

import os
from pathlib import Path
from typing import Any

import pytest
from command import threadjuice

from threadjuice_dagster.cli.shared import load_env_file

SETTING = "DAILY_STORY_COUNT=7\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (SETTING.encode("utf-16"), "not UTF-8"),
        (SETTING.encode("utf-16-le"), "not UTF-8"),
        (SETTING.encode("utf-32"), "not UTF-8"),
        ("PRODUCTION_URL=https://zoë.example\n".encode("latin-1"), "not UTF-8"),
        (b"A=1\0\n", "not UTF-8"),
        (bytes(range(128, 256)), "not UTF-8"),
        ("folder", "Is a directory"),
        ("loop", "symbolic link"),
        ("dangling", "leads nowhere"),
    ],
)
def test_an_env_file_that_is_no_text_is_one_line(folder: Path, data: Any, problem: str) -> None:
    path = folder / ".env"
    if data == "folder":
        path.mkdir()
    elif isinstance(data, str):
        path.symlink_to(".env" if data == "loop" else "nowhere")
    else:
        path.write_bytes(data)
    code, document, said = threadjuice("content", "list")
    assert code == 2
    assert problem in document["error"]["message"]
    assert document["error"]["next_step"]
    assert "Traceback" not in said


def test_an_env_file_that_this_user_may_not_read_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text(SETTING)
    (folder / ".env").chmod(0)

    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    if os.geteuid() == 0:  # whom no mode keeps out
        monkeypatch.setattr(Path, "read_bytes", refused)
    code, document, _ = threadjuice("content", "list")
    assert (code, document["error"]["message"]) == (2, "The file .env cannot be read: Permission denied.")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_an_env_file_is_read_and_does_not_overrule_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    (folder / ".env").write_text(f"{SETTING}UNSPLASH_ACCESS_KEY=zoë\n", encoding=encoding)
    monkeypatch.setenv("UNSPLASH_ACCESS_KEY", "mine")
    monkeypatch.setenv("DAILY_STORY_COUNT", "")
    monkeypatch.delenv("DAILY_STORY_COUNT")
    load_env_file()
    assert (os.environ["DAILY_STORY_COUNT"], os.environ["UNSPLASH_ACCESS_KEY"]) == ("7", "mine")


@pytest.mark.parametrize("home", ["a file", "a file/below it", "/proc/nowhere"])
def test_a_home_that_cannot_be_made_is_one_line_that_names_the_variable(folder: Path, home: str) -> None:
    (folder / "a file").touch()
    code, document, _ = threadjuice("status", THREADJUICE_HOME=str(folder / home))
    assert (code, document["error"]["kind"]) == (2, "configuration")
    assert "THREADJUICE_HOME" in document["error"]["next_step"]
