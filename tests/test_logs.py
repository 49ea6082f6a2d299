"""Structured logs: one JSON object per line, whatever happens around it, and no secret in any."""

import json
import logging
import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from threadjuice_dagster.instance import DAGSTER_YAML, open_instance
from threadjuice_dagster.logs import JsonLines
from threadjuice_dagster.settings import load_settings


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def record(message: str, *values: object, **more: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "newsroom", "levelname": "INFO", "msg": message, "args": values, **more})


def shout(folder: str, word: str) -> None:
    handler = JsonLines(folder)
    for _ in range(200):
        handler.emit(record(word * 2000))


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=shout, args=(str(tmp_path), word)) for word in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    found = lines(tmp_path)
    assert len(found) == 600
    assert all(len(set(one["message"])) == 1 for one in found)


@pytest.mark.parametrize("message", ["two\nlines", "a \ud800 half character", "\x00", 'quote " and \\ slash', "%d", ""])
def test_any_message_is_one_line_of_json(tmp_path: Path, message: str) -> None:
    JsonLines(str(tmp_path)).emit(record(message))
    (found,) = lines(tmp_path)
    assert found["level"] == "INFO"
    assert "message" in found


def test_secrets_and_logins_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", 'sk-"hunter2"')
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2-too@db.example/x")
    handler = JsonLines(str(tmp_path))
    handler.emit(record('key sk-"hunter2", asked postgresql://me:hunter2-too@db.example/x'))
    assert "hunter2" not in (tmp_path / f"{datetime.now(UTC):%Y-%m-%d}.jsonl").read_text()
    assert "db.example/x" in lines(tmp_path)[0]["message"]


def test_only_files_of_days_long_past_are_deleted(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    days = [f"{today - timedelta(days=age):%Y-%m-%d}" for age in (1, 30, 31, 400)]
    for name in (*(f"{day}.jsonl" for day in days), "notes.jsonl"):
        (tmp_path / name).write_text("{}\n")
    JsonLines(str(tmp_path)).emit(record("hello"))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{today}.jsonl", f"{days[0]}.jsonl", f"{days[1]}.jsonl", "notes.jsonl"}


def test_a_clock_that_is_a_month_ahead_deletes_no_more_than_a_day_would(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    for age in range(30, 60):
        (tmp_path / f"{today - timedelta(days=age):%Y-%m-%d}.jsonl").write_text("{}\n")
    JsonLines(str(tmp_path)).emit(record("hello"))
    assert len(list(tmp_path.iterdir())) == 31


def test_a_log_that_cannot_be_written_fails_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    JsonLines(str(tmp_path / "file")).emit(record("hello"))
    JsonLines(str(tmp_path)).emit(record("%d of %d", "text"))


def test_an_exception_is_logged_with_its_traceback(tmp_path: Path) -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        JsonLines(str(tmp_path)).emit(record("It failed.", exc_info=(ValueError, error, error.__traceback__)))
    (found,) = lines(tmp_path)
    assert "ValueError: boom" in found["error"]


def test_every_line_of_a_run_names_it(newsroom_environment: dict[str, str]) -> None:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a"]))
    def spoken(context: dg.AssetExecutionContext) -> None:
        context.log.info("asked %s", "once")
        logging.getLogger("threadjuice_dagster.elsewhere").warning("slow")
        raise dg.Failure("It is down.", allow_retries=False)

    assert "jsonl" in yaml.safe_load(DAGSTER_YAML)["python_logs"]["dagster_handler_config"]["handlers"]
    settings = load_settings(os.environ)
    with open_instance(settings) as instance:
        result = dg.materialize([spoken], instance=instance, partition_key="a", raise_on_error=False)
    found = lines(settings.home / "logs")
    assert {(one["run_id"], one.get("partition")) for one in found} == {(result.run_id, "a")}
    messages = {one["message"]: one for one in found}
    assert messages["asked once"]["step"] == "spoken"
    assert messages["slow"]["logger"] == "threadjuice_dagster.elsewhere"
    assert "It is down." in next(one["error"] for one in found if one.get("event") == "STEP_FAILURE")
