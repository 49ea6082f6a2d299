"""The inbox: files that others put into a folder or a bucket, under any name, at any time, finished or not.

Nothing here trusts a name, follows a link, or takes a file that somebody is still writing. What is in a file belongs
in ``operations/imports/store.py``.
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
from threadjuice_dagster.operations.imports.files import is_unfinished
from threadjuice_dagster.resources.storage import FolderStorage, Storage

if TYPE_CHECKING:
    import sqlalchemy as sa

ARCHIVE = "archived/"
"""Where the inbox keeps files whose rows are committed, and what of them was refused."""

QUIET_SECONDS = 5.0
"""How long a file must have been left alone: a shorter time, and somebody may still be writing it."""

_BLOCK = 1 << 18
_LONGEST_NAME, _LONGEST_KEY = 200, 900
"""Bytes of a name in a folder (of 255) and of a key (of 1,024), so that there is room for what is added."""


class Waiting(NamedTuple):
    """A file of the inbox; ``changed`` is when it was written last, in seconds since 1970, ``size`` 0 in a bucket."""

    key: str
    changed: float
    size: int

    @property
    def name(self) -> str:
        """The key, safe to print and to store."""
        return printable(self.key)

    @property
    def mark(self) -> str:
        """What this very version of the file is remembered by, once it cannot be moved away."""
        return "inbox:" + hashlib.sha256(f"{self.name} {self.changed} {self.size}".encode()).hexdigest()


class Inbox:
    """The files of one storage, as they are now."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._root = Path(storage.root) if isinstance(storage, FolderStorage) else None

    def waiting(self) -> list[Waiting]:
        """Files to be imported, sorted: none that is archived, hidden, unfinished by its name, or a link."""
        files = self._in_folder(self._root) if self._root else self._in_bucket()
        return sorted(file for file in files if not file.key.startswith(ARCHIVE) and not is_unfinished(file.key))

    def links(self) -> list[str]:
        """What in the folder is no file by itself, such as a symbolic link or a pipe; its names, safe to print."""
        return sorted(printable(key) for key, kind in self._walk(self._root) if kind is None) if self._root else []

    def is_quiet(self, file: Waiting, seconds: float, moment: float) -> bool:
        """Whether a file was left alone so long, and no program of this machine has it open for writing.

        A time in the future says nothing of it: such a file counts as quiet if it stays as it is.
        """
        age = moment - file.changed
        return not 0 <= age < seconds and not (self._root and _is_being_written(self._root / file.key))

    def is_unchanged(self, file: Waiting) -> bool:
        """Whether the file is there as it was when it was seen."""
        if self._root:
            return _seen(self._root / file.key, file.key) == file
        stored = self._storage.stored_at(file.key)
        return stored is not None and int(stored.timestamp()) == int(file.changed)  # HEAD tells whole seconds only

    @contextlib.contextmanager
    def opened(self, file: Waiting) -> Iterator[Path]:
        """The file on this machine's disk: itself, or a copy that is removed afterwards, written piece by piece."""
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

    def archive(self, file: Waiting, path: Path, beside: dict[str, Path]) -> list[str]:
        """Move an imported file out of the way, with what was refused and kept back ``beside`` it, by ending.

        Returns the names of those, safe to print. A name that is taken gets a number.
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

    def _in_folder(self, root: Path) -> Iterator[Waiting]:
        yield from (file for _, file in self._walk(root) if file)

    def _in_bucket(self) -> Iterator[Waiting]:
        for key, stored in self._storage.entries():
            if not key.endswith("/"):
                yield Waiting(key, stored.timestamp(), 0)

    def _walk(self, root: Path | None) -> Iterator[tuple[str, Waiting | None]]:
        """Every file below, None for what is none by itself; folders that cannot be opened are passed over."""
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


def _seen(path: Path, key: str) -> Waiting | None:
    """A file as it is now, None for what is no file by itself or is gone."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        return Waiting(key, status.st_mtime, status.st_size) if stat.S_ISREG(status.st_mode) else None
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
    """A key with room for a number before it and an ending behind it; what is cut is told apart by a digest."""
    *folders, name = key.split("/")
    data = os.fsencode(name)
    digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:8]
    if len(data) > _LONGEST_NAME:
        name = f"{os.fsdecode(data[:_LONGEST_NAME])}-{digest}"
    whole = "/".join((*folders, name))
    return whole if len(os.fsencode(whole)) <= _LONGEST_KEY else f"{digest}-{name}"
