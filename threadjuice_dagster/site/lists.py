"""Which lists of stories there are, and which of their pages a build has to render again.

A list is a landing page with the newest stories and, behind it, pages of older ones that are counted from the oldest
on: a new story leaves them as they are. How a list looks belongs in ``site/pages.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from typing import NamedTuple

from threadjuice_dagster.domain.story.stories import Category
from threadjuice_dagster.site.build_state import Brief, Key
from threadjuice_dagster.site.pages import ABOUT, ARCHIVE, PERSONAS, Listing, Pages
from threadjuice_dagster.site.versions import SiteVersion
from threadjuice_dagster.site.views import StoryView

CARDS, LINES = 24, 100
"""Stories of a page of older ones, as cards and as lines; a landing page has up to twice as many, less one."""

SITEMAP = 50_000
"""Addresses of a sitemap, at most (https://www.sitemaps.org/protocol.html)."""


class Scope(NamedTuple):
    """The stories that have ``value`` in the column ``kind``: a category, a persona, a month."""

    kind: str
    value: str

    @property
    def folder(self) -> str:
        """Where its pages are."""
        return f"{'archive' if self.kind == 'month' else self.kind}/{self.value}/"

    @property
    def per_page(self) -> int:
        """Stories of a page of older ones."""
        return LINES if self.kind == "month" else CARDS

    def page(self, number: int, older: int) -> str:
        """The path of its page ``number``, from 1; beyond the pages of ``older`` stories, of its landing page."""
        return f"{self.folder}page/{number}/index.html" if number <= older else f"{self.folder}index.html"


class Lists:
    """Takes note of stories that changed, then writes the pages that show them."""

    def __init__(self, edition: SiteVersion, pages: Pages, categories: Mapping[str, Category]) -> None:
        self._edition, self._memory, self._pages, self._desks = edition, edition.memory, pages, categories
        self._moved: dict[Scope, Key] = {}
        self._touched: dict[Scope, set[Key]] = {}
        self._earliest: Key | None = None

    @property
    def changed(self) -> bool:
        """Whether any story changed."""
        return self._earliest is not None

    def moved(self, story: Brief) -> None:
        """A story came, left or stands elsewhere: what is newer on its lists has moved."""
        for scope in _scopes(story):
            self._moved[scope] = min(story.key, self._moved.get(scope, story.key))
        self._earliest = min(story.key, self._earliest or story.key)

    def touched(self, story: Brief, shown: bool) -> None:
        """A story changed where it stands; ``shown`` says whether lists show it differently."""
        for scope in _scopes(story) if shown else ():
            self._touched.setdefault(scope, set()).add(story.key)
        self._earliest = min(story.key, self._earliest or story.key)

    def render(self, lead: StoryView | None, voices: Mapping[str, StoryView]) -> None:
        """Write every page that changed; ``lead`` is the newest story, ``voices`` the newest of each persona."""
        for scope in sorted({*self._moved, *self._touched}):
            self._scope(scope, voices)
        self._front(lead)
        self._edition.put(ARCHIVE, self._pages.archive(self._years()))
        self._sitemaps()

    def _scope(self, scope: Scope, voices: Mapping[str, StoryView]) -> None:
        total, (before, said) = self._memory.count(*scope), self._memory.list_of(scope.folder)
        older = max(total // scope.per_page - 1, 0)
        for number in range(older, before):
            self._edition.drop(scope.page(number + 1, number + 1))
        if not total:
            self._memory.forget_list(scope.folder)
            self._edition.drop(f"{scope.folder}index.html")
            return
        words = self._words(scope, voices)
        self._memory.keep_list(scope.folder, older, "\n".join(words))
        stale = self._stale(scope, older, before) if said == "\n".join(words) else set(range(older))
        for number in [*sorted(stale), older]:
            last = number == older
            stories = self._memory.stretch(number * scope.per_page, total if last else scope.per_page, *scope)
            newer = "" if last else scope.page(number + 2, older)
            path, previous = scope.page(number + 1, older), scope.page(number, older) if number else ""
            listing = replace(
                self._listing(scope, words, stories),
                path=path,
                number=0 if last else number + 1,
                newer=newer,
                older=previous,
            )
            self._edition.put(path, self._pages.listing(listing))

    def _stale(self, scope: Scope, older: int, before: int) -> set[int]:
        """Pages of older stories, from 0, that are not as they were."""
        stale = {self._memory.rank(key, *scope) // scope.per_page for key in self._touched.get(scope, ())}
        if scope in self._moved:
            stale |= set(range(self._memory.rank(self._moved[scope], *scope) // scope.per_page, older))
        if before != older:
            stale |= set(range(max(min(before, older) - 1, 0), older))
        return {number for number in stale if number < older}

    def _listing(self, scope: Scope, words: tuple[str, str], stories: Sequence[Brief]) -> Listing:
        return Listing(
            path="",
            kind=scope.kind,
            title=words[0],
            summary=words[1],
            slug=scope.value,
            items=[one.line if scope.kind == "month" else one.card for one in reversed(stories)],
            origins=_origins(stories),
        )

    def _words(self, scope: Scope, voices: Mapping[str, StoryView]) -> tuple[str, str]:
        """A list's title and what it says of itself."""
        if scope.kind == "month":
            return _month(scope.value), f"Every story published in {_month(scope.value)}."
        if scope.kind == "persona":
            return voices[scope.value].persona, voices[scope.value].byline
        return self._desks[scope.value].name, self._desks[scope.value].description

    def _front(self, lead: StoryView | None) -> None:
        total = self._memory.count()
        stories = self._memory.stretch(max(total - CARDS - 1, 0), CARDS + 1)[:-1]
        older = ARCHIVE if total > CARDS + 1 else ""
        cards = [one.card for one in reversed(stories)]
        front = Listing("index.html", "front", "", items=cards, origins=_origins(stories), lead=lead, older=older)
        self._edition.put(front.path, self._pages.listing(front))

    def _years(self) -> list[tuple[str, list[tuple[str, str, int]]]]:
        months = reversed(self._memory.groups("month"))
        return [
            (year, [(f"{Scope('month', month).folder}index.html", _month(month), count) for month, count in some])
            for year, some in groupby(months, key=lambda month: month[0][:4])
        ]

    def _sitemaps(self) -> None:
        """Sitemaps of stories are counted from the oldest on as well, and only those from the first change written."""
        memory, total = self._memory, self._memory.count()
        scopes = [Scope(kind, value) for kind in ("category", "persona", "month") for value, _ in memory.groups(kind)]
        fixed = ["index.html", ABOUT, ARCHIVE, PERSONAS, *(f"{scope.folder}index.html" for scope in scopes)]
        self._edition.put("sitemap-pages.xml", self._pages.sitemap((path, "") for path in fixed))
        first = memory.rank(self._earliest) // SITEMAP if self._earliest else 0
        names = [f"sitemap-{start // SITEMAP + 1}.xml" for start in range(0, total, SITEMAP)]
        for index in range(first, len(names)):
            stories = memory.addresses(index * SITEMAP, SITEMAP)
            listed = ((f"story/{slug}/index.html", updated) for slug, updated in stories)
            self._edition.put(names[index], self._pages.sitemap(listed))
        for name in memory.paths("sitemap-[0-9]*"):
            if name not in names:
                self._edition.drop(name)
        parts = [("sitemap-pages.xml", ""), *((name, "") for name in names)]
        self._edition.put("sitemap.xml", self._pages.sitemap_index(parts))


def _scopes(story: Brief) -> list[Scope]:
    named = {"category": story.category, "persona": story.persona, "month": story.month}
    return [Scope(kind, value) for kind, value in named.items()]


def _month(value: str) -> str:
    """``2026-05`` as people write it."""
    return f"{date.fromisoformat(f'{value}-01'):%B %Y}"


def _origins(stories: Sequence[Brief]) -> set[str]:
    return {origin for one in stories for origin in one.origins.split()}
