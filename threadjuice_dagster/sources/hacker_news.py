"""Stories of Hacker News: lists and whole trees by the search API, deletions and ranks by the site's own Firebase API.

What an item's fields mean is in ``sources/hacker_news_parser.py``.
"""

import logging
import math
import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import PermanentFailure, TransientFailure, UsageError
from threadjuice_dagster.sources.client import SourceClient, SourceLimiter, versioned
from threadjuice_dagster.sources.hacker_news_parser import (
    HIRING,
    Item,
    is_gone,
    is_item,
    kind_of,
    number_of,
    parse_story,
)
from threadjuice_dagster.sources.reddit_parser import is_set
from threadjuice_dagster.sources.thread_source import (
    Deletions,
    SourcePolicy,
    StoredThread,
    ThreadFormatError,
    ThreadSource,
    collect_threads,
)

log = logging.getLogger(__name__)

POLICY = SourcePolicy(
    # They forbid "data mining, robots, scraping or similar data gathering or extraction methods" and commercial use of
    # any portion of the site, and say nothing of the two public APIs. An operator who names a place in THREAD_SOURCES
    # vouches for Y Combinator's consent, or for a use that is not commercial and within what the APIs are offered for.
    terms="https://www.ycombinator.com/legal/",
    terms_read=date(2026, 12, 1),
    licence="the authors' own; Y Combinator's terms forbid commercial use and name no exception for its APIs",
    credit="a link to the story",
    unattended_use=False,
    deletion_hours=None,
    requests_per_minute=120,  # the search API allows 10,000 an hour to one address
    names_per_request=1,
    threads_per_request=1,
    comments_per_request=500,
)

_ITEMS = POLICY.model_copy(update={"requests_per_minute": 600})
"""The Firebase API states no limit, and answers one question after another about ten times a second."""

PLACES = {"ask": ("ask_hn", "askstories"), "show": ("show_hn", "showstories"), "front": ("front_page", "topstories")}
"""Places, with their tag in the search API and their list in the Firebase API."""

RECENT = timedelta(days=3)
"""Age up to which a story is listed: older ones get no new comments."""

MOST_LISTED = 100
"""Stories that one list is asked for."""

MOST_BY_ITEMS = 40
"""Comments of a story that are asked for one by one while the search API is down; half of them on the story itself."""

MOST_STORIES_BY_ITEMS = 10

MOST_ASKED = 10_000
"""Items that one sweep asks about; of more, each sweep takes others by chance."""

MOST_PARENTS = 100

_ADDRESS = re.compile(
    r"(?:https?://)?(?:"
    r"(?:www\.)?news\.ycombinator\.com/item\?(?:[^#]*&)?id=(\d{1,12})(?:[&#].*)?"
    r"|hn\.algolia\.com/api/v\d/items/(\d{1,12})/?(?:[?#].*)?"
    r"|hacker-news\.firebaseio\.com/v\d/item/(\d{1,12})(?:\.json)?(?:[?#].*)?"
    r")|hn-(\d{1,12})",
    re.IGNORECASE,
)
_LIKE_AN_ADDRESS = re.compile(
    r"(?:https?://)?(?:(?:www\.)?news\.ycombinator\.com|hn\.algolia\.com|hacker-news\.firebaseio\.com)(?:[/?#]|$)|hn-\d+$",
    re.IGNORECASE,
)


