"""Reads the rows of CSV files with the delimiters, quoting and heads of many programs.

A row whose quotation marks do not match is refused. Reading goes on at the next line that looks like a row, so that one
row does not swallow the others. Which names a head may hold belongs in ``operations/imports/fields.py``.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from threadjuice_dagster.operations.imports.decoding import BOM
from threadjuice_dagster.operations.imports.fields import field_of
from threadjuice_dagster.operations.imports.raw import EXCERPT, MAX_RECORD, NOT_UTF8, TOO_LONG, RawRecord

NEEDED = ("title", "category", "text")
"""Fields that a head needs; ``sections`` may replace ``text``."""

_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_BACKSLASHED = re.compile(r'\\(["\\])')
_HALF = re.compile("[\ud800-\udfff]")
_LONGEST_CATEGORY, _LONGEST_TITLE = 60, 300
_UNCLOSED = "A quotation mark in it is not closed, or stands in the middle of a cell."


class _Row(NamedTuple):
    """A row and the number of its first line; a broken row has its problem and its first lines instead of cells."""

    line: int
    cells: list[str]
    problem: str = ""
    lines: str = ""


class _Lines:
    """The lines of a file for ``csv.reader``. The lines of a broken row can be read again."""

    def __init__(self, lines: Iterator[tuple[bytes, bool]]) -> None:
        self._lines, self._again = lines, deque[str]()
        self.number, self._size = 0, 0
        self.taken: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._next()
        self.number += 1
        self._size += len(line)
        self.taken.append(line)
        if not line or self._size > MAX_RECORD:
            raise csv.Error(TOO_LONG)
        return line

    def begin(self) -> None:
        """Start a row: forget the lines of the one before."""
        self._size = 0
        self.taken.clear()

    def back(self, first: int = 0) -> None:
        """Give the lines of this row back to be read again, from the index ``first`` on."""
        given = self.taken[first:]
        self.number -= len(given)
        self._again.extendleft(reversed(given))
        self.begin()

    def _next(self) -> str:
        """Return the next line, or an empty string for one that is too long."""
        line, whole = next(self._lines)
        return line.removeprefix(BOM).decode(errors="surrogateescape") + "\n" if whole else ""


class _Table:
    """A table whose head was read. ``problem`` says why the file is no table."""

    def __init__(self, lines: _Lines) -> None:
        self._lines, self.problem, self.head = lines, "", ""
        try:
            self.head = self._first()
            separator = _SEPARATOR.fullmatch(self.head)
            self.head = self._first() if separator else self.head
            self._read_head(separator[1] if separator else _DELIMITERS)
        except csv.Error as error:
            self.problem = str(error) if str(error) == TOO_LONG else f"It is no CSV file: {error}."

    def rows(self) -> Iterator[_Row]:
        """Yield the rows below the head, without blank lines and repeated heads."""
        while (row := self._next_row()) is not None:
            if row.problem or (any(row.cells) and not self._is_head(row.cells)):
                yield row

    def _is_head(self, cells: list[str]) -> bool:
        return cells[0].strip().lower() == self.names[0] and _as_names(cells) == self.names

    def _first(self) -> str:
        """Return the next line that is not blank."""
        return next((line for line in self._lines if line.strip(f'{_DELIMITERS} "\n')), "")

    def _read_head(self, delimiters: str) -> None:
        heads = {mark: _as_names(next(csv.reader([self.head], delimiter=mark), [])) for mark in delimiters}
        delimiter = max(heads, key=lambda mark: (len({*map(field_of, heads[mark])}), len(heads[mark])))
        self.names, self._delimiter = heads[delimiter], delimiter
        fields = [field_of(name) for name in self.names]
        missing = [field for field in NEEDED if field not in fields and (field != "text" or "sections" not in fields)]
        if missing:
            self.problem = f"The head of the CSV file lacks: {', '.join(missing)}."
            return
        self._title, self._category = fields.index("title"), fields.index("category")
        self._spaced = f"{delimiter} " in self.head
        self._readers = [
            csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=self._spaced)
            for lines in (self._lines, map(_doubled, self._lines))
        ]

    def _next_row(self) -> _Row | None:
        """Return the next row, None at the end. Both ways of quoting are tried, the one that fitted last time first."""
        line, outcomes = self._lines.number + 1, list[list[str] | str]()
        for reader in list(self._readers):
            self._lines.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return None
            except csv.Error as error:
                outcomes.append(TOO_LONG if str(error) == TOO_LONG else _UNCLOSED)
            else:
                if len(cells) == len(self.names) or not cells:
                    self._readers.sort(key=lambda other, fits=reader: other is not fits)  # type: ignore[misc]
                    return _Row(line, cells)
                outcomes.append(cells)
            if not any("\\" in line for line in self._lines.taken):
                break
            if reader is not self._readers[-1]:
                self._lines.back()
        return self._refused(line, outcomes[0])

    def _refused(self, line: int, outcome: list[str] | str) -> _Row:
        """Return a broken row with its problem and lines, and go on behind it."""
        taken = list(self._lines.taken)
        if isinstance(outcome, list):
            return _Row(line, [], f"It has {len(outcome)} columns, the head {len(self.names)}.", "".join(taken))
        self._lines.back(1)
        lost = taken[:1]
        if taken and taken[0].count('"') % 2:
            lost += self._lines_before_the_next_row()
        return _Row(line, [], outcome, "".join(lost))

    def _lines_before_the_next_row(self) -> Iterator[str]:
        kept = 0
        while True:
            self._lines.begin()
            try:
                line = next(self._lines)
            except StopIteration:
                return
            except csv.Error:
                continue
            if self._begins_a_row(line):
                self._lines.back()
                return
            if kept < EXCERPT:
                kept += len(line)
                yield line

    def _begins_a_row(self, line: str) -> bool:
        """Whether a line looks like the first of a row, by number, length and leading spaces of its cells."""
        cells = next(csv.reader([line], delimiter=self._delimiter), [])
        goes_on = line.count('"') % 2 == 1
        if len(cells) != len(self.names) and not (goes_on and 2 <= len(cells) <= len(self.names)):
            return False
        if not self._spaced and any(cell.startswith(" ") for cell in cells[1:]):
            return False
        bounds = ((self._title, _LONGEST_TITLE), (self._category, _LONGEST_CATEGORY))
        return all(0 < len(cells[place]) <= most for place, most in bounds if place < len(cells))


def read_rows(lines: Iterator[tuple[bytes, bool]]) -> Iterator[RawRecord]:
    """Yield each row below the head as a record by the head's names. ``lines`` are as ``cut_lines`` yields them."""
    csv.field_size_limit(2 * MAX_RECORD)
    source = _Lines(lines)
    table = _Table(source)
    if table.problem:
        yield RawRecord(1, source.number, _bytes(table.head), table.problem)
        return
    for number, row in enumerate(table.rows(), start=1):
        if row.problem:
            yield RawRecord(number, row.line, _bytes(row.lines), row.problem)
        elif any(not cell.isascii() and _HALF.search(cell) for cell in row.cells):
            yield RawRecord(number, row.line, _bytes(",".join(row.cells)), NOT_UTF8)
        else:
            yield RawRecord(number, row.line, dict(zip(table.names, row.cells, strict=True)))


def _as_names(cells: list[str]) -> list[str]:
    """Return the cells of a head as names. Repeated names get underscores, which ``folded`` ignores."""
    names = [cell.strip().lower() for cell in cells]
    return [f"{name}{'_' * names[:place].count(name)}" for place, name in enumerate(names)]


def _doubled(line: str) -> str:
    """Return a line with doubled quotation marks instead of marks escaped by backslashes."""
    return _BACKSLASHED.sub(lambda mark: '""' if mark[1] == '"' else "\\", line)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")[:EXCERPT]
