"""Versions of the site on disk: the one readers see, the one before it, and the next in the making.

``<target>/versions/<version>/`` are whole sites, ``<target>/current`` is a symbolic link to one of them. The version
before the last is turned into the next: what both have in common is not touched, and what is the same in all is one
file with several names. What is in a version belongs in ``site/builder.py``.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from threadjuice_dagster.site.build_state import FILE, BuildState, BuiltFile
from threadjuice_dagster.site.layout import MARKER

_NEXT = ".next"


class SiteVersion:
    """The next version of the site. Nothing is written before the first file that differs from the current one."""

    def __init__(self, target: Path, memory: BuildState) -> None:
        self.memory = memory
        self._target, self._versions = target, target / "versions"
        self._folder: Path | None = None
        self.written = self.dropped = 0

    @property
    def current(self) -> Path:
        """The folder of the version readers see; there may be none."""
        return self._target / "current"

    @property
    def folder(self) -> Path:
        """Where the next version is made; until something differs, the current one."""
        return self._folder or self.current

    def put(self, path: str, data: bytes) -> None:
        """Have ``data`` at ``path``, written only if it is not there already."""
        known = self.memory.file(path)
        if known is None or known.sha256 != hashlib.sha256(data).hexdigest():
            _write(self._open() / path, data)
            self._note(path, data, known)

    def place(self, path: str, bring: Callable[[Path], None]) -> None:
        """Have the file that ``bring`` makes at ``path``, unless there is one: its name tells its content."""
        if self.memory.file(path) is None:
            place = self._open() / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            bring(place)
            self._note(path, place.read_bytes(), None)

    def drop(self, path: str) -> None:
        """Have nothing at ``path``."""
        if known := self.memory.file(path):
            unlink(self._open(), path)
            self.memory.keep_file(path, None, known)
            self.dropped += 1

    def publish(self, marker: Callable[[str], bytes], keep_old: bool) -> tuple[str, bool]:
        """Show readers the next version, named by its content; True if it is another one.

        Without ``keep_old`` nothing of the version before is left.
        """
        before, version = self.memory.fact("version"), self.memory.digest
        if self._folder is not None:
            _write(self._folder / MARKER, marker(version))
            self._swap(version)
        else:
            self.memory.save()
        if not keep_old or (self._folder is not None and not before):
            self._level()
        return version, version != before

    def is_damaged(self) -> bool:
        """Whether the current version, which the next one would equal, lacks files or has others in their place."""

        def is_there(file: BuiltFile) -> bool:
            try:
                return (self.current / file.path).stat().st_size == file.size
            except OSError:
                return False

        return self._folder is None and not all(map(is_there, self.memory.files()))

    def discard(self) -> None:
        """Remove what was begun and not published."""
        shutil.rmtree(self._versions / _NEXT, ignore_errors=True)

    def _swap(self, version: str) -> None:
        place = self._versions / version
        if place.exists():  # the same content was built before, and may have been changed by someone since
            place = place.with_name(f"{version}.{os.getpid()}")
        replaced = self.current.readlink().name if self.current.is_symlink() else ""
        (self._versions / _NEXT).rename(place)
        self.memory.note("version", version)
        self.memory.note("folder", place.name)
        self.memory.note("spare", replaced if self.memory.fact("whole") else "")
        self.memory.note("whole", "yes")
        self.memory.save()
        point(self._target, place.name)
        self._folder = place
        tidy(self._target, self.memory)

    def _level(self) -> None:
        """Make the folder beside the current one equal to it."""
        self._base()
        spare = ".spare"
        (self._versions / _NEXT).rename(self._versions / spare)
        self.memory.note("spare", spare)
        self.memory.forget_changes()
        self.memory.save()

    def _open(self) -> Path:
        if self._folder is None:
            self._folder = self._base()
            self.memory.forget_changes()
        return self._folder

    def _base(self) -> Path:
        """A folder with the files of the current version, made of the one before it where there is one."""
        base, spare = self._versions / _NEXT, self.memory.fact("spare")
        if spare and (self._versions / spare).is_dir():
            (self._versions / spare).rename(base)
            paths = self.memory.changes()
        else:
            base.mkdir()
            paths = (file.path for file in self.memory.files())
        self.memory.note("spare", "")
        for path in paths:
            if self.memory.file(path):
                link(f"{self.current}/{path}", f"{base}/{path}")
            else:
                unlink(base, path)
        if self.memory.fact("version"):
            link(f"{self.current}/{MARKER}", f"{base}/{MARKER}")
        return base

    def _note(self, path: str, data: bytes, before: BuiltFile | None) -> None:
        sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        file = BuiltFile(path, sha1, hashlib.sha256(data).hexdigest(), len(data))
        self.memory.keep_file(path, file, before)
        self.written += 1


@contextmanager
def next_edition(target: Path, afresh: bool = False) -> Iterator[SiteVersion]:
    """The next version of the site in ``target``; one build at a time. What is not published leaves no trace.

    ``afresh`` believes nothing of what the last build remembered.
    """
    (target / "versions").mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in (FILE, f"{FILE}-wal", f"{FILE}-shm") if afresh else ():
            (target / name).unlink(missing_ok=True)
        memory = BuildState(target / FILE)
        edition = SiteVersion(target, memory)
        try:
            _recall(target, memory)
            tidy(target, memory)
            yield edition
        finally:
            memory.close()
            edition.discard()


def _recall(target: Path, memory: BuildState) -> None:
    """Finish a swap that was killed half way; forget everything where the version remembered is not there."""
    name = memory.fact("folder")
    if name and (target / "versions" / name).is_dir():
        if not (target / "current").is_symlink() or (target / "current").readlink().name != name:
            point(target, name)
    else:
        memory.clear()


def tidy(target: Path, memory: BuildState) -> None:
    """Remove folders that are neither what readers see nor the base of the next version."""
    current = target / "current"
    known = {memory.fact("spare"), current.readlink().name if current.is_symlink() else ""}
    (target / ".current-next").unlink(missing_ok=True)
    for folder in (target / "versions").iterdir():
        if folder.name not in known:
            shutil.rmtree(folder)


def point(target: Path, name: str, link: str = "current") -> None:
    """Have a link lead to another version, in one rename."""
    beside = target / f".{link}-next"
    beside.unlink(missing_ok=True)
    beside.symlink_to(Path("versions") / name)
    beside.replace(target / link)


def _write(file: Path, data: bytes) -> None:
    """Write a new file: one that is there may be part of other versions too."""
    path = str(file)
    for _ in range(3):
        try:
            with open(path, "xb") as stream:  # noqa: PTH123 -- a site has many files, and Path takes its time
                stream.write(data)
            return
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        except FileExistsError:
            os.unlink(path)  # noqa: PTH108


def link(source: str, place: str) -> None:
    """The same file under a second name, or a copy where that is not to be had."""
    for _ in range(3):
        try:
            os.link(source, place)
            return
        except FileExistsError:
            os.unlink(place)  # noqa: PTH108
        except FileNotFoundError:
            os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
        except OSError:  # a file system without links, or one that allows no more to this file
            shutil.copy2(source, place)
            return
    raise FileNotFoundError(source)


def unlink(root: Path, path: str) -> None:
    """Remove a file and the folders it leaves empty."""
    (root / path).unlink(missing_ok=True)
    with suppress(OSError):
        for folder in list((root / path).parents)[: path.count("/")]:
            folder.rmdir()
