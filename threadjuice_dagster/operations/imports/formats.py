"""Cuts story files into records. The content decides on the format, then the ending of the file's name.

Chunks of bytes come in and records go out, in memory that does not grow with the file. Opening and unpacking files
belongs in ``operations/imports/files.py``, what a record means in ``operations/imports/rules.py``.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from threadjuice_dagster.operations.imports.csv_records import read_rows
from threadjuice_dagster.operations.imports.decoding import DamagedText, as_utf8
from threadjuice_dagster.operations.imports.json_records import is_balanced, read_lines, read_values, start_of_list
from threadjuice_dagster.operations.imports.raw import EXCERPT, MAX_RECORD, RawRecord, cut_lines

_ARCHIVES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b", "packed by gzip once more"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd once more"),
    (b"\xfd7zXZ\x00", "packed by xz"),
    (b"BZh", "packed by bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
)
_TAR, _TAR_AT = b"ustar", 257
_LINES_BY_NAME = re.compile(r"\.(?:jsonl|ndjson)\b")


def split_records(chunks: Iterable[bytes], name: str) -> Iterator[RawRecord]:
    """Yield the records of a file, numbered from 1.

    Text that is no record is yielded with a problem. Only errors of ``chunks`` are raised.
    """
    number, line = 0, 0
    try:
        for raw in _records(iter(chunks), name.lower()):
            number, line = raw.number, raw.line
            yield raw
    except DamagedText as error:
        yield RawRecord(number + 1, line + 1, b"", str(error))


def _records(stream: Iterator[bytes], name: str) -> Iterator[RawRecord]:
    first = _head(stream, EXCERPT)
    if packed := _archive(first):
        yield RawRecord(1, 1, b"", f"It is {packed}: unpack it, and import the story files in it.")
        return
    stream = as_utf8(chain([first], stream))
    head = _head(stream, EXCERPT)
    if not head.strip():
        return
    kind = _kind(head, name)
    if kind != "values" or not head.lstrip().startswith(b"{"):
        yield from _READERS[kind](chain([head], stream))
        return
    start = start_of_list(head)
    while start is None and len(head) < MAX_RECORD and (more := _head(stream, len(head))):
        head += more
        start = start_of_list(head)
    if start is None or start < 0:
        yield from read_values(chain([head], stream))
    else:
        yield from read_values(chain([head[start:]], stream), head.count(b"\n", 0, start) + 1, first_list=True)


def _head(stream: Iterator[bytes], size: int) -> bytes:
    """Return the next bytes of a stream, at least ``size`` without leading space unless it ends."""
    head = b""
    while len(head.lstrip()) < size and (chunk := next(stream, b"")):
        head += chunk
    return head


def _archive(head: bytes) -> str:
    """Return the kind of archive or second packing of a file, or an empty string."""
    if head[_TAR_AT:].startswith(_TAR):
        return "a tar archive"
    return next((kind for start, kind in _ARCHIVES if head.startswith(start)), "")


def _kind(head: bytes, name: str) -> str:
    """Return the format by the first bytes, then by the name: ``lines``, ``values`` or ``csv``."""
    start = head.lstrip()
    line, ended, _ = start.partition(b"\n")
    if _LINES_BY_NAME.search(name):
        return "values" if line.strip() in (b"{", b"[", b"[{") else "lines"
    if start[:1] == b"[":
        return "values"
    if start[:1] != b"{":
        return "values" if re.search(r"\.json\b", name) else "csv"
    return "lines" if ended and is_balanced(line) else "values"


_READERS: dict[str, Callable[[Iterable[bytes]], Iterator[RawRecord]]] = {
    "lines": read_lines,
    "values": read_values,
    "csv": lambda chunks: read_rows(cut_lines(chunks)),
}
