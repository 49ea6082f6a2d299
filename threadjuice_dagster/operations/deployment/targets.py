"""The places that a site is deployed to: their interface, and the one that is a folder of this machine.

Vercel is in ``operations/deployment/vercel.py``. The order of the steps belongs in
``operations/deployment/service.py``.
"""

import hashlib
import json
import os
import shutil
import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import dagster as dg

from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError
from threadjuice_dagster.operations.deployment.rules import Deployment
from threadjuice_dagster.resources.http import Answer, send
from threadjuice_dagster.site.build_state import read_files
from threadjuice_dagster.site.layout import MARKER, File, Marker
from threadjuice_dagster.site.versions import link, point_link, unlink

if TYPE_CHECKING:
    from threadjuice_dagster.operations.deployment.site_server import PreviewServer
    from threadjuice_dagster.operations.engagement.receiver import Reports

KEEP = 5
"""Deployments that a folder keeps, including the live and the staged one."""

PRODUCTION, STAGING = "production", "staging"


class Staged(NamedTuple):
    """A staged deployment: the platform's name for it, its address, its new files and all files, and the new bytes."""

    id: str
    url: str
    files: int
    total: int
    bytes: int


class Opened(NamedTuple):
    """The address of a site's pages, and the headers that requests need."""

    url: str
    headers: Mapping[str, str]


class Deployer(dg.ConfigurableResource):
    """A place that keeps several deployments of the site and shows one of them to readers."""

    has_limits: ClassVar[bool] = False
    """Whether the place bounds how large a deployment may be."""

    @property
    @abstractmethod
    def place(self) -> str:
        """The platform and the project, as the history stores them."""

    @abstractmethod
    def stage(
        self,
        name: str,
        folder: Path,
        files: Collection[File],
        shared: Collection[File],
        created: Callable[[str], None] = lambda _: None,
    ) -> Staged:
        """Upload the ``files`` of a site's folder, where readers do not see them.

        ``shared`` are files of the live deployment, which the new one keeps. ``created`` is called with the platform's
        name as soon as there is one, so that a killed deployment can be found again.
        """

    @abstractmethod
    def promote(self, identity: str) -> None:
        """Show a staged deployment to readers, all at once. Return when the place has confirmed it."""

    @abstractmethod
    def restore(self, identity: str) -> None:
        """Show a deployment that was live before. Return when the place has confirmed it."""

    @abstractmethod
    def live(self) -> str:
        """Return the deployment that the place shows to readers, or an empty text if it cannot tell."""

    @abstractmethod
    def keeps(self, identity: str) -> bool:
        """Return whether a deployment can still be shown."""

    @abstractmethod
    def remove(self, identity: str) -> None:
        """Delete a deployment for good. A missing one is no error."""

    def protection_failure(self, answer: Answer, opened: Opened) -> ThreadJuiceError | None:
        """Return the failure where the place's own protection answers instead of the site. Most have none."""
        return None

    def public_address(self, deployment: Deployment) -> str:
        """Return the address of the live deployment."""
        return deployment.url

    @abstractmethod
    def opened(self, deployment: Staged | None = None) -> AbstractContextManager[Opened]:
        """Yield the address of a deployment's pages, or without one of what readers see."""


