"""Story files cut into records: JSON (one object, an array, one after the other), JSON lines, and CSV.

Chunks of bytes come in, records go out, in memory that does not grow with the file. Opening and unpacking files
belongs in ``database/imports.py``, what a record means in ``domain/imports.py``.
"""

import csv
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

MAX_RECORD = 4 << 20
"""Bytes of one record; a longer one is refused, and only its beginning is kept."""

EXCERPT = 2_000
"""Bytes kept of what was no record."""

COLUMNS = ("title", "category")
TEXT_COLUMNS = ("text", "body", "content", "sections")
"""A CSV file needs the first ones and one of these."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb')*+(["{}\[\]])', re.DOTALL)
"""The next bracket outside a text, or the quotation mark of a text that does not end here."""
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_WRAPPED = re.compile(rb'\A\s*\{\s*"stories"\s*:\s*(?=\[)')
_TOO_LONG = f"It is longer than {MAX_RECORD >> 20} MiB."
_NOT_UTF8 = "It is not UTF-8 text."
_CUT_OFF = "The file ends in the middle of it."


@dataclasses.dataclass(frozen=True, slots=True)
class Raw:
    """One record as it stands in its file: JSON text or a CSV row, or a ``problem`` and what was found instead."""

    number: int
    line: int
    data: bytes | dict[str, Any]
    problem: str = ""


def split_records(chunks: Iterable[bytes], name: str) -> Iterator[Raw]:
    """The records of a file, counted from 1 in its order. The content decides on the format, then the name's ending.

    Whatever is no record is yielded with its problem; nothing is raised but what ``chunks`` raises.
    """
    stream = iter(chunks)
    head = b""
    while len(head.lstrip()) < EXCERPT and (chunk := next(stream, b"")):
        head += chunk
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield Raw(1, 1, head[:EXCERPT], _NOT_UTF8)
        return
    head = head.removeprefix(b"\xef\xbb\xbf")
    if not head.strip():
        return
    kind = _format(head, name.lower())
    head = _WRAPPED.sub(b"", head, count=1) if kind == "values" else head
    yield from _FORMATS[kind](chain([head], stream))


def _format(head: bytes, name: str) -> str:
    first = head.lstrip()[:1]
    if re.search(r"\.(jsonl|ndjson)\b", name):
        return "lines"
    if first == b"[" or _WRAPPED.match(head):
        return "values"
    if first != b"{":
        return "values" if re.search(r"\.json\b", name) else "csv"
    line, ended, _ = head.lstrip().partition(b"\n")
    return "lines" if ended and _balanced(line) else "values"


def _balanced(line: bytes) -> bool:
    """Whether a line holds whole objects, so that the next line starts another one."""
    tokens = _TOKEN.findall(line)
    return tokens.count(b"{") == tokens.count(b"}") > 0 and b'"' not in tokens


def _lines(chunks: Iterable[bytes]) -> Iterator[Raw]:
    """JSON lines; blank ones are no records."""
    number = 0
    for line, (data, whole) in enumerate(_cut(chunks), start=1):
        if data.strip():
            number += 1
            yield Raw(number, line, data) if whole else Raw(number, line, data, _TOO_LONG)


def _cut(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Lines, and whether each is there in full."""
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


def _values(chunks: Iterable[bytes]) -> Iterator[Raw]:
    """JSON objects in an array, or one after the other."""
    scanner = _Scanner()
    for chunk in chunks:
        yield from scanner.feed(chunk)
    yield from scanner.end()


