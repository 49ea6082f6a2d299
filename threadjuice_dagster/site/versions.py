"""Keep versions of the site on disk: the current one, the one before it, and the next one while it is built.

Each folder ``<target>/versions/<version>/`` is a whole site, and ``<target>/current`` is a symbolic link to one of
them. A build turns the version before the current one into the next version, so that it writes only
the files that differ. Versions share equal files by hard links. What a version contains belongs in ``site/builder.py``.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from threadjuice_dagster.site.build_state import STATE_FILE, BuildState, BuiltFile
from threadjuice_dagster.site.layout import MARKER

_NEXT = ".next"


class SiteVersion:
    """The next version of the site. Its folder is made when the first file differs from the current version."""

    def __init__(self, target: Path, state: BuildState) -> None:
        self.state = state
        self._target, self._versions = target, target / "versions"
        self._folder: Path | None = None
        self.written = self.removed = 0

    @property
    def current(self) -> Path:
        """The folder of the version that readers see; it may not exist yet."""
        return self._target / "current"

    @property
    def folder(self) -> Path:
        """The folder of the next version, or the current folder while nothing differs."""
        return self._folder or self.current

    def write(self, path: str, data: bytes) -> None:
        """Write ``data`` to ``path`` unless the current version already has it there."""
        current = self.state.file(path)
        if current is None or current.sha256 != hashlib.sha256(data).hexdigest():
            _write(self._begun() / path, data)
            self._record(path, data, current)

    def add_file(self, path: str, fetch: Callable[[Path], None]) -> None:
        """Let ``fetch`` make the file at ``path`` unless there is one. The path has to name the content."""
        if self.state.file(path) is None:
            place = self._begun() / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            fetch(place)
            self._record(path, place.read_bytes(), None)

    def remove(self, path: str) -> None:
        """Remove the file at ``path``, if there is one."""
        if current := self.state.file(path):
            unlink(self._begun(), path)
            self.state.record_file(path, None, current)
            self.removed += 1

    def publish(self, marker: Callable[[str], bytes], keep_old: bool) -> tuple[str, bool]:
        """Make the next version the current one. Return its name, and whether its content changed.

        ``marker`` makes the marker file for a name. Without ``keep_old`` the version before is deleted.
        """
        before, version = self.state.get("version"), self.state.digest
        if self._folder is not None:
            _write(self._folder / MARKER, marker(version))
            self._swap(version)
        else:
            self.state.save()
        if not keep_old or (self._folder is not None and not before):
            self._make_spare_equal()
        return version, version != before

    def is_damaged(self) -> bool:
        """Return whether nothing changed, but files of the current version are missing or have another size."""

        def is_there(file: BuiltFile) -> bool:
            try:
                return (self.current / file.path).stat().st_size == file.size
            except OSError:
                return False

        return self._folder is None and not all(map(is_there, self.state.files()))

    def discard(self) -> None:
        """Delete a version that was begun and not published."""
        shutil.rmtree(self._versions / _NEXT, ignore_errors=True)

    def _swap(self, version: str) -> None:
        place = self._versions / version
        if place.exists():  # the same content was built before, and may have been changed by someone since
            place = place.with_name(f"{version}.{os.getpid()}")
        replaced = self.current.readlink().name if self.current.is_symlink() else ""
        (self._versions / _NEXT).rename(place)
        self.state.set("version", version)
        self.state.set("folder", place.name)
        self.state.set("spare", replaced if self.state.get("whole") else "")
        self.state.set("whole", "yes")
        self.state.save()
        point_link(self._target, place.name)
        self._folder = place
        remove_leftovers(self._target, self.state)

    def _make_spare_equal(self) -> None:
        """Replace the version before the current one by a copy of the current one."""
        self._base()
        spare = ".spare"
        (self._versions / _NEXT).rename(self._versions / spare)
        self.state.set("spare", spare)
        self.state.clear_changes()
        self.state.save()

    def _begun(self) -> Path:
        if self._folder is None:
            self._folder = self._base()
            self.state.clear_changes()
        return self._folder

    def _base(self) -> Path:
        """Make a folder with the files of the current version, out of the version before it where there is one."""
        base, spare = self._versions / _NEXT, self.state.get("spare")
        if spare and (self._versions / spare).is_dir():
            (self._versions / spare).rename(base)
            paths = self.state.changed_paths()
        else:
            base.mkdir()
            paths = (file.path for file in self.state.files())
        self.state.set("spare", "")
        for path in paths:
            if self.state.file(path):
                link(f"{self.current}/{path}", f"{base}/{path}")
            else:
                unlink(base, path)
        if self.state.get("version"):
            link(f"{self.current}/{MARKER}", f"{base}/{MARKER}")
        return base

    def _record(self, path: str, data: bytes, before: BuiltFile | None) -> None:
        sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        file = BuiltFile(path, sha1, hashlib.sha256(data).hexdigest(), len(data))
        self.state.record_file(path, file, before)
        self.written += 1


@contextmanager
def next_version(target: Path, afresh: bool = False) -> Iterator[SiteVersion]:
    """Yield the next version of the site in ``target``, for one build at a time. Delete it if it is not published.

    ``afresh`` deletes the build state first, so that everything is built anew.
    """
    (target / "versions").mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        # The kernel releases the lock if the process is killed.
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in (STATE_FILE, f"{STATE_FILE}-wal", f"{STATE_FILE}-shm") if afresh else ():
            (target / name).unlink(missing_ok=True)
        state = BuildState(target / STATE_FILE)
        version = SiteVersion(target, state)
        try:
            _restore_link(target, state)
            remove_leftovers(target, state)
            yield version
        finally:
            state.close()
            version.discard()


def _restore_link(target: Path, state: BuildState) -> None:
    """Finish a swap that was killed half way. Clear the build state if the version it describes is gone."""
    name = state.get("folder")
    # The state is saved before the link is moved, so that a kill in between is seen here.
    if name and (target / "versions" / name).is_dir():
        if not (target / "current").is_symlink() or (target / "current").readlink().name != name:
            point_link(target, name)
    else:
        state.clear()


def remove_leftovers(target: Path, state: BuildState) -> None:
    """Delete every version but the current one and the one that the next is made of."""
    current = target / "current"
    kept = {state.get("spare"), current.readlink().name if current.is_symlink() else ""}
    (target / ".current-next").unlink(missing_ok=True)
    for folder in (target / "versions").iterdir():
        if folder.name not in kept:
            shutil.rmtree(folder)


def point_link(target: Path, name: str, link: str = "current") -> None:
    """Point a link to another version, by one atomic rename."""
    beside = target / f".{link}-next"
    beside.unlink(missing_ok=True)
    beside.symlink_to(Path("versions") / name)
    beside.replace(target / link)


def _write(file: Path, data: bytes) -> None:
    """Write a new file. An existing one is unlinked, not overwritten: other versions may share it by a hard link."""
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
    """Make a hard link to a file, or a copy where links are not possible."""
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
