"""Mask the names of a thread's users where a source shows, beside the account's name, what people call themselves."""

import re
from collections.abc import Iterable
from typing import Any

from threadjuice_dagster.domain.story.user_names import SOMEBODY, telling_names
from threadjuice_dagster.sources.texts import cleaned, cleaned_title

_MOST_NAMES = 1000
_LONGEST_NAME = 60


class ThreadNames:
    """The names of a thread's users. One of several words is masked where it stands as a whole, as in "Ada Reuter"."""

    def __init__(self, names: Iterable[str]) -> None:
        distinct = {name.strip() for name in names}
        self._telling = telling_names(distinct)
        full = [name for name in distinct if re.search(r"\w\s\w", name) and 5 <= len(name) <= _LONGEST_NAME]
        # The longest first: one name may begin another.
        spelled = sorted(full, key=len, reverse=True)[:_MOST_NAMES]
        self._full = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, spelled))})(?!\w)") if spelled else None

    def masked_text(self, text: str) -> str:
        """Return a plain text as the newsroom keeps it (``cleaned``), without these names."""
        return cleaned(self._without_full(text), self._telling)

    def masked_title(self, title: Any) -> str:
        """Return a title as the newsroom keeps it (``cleaned_title``), without these names."""
        return cleaned_title(self._without_full(title), self._telling) if isinstance(title, str) else ""

    def _without_full(self, text: str) -> str:
        return self._full.sub(_in_place, text) if self._full else text


def _in_place(name: re.Match[str]) -> str:
    """Return ``SOMEBODY``, capitalised at the start of a sentence."""
    before = name.string[max(0, name.start() - 3) : name.start()]
    begins = not before.strip() or re.search(r"[.!?]\s+$|\n$", before)
    return SOMEBODY.capitalize() if begins else SOMEBODY
