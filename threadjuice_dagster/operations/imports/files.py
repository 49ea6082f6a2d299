"""Finds and unpacks the files of an import, and writes the file that keeps refused records.

How a file is cut into records belongs in ``operations/imports/formats.py``.
"""

import contextlib
import errno
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from threadjuice_dagster.domain.language.text import printable
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.operations.imports.fields import field_of, shown
from threadjuice_dagster.operations.imports.formats import split_records
from threadjuice_dagster.operations.imports.inbox import is_unfinished
from threadjuice_dagster.operations.imports.raw import RawRecord
from threadjuice_dagster.operations.imports.rules import RefusedRecord, parsed

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv")
PACKED = ("", ".gz", ".zst")
"""Endings of story files in a folder. A file that the operator names may have any ending."""

MAX_UNPACKED, MAX_RATIO = 64 << 30, 250
"""Limits of unpacking: bytes in all, and bytes for each packed one. JSON seldom shrinks to a twentieth."""

LISTED = 100
"""The most refused records, and the most records kept back, that a summary names."""

_ALWAYS = 256 << 20
"""Bytes that any file may unpack to, whatever its ratio."""

_LONGEST_WINDOW = 31
"""The longest window of zstd, 2 GiB; memory is taken only as the window fills."""

_EVERY_FILE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_KEPT_BACK = b'{"kept_back": '
_CHUNK = 256 << 10
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def story_files(path: Path) -> list[Path]:
    """Return the file itself, or the story files of a folder sorted by name. Raises ``UsageError`` for a wrong path."""
    endings = tuple(suffix + packed for suffix in SUFFIXES for packed in PACKED)
    try:
        if path.is_dir():
            files = (
                file for file in path.iterdir() if file.name.lower().endswith(endings) and not is_unfinished(file.name)
            )
            return sorted(file for file in files if file.is_file())
        path.stat()
    except OSError as error:
        problem = f"{printable(str(path))} cannot be read: {error.strerror or type(error).__name__}."
        raise UsageError(problem, "Name a story file, or a folder of story files.") from None
    return [path]


class UnpacksTooLarge(ValueError):
    """A packed file unpacks to more than it may."""


def require_place(rejects: Path | None) -> None:
    """Raise ``UsageError`` where the file for refused records could not be written at the end of an import."""
    if rejects is None:
        return
    folder, named = rejects.absolute().parent, printable(str(rejects))
    if not folder.is_dir():
        raise UsageError(f"The folder of {named} is not there.", "Make it, or name another file with --rejects.")
    if rejects.is_dir() or not os.access(rejects if rejects.exists() else folder, os.W_OK):
        raise UsageError(f"{named} cannot be written.", "Name another file with --rejects.")


def is_of_one_file(error: Exception) -> bool:
    """Whether an exception concerns one file only; a full disk, full memory or a lack of descriptors concerns all."""
    return not isinstance(error, MemoryError) and getattr(error, "errno", None) not in _EVERY_FILE


def records_of(path: Path) -> Iterator[RawRecord]:
    """Yield the records of a file, unpacked if it is packed. A read error becomes a last record with a problem."""
    number, line = 0, 0
    try:
        for raw in split_records(_chunks(path), path.name):
            number, line = raw.number, raw.line
            yield raw
    except Exception as error:
        if not is_of_one_file(error):
            raise
        yield RawRecord(number + 1, line + 1, b"", _why_unreadable(error))


def _why_unreadable(error: Exception) -> str:
    from threadjuice_dagster.resources.zstd import zstd

    if isinstance(error, UnpacksTooLarge):
        return str(error)
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile | zstd.ZstdError):
        return f"The file is damaged here: {shown(str(error), 200).rstrip('.')}."
    said = error.strerror if isinstance(error, OSError) else shown(str(error), 200)
    return f"The file cannot be read on: {said or type(error).__name__}."


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        packed = start.startswith(_GZIP) or start == _ZSTD
        most = min(MAX_UNPACKED, max(_ALWAYS, path.stat().st_size * MAX_RATIO))
        unpacked = 0
        with _unpacked(file, start) as plain:
            while chunk := plain.read(_CHUNK):
                unpacked += len(chunk)
                if packed and unpacked > most:
                    raise UnpacksTooLarge(f"It unpacks to more than {most >> 20:,} MiB: it is read no further.")
                yield chunk


def _unpacked(file: IO[bytes], start: bytes) -> IO[bytes]:
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if start == _ZSTD:
        from threadjuice_dagster.resources.zstd import zstd

        return zstd.ZstdFile(file, options={zstd.DecompressionParameter.window_log_max: _LONGEST_WINDOW})  # type: ignore[return-value]
    return file


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reject_line(name: str, raw: RawRecord, reason: str) -> bytes:
    """Return a line of a rejects file: where the record stood, why it was refused, and the record to be corrected."""
    return _line({"file": name, "line": raw.line, "reason": reason, "record": _as_it_stood(raw)})


def kept_back_line(name: str, raw: RawRecord, reason: str, story_id: str) -> bytes:
    """Return a line for a record that was not public in the system it comes from."""
    return _line({"kept_back": reason, "file": name, "line": raw.line, "id": story_id, "record": _as_it_stood(raw)})


def gather(parts: Sequence[Path], rejects: Path | None, kept_back: Path | None) -> tuple[str | None, str | None]:
    """Collect refused records of all parts in one file and those kept back in another, and delete the parts.

    Return both paths, None for a file that would be empty or that no path was given for.
    """
    with contextlib.ExitStack() as stack:
        targets: dict[Path, IO[bytes]] = {}
        for line in _lines_of(parts):
            target = kept_back if line.startswith(_KEPT_BACK) else rejects
            if target and target not in targets:
                targets[target] = stack.enter_context(target.open("wb"))
            if target:
                targets[target].write(line)
    for part in parts:
        part.unlink(missing_ok=True)
    return tuple(str(path) if path in targets else None for path in (rejects, kept_back))  # type: ignore[return-value]


def listed(parts: Sequence[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the first refused records and the first kept back: file, line, title and reason of each."""
    records: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for line in _lines_of(parts):
        kept = line.startswith(_KEPT_BACK)
        if len(records[kept]) < LISTED:
            record = json.loads(line)
            place = {"file": record["file"], "line": record["line"], "title": _title(record["record"])}
            records[kept].append({**place, "reason": record["kept_back" if kept else "reason"]})
        if min(map(len, records)) == LISTED:
            break
    return records


def _lines_of(parts: Sequence[Path]) -> Iterator[bytes]:
    for part in parts:
        if part.exists():
            with part.open("rb") as file:
                yield from file


def _title(record: Any) -> str:
    title = next((record[name] for name in record if field_of(name) == "title"), "") if isinstance(record, dict) else ""
    return shown(title, 80) if title else ""


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def _as_it_stood(raw: RawRecord) -> Any:
    if isinstance(raw.data, dict):
        return raw.data
    try:
        return raw.data.decode(errors="backslashreplace") if raw.problem else parsed(raw.data)
    except RefusedRecord:
        return raw.data.decode(errors="backslashreplace")
