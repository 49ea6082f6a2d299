"""The runbook is held to the product: each of its commands runs, and each alert's link leads to a section."""

import re
from pathlib import Path
from typing import Any

import pytest
from command import threadjuice

from threadjuice_dagster.operations.alerts.rules import RUNBOOK

RUNBOOK_FILE = Path(__file__).parents[1] / "docs" / "EMERGENCY.md"
TEXT = RUNBOOK_FILE.read_text()
COMMANDS = re.findall(
    r"^\s*(threadjuice .+)$", "\n".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)), re.MULTILINE
)
SECTIONS = {
    re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
    for heading in re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
}


def run(command: str) -> tuple[int, Any]:
    """The exit code and the document of a command of the runbook."""
    code, document, said = threadjuice(*command.split()[1:])
    assert code in (0, 1), f"{command}: {said} {document}"
    return code, document


@pytest.mark.timeout(600)
def test_every_command_of_the_runbook_runs(newsroom_environment: dict[str, str], tmp_path: Path) -> None:
    written = tmp_path / "story.md"
    written.write_text(_MANUAL)
    story = run("threadjuice content generate --count 1")[1]["stories"][0]["id"]
    run("threadjuice maintenance backup")
    backup = run("threadjuice database backups")[1]["backups"][0]["id"]
    run("threadjuice watch")  # no daemon runs here, and it tells so
    cause = run("threadjuice alerts list")[1]["incidents"][0]["cause"]
    names = {"STORY": story, "BACKUP": backup, "CAUSE": cause, "FILE": str(written)}
    for command in dict.fromkeys(COMMANDS):
        code, document = run(re.sub(r"\b(STORY|BACKUP|CAUSE|FILE)\b", lambda name: names[name[0]], command))
        assert code == 0 or "error" not in document, (command, document)


@pytest.mark.parametrize("section", sorted({*RUNBOOK.values(), "backups", "alerts", "image-loading-problems"}))
def test_every_section_an_alert_points_to_is_there(section: str) -> None:
    assert section in SECTIONS


@pytest.mark.parametrize("emergency", ["Content generation failure", "Database issues", "Image loading problems"])
def test_every_emergency_begins_with_its_diagnosis(emergency: str) -> None:
    section = TEXT.split(f"## {emergency}\n")[1].split("\n## ")[0]
    assert re.search(r"```console\n\s*threadjuice (\w+ ?\w+)", section)[1].startswith("diagnose")  # type: ignore[index]


_MANUAL = """---
title: The bakery that lent out its oven
category: food
author: Ann Example
---
On Sundays the bakery in our street is closed, and its oven stays warm until Monday. Somebody asked whether a roast
might go in, and the baker said that it might.

By autumn there was a list on the door. Each family had its hour, and nobody came late, because the next one was
already waiting on the pavement with a dish under a cloth.
"""
