"""The inbox: a folder or bucket into which others put files, under any name, at any time, finished or not.

No name is trusted, no link is followed, and no file is taken that somebody is still writing. How a file is imported
belongs in ``operations/imports/store.py``.
"""

import contextlib
import fcntl
import hashlib
import itertools
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from threadjuice_dagster.domain.language.text import printable
from threadjuice_dagster.resources.storage import FolderStorage, Storage

if TYPE_CHECKING:
    import sqlalchemy as sa

ARCHIVE = "archived/"
"""Folder of the inbox for files that were imported, and for their refused records."""

QUIET_SECONDS = 5.0
"""Seconds for which a file must not have changed before it is taken; before that it may still be written."""

_BEGINNINGS = (".", "_", "~", "#")
_ENDINGS = (
    *(".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".opdownload", ".filepart", ".aria2"),
    *(".upload", ".uploading", ".incomplete", ".!ut", ".!qb", ".swp", ".swo", ".swx", ".lock", "~", "#"),
    *(".rejects.jsonl", ".kept-back.jsonl", "thumbs.db", "desktop.ini"),
)
_BLOCK = 1 << 18
_LONGEST_NAME, _LONGEST_KEY = 200, 900
"""Bytes of a name (of 255 in a folder) and of a key (of 1,024 in a bucket), which leave room for an ending."""


class InboxFile(NamedTuple):
    """A file of the inbox. ``changed`` is its last change in seconds since 1970; ``size`` is 0 in a bucket."""

    key: str
    changed: float
    size: int

    @property
    def name(self) -> str:
        """The key, safe to print and to store."""
        return printable(self.key)

    @property
    def mark(self) -> str:
        """The mark under which this version of the file is remembered if it cannot be moved away."""
        return "inbox:" + hashlib.sha256(f"{self.name} {self.changed} {self.size}".encode()).hexdigest()


class Inbox:
    """The files of one storage, as they are now."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._root = Path(storage.root) if isinstance(storage, FolderStorage) else None

    def waiting(self) -> list[InboxFile]:
        """Return the files to import, sorted, without archived, hidden and unfinished ones and without links."""
        files = self._in_folder(self._root) if self._root else self._in_bucket()
        return sorted(file for file in files if not file.key.startswith(ARCHIVE) and not is_unfinished(file.key))

    def links(self) -> list[str]:
        """Return the printable names of what is no regular file in the folder, such as symbolic links and pipes."""
        return sorted(printable(key) for key, kind in self._walk(self._root) if kind is None) if self._root else []

    def is_quiet(self, file: InboxFile, seconds: float, moment: float) -> bool:
        """Whether a file has not changed for so long and no program of this machine has it open for writing.

        A file with a time in the future counts as quiet, since its age is not known.
        """
        age = moment - file.changed
        return not 0 <= age < seconds and not (self._root and _is_being_written(self._root / file.key))

    def is_unchanged(self, file: InboxFile) -> bool:
        """Whether the file still exists in the version that was listed."""
        if self._root:
            return _seen(self._root / file.key, file.key) == file
        stored = self._storage.stored_at(file.key)
        return stored is not None and int(stored.timestamp()) == int(file.changed)  # HEAD tells whole seconds only

    @contextlib.contextmanager
    def opened(self, file: InboxFile) -> Iterator[Path]:
        """Lend the file's path on this machine; for a bucket that of a copy, which is deleted afterwards."""
        if self._root:
            yield self._root / file.key
            return
        with tempfile.TemporaryDirectory(prefix="threadjuice-inbox-") as folder:
            path = (
                Path(folder) / re.sub(r"[^\w. ()-]", "_", file.key.rsplit("/", 1)[-1], flags=re.ASCII)[-_LONGEST_NAME:]
            )
            with self._storage.get_stream(file.key) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy, _BLOCK)
            yield path

    def archive(self, file: InboxFile, path: Path, beside: dict[str, Path]) -> list[str]:
        """Move an imported file to the archive, and the files ``beside`` it, given by their endings.

        Return the printable names of the files beside it. A name that is taken gets a number.
        """
        key = _shortened(file.key)
        names = (f"{ARCHIVE}{number}/{key}" if number > 1 else ARCHIVE + key for number in itertools.count(1))
        target = next(name for name in names if not self._is_taken(name))
        for ending, extra in beside.items():
            self._move(extra, f"{target}{ending}")
        self._move(path, target)
        if not self._root:
            self._storage.delete(file.key)
        return [printable(f"{target}{ending}") for ending in beside]

    def _in_folder(self, root: Path) -> Iterator[InboxFile]:
        yield from (file for _, file in self._walk(root) if file)

    def _in_bucket(self) -> Iterator[InboxFile]:
        for key, stored in self._storage.entries():
            if not key.endswith("/"):
                yield InboxFile(key, stored.timestamp(), 0)

    def _walk(self, root: Path | None) -> Iterator[tuple[str, InboxFile | None]]:
        """Yield every key below with its file, or None for what is no regular file; unreadable folders are skipped."""
        for folder, subfolders, names in os.walk(str(root)):
            place = Path(folder)
            if place == root:
                subfolders[:] = [name for name in subfolders if f"{name}/" != ARCHIVE]
            linked = [name for name in subfolders if (place / name).is_symlink()]
            for name in (*names, *linked):
                key = (place / name).relative_to(str(root)).as_posix()
                with contextlib.suppress(FileNotFoundError):
                    yield key, _seen(place / name, key)

    def _is_taken(self, name: str) -> bool:
        return os.path.lexists(self._root / name) if self._root else self._storage.exists(name)

    def _move(self, path: Path, key: str) -> None:
        if self._root:
            target = self._root / key
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
            return
        with path.open("rb") as file:
            self._storage.put_stream(key, file)
        path.unlink()


