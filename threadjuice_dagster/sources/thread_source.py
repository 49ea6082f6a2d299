"""What every place that threads come from has to offer, and the terms it offers them on.

A new source is one file in this folder with a client, a parser and a policy, and one line in ``wiring.py``. Saved files
are read in ``sources/files.py``.
"""

import abc
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import ClassVar, NamedTuple

import dagster as dg

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.threads import Thread


class SourcePolicy(Model):
    """The terms of a source: what its texts may be used for, what deletion demands, and what its API allows.

    ``names_per_request`` bounds a question about deletions, ``threads_per_request`` a listing, and
    ``comments_per_request`` a thread. ``terms_read`` is the day on which somebody last read ``terms``.
    """

    terms: str
    terms_read: date
    licence: str
    share_alike: bool
    credit: str
    stores_author_names: bool
    unattended_use: bool
    deletion_hours: int | None
    """Hours after which a text deleted at the source has to be deleted here; None where nothing is demanded."""
    names_per_request: int = 0
    threads_per_request: int = 0
    comments_per_request: int = 0


class Deletions(NamedTuple):
    """What the public can no longer read. Ids have no prefix; comments of a deleted thread are not listed.

    ``checked`` counts the posts and comments asked about, ``requests`` the requests that took.
    """

    threads: frozenset[str] = frozenset()
    comments: frozenset[str] = frozenset()
    checked: int = 0
    requests: int = 0


class ThreadSource(dg.ConfigurableResource, abc.ABC):
    """A place that the newsroom finds its threads in."""

    policy: ClassVar[SourcePolicy]

    @abc.abstractmethod
    def candidates(self, limit: int) -> list[Thread]:
        """Return at most ``limit`` threads that may become a story, the most engaging first."""

    @abc.abstractmethod
    def recognises(self, reference: str) -> bool:
        """Return whether a reference is meant as an address or id of a thread of this source, and not as a file."""

    @abc.abstractmethod
    def thread(self, reference: str) -> Thread:
        """Return the thread at an address or with an id. Raises ``UsageError`` for what is neither."""

    def deleted(self, sources: Mapping[str, Collection[str]]) -> Deletions:
        """Return which of these threads, and of the comments named with each, are gone at the source.

        A source that cannot tell reports none.
        """
        return Deletions()


def ranked(threads: Iterable[Thread]) -> list[Thread]:
    """Return each thread once, the most engaging first."""
    distinct = {thread.id: thread for thread in threads}
    return sorted(distinct.values(), key=lambda thread: (-thread.engagement, thread.id))
