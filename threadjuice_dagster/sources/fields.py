"""Read fields of answers and saved files whose types cannot be relied on: one of a wrong type is a missing one."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

Fields = Mapping[str, Any]
"""An object of an answer."""

_LONGEST_LINK = 2000
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def fields_of(thing: Any, name: str) -> Fields:
    """Return the object in a field, or an empty one."""
    value = thing.get(name) if isinstance(thing, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def objects_in(thing: Any, name: str) -> list[Fields]:
    """Return the objects of the list in a field; what is no object is left out."""
    value = thing.get(name) if isinstance(thing, Mapping) else None
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def string_in(thing: Fields, name: str) -> str:
    """Return the text in a field, or an empty one."""
    value = thing.get(name)
    return value if isinstance(value, str) else ""


def digits_of(value: Any) -> str:
    """Return an id that is a number above zero in digits, or an empty text."""
    if isinstance(value, bool) or (isinstance(value, int) and value.bit_length() > 64):
        return ""
    return str(value) if isinstance(value, int | str) and _NUMBER.fullmatch(str(value)) else ""


def link_in(thing: Fields, name: str) -> str:
    """Return the web address in a field, or an empty text."""
    address = string_in(thing, name).strip()
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return ""
    is_plain = address.isprintable() and not re.search(r"[\s<>\"]", address) and "@" not in parts.netloc
    return address if is_address and is_plain and len(address) <= _LONGEST_LINK else ""
