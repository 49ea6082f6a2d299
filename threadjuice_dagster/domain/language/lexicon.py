"""English words and phrases by what they say of a text: the lists of ``editorial/words.yaml`` and ``phrases.yaml``.

Lookup only. What is counted with them belongs in ``domain/language/prose.py`` and the modules of ``domain/judging/``.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from threadjuice_dagster.domain import editorial

Classes = Mapping[str, tuple[str, ...]]
"""Each word with the classes it is in."""


class Lexicon(NamedTuple):
    """The word lists, in small letters; ``editorial/words.yaml`` says what is in each of them."""

    common: frozenset[str]
    everyday: frozenset[str]
    vague: frozenset[str]
    narrative: frozenset[str]
    determiners: frozenset[str]
    never_after_determiners: frozenset[str]
    pointing_back: frozenset[str]
    unpicturable: frozenset[str]
    topics: Classes
    cues: Classes


@cache
def lexicon() -> Lexicon:
    """Return the word lists, read once."""
    tables = editorial.table("words")
    lists = {name: frozenset(words.split()) for name, words in tables.items() if isinstance(words, str)}
    return Lexicon(**lists, topics=_classes(tables["topics"]), cues=_classes(tables["cues"]))


@cache
def phrases(name: str) -> re.Pattern[str]:
    """Return the pattern of one list of ``editorial/phrases.yaml``: whole words of lower-case text."""
    return re.compile(rf"(?<!\w)(?:{alternatives(name)})(?!\w)")


def alternatives(name: str) -> str:
    """Return a list of ``editorial/phrases.yaml`` as alternatives to be put into a pattern."""
    return "|".join(editorial.table("phrases")[name])


def _classes(members: Mapping[str, str]) -> Classes:
    classes: dict[str, list[str]] = {}
    for name, words in members.items():
        for word in dict.fromkeys(words.split()):
            classes.setdefault(word, []).append(name)
    return {word: tuple(names) for word, names in classes.items()}
