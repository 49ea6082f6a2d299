"""Ctrl-C and SIGTERM, sent to real processes wherever a command may be waiting."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import threadjuice
from makers import make_draft, make_thread
from servers.openai_server import OpenAIServer

from threadjuice_dagster.database.store import Store, open_store

SAMPLES = sorted((Path(__file__).parents[2] / "threadjuice_dagster" / "editorial" / "threads").glob("*.json"))
COMMAND = [sys.executable, "-c", "from threadjuice_dagster.cli.app import main; main()"]
SOON = 6.0
"""Seconds a command may take to stop here: two, and what a busy machine adds."""


@pytest.fixture
def model(newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2-hunter2-hunter2")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_TIMEOUT_SECONDS", "60")
        monkeypatch.setenv("CONTENT_GENERATION_RATE_LIMIT", "1000")
        yield server


@pytest.fixture
def store(newsroom_environment: dict[str, str]) -> Store:
    return open_store(newsroom_environment["DATABASE_URL"], 2, 60.0)


def start(*arguments: str, **variables: str) -> "subprocess.Popen[str]":
    """A command in a group of its own, as a terminal runs it."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(happened: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stop(process: "subprocess.Popen[str]", *signals: int) -> tuple[int, str, str]:
    """Send signals to the whole group, as a terminal does: exit code, standard output and error."""
    for number in signals:
        os.killpg(process.pid, number)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < SOON, err
    return process.returncode, out, err


def is_at_work(worker: int) -> bool:
    """Whether a process of the pool has begun: it watches its parent from a second thread."""
    threads = Path(f"/proc/{worker}/task")
    return threads.exists() and len(list(threads.iterdir())) > 1


def children(process: "subprocess.Popen[str]") -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def test_a_command_that_is_stopped_ends_at_once_and_the_next_one_goes_on(model: OpenAIServer, store: Store) -> None:
    for behaviour in ("slow:60", "503:60", "slow:60"):
        model.script("write", behaviour)
    cases = [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)]
    commands = [start("content", "generate", "--thread", str(path), "--json") for path in SAMPLES[:3]]
    wait_until(lambda: len(model.seen("write")) == 3)
    limited = start("content", "generate", "--thread", str(SAMPLES[3]), "--json", CONTENT_GENERATION_RATE_LIMIT="1")
    wait_until(lambda: store.status_counts()["running"] == 4)
    ended = [stop(command, *signals) for command, signals in zip(commands, cases, strict=True)]
    ended.append(stop(limited, signal.SIGTERM))
    assert [code for code, _, _ in ended] == [130, 143, 130, 143]
    for _, _, said in ended:
        assert said.count("Interrupted.") == 1
        assert "Traceback" not in said
    assert json.loads(ended[0][1])["error"]["kind"] == "interrupted"

    listed = threadjuice("content", "list")[1]["stories"]
    assert [(one["status"], one["error"]["kind"]) for one in listed] == [("interrupted", "interrupted")] * 4
    assert len(threadjuice("content", "list", "--status", "interrupted")[1]["stories"]) == 4
    model.heal()
    code, document, said = threadjuice("content", "generate", "--count", "4")
    assert code == 0, said
    assert {one["id"] for one in document["stories"]} == {one["id"] for one in listed}
    assert [one["status"] for one in document["stories"]] == ["published"] * 4
    assert store.open_orders() == []


def test_a_pool_of_processes_ends_with_the_command_that_started_it(
    newsroom_environment: dict[str, str], tmp_path: Path
) -> None:
    record = {"category": "neighbours", "text": make_thread().body}
    lines = [json.dumps({**record, "title": f"A fence, part {number}"}) for number in range(200)]
    (tmp_path / "stories.jsonl").write_text("\n".join(lines))
    assert threadjuice("content", "import", str(tmp_path / "stories.jsonl"))[0] == 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        command = start("content", "validate")
        size = min(4, os.cpu_count() or 1)
        wait_until(lambda command=command, size=size: sum(map(is_at_work, children(command))) >= size)
        workers = children(command)
        if number == signal.SIGKILL:
            command.kill()
            command.communicate()
        else:
            assert "Traceback" not in stop(command, number)[2]
        assert command.returncode == code
        wait_until(lambda workers=workers: not any(Path(f"/proc/{one}/cmdline").exists() for one in workers))


def test_a_manual_story_whose_import_was_stopped_is_published_by_the_next(
    newsroom_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n\n".join(section.text for section in make_draft("x").draft.sections)
    story = tmp_path / "story.md"
    story.write_text(f"---\ntitle: The fence that moved\ncategory: neighbours\nauthor: Ada Reuter\n---\n{text}\n")

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("threadjuice_dagster.cli.importing.write_story", stopped)
        code, document, _ = threadjuice("content", "import", "--manual", str(story))
    assert (code, document["error"]["kind"]) == (130, "interrupted")
    decided = [threadjuice("content", "import", "--manual", str(story))[1]["stories"][0]["status"] for _ in "ab"]
    assert decided[0] in ("published", "rejected")
    assert decided[1] == decided[0]
