"""Deployments: their states and steps, what a smoke test expects, how large a site may grow, how fast it has to answer.

The places that sites are deployed to belong in ``operations/deployment/targets.py``, the history of deployments in
``operations/deployment/store.py``.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Literal, NamedTuple
from urllib.parse import quote

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.operations.findings import Finding, first_problem
from threadjuice_dagster.site.build_state import WINDOW_DAYS, SiteSize
from threadjuice_dagster.site.layout import SHARED, File

State = Literal["running", "staged", "live", "superseded", "rolled_back", "failed", "interrupted", "deleted"]

VALIDATED: tuple[State, ...] = ("live", "superseded", "rolled_back")
"""States of deployments that were live and passed their validation there. A rollback may restore these."""

PREVIOUS = "previous"
"""How a rollback names the deployment before the live one."""

SAMPLE = 24
"""Files of each folder that a smoke test requests."""

LARGEST = 5_000_000
"""Bytes of the largest file that a smoke test requests."""

KILLED = "Its process was killed."

Headers = Callable[[str], Mapping[str, str]]
"""Returns the headers that a site promises for the file at a path."""

_NOWHERE = "this-page-is-nowhere/index.html"
_READ_AS = ("html", "css", "javascript", "xml")
"""Words in a content type by which browsers and feed readers recognise what a file is."""

_OF_ANY_SERVER = ("content-type", "cache-control")


class DeploymentStep(Model):
    """A step of a deployment."""

    name: str
    state: Literal["running", "done", "failed", "skipped", "interrupted"]
    seconds: float = 0.0
    message: str = ""


class Deployment(Model):
    """A version of the site brought to a place.

    ``place`` is the platform and the project, ``platform_id`` the platform's name for it. The smoke test requests the
    files in ``probes``. What was taken down after ``built_at`` may still be on it.
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
        """The platform's name for it, or number and version until it has one."""
        return self.platform_id or f"{self.number}-{self.version}"

    @property
    def shared(self) -> list[File]:
        """Its stylesheets and the like. Pages loaded before the next deployment still request them."""
        return [file for file in self.probes if file.path.startswith(SHARED)]

    def summary(self) -> dict[str, str]:
        """Return what commands print."""
        return {"id": self.id, "url": self.url, "version": self.version, "state": self.state}


class SmokeRequest(NamedTuple):
    """A request of a smoke test and the answer it expects. An empty ``sha1`` accepts any content."""

    path: str
    status: int = 200
    sha1: str = ""
    headers: Mapping[str, str] = {}


def sample_files(files: Iterable[File]) -> tuple[File, ...]:
    """Return the files that a smoke test requests: up to ``SAMPLE`` of each folder, evenly spread."""
    folders: dict[str, list[File]] = {}
    for file in sorted(files):
        if file.size <= LARGEST and file.path != "404.html":
            folder, inside, _ = file.path.partition("/")
            folders.setdefault(folder if inside else "", []).append(file)
    return tuple(file for inside in folders.values() for file in _spread(inside))


def smoke_requests(probes: Iterable[File], headers: Headers) -> list[SmokeRequest]:
    """Return the requests of a smoke test: each probe as the site links it, the front page, and a missing page."""
    requests = [SmokeRequest(f"/{quote(file.path)}", 200, file.sha1, headers(file.path)) for file in probes]
    return [*requests, SmokeRequest("/"), SmokeRequest(f"/{_NOWHERE}", 404)]