class LocalTarget(Deployer):
    """A folder: ``versions/<id>`` are whole sites, the links ``staging`` and ``production`` lead to one each.

    A version consists of hard links to the files of the build, so that it takes no space of its own. Once there are
    ``KEEP`` versions, the oldest is turned into the newest, so that files which both have stay untouched.

    ``threadjuice dev`` serves the live version at ``port``; an operator's own server does at ``site_url``.
    """

    folder: str
    site_url: str = ""
    port: int = 0

    @property
    def place(self) -> str:
        """The folder."""
        return f"folder {self._root}"

    def stage(
        self,
        name: str,
        folder: Path,
        files: Collection[File],
        shared: Collection[File],
        created: Callable[[str], None] = lambda _: None,
    ) -> Staged:
        """Link the files into a new version, and point ``staging`` to it."""
        part, had = self._spare()
        created(name)
        wanted = {file.path: (file, folder) for file in files}
        there = self._root / PRODUCTION
        wanted |= {
            file.path: (file, there) for file in shared if file.path not in wanted and (there / file.path).is_file()
        }
        new = [(file, root) for file, root in wanted.values() if had.get(file.path) != file.sha1]
        for path in had.keys() - wanted.keys():
            unlink(part, path)
        for file, root in new:
            link(f"{root}/{file.path}", f"{part}/{file.path}")
        listing = {path: file.sha1 for path, (file, _) in wanted.items()}
        (self._listings / f"{name}.json").write_text(json.dumps(listing))
        # The age of a folder decides which version is reused next; renaming does not change it.
        os.utime(part)
        part.rename(self._version(name))
        self._point(STAGING, name)
        url = (self._version(name) / "index.html").as_uri()
        return Staged(name, url, len(new), len(wanted), sum(file.size for file, _ in new))

    def promote(self, identity: str) -> None:
        """Point ``production`` at it, in one rename."""
        if not self.keeps(identity):
            message = f"Deployment {identity[:80]} is not in {self._root} any more."
            raise PermanentFailure(message, "Deploy the site as it is now: threadjuice deploy production")
        self._point(PRODUCTION, identity)

    def restore(self, identity: str) -> None:
        """Point ``production`` back at it."""
        self.promote(identity)

    def live(self) -> str:
        """Return the version that ``production`` points to."""
        return self._target(PRODUCTION)

    def keeps(self, identity: str) -> bool:
        """Return whether its folder exists."""
        return bool(identity) and "/" not in identity and self._version(identity).is_dir()

    def remove(self, identity: str) -> None:
        """Delete its folder, unless readers see it."""
        if self.keeps(identity) and identity != self.live():
            part = self._version(identity).rename(self._root / "versions" / f".part-{identity}")
            shutil.rmtree(part)
            (self._listings / f"{identity}.json").unlink(missing_ok=True)

    def public_address(self, deployment: Deployment) -> str:
        """Return the site's address, or that of a server on this machine which shows this version, or else the file."""
        if self.site_url:
            return self.site_url
        here = f"http://127.0.0.1:{self.port}"
        with suppress(ThreadJuiceError):
            body = send("GET", f"{here}/{MARKER}", timeout=2.0, attempts=1).body if self.port else b""
            if Marker.read(body).version == deployment.version:
                return f"{here}/"
        return (self._root / PRODUCTION / "index.html").absolute().as_uri()

    @contextmanager
    def opened(self, deployment: Staged | None = None) -> Iterator[Opened]:
        """Serve the folder while the block lasts."""
        with self.server(0, deployment) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            try:
                yield Opened(server.url, {})
            finally:
                server.shutdown()
                thread.join()

    def server(self, port: int, deployment: Staged | None = None, reports: "Reports | None" = None) -> "PreviewServer":
        """Return a server of a deployment, or of what readers see. Call its ``serve_forever``."""
        from threadjuice_dagster.operations.deployment.site_server import serve

        server = serve(self._root, port, reports=reports)
        server.current = self._version(deployment.id) if deployment else self._root / PRODUCTION
        server.empty = "Nothing has been deployed yet. Run: threadjuice deploy production"
        return server

    @property
    def _root(self) -> Path:
        return Path(self.folder)

    @property
    def _listings(self) -> Path:
        return self._root / "listings"

    def _version(self, identity: str) -> Path:
        return self._root / "versions" / identity

    def _target(self, name: str) -> str:
        path = self._root / name
        return path.readlink().name if path.is_symlink() else ""

    def _point(self, name: str, identity: str) -> None:
        point_link(self._root, identity, name)

    def _spare(self) -> tuple[Path, dict[str, str]]:
        """Return a folder for the next version, and the files in it (path → SHA-1): the oldest one if there are enough.

        Remove what killed deployments left behind; the lock on deploying makes sure that no other is under way.
        """
        versions = self._root / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        self._listings.mkdir(exist_ok=True)
        # Half-made versions of killed deployments.
        for leftover in versions.glob(".part-*"):
            shutil.rmtree(leftover)
        for listing in self._listings.iterdir():
            if not self._version(listing.stem).is_dir():
                listing.unlink()
        part = versions / ".part-next"
        kept = sorted(versions.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        idle = [path for path in kept if path.name not in (self._target(PRODUCTION), self._target(STAGING))]
        if len(kept) < KEEP or not idle:
            part.mkdir()
            return part, {}
        idle[0].rename(part)
        return part, json.loads((self._listings / f"{idle[0].name}.json").read_text())


def manifest_of(folder: Path) -> list[File]:
    """Return every file of a built site, from its build state where there is one."""
    files = [File(file.path, file.sha1, file.size) for file in read_files(folder.parents[1], folder.name)]
    if files:
        return [*files, _file(folder / MARKER, folder)]
    return [_file(path, folder) for path in sorted(folder.rglob("*")) if path.is_file()]


def _file(path: Path, root: Path) -> File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.sha1(usedforsecurity=False))
        return File(path.relative_to(root).as_posix(), digest.hexdigest(), stream.tell())
