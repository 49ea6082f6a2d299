"""Decides which unused thread becomes a story, in which category, in which persona's voice."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from threadjuice_dagster.domain.language.text import words
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.stories import Category, Persona
from threadjuice_dagster.domain.story.threads import Thread, interleaved
from threadjuice_dagster.domain.writing.supply import unsuitable
from threadjuice_dagster.failures import UsageError

T = TypeVar("T", Category, Persona)


class Assignment(Model):
    """One thread given to one persona in one category. ``story_id`` is the partition key.

    A story a person wrote may have no thread, and no order.
    """

    story_id: str
    thread_id: str | None
    category: str
    persona: str
    order_id: str | None
    runs: int = 0
    """Runs that were started for it and died."""


class Order(Model):
    """A wish for ``count`` published stories, and how many threads may be tried to fulfil it."""

    id: str
    count: int
    category: str | None = None
    persona: str | None = None
    source: str = ""
    """Only threads of this spec, or of this source; empty is any."""
    max_attempts: int

    @property
    def names_its_thread(self) -> bool:
        """Whether it is for one thread that somebody named: no other may be tried in its place."""
        return self.max_attempts == 1


class Choice(Model):
    """A thread with the category and persona it suits."""

    thread: Thread
    category: str
    persona: str

    @property
    def story_id(self) -> str:
        """The thread's key; the title is metadata and a run tag."""
        return self.thread.key


def find_by_slug(slug: str | None, choices: Sequence[T], what: str) -> T | None:
    """Return the category or persona of this slug, None for no slug. Raises ``UsageError`` listing all slugs."""
    if not slug:
        return None
    for choice in choices:
        if choice.slug == slug.strip().lower():
            return choice
    raise UsageError(
        f"There is no {what} {slug[:60]!r}.", f"Known: {', '.join(sorted(choice.slug for choice in choices))}."
    )


def match_category(thread: Thread, categories: Sequence[Category]) -> Category:
    """Return a thread's category: its place's, else that whose keywords it uses most (title words count thrice)."""
    # A sample, and a thread that was saved before places had specs, goes by its subreddit.
    by_community = [f"reddit:{thread.community.lower()}"] if thread.source in ("reddit", "sample") else []
    for category in categories:
        if not category.places.isdisjoint([thread.spec.lower(), *by_community]):
            return category
    counts = Counter(word.lower() for word in words(thread.body))
    for word in words(thread.title):
        counts[word.lower()] += 3
    return max(categories, key=lambda category: sum(counts[keyword] for keyword in category.keywords))


def match_persona(category: Category, personas: Sequence[Persona], written: Mapping[str, int]) -> Persona:
    """Return the persona of this category who has written least so far; any persona where the category has none."""
    at_home = [persona for persona in personas if category.slug in persona.categories] or list(personas)
    return min(at_home, key=lambda persona: written.get(persona.slug, 0))


def choose(
    threads: Iterable[Thread],
    order: Order,
    categories: Sequence[Category],
    personas: Sequence[Persona],
    written: Mapping[str, int],
    count: int,
) -> list[Choice]:
    """Return up to ``count`` threads for an order, the best of every place first, and categories in turn.

    ``written`` counts the stories each persona has so far. Threads that suit no story are passed over; one that
    somebody named is left to the writer, unless it is adult.
    """
    wanted, voice = (
        find_by_slug(order.category, categories, "category"),
        find_by_slug(order.persona, personas, "persona"),
    )
    counts = Counter(written)
    suited: list[tuple[Thread, Category]] = []
    for thread in interleaved(threads):
        category = match_category(thread, categories)
        of_source = order.source in ("", thread.spec, thread.spec.partition(":")[0])
        if not thread.over_18 and of_source and (wanted is None or category == wanted):
            suited.append((thread, category))
    chosen: list[Choice] = []
    for thread, category in _varied(suited):
        if len(chosen) == count:
            break
        if not order.names_its_thread and unsuitable(thread):
            continue
        persona = voice or match_persona(category, personas, counts)
        counts[persona.slug] += 1
        chosen.append(Choice(thread=thread, category=category.slug, persona=persona.slug))
    return chosen


def _varied(suited: Sequence[tuple[Thread, Category]]) -> list[tuple[Thread, Category]]:
    """Return the same pairs in rounds: in each round, every place and every category has its next best thread.

    A thread's round is its rank among the threads of its place and category. Within a round come the threads whose
    place, then those whose category, has not had its turn yet; otherwise the order stays.
    """
    ranks: Counter[tuple[str, str]] = Counter()
    turns: Counter[tuple[int, str]] = Counter()
    order: list[tuple[tuple[int, int, int], tuple[Thread, Category]]] = []
    for thread, category in suited:
        rank = ranks[thread.spec, category.slug]
        of_place, of_category = f"place {thread.spec}", f"category {category.slug}"
        order.append(((rank, turns[rank, of_place], turns[rank, of_category]), (thread, category)))
        ranks[thread.spec, category.slug] += 1
        turns[rank, of_place] += 1
        turns[rank, of_category] += 1
    return [pair for _, pair in sorted(order, key=lambda entry: entry[0])]
