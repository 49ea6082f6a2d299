"""The files of an import: found, told apart, unpacked; and the file that keeps what was refused.

How a file is cut into records belongs in ``domain/import_formats.py``.
"""

import gzip
import hashlib
import json
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from threadjuice_dagster.domain.import_formats import Raw, split_records
from threadjuice_dagster.domain.imports import Refused, parsed
from threadjuice_dagster.failures import UsageError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv")
PACKED = ("", ".gz", ".zst")
"""Endings of story files in a folder; a file that is named itself may have any."""

_CHUNK = 256 << 10
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def story_files(path: Path) -> list[Path]:
    """The file itself, or the story files of a folder by name. Raises ``UsageError`` where there is nothing to read."""
    if path.is_dir():
        endings = tuple(suffix + packed for suffix in SUFFIXES for packed in PACKED)
        return sorted(one for one in path.iterdir() if one.is_file() and one.name.lower().endswith(endings))
    try:
        with path.open("rb"):
            return [path]
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or type(error).__name__}."
        raise UsageError(problem, "Name a story file, or a folder of story files.") from None


def records_of(path: Path) -> Iterator[Raw]:
    """The records of a file, plain or packed (by its content); a damaged one ends with a problem."""
    from backports.zstd import ZstdError

    number, line = 0, 0
    try:
        for raw in split_records(_chunks(path), path.name):
            number, line = raw.number, raw.line
            yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile, ZstdError) as error:
        yield Raw(number + 1, line + 1, b"", f"The file is damaged here: {str(error).rstrip('.')}.")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        with _unpacked(file, start) as plain:
            while chunk := plain.read(_CHUNK):
                yield chunk


def _unpacked(file: IO[bytes], start: bytes) -> IO[bytes]:
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if start == _ZSTD:
        from backports import zstd

        return zstd.ZstdFile(file)  # type: ignore[return-value]
    return file


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reject_line(name: str, raw: Raw, reason: str) -> bytes:
    """A refused record as a line of a rejects file: where it stood, why, and the record itself to be put right."""
    told = {"file": name, "line": raw.line, "reason": reason, "record": _shown(raw)}
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def gather(parts: Sequence[Path], target: Path | None) -> str | None:
    """Put the rejects of several files into one; its path, or None where nothing was refused. The parts are removed."""
    found = [part for part in parts if part.stat().st_size]
    if found and target:
        with target.open("wb") as whole:
            for part in found:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)
    for part in parts:
        part.unlink(missing_ok=True)
    return str(target) if found and target else None


def _shown(raw: Raw) -> Any:
    if isinstance(raw.data, dict):
        return raw.data
    try:
        return raw.data.decode(errors="backslashreplace") if raw.problem else parsed(raw.data)
    except Refused:
        return raw.data.decode(errors="backslashreplace")
