"""Write the lists of stories by category, persona and month, and only those of their pages that changed.

A list has a landing page with the newest stories, and pages of older ones behind it. These are numbered from the oldest
story on, so that a new story does not change them. How a list looks belongs in ``site/pages.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from typing import NamedTuple

from threadjuice_dagster.domain.story.stories import Category
from threadjuice_dagster.site.build_state import BuiltStory, Key
from threadjuice_dagster.site.pages import ABOUT, ARCHIVE, PERSONAS, Listing, Pages
from threadjuice_dagster.site.versions import SiteVersion
from threadjuice_dagster.site.views import StoryView

CARDS, LINES = 24, 100
"""Stories on a page of older ones, as cards and as lines. A landing page has up to twice as many, less one."""

SITEMAP = 50_000
"""Most addresses in a sitemap (https://www.sitemaps.org/protocol.html)."""


class Scope(NamedTuple):
    """The stories that have ``value`` in the column ``kind``, which is category, persona or month."""

    kind: str
    value: str

    @property
    def folder(self) -> str:
        """The folder of its pages."""
        return f"{'archive' if self.kind == 'month' else self.kind}/{self.value}/"

    @property
    def per_page(self) -> int:
        """How many stories a page of older ones has."""
        return LINES if self.kind == "month" else CARDS

    def page(self, number: int, older: int) -> str:
        """Return the path of page ``number``, from 1, or of the landing page beyond the ``older`` ones."""
        return f"{self.folder}page/{number}/index.html" if number <= older else f"{self.folder}index.html"


class Lists:
    """Records which stories changed, then writes the pages that show them."""

    def __init__(self, version: SiteVersion, pages: Pages, categories: Mapping[str, Category]) -> None:
        self._version, self._state, self._pages, self._categories = version, version.state, pages, categories
        self._moved: dict[Scope, Key] = {}
        self._touched: dict[Scope, set[Key]] = {}
        self._earliest: Key | None = None

    @property
    def changed(self) -> bool:
        """Whether any story changed."""
        return self._earliest is not None

    def moved(self, story: BuiltStory) -> None:
        """Record that a story came, left or changed its place, which moves every newer story on its lists."""
        for scope in _scopes(story):
            self._moved[scope] = min(story.key, self._moved.get(scope, story.key))
        self._earliest = min(story.key, self._earliest or story.key)

    def touched(self, story: BuiltStory, shown: bool) -> None:
        """Record that a story changed in place. ``shown`` says whether lists show the change."""
        for scope in _scopes(story) if shown else ():
            self._touched.setdefault(scope, set()).add(story.key)
        self._earliest = min(story.key, self._earliest or story.key)

    def render(self, lead: StoryView | None, voices: Mapping[str, StoryView]) -> None:
        """Write every page that changed. ``lead`` is the newest story, ``voices`` has the newest of each persona."""
        for scope in sorted({*self._moved, *self._touched}):
            self._scope(scope, voices)
        self._front(lead)
        self._version.write(ARCHIVE, self._pages.archive(self._years()))
        self._sitemaps()

    def _scope(self, scope: Scope, voices: Mapping[str, StoryView]) -> None:
        total, (before, said) = self._state.count(*scope), self._state.list_state(scope.folder)
        older = max(total // scope.per_page - 1, 0)
        for number in range(older, before):
            self._version.remove(scope.page(number + 1, number + 1))
        if not total:
            self._state.delete_list(scope.folder)
            self._version.remove(f"{scope.folder}index.html")
            return
        words = self._words(scope, voices)
        self._state.save_list(scope.folder, older, "\n".join(words))
        stale = self._stale(scope, older, before) if said == "\n".join(words) else set(range(older))
        for number in [*sorted(stale), older]:
            last = number == older
            stories = self._state.stories_from(number * scope.per_page, total if last else scope.per_page, *scope)
            newer = "" if last else scope.page(number + 2, older)
            path, previous = scope.page(number + 1, older), scope.page(number, older) if number else ""
            listing = replace(
                self._listing(scope, words, stories),
                path=path,
                number=0 if last else number + 1,
                newer=newer,
                older=previous,
            )
            self._version.write(path, self._pages.listing(listing))

    def _stale(self, scope: Scope, older: int, before: int) -> set[int]:
        """Return the numbers, from 0, of the pages of older stories that changed."""
        stale = {self._state.rank(key, *scope) // scope.per_page for key in self._touched.get(scope, ())}
        if scope in self._moved:
            stale |= set(range(self._state.rank(self._moved[scope], *scope) // scope.per_page, older))
        if before != older:
            stale |= set(range(max(min(before, older) - 1, 0), older))
        return {number for number in stale if number < older}

    def _listing(self, scope: Scope, words: tuple[str, str], stories: Sequence[BuiltStory]) -> Listing:
        return Listing(
            path="",
            kind=scope.kind,
            title=words[0],
            summary=words[1],
            slug=scope.value,
            items=[story.line if scope.kind == "month" else story.card for story in reversed(stories)],
            origins=_origins(stories),
        )

    def _words(self, scope: Scope, voices: Mapping[str, StoryView]) -> tuple[str, str]:
        """Return a list's title and summary."""
        if scope.kind == "month":
            return _month(scope.value), f"Every story published in {_month(scope.value)}."
        if scope.kind == "persona":
            return voices[scope.value].persona, voices[scope.value].byline
        return self._categories[scope.value].name, self._categories[scope.value].description

    def _front(self, lead: StoryView | None) -> None:
        total = self._state.count()
        stories = self._state.stories_from(max(total - CARDS - 1, 0), CARDS + 1)[:-1]
        older = ARCHIVE if total > CARDS + 1 else ""
        cards = [story.card for story in reversed(stories)]
        front = Listing("index.html", "front", "", items=cards, origins=_origins(stories), lead=lead, older=older)
        self._version.write(front.path, self._pages.listing(front))

    def _years(self) -> list[tuple[str, list[tuple[str, str, int]]]]:
        months = reversed(self._state.counts_by("month"))
        return [
            (year, [(f"{Scope('month', month).folder}index.html", _month(month), count) for month, count in some])
            for year, some in groupby(months, key=lambda month: month[0][:4])
        ]

    def _sitemaps(self) -> None:
        """Write the sitemaps. Those of stories are numbered from the oldest story on; earlier ones do not change."""
        state, total = self._state, self._state.count()
        scopes = [Scope(kind, value) for kind in ("category", "persona", "month") for value, _ in state.counts_by(kind)]
        fixed = ["index.html", ABOUT, ARCHIVE, PERSONAS, *(f"{scope.folder}index.html" for scope in scopes)]
        self._version.write("sitemap-pages.xml", self._pages.sitemap((path, "") for path in fixed))
        first = state.rank(self._earliest) // SITEMAP if self._earliest else 0
        names = [f"sitemap-{start // SITEMAP + 1}.xml" for start in range(0, total, SITEMAP)]
        for index in range(first, len(names)):
            stories = state.addresses(index * SITEMAP, SITEMAP)
            listed = ((f"story/{slug}/index.html", updated) for slug, updated in stories)
            self._version.write(names[index], self._pages.sitemap(listed))
        for name in state.paths("sitemap-[0-9]*"):
            if name not in names:
                self._version.remove(name)
        parts = [("sitemap-pages.xml", ""), *((name, "") for name in names)]
        self._version.write("sitemap.xml", self._pages.sitemap_index(parts))


def _scopes(story: BuiltStory) -> list[Scope]:
    named = {"category": story.category, "persona": story.persona, "month": story.month}
    return [Scope(kind, value) for kind, value in named.items()]


def _month(value: str) -> str:
    """Return ``2026-05`` as people write it."""
    return f"{date.fromisoformat(f'{value}-01'):%B %Y}"


def _origins(stories: Sequence[BuiltStory]) -> set[str]:
    return {origin for story in stories for origin in story.origins.split()}
