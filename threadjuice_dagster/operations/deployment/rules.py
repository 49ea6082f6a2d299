"""Deployments: what one is, the steps it goes through, and what a smoke test asks of a site.

Where sites go belongs in ``operations/deployment/targets.py``, what is remembered of them in
``operations/deployment/store.py``.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple, Self
from urllib.parse import quote

from pydantic import ValidationError

from threadjuice_dagster.domain.model import Model

State = Literal["running", "staged", "live", "superseded", "rolled_back", "failed", "interrupted", "deleted"]

VALIDATED: tuple[State, ...] = ("live", "superseded", "rolled_back")
"""States of deployments that were live and passed their validation there: what a rollback may go to."""

PREVIOUS = "previous"
"""How a rollback names the deployment before that which is live."""

MARKER = "version.json"
"""The file of a site that says which version it is."""

SHARED = "assets/"
"""Folder of stylesheets, scripts and fonts, named by their content; they are no story's."""

PICTURES = "img/"
"""Folder of pictures that no CDN serves."""

SAMPLE = 24
"""Files of each folder that a smoke test asks for."""

LARGEST = 5_000_000
"""Bytes of a file that a smoke test still reads."""

KILLED = "Its process was killed."

Headers = Callable[[str], Mapping[str, str]]
"""The headers a site promises with the file at a path."""

_NOWHERE = "this-page-is-nowhere/index.html"
_READ_AS = ("html", "css", "javascript", "xml")
"""What types have to say for a browser or a feed reader to take a file as what it is."""

_OF_ANY_SERVER = ("content-type", "cache-control")


class File(NamedTuple):
    """A file of a site: its path from the top, the SHA-1 of its content, and its bytes."""

    path: str
    sha1: str
    size: int


class Marker(Model):
    """What a site says of itself; ``origins`` are those its pictures also come from."""

    version: str = ""
    stories: int = 0
    origins: tuple[str, ...] = ()

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The marker in a file or an answer; anything else is a site without a version."""
        try:
            return cls.model_validate_json(body)
        except ValidationError:
            return cls()


class Step(Model):
    """A step of a deployment; a running one whose process is gone was interrupted."""

    name: str
    state: Literal["running", "done", "failed", "skipped", "interrupted"]
    seconds: float = 0.0
    message: str = ""


class Deployment(Model):
    """A version of the site brought to a place.

    ``place`` is the platform and the project, ``platform_id`` what the platform calls it, ``probes`` the files it is
    tested by. What was taken down after ``built_at`` may be on it.
    """

    number: int
    place: str
    platform_id: str
    version: str
    state: State
    run_id: str
    url: str
    probes: tuple[File, ...]
    built_at: datetime

    @property
    def id(self) -> str:
        """The platform's name for it; until it has one, number and version."""
        return self.platform_id or f"{self.number}-{self.version}"

    @property
    def shared(self) -> list[File]:
        """Its stylesheets and the like: pages that were loaded before the next deployment still ask for them."""
        return [file for file in self.probes if file.path.startswith(SHARED)]

    def told(self) -> dict[str, str]:
        """What commands print of it."""
        return {"id": self.id, "url": self.url, "version": self.version, "state": self.state}


class Question(NamedTuple):
    """A request of a smoke test and what its answer has to be; an empty ``sha1`` is any content."""

    path: str
    status: int = 200
    sha1: str = ""
    headers: Mapping[str, str] = {}


def sample(files: Iterable[File]) -> tuple[File, ...]:
    """The files a site is tested by: those at its top, and evenly spread ones of each folder. No site is read whole."""
    folders: dict[str, list[File]] = {}
    for file in sorted(files):
        if file.size <= LARGEST and file.path != "404.html":
            folder, inside, _ = file.path.partition("/")
            folders.setdefault(folder if inside else "", []).append(file)
    return tuple(file for found in folders.values() for file in _spread(found))


def questions(probes: Iterable[File], headers: Headers) -> list[Question]:
    """What to ask a deployment: each probe as the site's own links do, the front page, and a page that is nowhere."""
    asked = [Question(f"/{quote(file.path)}", 200, file.sha1, headers(file.path)) for file in probes]
    return [*asked, Question("/"), Question(f"/{_NOWHERE}", 404)]


def problem(question: Question, status: int, headers: Mapping[str, str], body: bytes) -> str:
    """What is wrong with an answer; empty if nothing is. Names of ``headers`` may be in any case."""
    if status != question.status:
        return f"{question.path} answered {status} instead of {question.status}"
    if question.sha1 and hashlib.sha1(body, usedforsecurity=False).hexdigest() != question.sha1:
        return f"{question.path} is not what was built"
    found = {name.lower(): value for name, value in headers.items()}
    for name, value in question.headers.items():
        came = found.get(name.lower(), "none")
        if _breaks(name.lower(), value, came):
            return f"{question.path} came with {name}: {came[:80]}"
    return ""


def keeps_promises(headers: Mapping[str, str], promised: Mapping[str, str]) -> bool:
    """Whether a place sends any of the site's own headers: one that sends none was not told of them."""
    own = {name.lower() for name in promised}.difference(_OF_ANY_SERVER)
    return any(name.lower() in own for name in headers)


def interrupted(steps: Iterable[Step], *, alive: bool) -> list[Step]:
    """The steps of a run; one that still runs although its process is gone was interrupted."""
    gone = {"state": "interrupted", "message": KILLED}
    return [step if alive or step.state != "running" else step.model_copy(update=gone) for step in steps]


def _spread(files: list[File]) -> list[File]:
    if len(files) <= SAMPLE:
        return files
    return [files[index * (len(files) - 1) // (SAMPLE - 1)] for index in range(SAMPLE)]


def _breaks(name: str, promised: str, came: str) -> bool:
    """Whether a header is another one where that matters: how types are named and how long files keep may differ."""
    plain = came.lower()
    if name == "content-type":
        return next((word for word in _READ_AS if word in promised), "") not in plain
    if name == "cache-control":
        return "immutable" in plain and "immutable" not in promised
    return plain.replace(" ", "") != promised.lower().replace(" ", "")