class _Scanner:
    """Finds where objects begin and end, without reading what is in them. Each byte is looked at once."""

    def __init__(self) -> None:
        self._depth, self._in_text, self._escaped = 0, False, False
        self._held: list[bytes] = []
        self._size = 0
        self._outside = b""
        self._line, self._started, self._number = 1, 1, 0

    def feed(self, chunk: bytes) -> Iterator[Raw]:
        """The records that end in this chunk."""
        at, kept, counted = self._read_text(chunk, 0) if self._in_text and chunk else 0, 0, 0
        while not self._in_text and (match := _TOKEN.match(chunk, at)):
            at, token = match.end(), match[1]
            if token == b'"':
                self._in_text = True
                self._read_text(chunk, at)
            elif token in b"{[" and (self._depth or token == b"{"):
                if self._depth == 0:
                    self._outside += chunk[kept : at - 1]
                    yield from self._strays()
                    self._line += chunk.count(b"\n", counted, at)
                    kept, counted, self._started = at - 1, at, self._line
                self._depth += 1
            elif token in b"}]" and self._depth:
                self._depth -= 1
                if self._depth == 0:
                    self._hold(chunk[kept:at])
                    yield self._record()
                    kept = at
        self._line += chunk.count(b"\n", counted)
        if self._depth:
            self._hold(chunk[kept:])
        else:
            self._outside = (self._outside + chunk[kept:].lstrip())[:EXCERPT]

    def end(self) -> Iterator[Raw]:
        """What the end of the file cut off, or what stands behind the last record."""
        if self._depth:
            yield self._raw(b"".join(self._held)[:EXCERPT], _CUT_OFF)
        else:
            self._started = self._line
            yield from self._strays()

    def _read_text(self, chunk: bytes, at: int) -> int:
        """Where the text ends that goes on at ``at``; it may go on in the next chunk, even behind a backslash."""
        match = _TEXT.match(chunk, at + self._escaped)
        assert match
        self._in_text = not match[1]
        self._escaped = self._in_text and match.end() < len(chunk)
        return match.end()

    def _hold(self, part: bytes) -> None:
        """Keep a part of the record, or only the beginning of one that is too long."""
        self._size += len(part)
        if self._size <= MAX_RECORD:
            self._held.append(part)
        elif sum(map(len, self._held)) > EXCERPT or not self._held:
            self._held = [b"".join((*self._held, part))[:EXCERPT]]

    def _record(self) -> Raw:
        problem = _TOO_LONG if self._size > MAX_RECORD else ""
        data = b"".join(self._held)
        self._held, self._size = [], 0
        return self._raw(data, problem)

    def _strays(self) -> Iterator[Raw]:
        """What stood between two records, where only brackets and commas should."""
        for found in self._outside.strip(b" \t\r\n,[]}").split(b","):
            if found.strip():
                yield self._raw(found.strip()[:EXCERPT], "It is no object.")
        self._outside = b""

    def _raw(self, data: bytes, problem: str = "") -> Raw:
        self._number += 1
        return Raw(self._number, self._started, data, problem)


def _rows(chunks: Iterable[bytes]) -> Iterator[Raw]:
    """CSV with a head; the delimiter is the head's comma, semicolon or tab."""
    csv.field_size_limit(MAX_RECORD)
    lines = (part.decode(errors="surrogateescape") if whole else "\0" for part, whole in _cut(chunks))
    first = next(lines)
    delimiter = max(",;\t", key=first.count)
    head = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
    missing = [name for name in COLUMNS if name not in head] + ([] if {*TEXT_COLUMNS} & {*head} else ["text"])
    if missing:
        problem = f"The head of the CSV file lacks: {', '.join(missing)}."
        yield Raw(1, 1, first.encode(errors="replace")[:EXCERPT], problem)
        return
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
    number, line = 0, 2
    while (row := _next_row(reader)) is not None:
        if row:
            number += 1
            yield _row(number, line, head, row)
        line = reader.line_num + 2


def _next_row(reader: Any) -> list[str] | str | None:
    """The next row, what is wrong with it, or None at the end."""
    try:
        row: list[str] = next(reader)
        return row
    except StopIteration:
        return None
    except csv.Error as error:
        return f"It is no CSV row: {error}."


def _row(number: int, line: int, head: list[str], row: list[str] | str) -> Raw:
    if isinstance(row, str):
        return Raw(number, line, b"", row)
    found = ",".join(row).encode(errors="replace")[:EXCERPT]
    if len(row) != len(head):
        return Raw(number, line, found, f"It has {len(row)} columns, the head {len(head)}.")
    if any(not cell.isascii() and re.search("[\ud800-\udfff]", cell) for cell in row):
        return Raw(number, line, found, _NOT_UTF8)
    return Raw(number, line, dict(zip(head, row, strict=True)))


_FORMATS: dict[str, Callable[[Iterable[bytes]], Iterator[Raw]]] = {"lines": _lines, "values": _values, "csv": _rows}
