"""Cuts JSON into records: from one object, arrays, objects in a row or on lines of their own, and lists in wrappers.

The content of an object is not read here; what a record means belongs in ``operations/imports/rules.py``.
"""

import re
from collections.abc import Iterable, Iterator

from threadjuice_dagster.operations.imports.decoding import BOM
from threadjuice_dagster.operations.imports.fields import folded, word_set
from threadjuice_dagster.operations.imports.raw import EXCERPT, MAX_RECORD, TOO_LONG, RawRecord, cut_lines

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb')*+(["{}\[\]])', re.DOTALL)
"""Finds the next bracket outside a string, or the quotation mark of a string that does not end in this chunk."""
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_PART = re.compile(rb"(?P<text>" + _STRING + rb')(?P<named>\s*:)?|(?P<bracket>[{}\[\]])|(?P<cut>")', re.DOTALL)
_SEVERAL = re.compile(rb"\}\s*\{")
_SEVERAL_LISTED = re.compile(rb"\}\s*,\s*\{")
_CUT_OFF = "The file ends in the middle of it."

_LISTS = word_set("stories posts articles items entries records results documents docs nodes rows pages data content")
"""Names of a list of stories in the object that wraps it."""
_AROUND = word_set("data db response result payload export feed channel site blog")
"""Names of objects further out around such a list."""
_OF_A_STORY = word_set("title headline category sections text body slug")
"""Fields of a story. A list called content or data that follows one of these is part of a story."""


def read_lines(chunks: Iterable[bytes]) -> Iterator[RawRecord]:
    """Yield the records of JSON lines. Blank lines hold none, and a line may hold several."""
    number = 0
    for line, (data, whole) in enumerate(cut_lines(chunks), start=1):
        data = data.strip().removeprefix(BOM)
        if not data:
            continue
        if not whole:
            number += 1
            yield RawRecord(number, line, data, TOO_LONG)
            continue
        for part in _objects_of(data):
            number += 1
            yield RawRecord(number, line, part.data, part.problem)


def _objects_of(line: bytes) -> Iterator[RawRecord]:
    """Yield the objects of a line, which is one object unless it holds several."""
    line = line.rstrip(b",")
    listed = line.startswith(b"[") or (b"[" not in line and _SEVERAL_LISTED.search(line))
    if listed or _SEVERAL.search(line):
        yield from read_values([line])
    elif line not in (b"[", b"]"):
        yield RawRecord(1, 1, line)


def read_values(chunks: Iterable[bytes], line: int = 1, *, first_list: bool = False) -> Iterator[RawRecord]:
    """Yield JSON objects of an array or in a row; with ``first_list`` only those of the array that is open."""
    scanner = _Scanner(line, first_list)
    for chunk in chunks:
        yield from scanner.feed(chunk)
        if scanner.closed:
            return
    yield from scanner.end()


def start_of_list(head: bytes) -> int | None:
    """Return the offset behind the bracket that opens a wrapped list of stories, -1 where there is no such list.

    Return None where the object goes on behind ``head`` and may hold such a list there.
    """
    opened: list[str] = []
    name, seen = "", set[str]()
    for part in _PART.finditer(head):
        if part["cut"]:
            return None
        if part["text"]:
            name = folded(part["text"][1:-1].decode(errors="replace")) if part["named"] else ""
            seen |= {name} if len(opened) == 1 else set()
            continue
        if part["bracket"] == b"[" and _is_list_of_stories(name, opened, seen, head[part.end() :][:200]):
            return part.end()
        if part["bracket"] in b"{[":
            opened.append(name)
        elif opened:
            opened.pop()
        if not opened:
            return -1
        name = ""
    return None


def _is_list_of_stories(name: str, opened: list[str], seen: set[str], inside: bytes) -> bool:
    own = name in ("content", "data") and seen & _OF_A_STORY
    is_list = name in _LISTS and not own and all(outer in _AROUND for outer in opened[1:] if outer)
    return is_list and inside.lstrip()[:1] in (b"{", b"]", b"")


def is_balanced(line: bytes) -> bool:
    """Whether a line holds complete objects only, so that the next line starts another one."""
    tokens = _TOKEN.findall(line)
    return tokens.count(b"{") == tokens.count(b"}") > 0 and b'"' not in tokens


class _Scanner:
    """Finds where objects begin and end without parsing them. Each byte is examined once."""

    def __init__(self, line: int, first_list: bool) -> None:
        self._first_list, self.closed = first_list, False
        self._depth, self._in_text, self._escaped = 0, False, False
        self._held: list[bytes] = []
        self._size = 0
        self._outside = b""
        self._line, self._started, self._number = line, line, 0

    def feed(self, chunk: bytes) -> Iterator[RawRecord]:
        """Yield the records that end in this chunk."""
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
            elif token == b"]" and not self._depth and self._first_list:
                self.closed, self._outside = True, self._outside + chunk[kept : at - 1]
                yield from self._strays()
                return
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

    def end(self) -> Iterator[RawRecord]:
        """Yield a record that the end of the file cut off, or the text behind the last record."""
        if self._depth:
            yield self._raw(b"".join(self._held)[:EXCERPT], _CUT_OFF)
        else:
            self._started = self._line
            yield from self._strays()

    def _read_text(self, chunk: bytes, at: int) -> int:
        """Return the end of the string that goes on at ``at``. It may go on in the next chunk."""
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

    def _record(self) -> RawRecord:
        problem = TOO_LONG if self._size > MAX_RECORD else ""
        data = b"".join(self._held)
        self._held, self._size = [], 0
        return self._raw(data, problem)

    def _strays(self) -> Iterator[RawRecord]:
        """Yield text between two records that is neither bracket nor comma, each part as a record with a problem."""
        for part in self._outside.replace(BOM, b"").strip(b" \t\r\n,[]}").split(b","):
            if part.strip():
                yield self._raw(part.strip()[:EXCERPT], "It is no object.")
        self._outside = b""

    def _raw(self, data: bytes, problem: str = "") -> RawRecord:
        self._number += 1
        return RawRecord(self._number, self._started, data, problem)
