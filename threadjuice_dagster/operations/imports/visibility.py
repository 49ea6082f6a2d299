"""Decides whether a record was public in the system that exported it, by every sign that content systems give.

An unknown sign counts as not public, so that nothing becomes public that was not. What happens to a record that was
not public belongs in ``operations/imports/store.py``. The words and names are data (``editorial/imports.yaml``).
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.operations.imports.fields import day_of, folded, labels_in, nothing, shown, truth, word_set

_WORDS = editorial.table("imports")["visibility"]
_PUBLISHED, _EVERYBODY, _KINDS, _SAYS_PUBLIC, _INSIDE = (
    word_set(_WORDS[name]) for name in ("published", "everybody", "no_pages", "public_names", "inner_names")
)
_REVIEWED = _PUBLISHED | word_set(_WORDS["reviewed"])
_NOUNS = ("status", "state", "stage", "step")
_OWNERS = ("", *_WORDS["status_owners"].split())
_STATUS = " ".join(("workflow", *(f"{owner}{noun}" for owner in _OWNERS for noun in _NOUNS)))
_REVIEW = " ".join(f"{owner}{noun}" for owner in ("review", "moderation", "approval") for noun in _NOUNS)
_DEEPEST = 3

Signs = Iterator[str]


def why_not_public(record: Mapping[str, Any], moment: datetime) -> str:
    """Return the first sign that a record was not public at a moment, as ``name: value``, or an empty string.

    Signs are a status or visibility, a yes or no in any spelling, a date of start to come, a date of end that is over,
    and an empty date of publication unless something else says that the record was public. They are looked for in the
    record and in the objects inside it.
    """
    return next(_signs(record, moment), "") if any(map(_matters, record)) else ""


def says_it_was_public(record: Mapping[str, Any]) -> bool:
    """Whether a status or a yes says that a record was public."""
    for key, value in record.items() if any(map(_matters, record)) else ():
        name = _name(key)
        if (name in _STATUS_NAMES and _word(value) in _PUBLISHED) or (name in _SAYS_PUBLIC and truth(value)):
            return True
    return False


def _signs(record: Mapping[str, Any], moment: datetime, depth: int = 0) -> Iterator[str]:
    undated = ""
    for key, value in record.items():
        name = _name(key)
        if depth < _DEEPEST and name in _INSIDE and isinstance(value, Mapping):
            yield from _signs(value, moment, depth + 1)
        elif (sign := _SIGNS.get(name)) and sign(value, moment):
            yield f"{shown(str(key), 40)}: {shown(value, 60)}"
        elif name in _FIRST_DATES and nothing(value):
            undated = undated or shown(str(key), 40)
        elif name in _PAGE and (depth or name != "list"):
            if str(value).lower() in ("never", "false", "link", "local"):  # in no list, or no page at all
                yield f"{key}: {shown(value, 60)}"
        elif name == "tiers" and value and not says_it_was_public(record) and _restricts(labels_in(value)):
            yield f"tiers: {shown(value, 60)}"
    if str(record.get("_id") or "").startswith(("drafts.", "versions.")):
        yield f"_id: {shown(record['_id'], 60)}"
    if _is_contentful_draft(record):
        yield "it has no published version"
    if undated and not says_it_was_public(record):
        yield f"{undated} is empty"


@functools.lru_cache(maxsize=4096)
def _matters(key: Any) -> bool:
    """Whether a name is that of a sign. Most records have none, so that they need not be examined."""
    name = _name(key)
    is_sign = name in _SIGNS or name in _INSIDE or name in _FIRST_DATES or name in _PAGE
    return is_sign or name == "tiers" or key == "_id" or key == "contentType"


def _name(key: Any) -> str:
    """Return a name as the sets above spell it: ``isDraft``, ``draft_flag`` and ``wp:draft`` become ``draft``."""
    name = folded(str(key).rpartition(":")[2]).removesuffix("flag")
    return next((name[len(start) :] for start in ("is", "has", "wp") if name.startswith(start)), name)


def _is_contentful_draft(record: Mapping[str, Any]) -> bool:
    """Whether a record is a draft of Contentful's management API, which marks drafts only by missing fields."""
    return "version" in record and "contentType" in record and not record.keys() & {"publishedVersion", "publishedAt"}


def _status(value: Any, _: datetime) -> bool:
    """Whether a status speaks against a story: it is not empty and not one of the public words."""
    return any(_word(part) not in _PUBLISHED for part in _parts(value))


def _review(value: Any, _: datetime) -> bool:
    return any(_word(part) not in _REVIEWED for part in _parts(value))


def _kind(value: Any, _: datetime) -> bool:
    return any(_word(part) in _KINDS for part in _parts(value))


def _access(value: Any, _: datetime) -> bool:
    return _restricts(_parts(value))


def _restricts(words: Sequence[Any]) -> bool:
    return any(_word(word) not in _EVERYBODY for word in words)


def _parts(value: Any) -> list[Any]:
    return [part for part in (value if isinstance(value, list) else [value]) if _word(part)]


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        named = ("value", "name", "slug", "label", "status", "state", "code", "type", "id")
        value = next((value[name] for name in named if value.get(name) is not None), "unknown")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else folded(str(value)) or str(value).strip()


def _yes(value: Any, moment: datetime) -> bool:
    """Whether a field that says yes for public stories says no. Some systems put a date or a status there."""
    if value is None or value == "":
        return False
    if (answer := truth(value)) is not None:
        return not answer
    day = day_of(value)
    return day > moment if day else _status(value, moment)


def _no(value: Any, _: datetime) -> bool:
    """Whether a field that is empty or no for public stories holds anything else, such as a password."""
    return not nothing(value) and truth(value) is not False


def _until(value: Any, moment: datetime) -> bool:
    """Whether a plan's field holds a day to come, or anything else but no."""
    day = day_of(value)
    return day > moment if day else _no(value, moment)


def _starts(value: Any, moment: datetime) -> bool:
    day = day_of(value)
    return day is not None and day > moment


def _ends(value: Any, moment: datetime) -> bool:
    if nothing(value) or truth(value) is False:
        return False
    day = day_of(value)
    return day is None or day <= moment


_STATUS_NAMES, _FIRST_DATES, _PAGE = (
    word_set(_STATUS),
    word_set(_WORDS["first_names"]),
    word_set("render list permalink"),
)
_GROUPS: tuple[tuple[str, Callable[[Any, datetime], bool]], ...] = (
    (_STATUS, _status),
    (_REVIEW, _review),
    (_WORDS["kind_names"], _kind),
    (_WORDS["access_names"], _access),
    (_WORDS["yes_names"], _yes),
    (_WORDS["no_names"], _no),
    (_WORDS["until_names"], _until),
    (f"{_WORDS['first_names']} {_WORDS['start_names']}", _starts),
    (_WORDS["end_names"], _ends),
)
_SIGNS = {name: sign for names, sign in _GROUPS for name in names.split()}
