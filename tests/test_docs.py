"""The documents are held to the code: every setting, command, asset, job and schedule is described."""

import re
from pathlib import Path

import pytest
import typer

from threadjuice_dagster.cli.app import app
from threadjuice_dagster.settings import DOCUMENTED, SECTIONS, variables

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(group: typer.Typer = app, prefix: str = "") -> list[str]:
    command = typer.main.get_command(group)
    names: list[str] = []
    for name, sub in command.commands.items():  # type: ignore[attr-defined]
        if hasattr(sub, "commands"):
            names += [f"{name} {inner}" for inner in sub.commands]
        else:
            names.append(f"{prefix}{name}")
    return names


def test_the_example_environment_names_exactly_the_variables_there_are() -> None:
    text = (ROOT / ".env.example").read_text()
    named = re.findall(r"^#?\s?([A-Za-z_]+)=", text, re.MULTILINE)
    assert sorted(named) == sorted(variables())


def test_the_example_environment_lists_the_variables_by_section_in_the_order_of_the_settings() -> None:
    assert list(DOCUMENTED) == list(variables())
    headings = re.findall(r"^## (\w+)", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert [f"{heading}Settings" for heading in headings] == [section.__name__ for section in SECTIONS]


@pytest.mark.parametrize("name", sorted(variables()))
def test_the_example_environment_explains_each_variable_in_a_sentence(name: str) -> None:
    description, example = DOCUMENTED[name]
    assert description.endswith(".")
    assert example


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    assert f"threadjuice {command}" in (ROOT / "docs" / "OPERATIONS.md").read_text()


def test_every_asset_check_job_schedule_and_sensor_is_documented() -> None:
    from threadjuice_dagster.definitions import newsroom

    definitions = newsroom()
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    graph = definitions.resolve_asset_graph()
    names = [key.path[-1] for key in graph.get_all_asset_keys()]
    names += [key.name for key in graph.asset_check_keys]
    for kind in (definitions.jobs, definitions.schedules, definitions.sensors):
        names += [definition.name for definition in kind or []]  # type: ignore[union-attr]
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_every_file_a_document_names_exists(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_every_command_a_document_names_exists(document: Path) -> None:
    names = {command.split()[0] for command in commands()} | set(commands())
    groups = "alerts|content|database|deploy|diagnose|maintenance"
    for words in re.findall(rf"threadjuice ((?:{groups}) [\w-]+|dev|status|watch)\b", document.read_text()):
        assert words in names, words
