"""Versions of the site on disk: built aside, swapped in at once, a few kept.

``<target>/versions/<version>/`` holds whole sites, ``<target>/current`` is a symbolic link to one of them.
What is in a version belongs in ``site/builder.py``.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNFINISHED = ".build-"
_NEXT_LINK = ".current-next"


@contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """A new folder to build in, gone afterwards unless it was swapped in; one build at a time per ``target``.

    What a killed build left behind is removed first: while the lock is held, nothing unfinished is anyone's.
    """
    versions = target / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in versions.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        (target / _NEXT_LINK).unlink(missing_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=versions))
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def swap_in(folder: Path, target: Path, version: str, keep: int) -> bool:
    """Make a finished build the current version and keep the newest ``keep``; False if it was current already."""
    place, link = target / "versions" / version, target / "current"
    changed = not (link.is_symlink() and link.readlink().name == version)
    if place.exists() and _listing(place) != _listing(folder):
        _remove(place)  # someone changed files of a finished version: what was just built is right
    if not place.exists():
        folder.rename(place)
    os.utime(place)
    (target / _NEXT_LINK).symlink_to(Path("versions") / version)
    (target / _NEXT_LINK).replace(link)
    _prune(target / "versions", keep, current=version)
    return changed


def _prune(versions: Path, keep: int, current: str) -> None:
    others = [path for path in versions.iterdir() if not path.name.startswith(_UNFINISHED) and path.name != current]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in others[max(keep, 1) - 1 :]:
        _remove(path)


def _remove(version: Path) -> None:
    """Remove a version; renamed first, so that a build killed here leaves no half of one under its name."""
    shutil.rmtree(version.rename(version.with_name(f"{_UNFINISHED}gone-{version.name}")))


def _listing(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
