"""The supply of threads: which of them a story can be made of, and for how many days they last.

The writer refuses by the same rule (``refusal``). Why an order was not filled belongs in
``domain/writing/shortage.py``, the counting of stored threads in ``database/supply.py``.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import Field

from threadjuice_dagster.domain.language.prose import subjects
from threadjuice_dagster.domain.language.text import words
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.passages import Account, Sentence, account, is_english, is_hostile
from threadjuice_dagster.domain.writing.selection import Voice, excerpts, gather

EXCERPTED = 340
"""Words taken from a post."""

MIN_POST, MIN_VOICES, MIN_WORDS = 60, 3, 80
"""A story needs a post of 60 printable words or three quotable comments, and 80 words of both together."""

RUNNING = 20
"""Words of a post from which its language counts alone: a headline or a line says less than the whole thread."""

BELIEVED_FROM = 10
"""Tried threads from which their share of published stories is believed."""

WANTED_DAYS = 7.0
"""Days that the unused threads should last; an operator has the time to find more."""


class Printable(NamedTuple):
    """What of a thread may be printed: its post, the stretches of it that a story takes, and the comments to quote."""

    post: Account
    stretches: list[list[Sentence]]
    voices: list[Voice]

    @property
    def excerpted(self) -> list[str]:
        """The sentences of the stretches."""
        return [sentence.text for stretch in self.stretches for sentence in stretch]

    @property
    def quoted(self) -> list[str]:
        """The words of the comments."""
        return [voice.text for voice in self.voices]


class Supply(Model):
    """The unused threads, and how many of them become stories.

    ``unused`` counts all whose text is there, ``by_place`` those a story can be made of, by spec. Of the newest
    ``tried`` threads ``published`` became stories that were published.
    """

    unused: int = 0
    by_place: dict[str, int] = Field(default_factory=dict)
    tried: int = 0
    published: int = 0
    daily_stories: int = 3

    @property
    def suitable(self) -> int:
        """Unused threads that a story can be made of."""
        return sum(self.by_place.values())

    @property
    def by_source(self) -> dict[str, int]:
        """The suitable threads by source, the most first."""
        counts: Counter[str] = Counter()
        for place, threads in self.by_place.items():
            counts[place.partition(":")[0]] += threads
        return dict(counts.most_common())

    @property
    def published_share(self) -> float:
        """The share of tried threads that were published; 1 while too few were tried to tell."""
        return self.published / self.tried if self.tried >= BELIEVED_FROM else 1.0

    @property
    def days(self) -> float:
        """Days for which the suitable threads last."""
        return round(self.suitable * self.published_share / self.daily_stories, 1)

    @property
    def record(self) -> dict[str, object]:
        """Return the supply as commands print it."""
        return {
            "unused": self.unused,
            "suitable": self.suitable,
            "by_source": self.by_source,
            "by_place": self.by_place,
            "published_share": round(self.published_share, 3),
            "days": self.days,
        }

    def __str__(self) -> str:
        """``12 unused threads suit a story (stackexchange 10, hackernews 2), enough for 4.0 days``."""
        of_sources = f" ({counted(self.by_source)})" if self.by_source else ""
        threads = "thread suits" if self.suitable == 1 else "threads suit"
        return f"{self.suitable} unused {threads} a story{of_sources}, enough for {self.days:g} days"


def counted(counts: Mapping[str, int], most: int = 8) -> str:
    """Return counts in words, the first ``most`` of them: ``stackexchange 10, hackernews 2``."""
    shown = [f"{name} {count}" for name, count in list(counts.items())[:most]]
    return ", ".join([*shown, *([f"{len(counts) - most} more"] if len(counts) > most else [])])


def printable(thread: Thread) -> Printable:
    """Return what of a thread may be printed."""
    post = account("" if is_hostile(thread.body) else thread.body)
    subject = subjects(words(thread.title))
    voices = gather(thread, subject.union(*(sentence.keys for sentence in post.main)))
    return Printable(post, excerpts(post.main, subject, EXCERPTED), voices)


def english_headline(thread: Thread) -> Thread:
    """Return the thread without its title where that is in another language: it cannot stand for a post in English."""
    return thread if is_english(thread.title) else thread.model_copy(update={"title": ""})


def refusal(thread: Thread, material: Printable) -> str:
    """Return why a story of a thread would be too short or not English; nothing where it would be neither."""
    post_words, quoted_words = (len(words(" ".join(texts))) for texts in (material.excerpted, material.quoted))
    running = thread.body if len(words(thread.body)) >= RUNNING else "\n\n".join(thread.texts)
    if not is_english(" ".join(material.excerpted)) or not is_english(running):
        return "its post is not in English"
    voices = len(material.voices)
    if not voices or post_words + quoted_words < MIN_WORDS or (post_words < MIN_POST and voices < MIN_VOICES):
        return f"{post_words} printable words of post and {voices} quotable comments"
    return ""


def unsuitable(thread: Thread) -> str:
    """Return why no story can be made of a thread; nothing for a suitable one."""
    if thread.over_18:
        return "it is marked as adult"
    if thread.expired:
        return "its text has expired"
    thread = english_headline(thread)
    return refusal(thread, printable(thread))