def find_problem(request: SmokeRequest, status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Return what is wrong with an answer, or an empty text. Names of ``headers`` may be in any case."""
    if status != request.status:
        return f"{request.path} answered {status} instead of {request.status}"
    if request.sha1 and hashlib.sha1(body, usedforsecurity=False).hexdigest() != request.sha1:
        return f"{request.path} is not what was built"
    received = {name.lower(): value for name, value in headers.items()}
    for name, value in request.headers.items():
        came = received.get(name.lower(), "none")
        if _breaks(name.lower(), value, came):
            return f"{request.path} came with {name}: {came[:80]}"
    return ""


def sends_site_headers(headers: Mapping[str, str], promised: Mapping[str, str]) -> bool:
    """Return whether a place sends any of the site's own headers. One that sends none is not configured for them."""
    own = {name.lower() for name in promised}.difference(_OF_ANY_SERVER)
    return any(name.lower() in own for name in headers)


def interrupted(steps: Iterable[DeploymentStep], *, alive: bool) -> list[DeploymentStep]:
    """Return the steps of a run. A running step is shown as interrupted unless its process is ``alive``."""
    gone = {"state": "interrupted", "message": KILLED}
    return [step if alive or step.state != "running" else step.model_copy(update=gone) for step in steps]


def _spread(files: list[File]) -> list[File]:
    if len(files) <= SAMPLE:
        return files
    return [files[index * (len(files) - 1) // (SAMPLE - 1)] for index in range(SAMPLE)]


def _breaks(name: str, promised: str, came: str) -> bool:
    """Return whether a header differs where that matters. Names of types and caching times may differ."""
    plain = came.lower()
    if name == "content-type":
        return next((word for word in _READ_AS if word in promised), "") not in plain
    if name == "cache-control":
        return "immutable" in plain and "immutable" not in promised
    return plain.replace(" ", "") != promised.lower().replace(" ", "")


PRO, HOBBY = 1_000_000_000, 100_000_000
"""Bytes of a deployment on Vercel's plans (https://vercel.com/docs/limits)."""

SOON_PRO, SOON_HOBBY = 180, 60
"""Days before a limit is reached from which on an operator is warned."""


def capacity_finding(size: SiteSize, daily: int, *, has_cdn: bool) -> Finding:
    """Say when Vercel's limits will be reached. Without recent stories the pace is ``daily`` stories a day."""
    pace = size.recent / WINDOW_DAYS if size.recent else daily
    stories = {limit: int((limit - size.weight) / size.story_weight) for limit in (PRO, HOBBY)}
    days = {limit: left / max(pace, 0.01) for limit, left in stories.items()}
    summary = f"{size.files:,} files, {size.weight / 1e6:,.1f} MB as sent, for {size.stories:,} stories."
    pro, hobby = (_reached(stories[limit], days[limit]) for limit in (PRO, HOBBY))
    summary = f"{summary} At {pace:.1f} stories a day Vercel's 1 GB (Pro) is reached {pro}, its 100 MB (Hobby) {hobby}."
    move = "Run: threadjuice maintenance optimize"
    if not has_cdn:
        move = f"Set CDN_BUCKET and IMAGE_CDN_URL, so that pictures are in no deployment. {move}"
    other = "Take a larger plan, or serve the folder target from a server of your own."
    return first_problem(
        "vercel_capacity",
        "alerts",
        summary,
        ("failed", size.picture_bytes > PRO, summary, move),
        ("warning", has_cdn and size.pictures > 0, f"{summary} {size.pictures:,} files of pictures are in it.", move),
        ("warning", size.pictures > 0 and min(days[PRO] - SOON_PRO, days[HOBBY] - SOON_HOBBY) < 0, summary, move),
        ("warning", days[PRO] < SOON_PRO, summary, other),
    )


def _reached(stories: int, days: float) -> str:
    if stories <= 0:
        return "already"
    return f"in {stories:,} stories, {days:,.0f} days"


SLOWER, SECONDS = 1.5, 0.25
"""A reader notices an answer that takes so many times as long, and so many seconds longer."""

HEAVIER, BYTES = 1.5, 100_000
"""The same for the bytes sent."""


class Speed(Model):
    """What a reader waits for: milliseconds to the first and to the last byte, and the number of bytes."""

    first_byte_ms: float
    whole_ms: float
    bytes: int


class Compared(Model):
    """The speed of a page, picture or feed on the staged and on the live deployment."""

    name: str
    staged: Speed
    live: Speed

    @property
    def ratio(self) -> float:
        """How many times as long the staged deployment takes."""
        return round(self.staged.whole_ms / max(self.live.whole_ms, 0.01), 2)

    @property
    def wrong(self) -> str:
        """What readers would notice, or an empty text."""
        longer = self.staged.whole_ms - self.live.whole_ms
        if self.ratio > SLOWER and longer > SECONDS * 1000:
            return f"{self.name} takes {self.staged.whole_ms:.0f} ms instead of {self.live.whole_ms:.0f}"
        if self.staged.bytes > self.live.bytes * HEAVIER and self.staged.bytes - self.live.bytes > BYTES:
            return f"{self.name} has {self.staged.bytes:,} bytes instead of {self.live.bytes:,}"
        return ""


def typical(samples: Sequence[Speed]) -> Speed:
    """Return the median of each figure."""
    return Speed(
        first_byte_ms=round(median(sample.first_byte_ms for sample in samples), 1),
        whole_ms=round(median(sample.whole_ms for sample in samples), 1),
        bytes=int(median(sample.bytes for sample in samples)),
    )


def compared(staged: Mapping[str, Speed], live: Mapping[str, Speed]) -> list[Compared]:
    """Return the comparison of everything that both deployments have."""
    return [Compared(name=name, staged=speed, live=live[name]) for name, speed in staged.items() if name in live]


def speed_finding(rows: Iterable[Compared]) -> Finding:
    """Judge whether the staged deployment is about as fast and as light as the live one."""
    rows = list(rows)
    wrong = [row.wrong for row in rows if row.wrong]
    summary = "; ".join(f"{row.name} {row.staged.whole_ms:.0f} ms, {row.ratio:g} times the live one's" for row in rows)
    step = "Look at what changed in the build before it goes live: threadjuice deploy production"
    good = f"{summary}." if summary else "Nothing is live yet that it could be held against."
    return first_problem("as_fast_as_live", "alerts", good, ("warning", bool(wrong), f"{'; '.join(wrong)}.", step))
