"""Decides which reports of readers' pages are accepted and counted. Nothing is known about who the readers are.

The deployed function carries this file, so only the standard library and ``page_events`` are imported at load. How
reports arrive belongs in ``operations/engagement/receiver.py``, storing counts in ``operations/engagement/store.py``.
"""

import functools
import json
import re
import threading
from collections.abc import Mapping
from email.message import Message
from typing import TYPE_CHECKING, NamedTuple

from threadjuice_dagster.domain.story.page_events import EVENTS, QUARTERS

if TYPE_CHECKING:
    import pandas as pd
    from crawlerdetect import CrawlerDetect

MAX_BODY = 1024
"""Bytes of a report; the longest one the pages send has about 400."""

PER_SECOND, BURST = 100.0, 200
"""Reports that one process takes: per second, and in a burst."""

STORY_PER_MINUTE = 1_000
"""How often one event of one story is counted in a minute by all processes together."""

MAX_PENDING = 10_000
"""Counts that a process holds until it writes them."""

MAX_SEEN = 100_000
"""Events that a process remembers, so that an event that is sent twice counts once."""

Key = tuple[str, str]
"""A story's slug and an event."""

_LONGEST_AGENT = 500
_KNOWN = frozenset(EVENTS)
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,119}")
_PAGE = re.compile(r"[0-9a-f]{32}")
_JSON = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)


class RefusedReport(ValueError):
    """A report that is refused; ``status`` is the HTTP status of the answer."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"refused with status {status}")


class Report(NamedTuple):
    """The report of one page: its story's slug, a random number for this page view, and the events."""

    story: str
    page: str
    events: tuple[str, ...]


def check_headers(headers: Message) -> None:
    """Raise ``RefusedReport`` for a report that no page of this site sent: 415 for its type, 403 for its origin."""
    if not _JSON.fullmatch(headers.get("Content-Type", "")):
        raise RefusedReport(415)
    origin, host = headers.get("Origin", ""), headers.get("Host", "")
    ours = bool(host) and origin.lower() in (f"https://{host.lower()}", f"http://{host.lower()}")
    if not ours or headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise RefusedReport(403)


def is_uncounted(headers: Message) -> bool:
    """Whether a report is left uncounted: it comes from a program, or from a reader who asked not to be tracked.

    Every browser of today calls itself ``Mozilla/5.0 (…``.
    """
    agent = headers.get("User-Agent", "")[:_LONGEST_AGENT]
    asked = headers.get("DNT") == "1" or headers.get("Sec-GPC") == "1"
    return asked or not agent.startswith("Mozilla/5.0 (") or _robots().is_crawler(agent)


@functools.cache
def _robots() -> "CrawlerDetect":
    from crawlerdetect import CrawlerDetect

    return CrawlerDetect()


def read_report(body: bytes) -> Report:
    """Read the report of a body. Raises ``RefusedReport`` with 413 for more than ``MAX_BODY`` bytes, else with 400."""
    if len(body) > MAX_BODY:
        raise RefusedReport(413)
    try:
        fields = json.loads(body)
        story, page, events = (fields[name] for name in Report._fields)
        whole = len(fields) == len(Report._fields) and isinstance(events, list) and 0 < len(events) <= len(EVENTS)
        valid = whole and _SLUG.fullmatch(story) and _PAGE.fullmatch(page) and _KNOWN.issuperset(events)
    except (ValueError, TypeError, KeyError, RecursionError):
        valid = False
    if not valid:
        raise RefusedReport(400)
    return Report(story, page, tuple(events))


class Intake:
    """The counts that a process has not written yet. Their number is bounded; threads may share an intake.

    Of a page view only salted hashes are held, in memory, until newer ones displace them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[Key, int] = {}
        self._seen: dict[int, None] = {}
        self._room, self._at = float(BURST), 0.0
        self._dropped = 0

    def admit(self, now: float) -> None:
        """Admit one report at ``now`` (monotonic seconds). Raises ``RefusedReport`` with 429 above the limit."""
        with self._lock:
            self._room = min(BURST, self._room + (now - self._at) * PER_SECOND)
            self._at = now
            if self._room < 1:
                self._dropped += 1
                raise RefusedReport(429)
            self._room -= 1

    def take(self, report: Report) -> None:
        """Count the events of a report that were not reported before."""
        with self._lock:
            for event in report.events:
                mark = hash((report.story, report.page, event))
                if mark not in self._seen:
                    self._seen[mark] = None
                    self._add((report.story, event), 1)
            while len(self._seen) > MAX_SEEN:
                del self._seen[next(iter(self._seen))]

    def drain(self) -> tuple[dict[Key, int], int]:
        """Return and clear the counts to be written, and the number of dropped ones since the last call."""
        with self._lock:
            taken = self._pending, self._dropped
            self._pending, self._dropped = {}, 0
            return taken

    def give_back(self, counts: Mapping[Key, int]) -> None:
        """Take counts back that could not be written."""
        with self._lock:
            for key, count in counts.items():
                self._add(key, count)

    def _add(self, key: Key, count: int) -> None:
        if key in self._pending or len(self._pending) < MAX_PENDING:
            self._pending[key] = self._pending.get(key, 0) + count
        else:
            self._dropped += count


def figures(counts: "pd.DataFrame", by: str) -> "pd.DataFrame":
    """Return views, reading depth, shares and reactions for each value of the column ``by``, most viewed first.

    ``counts`` has that column, ``event`` and ``count``. ``finished`` is the share of views that read to the end, in
    per cent; a page that was counted as read but not as viewed cannot lift it above 100.
    """
    wide = counts.pivot_table(index=by, columns="event", values="count", aggfunc="sum", fill_value=0)
    wide = wide.reindex(columns=list(EVENTS), fill_value=0)
    totals = wide[["view"]].rename(columns={"view": "views"})
    for quarter in QUARTERS:
        totals[f"read_{quarter}"] = wide[f"depth:{quarter}"]
    totals["finished"] = (100 * totals["read_100"] / totals["views"].clip(lower=1)).clip(upper=100).round(1)
    for kind in ("share", "reaction"):
        totals[f"{kind}s"] = wide.filter(regex=f"^{kind}:").sum(axis=1)
    return totals.sort_values(["views", "shares"], ascending=False, kind="stable")
