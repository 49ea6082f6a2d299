"""JSON cut into records: one object, arrays, objects one after the other or line by line, and lists in wrappers.

Nothing here reads what is in an object; what a record means belongs in ``operations/imports/rules.py``.
"""

import re
from collections.abc import Iterable, Iterator

from threadjuice_dagster.operations.imports.decoding import BOM
from threadjuice_dagster.operations.imports.fields import folded, word_set
from threadjuice_dagster.operations.imports.raw import EXCERPT, MAX_RECORD, TOO_LONG, Raw, cut_lines

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb')*+(["{}\[\]])', re.DOTALL)
"""The next bracket outside a text, or the quotation mark of a text that does not end here."""
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_PART = re.compile(rb"(?P<text>" + _STRING + rb')(?P<named>\s*:)?|(?P<bracket>[{}\[\]])|(?P<cut>")', re.DOTALL)
_SEVERAL = re.compile(rb"\}\s*\{")
_SEVERAL_LISTED = re.compile(rb"\}\s*,\s*\{")
_CUT_OFF = "The file ends in the middle of it."

_LISTS = word_set("stories posts articles items entries records results documents docs nodes rows pages data content")
"""What the list of stories is called in an object around it."""
_AROUND = word_set("data db response result payload export feed channel site blog")
"""What stands around such a list, further out."""
_OF_A_STORY = word_set("title headline category sections text body slug")
"""A list called content or data belongs to a story that names one of these before it."""


def read_lines(chunks: Iterable[bytes]) -> Iterator[Raw]:
    """JSON lines; blank ones are no records, and a line may hold several."""
    number = 0
    for line, (data, whole) in enumerate(cut_lines(chunks), start=1):
        data = data.strip().removeprefix(BOM)
        if not data:
            continue
        if not whole:
            number += 1
            yield Raw(number, line, data, TOO_LONG)
            continue
        for part in _objects_of(data):
            number += 1
            yield Raw(number, line, part.data, part.problem)


def _objects_of(line: bytes) -> Iterator[Raw]:
    """The objects of a line: itself, unless it holds several. Lists inside an object part theirs by commas, too."""
    line = line.rstrip(b",")
    listed = line.startswith(b"[") or (b"[" not in line and _SEVERAL_LISTED.search(line))
    if listed or _SEVERAL.search(line):
        yield from read_values([line])
    elif line not in (b"[", b"]"):
        yield Raw(1, 1, line)


def read_values(chunks: Iterable[bytes], line: int = 1, *, first_list: bool = False) -> Iterator[Raw]:
    """JSON objects in an array, or one after the other; with ``first_list`` only those of the array that is open."""
    scanner = _Scanner(line, first_list)
    for chunk in chunks:
        yield from scanner.feed(chunk)
        if scanner.closed:
            return
    yield from scanner.end()


def start_of_list(head: bytes) -> int | None:
    """Where the list of stories in an object around it begins, behind its bracket; -1 where there is no such list.

    None where the object goes on behind this beginning of a file, and may hold one there.
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
    """Whether a line holds whole objects, so that the next line starts another one."""
    tokens = _TOKEN.findall(line)
    return tokens.count(b"{") == tokens.count(b"}") > 0 and b'"' not in tokens


class _Scanner:
    """Finds where objects begin and end, without reading what is in them. Each byte is looked at once."""

    def __init__(self, line: int, first_list: bool) -> None:
        self._first_list, self.closed = first_list, False
        self._depth, self._in_text, self._escaped = 0, False, False
        self._held: list[bytes] = []
        self._size = 0
        self._outside = b""
        self._line, self._started, self._number = line, line, 0

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
        problem = TOO_LONG if self._size > MAX_RECORD else ""
        data = b"".join(self._held)
        self._held, self._size = [], 0
        return self._raw(data, problem)

    def _strays(self) -> Iterator[Raw]:
        """What stood between two records, where only brackets and commas should."""
        for part in self._outside.replace(BOM, b"").strip(b" \t\r\n,[]}").split(b","):
            if part.strip():
                yield self._raw(part.strip()[:EXCERPT], "It is no object.")
        self._outside = b""

    def _raw(self, data: bytes, problem: str = "") -> Raw:
        self._number += 1
        return Raw(self._number, self._started, data, problem)
