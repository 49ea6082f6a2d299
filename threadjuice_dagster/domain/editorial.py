"""Reads the tables of ``editorial/``: word lists, phrases, patterns, weights. Each is read when it is first needed.

What a table means belongs to the module that asks for it.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any


def read_text(name: str) -> str:
    """Return a file of ``editorial/`` as text."""
    from importlib.resources import files

    return (files("threadjuice_dagster") / "editorial" / name).read_text(encoding="utf-8")


@cache
def table(name: str) -> Any:
    """Return the values of ``editorial/<name>.yaml``, read once; callers must not change them."""
    import yaml

    return yaml.safe_load(read_text(f"{name}.yaml"))


def expand(pattern: str, parts: Mapping[str, str]) -> str:
    """Return a pattern with each ``{name}`` replaced by the part of that name; a part may name later ones."""
    for name, part in parts.items():
        pattern = pattern.replace(f"{{{name}}}", f"(?:{part})")
    return pattern
