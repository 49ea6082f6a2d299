"""All sources behind one resource: which places are read, by which source, and what is passed over meanwhile.

What a source's answers mean belongs in the source's own file.
"""

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import dagster as dg
from pydantic import Field

from threadjuice_dagster.domain.story.threads import Thread, interleaved
from threadjuice_dagster.failures import (
    ConfigurationError,
    PermanentFailure,
    ThreadJuiceError,
    TransientFailure,
    UsageError,
)
from threadjuice_dagster.sources.client import SourceLimiter
from threadjuice_dagster.sources.discourse import Discourse
from threadjuice_dagster.sources.hacker_news import HackerNews
from threadjuice_dagster.sources.lemmy import Lemmy
from threadjuice_dagster.sources.reddit import Reddit
from threadjuice_dagster.sources.samples import Samples
from threadjuice_dagster.sources.stack_exchange import StackExchange
from threadjuice_dagster.sources.submissions import Submissions
from threadjuice_dagster.sources.thread_source import Deletions, StoredThread, ThreadSource

T = TypeVar("T")

FEWEST = 16
"""Threads that are asked for in each place, however many places there are.

With four a day used of nine sites whose lists move slowly, 5 run dry after 14 days, 12 after 90, 16 not within a year.
"""

log = logging.getLogger(__name__)


class Candidates(NamedTuple):
    """Threads found, the best of every place first, how many each place gave, and why one was passed over, by spec."""

    threads: list[Thread]
    counts: dict[str, int]
    problems: dict[str, ThreadJuiceError]

    @property
    def failure(self) -> ThreadJuiceError | None:
        """What is wrong with the first place, outages before others, where none could be read."""
        worst = min(self.problems.values(), key=lambda problem: isinstance(problem, PermanentFailure), default=None)
        return None if self.counts else worst


class DeletionSweep(NamedTuple):
    """What is gone at the services that answered, why another could not be asked, and which are not set up."""

    deletions: Deletions
    problems: dict[str, ThreadJuiceError]
    not_set_up: list[str]


