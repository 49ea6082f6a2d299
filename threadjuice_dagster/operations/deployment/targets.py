"""Where the site is deployed to: what every target can do, and the target that is a folder of this machine.

Vercel is ``operations/deployment/vercel.py``. In what order a target is asked belongs in
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
"""Deployments a folder keeps, those that are live and staged included."""

PRODUCTION, STAGING = "production", "staging"


class Staged(NamedTuple):
    """What staging brought: the platform's name for it, its address, and of all its files those that were new there."""

    id: str
    url: str
    files: int
    total: int
    bytes: int


class Opened(NamedTuple):
    """Where a deployment can be asked for its pages, and the headers that takes."""

    url: str
    headers: Mapping[str, str]


class Deployer(dg.ConfigurableResource):
    """A place that keeps several deployments of the site and shows one of them to readers."""

    has_limits: ClassVar[bool] = False
    """Whether the place bounds how large a deployment may be."""

    @property
    @abstractmethod
    def place(self) -> str:
        """The platform and the project, as the history knows them."""

    @abstractmethod
    def stage(
        self,
        name: str,
        folder: Path,
        files: Collection[File],
        shared: Collection[File],
        created: Callable[[str], None] = lambda _: None,
    ) -> Staged:
        """Bring the ``files`` of a site's folder to the place, where readers do not see them.

        ``shared`` are those of the deployment that is live: the place has them, and goes on having them. ``created`` is
        told the platform's name for it as soon as there is one, so that a killed deployment can be found again.
        """

    @abstractmethod
    def promote(self, identity: str) -> None:
        """Show a staged deployment to readers, all of it at once; returns when the place has confirmed it."""

    @abstractmethod
    def restore(self, identity: str) -> None:
        """Show a deployment again that was live before; returns when the place has confirmed it."""

    @abstractmethod
    def live(self) -> str:
        """What the place says is shown to readers now; empty if it does not know."""

    @abstractmethod
    def keeps(self, identity: str) -> bool:
        """Whether a deployment could still be shown."""

    @abstractmethod
    def remove(self, identity: str) -> None:
        """Delete a deployment for good; one that is not there is no error."""

    def locked_out(self, answer: Answer, opened: Opened) -> ThreadJuiceError | None:
        """What is told where an answer is the place's own lock instead of the site; most places have none."""
        return None

    def shown_at(self, deployment: Deployment) -> str:
        """Where a deployment that is live now can be looked at."""
        return deployment.url

    @abstractmethod
    def opened(self, deployment: Staged | None = None) -> AbstractContextManager[Opened]:
        """Where to ask a deployment for pages while the block lasts; without one, what readers see."""


class LocalTarget(Deployer):
    """A folder: ``versions/<id>`` are whole sites, the links ``staging`` and ``production`` lead to one each.

    A version is made of hard links to the files of the build, so it costs no room for them. As soon as ``KEEP`` are
    there, the oldest is turned into the newest: what both have in common is not touched.

    ``threadjuice dev`` serves what is live at ``port``; ``site_url`` is where a server of the operator's does.
    """

    folder: str
    site_url: str = ""
    port: int = 0

    @property
    def place(self) -> str:
        """A folder of this machine."""
        return f"folder {self._root}"

    def stage(
        self,
        name: str,
        folder: Path,
        files: Collection[File],
        shared: Collection[File],
        created: Callable[[str], None] = lambda _: None,
    ) -> Staged:
        """Link the files into a version of their own; ``staging`` leads to it."""
        part, had = self._spare()
        created(name)
        wanted = {file.path: (file, folder) for file in files}
        there = self._root / PRODUCTION
        wanted |= {one.path: (one, there) for one in shared if one.path not in wanted and (there / one.path).is_file()}
        new = [(file, root) for file, root in wanted.values() if had.get(file.path) != file.sha1]
        for path in had.keys() - wanted.keys():
            unlink(part, path)
        for file, root in new:
            link(f"{root}/{file.path}", f"{part}/{file.path}")
        listing = {path: file.sha1 for path, (file, _) in wanted.items()}
        (self._listings / f"{name}.json").write_text(json.dumps(listing))
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
        """Where ``production`` leads to."""
        return self._target(PRODUCTION)

    def keeps(self, identity: str) -> bool:
        """Whether its folder is there."""
        return bool(identity) and "/" not in identity and self._version(identity).is_dir()

    def remove(self, identity: str) -> None:
        """Delete its folder; one that readers see stays."""
        if self.keeps(identity) and identity != self.live():
            part = self._version(identity).rename(self._root / "versions" / f".part-{identity}")
            shutil.rmtree(part)
            (self._listings / f"{identity}.json").unlink(missing_ok=True)

    def shown_at(self, deployment: Deployment) -> str:
        """The site's address, or that of a server on this machine which shows this version, or else the file."""
        if self.site_url:
            return self.site_url
        here = f"http://127.0.0.1:{self.port}"
        with suppress(ThreadJuiceError):
            found = (
                Marker.read(send("GET", f"{here}/{MARKER}", timeout=2.0, attempts=1).body) if self.port else Marker()
            )
            if found.version == deployment.version:
                return f"{here}/"
        return (self._root / PRODUCTION / "index.html").absolute().as_uri()

    @contextmanager
    def opened(self, deployment: Staged | None = None) -> Iterator[Opened]:
        """A server of the folder, for as long as the block lasts."""
        with self.server(0, deployment) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            try:
                yield Opened(server.url, {})
            finally:
                server.shutdown()
                thread.join()

    def server(self, port: int, deployment: Staged | None = None, reports: "Reports | None" = None) -> "PreviewServer":
        """A server of what readers see, or of a deployment; call its ``serve_forever``."""
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
        """A folder to make the next version in, and what it has (path → SHA-1): the oldest one if there are enough.

        What killed deployments left behind is removed: who deploys has the turn.
        """
        versions = self._root / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        self._listings.mkdir(exist_ok=True)
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
    """Every file of a built site: as its build noted them, or where nothing is noted as they are."""
    noted = [File(one.path, one.sha1, one.size) for one in read_files(folder.parents[1], folder.name)]
    if noted:
        return [*noted, _file(folder / MARKER, folder)]
    return [_file(path, folder) for path in sorted(folder.rglob("*")) if path.is_file()]


def _file(path: Path, root: Path) -> File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.sha1(usedforsecurity=False))
        return File(path.relative_to(root).as_posix(), digest.hexdigest(), stream.tell())
