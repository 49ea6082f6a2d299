"""Scoring and moderating texts from the command line, one JSON line at a time."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from threadjuice_dagster.cli.app import app


@pytest.mark.parametrize("command", ["score", "moderate"])
def test_a_file_that_is_not_there_is_one_clear_line(command: str) -> None:
    result = CliRunner().invoke(app, ["content", command, "nowhere.jsonl"])
    assert result.exit_code == 2
    assert "There is no file nowhere.jsonl" in result.stderr


@pytest.mark.parametrize("command", ["score", "moderate"])
def test_bad_lines_are_told_of_and_good_ones_answered(command: str, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(
        b'{"id": 1, "title": "A", "text": "A fence moved."}\nnot json\n\xff\n{"id": 2, "text": "It moved."}\n'
    )
    result = CliRunner().invoke(app, ["content", command, str(path)])
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [1, 2]
    assert result.exit_code == 1
    assert "line 2" in result.stderr
