"""What every source does with texts and fields of strangers: clean, mask, bound, and tell programs from people.

Known programs and their phrases are data in ``editorial/programs.yaml``. Markup is read in ``sources/markup.py``;
what a source shows in place of a deleted text belongs in its parser.
"""

import functools
import re
from collections.abc import Set
from datetime import UTC, datetime
from typing import Any, NamedTuple

from threadjuice_dagster.domain.editorial import table
from threadjuice_dagster.domain.language.text import clean, head, unescaped
from threadjuice_dagster.domain.story.user_names import masked

MAX_COMMENTS = 500
"""Comments kept of a thread, the best first."""

MAX_BODY = 40_000
"""Characters kept of a post or comment: Reddit's own limit for a post, and more than any other source's."""

MAX_TITLE = 300

_MOST = 2**31 - 1
_ENDS_IN_BOT = re.compile(r"b[o0]t[-_]*(?:v?\d+)?[-_]*$", re.IGNORECASE)
_FORMATTING = re.compile(r"[\^*_~\\>#]+")


def cleaned(text: Any, names: Set[str] = frozenset()) -> str:
    """Return a plain text as the newsroom keeps it: cleaned, user names masked, bounded; empty for what is no text.

    ``names`` are those of ``telling_names``.
    """
    return head(masked(clean(text), names), MAX_BODY) if isinstance(text, str) else ""


def cleaned_title(text: Any, names: Set[str] = frozenset()) -> str:
    """Return a title, which holds no markup but may hold entities, as one bounded line."""
    line = cleaned(unescaped(head(text, MAX_BODY)), names) if isinstance(text, str) else ""
    return head(" ".join(line.split()), MAX_TITLE)


def number(value: Any) -> int:
    """Return a whole number that the database can hold; 0 for any other value."""
    # A comparison with "not a number" is false.
    return int(value) if isinstance(value, int | float) and abs(value) <= _MOST else 0


def moment(value: Any) -> datetime:
    """Return the time of seconds since 1970 (a number or its text) or of an ISO 8601 text; 1970 for any other value."""
    try:
        if isinstance(value, str) and "-" in value[1:]:
            parsed = datetime.fromisoformat(value)
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
        return datetime.fromtimestamp(float(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def is_bots_name(name: str) -> bool:
    """Return whether an account is a program's: a known one, or one whose name ends in "bot" and is no surname."""
    name, programs = name.strip(), _programs()
    if name.lower() in programs.bots or programs.official.fullmatch(name):
        return True
    return bool(_ENDS_IN_BOT.search(name)) and not programs.surnames.search(name)


def says_it_is_a_bot(text: str) -> bool:
    """Return whether a comment calls itself a program's, in any of the usual phrases."""
    return bool(_programs().phrases.search(_FORMATTING.sub("", text)))


class _Programs(NamedTuple):
    """The tables of ``editorial/programs.yaml``, with compiled patterns."""

    bots: frozenset[str]
    official: re.Pattern[str]
    surnames: re.Pattern[str]
    phrases: re.Pattern[str]


@functools.cache
def _programs() -> _Programs:
    tables = table("programs")
    return _Programs(
        bots=frozenset(tables["bots"].split()),
        official=re.compile(tables["official_accounts"], re.IGNORECASE),
        surnames=re.compile(tables["surnames"], re.IGNORECASE),
        phrases=re.compile(tables["phrases"], re.VERBOSE | re.MULTILINE | re.IGNORECASE),
    )
