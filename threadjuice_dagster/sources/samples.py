"""The bundled sample threads, written for this project: they serve discovery where no other source is configured."""

import importlib.resources
import json
import re
from datetime import date
from typing import ClassVar

from threadjuice_dagster.domain.story.threads import SourceName, Thread, interleaved
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.sources.reddit_parser import parse_thread
from threadjuice_dagster.sources.thread_source import SourcePolicy, ThreadSource

_ID = re.compile(r"(?:sample-)?(tj\d[a-z]\d\d)", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://(?:www\.)?reddit\.com/.*/comments/(tj\d[a-z]\d\d)(?:/.*)?", re.IGNORECASE)


class Samples(ThreadSource):
    """The threads in ``editorial/threads/``, in Reddit's own format."""

    name: ClassVar[SourceName] = "sample"
    prefix: ClassVar[str] = "sample"
    policy: ClassVar[SourcePolicy] = SourcePolicy(
        terms="LICENSE",
        terms_read=date(2026, 11, 30),
        licence="MIT",
        credit="none",
        unattended_use=True,
        deletion_hours=None,
    )

    def listing(self, place: str, limit: int) -> list[Thread]:
        """Return at most ``limit`` samples, the most engaging first; there is one place only."""
        return interleaved(_samples())[:limit]

    def recognises(self, reference: str) -> bool:
        """Return whether a reference is the id of a sample, or the address that its file holds."""
        return bool(_ID.fullmatch(reference) or _ADDRESS.fullmatch(reference))

    def thread(self, reference: str) -> Thread:
        """Return the sample with this id. Raises ``UsageError`` for any other."""
        match = _ID.fullmatch(reference) or _ADDRESS.fullmatch(reference)
        for thread in _samples() if match else []:
            if match and thread.id == match[1].lower():
                return thread
        raise UsageError(f"There is no sample thread {reference[:60]!r}.", "Pass one such as tj1a01.")


def _samples() -> list[Thread]:
    folder = importlib.resources.files("threadjuice_dagster") / "editorial" / "threads"
    files = [item for item in folder.iterdir() if item.name.endswith(".json")]
    return [parse_thread(json.loads(item.read_text(encoding="utf-8")), "sample") for item in files]
