"""A record as it stands in its file, and the lines of a file: shared by the readers of every format."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

MAX_RECORD = 4 << 20
"""Bytes of one record; a longer one is refused, and only its beginning is kept."""

EXCERPT = 2_000
"""Bytes that are kept of text that is no record."""

TOO_LONG = f"It is longer than {MAX_RECORD >> 20} MiB."
NOT_UTF8 = "It is not UTF-8 text."


@dataclasses.dataclass(frozen=True, slots=True)
class RawRecord:
    """One record as it stands in its file: JSON text, a CSV row, or other text with a ``problem``."""

    number: int
    line: int
    data: bytes | dict[str, Any]
    problem: str = ""


def cut_lines(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield lines, each with whether it is complete; a line over ``MAX_RECORD`` is cut."""
    rest, whole = b"", True
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            kept = whole and len(line) <= MAX_RECORD
            yield (line, True) if kept else (line[:EXCERPT], False)
            whole = True
        if len(rest) > MAX_RECORD or not whole:
            rest, whole = rest[:EXCERPT], False
    if rest:
        yield rest, whole
