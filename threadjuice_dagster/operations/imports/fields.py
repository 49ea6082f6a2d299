"""Finds the fields of a story record under the names that systems export them by, and reads their values.

How a story is made of them belongs in ``operations/imports/rules.py``; whether a record was public, in
``operations/imports/visibility.py``.
"""

import contextlib
import functools
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.language.text import cut, printable, unescaped

_TABLE = editorial.table("imports")
_YES, _NO = (frozenset(_TABLE[name].split()) for name in ("yes_words", "no_words"))
_LETTER = re.compile(r"[^\W\d_]")
_EMAIL = re.compile(r"[<(\[]?(?:mailto:)?[\w.+-]+@[\w-]+(?:\.[\w-]+)+[>)\]]?")
_NAMES = ("name", "displayname", "fullname", "title", "label", "slug", "rendered", "nicename", "username")
_ZONE = re.compile(r"\s+(?:UTC|GMT|Z)$|\s+(?=[+-]\d\d:?\d\d$)", re.IGNORECASE)
_DAYS = tuple(
    f"{day}{clock}"
    for day in ("%Y-%m-%d", "%Y/%m/%d", "%d %B %Y", "%B %d %Y", "%d %b %Y", "%b %d %Y", "%d-%b-%Y")
    for clock in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
)
_FILLING = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+|(?<=\d)(?:st|nd|rd|th)\b|,|\bat\b", re.IGNORECASE)
_NUMERIC = re.compile(r"^(\d{1,2})([./-])(\d{1,2})\2(\d{4})\b")
_OF_MAIL = re.compile(r"(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:")


def word_set(words: str) -> frozenset[str]:
    """Return the words of a line as a set."""
    return frozenset(words.split())


@functools.lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """Return a name without case and separators, so that ``publishedAt`` and ``Published At`` are equal."""
    return re.sub(r"[\W_]+", "", name).lower()


@functools.lru_cache(maxsize=4096)
def place_of(name: str) -> tuple[str, int] | None:
    """Return the field that a name stands for and the name's rank among that field's names, or None."""
    return _PLACES.get(folded(name))


def field_of(name: str) -> str:
    """Return the field that a name stands for, or an empty string."""
    place = place_of(name)
    return place[0] if place else ""


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's values by field. Of several names of one field the first with a value is used."""
    ranks: dict[str, int] = {}
    chosen: dict[str, Any] = {}
    for key, value in record.items():
        if value is None or value == "" or (place := place_of(key)) is None:
            continue
        field, rank = place
        if field not in ranks or rank < ranks[field]:
            ranks[field], chosen[field] = rank, value
    return chosen


def days_in(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the names and values of all dates of a story, dates of publication first."""
    dated = [(place[1], key) for key in record if (place := place_of(key)) and place[0] == "dated"]
    return [(key, record[key]) for _, key in sorted(dated) if not nothing(record[key])] if dated else []


def shown(value: Any, limit: int) -> str:
    """Return a value that is safe in a message: one line, cut to ``limit``, without control characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return cut(printable(text[: limit * 4]), limit) or "empty"


def truth(value: Any) -> bool | None:
    """Return True or False for yes or no in any spelling, else None."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else None
    return True if word in _YES else False if word in _NO else None


def nothing(value: Any) -> bool:
    """Whether a value is empty, zero, or the zero date of a database."""
    if isinstance(value, str):
        value = value.strip()
        return value.lower() in ("", "0", "null", "none", "nil", "~") or value.startswith(
            ("0000-", "0001-01-01", "1970-01-01T00:00:00")
        )
    return value is None or value is False or value == 0 or value in ([], {})


def day_of(value: Any) -> datetime | None:
    """Return a moment from ISO 8601, RFC 822, seconds or milliseconds since 1970, or words; without a zone it is UTC.

    Return None for anything else. A year alone is no moment, nor is a day whose month and day could change places.
    """
    if nothing(value) or isinstance(value, bool):
        return None
    if isinstance(value, Mapping):
        return next(
            (day for name in ("iso", "date", "value", "$date", "$numberLong") if (day := day_of(value.get(name)))), None
        )
    try:
        moment = _moment(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError, TypeError, IndexError):
        return None


def _moment(value: Any) -> datetime:
    if isinstance(value, int | float) or (
        isinstance(value, str) and re.fullmatch(r"\d{9,14}(?:\.\d+)?", value.strip())
    ):
        seconds = float(value)
        if abs(seconds) < 1e8:
            raise ValueError  # a number of something, not a moment
        return datetime.fromtimestamp(seconds / 1000 if seconds >= 1e11 else seconds, UTC)
    text = _ZONE.sub(lambda zone: "" if zone[0].isspace() else "+00:00", str(value).strip())
    if re.fullmatch(r"\d{1,7}", text):
        raise ValueError
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    if _OF_MAIL.match(text):
        return parsedate_to_datetime(text)
    plain = _NUMERIC.sub(_year_first, " ".join(_FILLING.sub(" ", text).split()))
    for form in _DAYS:
        with contextlib.suppress(ValueError):
            return datetime.strptime(plain, form)
    return parsedate_to_datetime(text)


def _year_first(day: re.Match[str]) -> str:
    """Return a numeric day as year-month-day. Raises ``ValueError`` where month and day could change places."""
    first, mark, second, year = int(day[1]), day[2], int(day[3]), day[4]
    if mark != "." and max(first, second) <= 12 and first != second:
        raise ValueError
    month, number = (second, first) if mark == "." or first > 12 else (first, second)
    return f"{year}-{month:02}-{number:02}"


def words_in(value: Any) -> str:
    """Return a value as text with HTML entities resolved; for an object its ``rendered`` text or its like."""
    if isinstance(value, str):
        return unescaped(value) if "&" in value else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return next(
            (words_in(value[name]) for name in ("rendered", "current", "raw", "value", "name") if name in value), ""
        )
    return ""


def name_in(value: Any) -> str:
    """Return the name of a person or of several, without e-mail addresses. Raises ``ValueError`` if there is none."""
    if isinstance(value, Mapping):
        named = {folded(str(key)): part for key, part in value.items()}
        both = " ".join(words_in(named.get(part)) for part in ("firstname", "lastname")).strip()
        value = next((named[key] for key in _NAMES if isinstance(named.get(key), str) and named[key].strip()), both)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(dict.fromkeys(name_in(person) for person in value))
    text = words_in(value).strip()
    if text.startswith(("{", "[")):
        return name_in(_parsed(text))
    name = " ".join(_EMAIL.sub(" ", text).split()).strip(" ,;<>()") if "@" in text else text
    if not _LETTER.search(name):
        raise ValueError("it holds no name")
    return name


def labels_in(value: Any) -> list[str]:
    """Return labels such as tags, from a list of words or objects or from words between commas, semicolons or bars."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        value = _parsed(value)
    if isinstance(value, str):
        value = re.split("[,;|]", value)
    if not isinstance(value, Sequence):
        value = [value]
    return [label for item in value if (label := _label(item))]


def _label(value: Any) -> str:
    if isinstance(value, Mapping):
        named = {folded(str(key)): part for key, part in value.items()}
        value = next((named[key] for key in ("slug", "name", "label", "title") if named.get(key)), "")
    return words_in(value).strip()


def _parsed(text: str) -> Any:
    """Parse a list or an object in a table's cell. Raises ``ValueError``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is neither words nor JSON") from None


_PLACES = {name: (field, rank) for field, names in _TABLE["fields"].items() for rank, name in enumerate(names.split())}