class ThreadSources(dg.ConfigurableResource):
    """Every source of threads. ``specs`` are the places that discovery reads, such as ``stackexchange:workplace``."""

    specs: list[str] = Field(default=["samples"])
    reddit_client_id: str = ""
    reddit_client_secret: str = ""
    reddit_user_agent: str = "ThreadJuice/1.0"
    reddit_url: str = ""
    reddit_oauth_url: str = ""
    stack_exchange_url: str = "https://api.stackexchange.com"
    stack_exchange_key: str = ""
    hacker_news_url: str = "https://hacker-news.firebaseio.com"
    hacker_news_search_url: str = "https://hn.algolia.com"
    limiter: dg.ResourceDependency[SourceLimiter] = SourceLimiter()  # type: ignore[assignment]

    def sources(self) -> dict[str, ThreadSource]:
        """Return a source for each name that a spec may begin with. A new source is one line here."""
        return {
            "reddit": Reddit(
                client_id=self.reddit_client_id,
                client_secret=self.reddit_client_secret,
                user_agent=self.reddit_user_agent,
                reddit_url=self.reddit_url,
                oauth_url=self.reddit_oauth_url,
            ),
            "stackexchange": StackExchange(
                url=self.stack_exchange_url, key=self.stack_exchange_key, limiter=self.limiter
            ),
            "lemmy": Lemmy(limiter=self.limiter),
            "discourse": Discourse(limiter=self.limiter),
            "hackernews": HackerNews(
                url=self.hacker_news_url, search_url=self.hacker_news_search_url, limiter=self.limiter
            ),
            "samples": Samples(),
            "submission": Submissions(),
        }

    def candidates(self, limit: int, only: str = "") -> Candidates:
        """Return threads of all places, or ``only`` of a spec or a source: ``limit`` in all, ``FEWEST`` of each place.

        A place that cannot be read is passed over; an outage is recorded, so that it alerts once.
        """
        of_source = [spec for spec in self.specs if spec.partition(":")[0] == only]
        places = self._places(of_source or [only] if only else self.specs)
        share = max(math.ceil(limit / len(places)), FEWEST)
        threads: list[Thread] = []
        counts: dict[str, int] = {}
        problems: dict[str, ThreadJuiceError] = {}
        for spec, source, place in places:
            listing = functools.partial(source.listing, place, share)
            listed = self._ask(spec, source.service(place), problems, listing)
            if listed is not None:
                threads += listed
                counts[spec] = len(listed)
        return Candidates(interleaved(threads), counts, problems)

    def recognises(self, reference: str) -> bool:
        """Return whether a reference is an address or id of a thread of any source, and not a file."""
        return any(source.recognises(reference) for source in self.sources().values())

    def thread(self, reference: str) -> Thread:
        """Return the thread at an address or with an id: the address tells which source. Raises ``UsageError``."""
        # The samples know their own ids, which look like ids of Reddit's.
        sources = sorted(self.sources().items(), key=lambda item: item[0] != "samples")
        source = next((source for _, source in sources if source.recognises(reference)), None)
        if source is None:
            raise UsageError(
                f"{reference[:100]!r} is neither a file nor the address of a thread.",
                "Pass the address of a question, post or topic of a known source, or a saved file.",
            )
        return source.thread(reference)

    def parse(self, document: Any) -> Thread | None:
        """Return the thread in a saved answer of any source; None if the document is nothing of any source's."""
        parsed = (source.parse(document) for source in self.sources().values())
        return next((thread for thread in parsed if thread), None)

    def deleted(self, threads: Mapping[str, StoredThread]) -> DeletionSweep:
        """Return what the public can no longer read of these threads. A service that is down hinders no other."""
        prefixes = {source.prefix: source for source in self.sources().values()}
        asked: dict[str, tuple[ThreadSource, dict[str, StoredThread]]] = {}
        for key, stored in threads.items():
            source = prefixes.get(key.partition("-")[0] if "-" in key else "reddit")
            if source:
                asked.setdefault(source.service(stored.permalink), (source, {}))[1][key] = stored
        deletions = Deletions()
        problems: dict[str, ThreadJuiceError] = {}
        not_set_up = [service for service, (source, _) in asked.items() if not source.is_set_up]
        for service, (source, stored_threads) in asked.items():
            if service in not_set_up:
                continue
            answer = self._ask(service, service, problems, functools.partial(source.deleted, stored_threads))
            deletions |= answer or Deletions()
        return DeletionSweep(deletions, problems, not_set_up)

    def checks(self) -> dict[str, Callable[[], str]]:
        """Return for each service that is read the question that tells whether it answers.

        One place stands for all of a service: each question counts in its quota, and this is asked every hour.
        """
        questions: dict[str, Callable[[], str]] = {}
        for _, source, place in self._places(self.specs):
            questions.setdefault(source.service(place), functools.partial(source.check, place))
        return questions

    def _places(self, specs: Sequence[str]) -> list[tuple[str, ThreadSource, str]]:
        """Return for each spec its source and place; places that a source reads at once are joined.

        Raises ``ConfigurationError`` for a spec of no source.
        """
        sources = self.sources()
        places: dict[str, tuple[str, ThreadSource, str]] = {}
        for spec in dict.fromkeys(spec.strip() for spec in specs):
            name, _, place = spec.partition(":")
            source = sources.get(name.lower())
            if source is None or bool(place) == (name in ("samples", "submission")):
                raise ConfigurationError(
                    f"{spec[:80]!r} names no source of threads.",
                    f"Correct THREAD_SOURCES, as in stackexchange:workplace; known: {', '.join(sources)}.",
                )
            if source.joins_places and name in places:
                place = f"{places[name][2]}+{place}"
                places[name] = (name, source, place)
            else:
                places[name if source.joins_places else spec] = (spec, source, place)
        if not places:
            raise ConfigurationError("No source of threads is set.", "Set THREAD_SOURCES=samples, or places to read.")
        return list(places.values())

    def _ask(
        self, name: str, service: str, problems: dict[str, ThreadJuiceError], question: Callable[[], T]
    ) -> T | None:
        """Return what ``question`` returns; None where it fails, which is noted in ``problems`` under ``name``."""
        try:
            answer = question()
        except (PermanentFailure, TransientFailure) as problem:
            log.warning("%s is passed over: %s", name, problem)
            problems[name] = problem
            if isinstance(problem, TransientFailure):
                self.limiter.record_outage(service, problem.message)
            return None
        self.limiter.record_recovery(service)
        return answer


def may_read(spec: str) -> bool:
    """Return whether the terms of a place's source allow a newsroom to read it by itself, without being told to."""
    source = ThreadSources().sources().get(spec.partition(":")[0])
    return source is not None and source.policy.unattended_use
