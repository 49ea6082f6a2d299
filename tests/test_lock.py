"""The dependencies: every one has an upper bound, and the lock and the constraints name the same versions."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
]


def pins(file: str) -> dict[str, str]:
    """The versions that a file of requirements names, by package."""
    lines = re.findall(r"^([a-zA-Z0-9._-]+)==([^ ;\\\n]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {re.sub(r"[._-]+", "-", name).lower(): version for name, version in lines}


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_every_dependency_has_an_upper_bound(requirement: str) -> None:
    assert "<" in requirement.partition(";")[0]


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_every_dependency_is_locked(requirement: str) -> None:
    name = re.match(r"[A-Za-z0-9._-]+", requirement).group()  # type: ignore[union-attr]
    assert re.sub(r"[._-]+", "-", name).lower() in pins("requirements.lock"), "run: make lock"


def test_the_constraints_are_those_of_the_lock() -> None:
    assert pins("constraints.txt") == pins("requirements.lock"), "run: make lock"


def test_every_package_of_the_lock_has_hashes_and_the_lock_names_no_host() -> None:
    text = (ROOT / "requirements.lock").read_text()
    packages = [block for block in re.split(r"\n(?=\S)", text) if block.strip()]
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text + (ROOT / "constraints.txt").read_text()
