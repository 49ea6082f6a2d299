"""Deployments: what one is, the steps it goes through, and what a smoke test asks of a site.

Where sites go belongs in ``operations/deployment/targets.py``, what is remembered of them in
``operations/deployment/store.py``.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Literal, NamedTuple
from urllib.parse import quote

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.operations.findings import Finding, judged
from threadjuice_dagster.site.build_state import WINDOW_DAYS, SiteSize
from threadjuice_dagster.site.layout import SHARED, File

State = Literal["running", "staged", "live", "superseded", "rolled_back", "failed", "interrupted", "deleted"]

VALIDATED: tuple[State, ...] = ("live", "superseded", "rolled_back")
"""States of deployments that were live and passed their validation there: what a rollback may go to."""

PREVIOUS = "previous"
"""How a rollback names the deployment before that which is live."""

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


PRO, HOBBY = 1_000_000_000, 100_000_000
"""Bytes that Vercel's plans take in a deployment (https://vercel.com/docs/limits)."""

SOON_PRO, SOON_HOBBY = 180, 60
"""Days before a limit at which an operator is told of it."""


def capacity_finding(size: SiteSize, daily: int, *, has_cdn: bool) -> Finding:
    """When Vercel's limits are reached, and what to do about it; ``daily`` are the stories that are planned a day."""
    pace = size.recent / WINDOW_DAYS if size.recent else daily
    stories = {limit: int((limit - size.weight) / size.story_weight) for limit in (PRO, HOBBY)}
    days = {limit: left / max(pace, 0.01) for limit, left in stories.items()}
    told = f"{size.files:,} files, {size.weight / 1e6:,.1f} MB as sent, for {size.stories:,} stories."
    pro, hobby = (_reached(stories[limit], days[limit]) for limit in (PRO, HOBBY))
    told = f"{told} At {pace:.1f} stories a day Vercel's 1 GB (Pro) is reached {pro}, its 100 MB (Hobby) {hobby}."
    move = "Run: threadjuice maintenance optimize"
    if not has_cdn:
        move = f"Set CDN_BUCKET and IMAGE_CDN_URL, so that pictures are in no deployment. {move}"
    other = "Take a larger plan, or serve the folder target from a server of your own."
    return judged(
        "vercel_capacity",
        "alerts",
        told,
        ("failed", size.picture_bytes > PRO, told, move),
        ("warning", has_cdn and size.pictures > 0, f"{told} {size.pictures:,} files of pictures are in it.", move),
        ("warning", size.pictures > 0 and min(days[PRO] - SOON_PRO, days[HOBBY] - SOON_HOBBY) < 0, told, move),
        ("warning", days[PRO] < SOON_PRO, told, other),
    )


def _reached(stories: int, days: float) -> str:
    if stories <= 0:
        return "already"
    return f"in {stories:,} stories, {days:,.0f} days"


SLOWER, SECONDS = 1.5, 0.25
"""So many times as long, and so much longer, that a reader notices."""

HEAVIER, BYTES = 1.5, 100_000
"""The same for what is sent."""


class Speed(Model):
    """What a reader waits for: milliseconds to the first byte and to the last, and the bytes."""

    first_byte_ms: float
    whole_ms: float
    bytes: int


class Compared(Model):
    """A page, picture or feed where it is staged and where it is live; ``ratio`` is of the whole times."""

    name: str
    staged: Speed
    live: Speed

    @property
    def ratio(self) -> float:
        """How many times as long the staged one takes."""
        return round(self.staged.whole_ms / max(self.live.whole_ms, 0.01), 2)

    @property
    def wrong(self) -> str:
        """What readers would notice; empty where it is as it was."""
        longer = self.staged.whole_ms - self.live.whole_ms
        if self.ratio > SLOWER and longer > SECONDS * 1000:
            return f"{self.name} takes {self.staged.whole_ms:.0f} ms instead of {self.live.whole_ms:.0f}"
        if self.staged.bytes > self.live.bytes * HEAVIER and self.staged.bytes - self.live.bytes > BYTES:
            return f"{self.name} has {self.staged.bytes:,} bytes instead of {self.live.bytes:,}"
        return ""


def typical(samples: Sequence[Speed]) -> Speed:
    """The median of each figure."""
    return Speed(
        first_byte_ms=round(median(one.first_byte_ms for one in samples), 1),
        whole_ms=round(median(one.whole_ms for one in samples), 1),
        bytes=int(median(one.bytes for one in samples)),
    )


def compared(staged: Mapping[str, Speed], live: Mapping[str, Speed]) -> list[Compared]:
    """What is at both places."""
    return [Compared(name=name, staged=speed, live=live[name]) for name, speed in staged.items() if name in live]


def speed_finding(rows: Iterable[Compared]) -> Finding:
    """Whether what is staged is about as fast and as light as what is live."""
    rows = list(rows)
    wrong = [row.wrong for row in rows if row.wrong]
    told = "; ".join(f"{row.name} {row.staged.whole_ms:.0f} ms, {row.ratio:g} times the live one's" for row in rows)
    step = "Look at what changed in the build before it goes live: threadjuice deploy production"
    good = f"{told}." if told else "Nothing is live yet that it could be held against."
    return judged("as_fast_as_live", "alerts", good, ("warning", bool(wrong), f"{'; '.join(wrong)}.", step))