def is_unfinished(key: str) -> bool:
    """Whether the name of a file or of a folder above it says that it is hidden, unfinished or another program's own.

    Examples: ``.~lock.x.csv#`` and ``~$x.csv`` of an office program, ``x.csv.crdownload`` of a browser, ``_drafts/``.
    """
    return any(part.startswith(_BEGINNINGS) for part in key.split("/")) or key.lower().endswith(_ENDINGS)


def passed_over(engine: "sa.Engine", marks: Sequence[str]) -> set[str]:
    """Return those of these marks whose files could not be taken nor moved away before."""
    import sqlalchemy as sa

    from threadjuice_dagster.database import tables as t

    digest = t.import_files.c.digest
    with engine.connect() as connection:
        return set(connection.scalars(sa.select(digest).where(digest.in_(marks)))) if marks else set()


def pass_over(engine: "sa.Engine", mark: str, name: str, problem: str) -> None:
    """Remember a file that could not be taken nor moved away, so that it is not tried again until it changes."""
    import sqlalchemy as sa

    from threadjuice_dagster.database import tables as t
    from threadjuice_dagster.database.rows import upsert

    row = {"digest": mark, "name": name, "records": 0, "counts": {"problem": problem}, "rejects_bytes": 0}
    with engine.begin() as connection:
        connection.execute(upsert(t.import_files, {**row, "finished_at": sa.func.now()}))


def _seen(path: Path, key: str) -> InboxFile | None:
    """Return a file in its present version, or None if it is gone or no regular file."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        return InboxFile(key, status.st_mtime, status.st_size) if stat.S_ISREG(status.st_mode) else None
    return None


def _is_being_written(path: Path) -> bool:
    """Whether a process has the file open for writing: Linux then grants no lease for reading on it.

    Where it cannot be asked (another system, a network's disk, another user's file), only the file's time counts.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        with path.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _shortened(key: str) -> str:
    """Return a key short enough for a number before it and an ending behind it; a digest replaces what is cut."""
    *folders, name = key.split("/")
    data = os.fsencode(name)
    digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:8]
    if len(data) > _LONGEST_NAME:
        name = f"{os.fsdecode(data[:_LONGEST_NAME])}-{digest}"
    whole = "/".join((*folders, name))
    return whole if len(os.fsencode(whole)) <= _LONGEST_KEY else f"{digest}-{name}"
