"""What every place that threads come from has to offer, and the terms it offers them on.

A new source is one file in this folder with a client, a parser and a policy, and one line in ``sources/registry.py``.
"""

import abc
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date
from typing import Any, ClassVar, NamedTuple, TypeVar

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.threads import SourceName, Thread
from threadjuice_dagster.failures import TransientFailure, Unsuitable

T = TypeVar("T")

log = logging.getLogger(__name__)


class SourcePolicy(Model):
    """The terms of a source: what its texts may be used for, what deletion demands, and what its API allows.

    ``terms_read`` is the day on which somebody last read ``terms``. ``licence`` says in words whose the texts are;
    ``licence_code`` is the code of the licence that all its texts are under (such as ``cc-by-sa-4.0``), empty where the
    source grants none. ``unattended_use`` says whether the terms allow what a newsroom does: read by itself and
    publish. Where they forbid it or are silent, only an operator who names the place in ``THREAD_SOURCES`` has it read.
    """

    terms: str
    terms_read: date
    licence: str
    licence_code: str = ""
    share_alike: bool = False
    credit: str
    stores_author_names: bool = False
    unattended_use: bool
    deletion_hours: int | None
    """Hours after which a text deleted at the source has to be deleted here; None where nothing is demanded."""
    requests_per_minute: int = 60
    requests_per_day: int | None = None
    """Requests that the source allows this newsroom in a day; None where it states no limit."""
    names_per_request: int = 0
    """Ids that one question about deletions may hold."""
    threads_per_request: int = 0
    comments_per_request: int = 0


class Deletions(NamedTuple):
    """What the public can no longer read. Ids are those of our models; comments of a deleted thread are not listed.

    ``comments`` are pairs of a thread's id and a comment's id. ``checked`` counts the posts and comments that were
    asked about, ``requests`` the requests that took.
    """

    threads: frozenset[str] = frozenset()
    comments: frozenset[tuple[str, str]] = frozenset()
    checked: int = 0
    requests: int = 0

    def __or__(self, other: "Deletions") -> "Deletions":
        """Return the deletions of both."""
        return Deletions(
            self.threads | other.threads,
            self.comments | other.comments,
            self.checked + other.checked,
            self.requests + other.requests,
        )


class StoredThread(NamedTuple):
    """What is known here of a thread whose deletion is to be noticed: its address, and its comments that are used."""

    permalink: str
    comments: Collection[str] = ()


class ThreadSource(abc.ABC):
    """One source: ``name`` is what its threads are marked with, ``prefix`` what their keys begin with."""

    name: ClassVar[SourceName]
    prefix: ClassVar[str]
    policy: ClassVar[SourcePolicy]
    joins_places: ClassVar[bool] = False
    """Whether ``listing`` takes several places at once, joined by "+"."""

    @property
    def is_set_up(self) -> bool:
        """Whether everything is set that the source cannot be asked without."""
        return True

    def service(self, place: str) -> str:
        """Return the name, in limits and alerts, of the service behind a place or behind a thread's address."""
        return self.name

    @abc.abstractmethod
    def listing(self, place: str, limit: int) -> list[Thread]:
        """Return at most ``limit`` threads of a place, with their comments, that may become a story.

        ``place`` is what stands behind the colon of a spec. The most engaging come first. Threads that are deleted,
        removed, closed for their content, adult, or without a comment are left out. Raises ``UsageError`` for a place
        that cannot be one, ``PermanentFailure`` for one that does not exist, ``TransientFailure`` for an outage.
        """

    @abc.abstractmethod
    def recognises(self, reference: str) -> bool:
        """Return whether a reference is meant as an address or id of a thread of this source, and not as a file."""

    @abc.abstractmethod
    def thread(self, reference: str) -> Thread:
        """Return the thread at an address or with an id.

        Raises ``UsageError`` for what is neither, ``Unsuitable`` for a thread that may not become a story (deleted,
        adult), ``PermanentFailure`` for one that is not there, ``TransientFailure`` for an outage.
        """

    def parse(self, document: Any) -> Thread | None:
        """Return the thread in a saved answer of the source's API; None if the document is nothing of this source's.

        Raises ``ThreadFormatError`` for a document that is the source's and no whole thread, ``Unsuitable`` as
        ``thread``.
        """
        return None

    def deleted(self, threads: Mapping[str, StoredThread]) -> Deletions:
        """Return which of these threads (by id), and of their comments, the public can no longer read.

        A source that cannot tell reports none. Raises ``TransientFailure`` if an answer cannot be read, or if it may be
        an outage that looks like a deletion: an outage removes nothing.
        """
        return Deletions()

    def check(self, place: str) -> str:
        """Ask the source one cheap question about a place, and return in a sentence what it answered.

        Raises if it fails.
        """
        return "Nothing has to be asked."


class ThreadFormatError(ValueError):
    """A document is no thread in the format of its source. The message says what is missing."""


def collect_threads(
    place: str, names: Iterable[T], limit: int, read: Callable[[T], Thread], *refusals: type[Exception]
) -> list[Thread]:
    """Return at most ``limit`` threads that may become a story, as ``read`` returns them, the most engaging first.

    What is refused is passed over, also for ``refusals``. An outage ends a list that has threads already.
    """
    passed_over: tuple[type[Exception], ...] = (Unsuitable, ThreadFormatError, *refusals)
    threads: list[Thread] = []
    for name in names:
        if len(threads) >= limit:
            break
        try:
            thread = read(name)
        except passed_over:
            continue
        except TransientFailure as problem:
            if not threads:
                raise
            log.warning("The list of %s ends early: %s", place, problem.message)
            break
        threads += [thread] if thread.comments and not thread.over_18 else []
    return sorted(threads, key=lambda thread: (-thread.engagement, thread.id))
