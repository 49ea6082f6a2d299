"""The files of an import: found, told apart, unpacked; and the file that keeps what was refused.

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
from threadjuice_dagster.operations.imports.raw import Raw
from threadjuice_dagster.operations.imports.rules import Refused, parsed

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv")
PACKED = ("", ".gz", ".zst")
"""Endings of story files in a folder; a file that is named itself may have any."""

MAX_UNPACKED, MAX_RATIO = 64 << 30, 250
"""Bytes that a packed file may unpack to, in all and for each of its own; JSON seldom shrinks to a twentieth."""

LISTED = 100
"""Records that a summary names of those that were refused, and of those that were kept back."""

_ALWAYS = 256 << 20
"""Bytes that may be unpacked of any file."""

_LONGEST_WINDOW = 31
"""The highest of zstd: a frame that says so may look back 2 GiB, and takes the memory only as it is filled."""

_BEGINNINGS = (".", "_", "~", "#")
_ENDINGS = (
    *(".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".opdownload", ".filepart", ".aria2"),
    *(".upload", ".uploading", ".incomplete", ".!ut", ".!qb", ".swp", ".swo", ".swx", ".lock", "~", "#"),
    *(".rejects.jsonl", ".kept-back.jsonl", "thumbs.db", "desktop.ini"),
)
_EVERY_FILE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_KEPT_BACK = b'{"kept_back": '
_CHUNK = 256 << 10
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def is_unfinished(key: str) -> bool:
    """Whether the name of a file or of a folder above it says that it is hidden, unfinished or another program's own.

    Examples: ``.~lock.x.csv#`` and ``~$x.csv`` of an office program, ``x.csv.crdownload`` of a browser, ``_drafts/``.
    """
    return any(part.startswith(_BEGINNINGS) for part in key.split("/")) or key.lower().endswith(_ENDINGS)


def story_files(path: Path) -> list[Path]:
    """The file itself, or the story files of a folder by name. Raises ``UsageError`` where there is nothing to read."""
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


class Overlarge(ValueError):
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
    """Whether an exception comes of one file, so that others can be read: not of a full disk, memory or descriptors."""
    return not isinstance(error, MemoryError) and getattr(error, "errno", None) not in _EVERY_FILE


def records_of(path: Path) -> Iterator[Raw]:
    """The records of a file, plain or packed (by its content); one that cannot be read on ends with a problem."""
    number, line = 0, 0
    try:
        for raw in split_records(_chunks(path), path.name):
            number, line = raw.number, raw.line
            yield raw
    except Exception as error:
        if not is_of_one_file(error):
            raise
        yield Raw(number + 1, line + 1, b"", _why_unreadable(error))


def _why_unreadable(error: Exception) -> str:
    from threadjuice_dagster.resources.zstd import zstd

    if isinstance(error, Overlarge):
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
                    raise Overlarge(f"It unpacks to more than {most >> 20:,} MiB: it is read no further.")
                yield chunk


def _unpacked(file: IO[bytes], start: bytes) -> IO[bytes]:
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if start == _ZSTD:
        from threadjuice_dagster.resources.zstd import zstd

        return zstd.ZstdFile(file, options={zstd.DecompressionParameter.window_log_max: _LONGEST_WINDOW})  # type: ignore[return-value]
    return file


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reject_line(name: str, raw: Raw, reason: str) -> bytes:
    """A refused record as a line of a rejects file: where it stood, why, and the record itself to be put right."""
    return _line({"file": name, "line": raw.line, "reason": reason, "record": _as_it_stood(raw)})


def kept_back_line(name: str, raw: Raw, reason: str, story_id: str) -> bytes:
    """A record that was not public where it comes from, as a line of its own kind among those refused."""
    return _line({"kept_back": reason, "file": name, "line": raw.line, "id": story_id, "record": _as_it_stood(raw)})


def gather(parts: Sequence[Path], rejects: Path | None, kept_back: Path | None) -> tuple[str | None, str | None]:
    """Put what several files had refused into one file, and what was kept back into another. The parts are removed.

    Returns their paths, None where there is nothing for one or no place was given.
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
    """The first records refused and the first kept back: file, line, title and reason of each."""
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


def _as_it_stood(raw: Raw) -> Any:
    if isinstance(raw.data, dict):
        return raw.data
    try:
        return raw.data.decode(errors="backslashreplace") if raw.problem else parsed(raw.data)
    except Refused:
        return raw.data.decode(errors="backslashreplace")
