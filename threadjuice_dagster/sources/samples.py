"""The bundled sample threads, written for this project: they serve discovery where no other source is configured."""

import importlib.resources
import json
from datetime import date

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.sources.reddit import SAVE_IT, is_reference, thread_id_of
from threadjuice_dagster.sources.reddit_parser import parse_thread
from threadjuice_dagster.sources.thread_source import SourcePolicy, ThreadSource, ranked


class SampleThreads(ThreadSource):
    """The threads in ``editorial/threads/``, in Reddit's own format."""

    policy = SourcePolicy(
        terms="LICENSE",
        terms_read=date(2026, 11, 30),
        licence="MIT",
        share_alike=False,
        credit="none",
        stores_author_names=False,
        unattended_use=True,
        deletion_hours=None,
    )

    def candidates(self, limit: int) -> list[Thread]:
        """Return at most ``limit`` samples, the most engaging first."""
        return ranked(_samples())[:limit]

    def recognises(self, reference: str) -> bool:
        """Return whether a reference is an address or id of Reddit's, as those of the samples are."""
        return is_reference(reference)

    def thread(self, reference: str) -> Thread:
        """Return the sample with this id. Raises ``ConfigurationError`` for any other: it takes a Reddit key."""
        thread_id = thread_id_of(reference)
        for thread in _samples():
            if thread.id == thread_id:
                return thread
        raise ConfigurationError(f"Thread {thread_id} cannot be fetched: no Reddit credentials are set.", SAVE_IT)


def _samples() -> list[Thread]:
    folder = importlib.resources.files("threadjuice_dagster") / "editorial" / "threads"
    files = [item for item in folder.iterdir() if item.name.endswith(".json")]
    return [parse_thread(json.loads(item.read_text(encoding="utf-8")), "sample") for item in files]