class HackerNews(ThreadSource):
    """Hacker News. ``url`` is the address of the Firebase API, ``search_url`` that of the search API."""

    name = "hackernews"
    prefix = "hn"
    policy = POLICY

    def __init__(
        self,
        *,
        url: str = "https://hacker-news.firebaseio.com",
        search_url: str = "https://hn.algolia.com",
        limiter: SourceLimiter | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        limiter = limiter or SourceLimiter()
        self._url, self._search_url = versioned(url, "/v0"), versioned(search_url, "/api/v1")
        self._items = SourceClient(self.name, _ITEMS, limiter)
        self._search = SourceClient(f"{self.name}:search", POLICY, limiter)
        self._now = now

    def listing(self, place: str, limit: int) -> list[Thread]:
        """Return the stories of ``ask``, ``show`` or ``front`` of the last days with the most points and comments.

        While the search API is down or lists nothing, the Firebase API lists them, and sends fewer comments of each.
        """
        _check_place(place)
        reader = _Reader(self)
        numbers = reader.listed(place, limit)
        if reader.is_search_down:
            limit = min(limit, MOST_STORIES_BY_ITEMS)
        return collect_threads(
            place, numbers[: 2 * limit], limit, lambda number: reader.story(number, place), PermanentFailure
        )

    def recognises(self, reference: str) -> bool:
        """Return whether a reference is meant as an address of a story or comment, or as the key of a story."""
        return bool(_LIKE_AN_ADDRESS.match(reference.strip())) or bool(self._number_at(reference))

    def thread(self, reference: str) -> Thread:
        """Return the story at an address, or the one that the comment there belongs to."""
        number = self._number_at(reference)
        if not number:
            raise UsageError(
                "This is not the address of a story of Hacker News.",
                "Pass one like https://news.ycombinator.com/item?id=41234567.",
            )
        reader = _Reader(self)
        return reader.story(reader.story_of(number))

    def parse(self, document: Any) -> Thread | None:
        """Return the story in a saved answer of the search API to ``/items/ID``."""
        return parse_story(document) if is_item(document) else None

    def deleted(self, threads: Mapping[str, StoredThread]) -> Deletions:
        """Return what the Firebase API says is deleted or dead, one request for each story and comment.

        The comments of a story that is gone are not asked about. An item of which the API knows nothing (``null``) is
        in doubt, and nothing is deleted for it: every number that was given keeps an item, so it may be a fault.
        """
        gone_threads: set[str] = set()
        gone_comments: set[tuple[str, str]] = set()
        answers: list[Item | None] = []
        for key in random.sample(list(threads), len(threads)):
            number = number_of(key.removeprefix("hn-")) or self._number_at(threads[key].permalink)
            comments = [comment for comment in threads[key].comments if number_of(comment)]
            if not number or len(answers) + len(comments) >= MOST_ASKED:
                log.warning("Hacker News is not asked about %s in this sweep.", key)
                continue
            answers.append(self.item(number))
            if _says_gone(answers[-1]):
                gone_threads.add(key)
                continue
            for comment in comments:
                answers.append(self.item(comment))
                if _says_gone(answers[-1]):
                    gone_comments.add((key, comment))
        if doubtful := answers.count(None):
            log.warning("Hacker News showed nothing for %d of %d items: they stay.", doubtful, len(answers))
        return Deletions(frozenset(gone_threads), frozenset(gone_comments), len(answers), len(answers))

    def check(self, place: str) -> str:
        """Ask the search API how many stories of a place have comments."""
        _check_place(place)
        answer = self.search(place, 1)
        return f"{answer.get('nbHits', 0)} stories of the last {RECENT.days} days have comments."

    def item(self, number: str) -> Item | None:
        """Return an item of the Firebase API; None where it knows nothing of it. Raises ``TransientFailure``."""
        status, item = self._items.get_json(f"{self._url}/item/{number}.json")
        if status == 200 and item is None:
            return None
        if status != 200 or not isinstance(item, Mapping) or number_of(item) != number:
            raise _unreadable(self._items.service, status)
        return item

    def stories(self, place: str) -> list[str]:
        """Return the numbers in a list of the Firebase API, in the order of the page. Raises ``TransientFailure``."""
        status, numbers = self._items.get_json(f"{self._url}/{PLACES[place][1]}.json")
        if status != 200 or not isinstance(numbers, list):
            raise _unreadable(self._items.service, status)
        return [number for value in numbers if (number := number_of(value))]

    def tree(self, number: str) -> Item | None:
        """Return an item with everything below it from the search API; None for an unknown one."""
        status, tree = self._search.get_json(f"{self._search_url}/items/{number}")
        if status == 404:
            return None
        if status != 200 or not isinstance(tree, Mapping) or number_of(tree) != number:
            raise _unreadable(self._search.service, status)
        return tree

    def search(self, place: str, limit: int) -> Mapping[str, Any]:
        """Return the search API's answer for a place's recent stories with comments, those with most points first."""
        since = int((self._now() - RECENT).timestamp())
        filters = f"num_comments>0,created_at_i>{since}"
        params = {"tags": PLACES[place][0], "numericFilters": filters, "hitsPerPage": limit}
        status, answer = self._search.get_json(f"{self._search_url}/search", params)
        if status != 200 or not isinstance(answer, Mapping) or not isinstance(answer.get("hits"), list):
            raise _unreadable(self._search.service, status)
        return answer

    def _number_at(self, reference: str) -> str:
        """Return the number of the item at an address; empty where there is none."""
        reference = reference.strip()
        item, tree = re.escape(f"{self._url}/item/"), re.escape(f"{self._search_url}/items/")
        own = re.fullmatch(rf"(?:{item}|{tree})(\d{{1,12}})(?:\.json)?", reference)
        match = own or _ADDRESS.fullmatch(reference)
        return number_of(next(filter(None, match.groups()))) if match else ""


class _Reader:
    """Reads stories by both APIs. One that fails is not asked again in the same piece of work."""

    def __init__(self, source: HackerNews) -> None:
        self._source = source
        self.is_search_down = False
        self._are_items_down = False
        self._items: dict[str, Item | None] = {}
        self._trees: dict[str, Item | None] = {}
        self._problem: TransientFailure | None = None

    def listed(self, place: str, limit: int) -> list[str]:
        """Return the numbers of a place's stories, the most promising first."""
        try:
            hits: Iterable[Any] = self._source.search(place, MOST_LISTED)["hits"]
            items = {number_of(hit, "objectID"): hit for hit in hits if isinstance(hit, Mapping)}
        except TransientFailure as problem:
            self._note(problem)
            self.is_search_down = True
            items = {}
        if not items:
            numbers = self._source.stories(place)[: 2 * max(limit, MOST_STORIES_BY_ITEMS)]
            items = {number: item for number in numbers if (item := self._item(number))}
        promising = {number: promise for number, item in items.items() if number and (promise := _promise(item))}
        return sorted(promising, key=lambda number: (-promising[number], number))

    def story_of(self, number: str) -> str:
        """Return the number of the story that an item belongs to, and its own where it is one."""
        for _ in range(MOST_PARENTS):
            live = self._live(number)
            if live and not is_set(live.get("deleted")) and kind_of(live) not in ("comment", "pollopt"):
                return number
            tree = self._tree(number)
            if not (live or tree):
                raise self._missing(number)
            story = number_of(tree or {}, "story_id")
            if story and story != number:
                return story
            parent = number_of(live or tree, "parent", "parent_id", "poll")
            if not parent:
                return number
            number = parent
        raise PermanentFailure(f"Item {number} of Hacker News has no story.", "Pass the address of its story.")

    def story(self, number: str, place: str = "") -> Thread:
        """Return a story. Raises ``Unsuitable``, ``PermanentFailure`` if it is unknown, ``TransientFailure``."""
        live = self._live(number)
        # Most of a tree that nobody may read is not worth the request.
        document = live if live and is_gone(live) else self._tree(number)
        if document is None and live:
            document = self._tree_by_items(live)
        if document is None:
            raise self._missing(number)
        try:
            return parse_story(document, live, place)
        except ThreadFormatError as error:
            message = f"Item {number} of Hacker News is no story: {error}."
            raise PermanentFailure(message, "Pass the address of a story.") from None

    def _live(self, number: str) -> Item | None:
        """Return what the Firebase API says of an item; None where it knows nothing of it or cannot be asked."""
        if self._are_items_down:
            return None
        try:
            return self._item(number)
        except TransientFailure as problem:
            self._note(problem)
            self._are_items_down = True
            return None

    def _item(self, number: str) -> Item | None:
        if number not in self._items:
            self._items[number] = self._source.item(number)
        return self._items[number]

    def _tree(self, number: str) -> Item | None:
        if self.is_search_down:
            return None
        if number not in self._trees:
            try:
                self._trees[number] = self._source.tree(number)
            except TransientFailure as problem:
                self._note(problem)
                self.is_search_down = True
                return None
        return self._trees[number]

    def _tree_by_items(self, story: Item) -> Item:
        """Return a story with its first comments and replies, each asked for by itself. Raises ``TransientFailure``."""
        root = {**story, "kids": []}
        if parts := [self._item(number) for number in _numbers(story, "parts")]:
            root["parts"] = parts
        waiting = deque([(root, number) for number in _numbers(story, "kids")[: MOST_BY_ITEMS // 2]])
        for _ in range(MOST_BY_ITEMS):
            if not waiting:
                break
            parent, number = waiting.popleft()
            if item := self._item(number):
                node = {**item, "kids": []}
                parent["kids"].append(node)
                waiting += [(node, kid) for kid in _numbers(item, "kids")]
        return root

    def _note(self, problem: TransientFailure) -> None:
        log.warning("One of the two APIs of Hacker News is not asked again: %s", problem.message)
        self._problem = problem

    def _missing(self, number: str) -> PermanentFailure | TransientFailure:
        """Return the failure of an item that neither API shows."""
        return self._problem or PermanentFailure(f"Hacker News has no item {number}.", "Check the address.")


def _check_place(place: str) -> None:
    if place not in PLACES:
        known = ", ".join(f"hackernews:{name}" for name in PLACES)
        raise UsageError(f"{place[:40]!r} is no place of Hacker News.", f"Name one of: {known}.")


def _promise(item: Item) -> float:
    """Return a rank by points and comments, as ``Thread.engagement`` weighs them; 0 for what is no story to tell."""
    author, tags = item.get("author", item.get("by")), item.get("_tags")
    is_job = kind_of(item) == "job" or (isinstance(tags, list) and "job" in tags)
    if is_job or author == HIRING or is_gone(item):
        return 0.0
    points, comments = (_count(item, *fields) for fields in (("points", "score"), ("num_comments", "descendants")))
    return math.log1p(points) + 2 * math.log1p(comments) if comments else 0.0


def _count(item: Item, *fields: str) -> int:
    return next((int(number) for field in fields if (number := number_of(item, field))), 0)


def _numbers(item: Item, field: str) -> list[str]:
    value = item.get(field)
    return [number for each in value if (number := number_of(each))] if isinstance(value, list) else []


def _says_gone(item: Item | None) -> bool:
    return item is not None and is_gone(item)


def _unreadable(service: str, status: int) -> TransientFailure:
    message = f"{service} sent an answer that cannot be read ({status})."
    return TransientFailure(message, "Try again later.", exhausted=True, service=service)
