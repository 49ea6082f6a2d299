"""Building the site: what changed is rendered into the next version, checked, and shown to readers at once.

A page depends on its own story, a few neighbours of its category, and what all pages share; a list on its stories. So a
build reads the listing of all stories and the records of those that changed, whatever the number of stories, and makes
the same files as a build from nothing would. What pages show belongs in ``site/pages.py``, how versions lie on disk in
``site/versions.py``, what is remembered between builds in ``site/build_state.py``.
"""

import errno
import hashlib
import importlib.resources
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from itertools import islice
from pathlib import Path

from threadjuice_dagster.domain.pictures.images import Variant
from threadjuice_dagster.domain.story.publication import Listed, PublicationSource, PublishedStory
from threadjuice_dagster.domain.story.stories import Category
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.site.build_state import Brief, BuildState, Key
from threadjuice_dagster.site.links import base_of, site_address
from threadjuice_dagster.site.lists import Lists
from threadjuice_dagster.site.pages import ABOUT, PERSONAS, Pages, version_file
from threadjuice_dagster.site.pictures import ReadPicture, place_picture
from threadjuice_dagster.site.verify import verify_site
from threadjuice_dagster.site.versions import SiteVersion, next_edition
from threadjuice_dagster.site.views import StoryView, utc, view_of

FEED_LENGTH = 30
"""Stories in the feeds, newest first."""

RELATED, NEAR = 3, 24
"""Stories under a story, chosen by the tags they share from so many of its category that came before."""

BATCH = 100
"""Records in memory at a time."""


@dataclass(frozen=True)
class SiteBuild:
    """What a build made. ``version`` depends on the content alone; ``changed`` is False if it was current already.

    ``written`` and ``removed`` count files that differ from the version before.
    """

    version: str
    folder: Path
    stories: int
    pages: int
    pictures: int
    seconds: float
    changed: bool
    written: int
    removed: int


class Gathered:
    """A ``PublicationSource`` of stories in memory."""

    def __init__(self, stories: Iterable[PublishedStory]) -> None:
        self._stories = {story.story_id: story for story in stories}

    def listing(self) -> Iterator[Listed]:
        """Each story, stamped with the digest of its record."""
        for story in self._stories.values():
            stamp = hashlib.sha256(story.model_dump_json().encode(errors="replace")).hexdigest()
            yield Listed(story.story_id, story.category.slug, story.published_at, stamp)

    def stories(self, ids: Sequence[str]) -> Iterator[PublishedStory]:
        """These stories."""
        return (self._stories[one] for one in ids if one in self._stories)


def build_site(
    stories: PublicationSource | Iterable[PublishedStory],
    target: Path,
    site_url: str,
    storage_root: Path | None,
    read_picture: ReadPicture | None = None,
    keep_old: bool = True,
) -> SiteBuild:
    """Build the site into ``<target>/versions/<version>/`` and point ``<target>/current`` at it.

    ``site_url`` may be empty: then no page names an absolute address of its own. Pictures at ``file://`` addresses are
    linked or copied from ``storage_root`` by key, or read through ``read_picture`` where it does not have them. Without
    ``keep_old`` nothing of a withdrawn story is left behind. Raises ``PermanentFailure`` for a story that cannot be
    shown or a link that leads nowhere; ``current`` then stays as it was, as after any other failure.
    """
    shelf = stories if isinstance(stories, PublicationSource) else Gathered(stories)
    bring = partial(place_picture, storage_root=storage_root, read_picture=read_picture)
    started, address = time.perf_counter(), site_address(site_url)
    for last in (False, True):
        try:
            with next_edition(target, afresh=last) as edition:
                build = _Build(shelf, edition, address, bring)
                build.run()
                if not last and edition.is_damaged():
                    continue
                build.check()
                version, changed = edition.publish(build.marker, keep_old)
                return build.result(version, changed, started)
        except sqlite3.DatabaseError as error:
            if last or isinstance(error, sqlite3.OperationalError):
                raise (OSError(errno.ENOSPC, str(error)) if "is full" in str(error) else error) from error
    raise AssertionError


class _Build:
    """One build into one edition."""

    def __init__(
        self, shelf: PublicationSource, edition: SiteVersion, site_url: str, bring: Callable[[Variant, Path], None]
    ) -> None:
        self._shelf, self._edition, self._site_url, self._bring = shelf, edition, site_url, bring
        self._memory: BuildState = edition.memory
        self._everything = False
        self._rendered: set[str] = set()
        self._shifted: list[tuple[str, Key]] = []

    def run(self) -> None:
        """Bring the edition up to date with the stories."""
        listed = self._shelf.listing()
        self._memory.receive((one.story_id, one.category, instant(one.published_at), one.stamp) for one in listed)
        categories = self._desks()
        self._everything = self._is_renewed(categories)
        self._pages = Pages(categories, self._site_url)
        self._lists = Lists(self._edition, self._pages, {category.slug: category for category in categories})
        for story in self._memory.gone():
            self._remove(story)
        for view, stamp in self._views(self._memory.changed()):
            self._render(view, stamp)
        for view, _ in self._views((one, "") for one in self._neighbours()):
            self._page(view)
        if self._everything or self._lists.changed:
            self._shared()

    def check(self) -> None:
        """Look at the links of what was written; where files are gone, at those of every page."""
        written, dropped = self._edition.written, self._edition.dropped
        if written or dropped:
            pages = None if dropped else self._memory.changes("*.html")
            verify_site(self._edition.folder, base_of(self._site_url), pages)

    def marker(self, version: str) -> bytes:
        """``version.json``."""
        memory = self._memory
        return version_file(version, memory.count(), memory.newest_change(), memory.origins())

    def result(self, version: str, changed: bool, started: float) -> SiteBuild:
        """What was made."""
        pages, pictures = self._memory.numbers()
        return SiteBuild(
            version=version,
            folder=self._edition.current.resolve(),
            stories=self._memory.count(),
            pages=pages,
            pictures=pictures,
            seconds=time.perf_counter() - started,
            changed=changed,
            written=self._edition.written,
            removed=self._edition.dropped,
        )

    def _desks(self) -> list[Category]:
        """The categories that have stories, each as its newest story has it, by name."""
        views = [view_of(story) for story in self._shelf.stories(self._memory.desks())]
        return sorted((view.category for view in views), key=lambda category: (category.name, category.slug))

    def _is_renewed(self, categories: Sequence[Category]) -> bool:
        """Whether what all pages share is not as it was: then every page is rendered."""
        shared = [
            _code(),
            self._site_url,
            *((category.slug, category.name, category.description, category.colour) for category in categories),
        ]
        basis = hashlib.sha256(json.dumps(shared).encode()).hexdigest()
        if basis == self._memory.fact("basis"):
            return False
        self._memory.note("basis", basis)
        self._memory.unstamp()
        return True

    def _views(self, wanted: Iterable[tuple[str, str]]) -> Iterator[tuple[StoryView, str]]:
        """Stories with their stamps, in the order asked for; one that was withdrawn meanwhile is removed."""
        stamps = iter(wanted)
        while batch := dict(islice(stamps, BATCH)):
            found = {story.story_id: story for story in self._shelf.stories(list(batch))}
            for story_id, stamp in batch.items():
                if story_id in found:
                    yield view_of(found[story_id]), stamp
                elif known := self._memory.story(story_id):
                    self._remove(known)

    def _remove(self, story: Brief) -> None:
        for path in (*_paths(story.slug), *self._memory.forget(story.story_id)):
            self._edition.drop(path)
        self._lists.moved(story)
        self._shifted.append((story.category, story.key))

    def _render(self, view: StoryView, stamp: str) -> None:
        """Render a story's page, and note the lists and neighbours that show it."""
        before = self._memory.story(view.story.story_id)
        story = self._brief(view, stamp)
        self._refuse_twins(story)
        if before and before.slug != story.slug:
            self._remove(before)
            before = None
        for path in self._memory.keep(story, self._pictures(view)):
            self._edition.drop(path)
        if self._everything or before is None or before.place != story.place:
            for one in (before, story):
                if one:
                    self._lists.moved(one)
        else:
            self._lists.touched(story, shown=before.look != story.look)
        if not self._everything:
            self._rendered.add(story.story_id)
            self._shifted += [(one.category, one.key) for one in {before, story} if one]
        self._page(view)

    def _refuse_twins(self, story: Brief) -> None:
        holder = self._memory.holder(story.slug)
        if holder not in ("", story.story_id):
            raise PermanentFailure(
                f"Stories {holder} and {story.story_id} share the slug {story.slug}.",
                "Withdraw one of them or give it another slug.",
            )

    def _pictures(self, view: StoryView) -> list[str]:
        """Bring a story's stored pictures into the edition; returns their paths."""
        local = list(view.picture.local) if view.picture else []
        for variant, place in local:
            try:
                self._edition.place(place, partial(self._bring, variant))
            except FileNotFoundError as error:
                raise PermanentFailure(
                    f"The page {view.path} refers to {place}, which picture storage does not have.",
                    "The site in use is unchanged; materialize story_image for that story, then build again.",
                ) from error
        return [place for _, place in local]

    def _brief(self, view: StoryView, stamp: str) -> Brief:
        published = instant(view.published)
        return Brief(
            story_id=view.story.story_id,
            stamp=stamp,
            published=published,
            updated=view.updated.isoformat(),
            slug=view.story.slug,
            month=published[:7],
            category=view.story.category.slug,
            persona=view.story.persona.slug,
            voice=f"{view.persona}\n{view.byline}",
            tags="\n".join(view.story.draft.tags),
            related="",
            origins=" ".join(sorted(view.picture.origins)) if view.picture else "",
            card=self._pages.card(view),
            line=self._pages.line(view),
        )

    def _page(self, view: StoryView) -> None:
        """Write a story's page, its related stories as they are now, and the record beside it."""
        key = (instant(view.published), view.story.story_id)
        related = self._related(view.story.category.slug, key, view.story.draft.tags)
        self._memory.relate(view.story.story_id, _ids(related))
        origins = {origin for one in related for origin in one.origins.split()}
        self._edition.put(view.path, self._pages.story(view, [one.card for one in related], origins))
        if record := view.story.provenance:
            self._edition.put(view.provenance_path, f"{record.model_dump_json(indent=1)}\n".encode())
        else:
            self._edition.drop(view.provenance_path)

    def _related(self, category: str, key: Key, tags: Iterable[str]) -> list[Brief]:
        """Of the stories of a story's category shortly before it, those that share most tags.

        A new story is thus related to others at once, and changes no page of theirs.
        """
        near, own = self._memory.older(category, key, NEAR), set(tags)
        chosen = sorted(near, key=lambda one: -len(own.intersection(one.tags.split("\n"))))[:RELATED]
        missing = RELATED - len(chosen)
        return chosen + (self._memory.newer(category, key, missing) if missing else [])

    def _neighbours(self) -> list[str]:
        """Stories that are not rendered yet, or were too early, and may show a changed one as related."""
        categories = (
            dict(self._memory.groups("category")) if self._everything else {category for category, _ in self._shifted}
        )
        late = [
            one.story_id for category in categories for one in self._memory.stretch(0, RELATED, "category", category)
        ]
        near = {one.story_id: one for category, key in self._shifted for one in self._memory.newer(category, key, NEAR)}
        for story_id in near.keys() - self._rendered:
            one = near[story_id]
            related = self._related(one.category, one.key, one.tags.split("\n"))
            if _ids(related) != one.related or any(other.story_id in self._rendered for other in related):
                late.append(story_id)
        return list(dict.fromkeys(late))

    def _shared(self) -> None:
        """Write what does not belong to one story."""
        memory, pages, put = self._memory, self._pages, self._edition.put
        for path, data in pages.assets.files.items():
            put(path, data)
        for path in memory.paths("assets/*"):
            if path not in pages.assets.files:
                self._edition.drop(path)
        newest = memory.stretch(max(memory.count() - FEED_LENGTH, 0), FEED_LENGTH)
        latest = [view for view, _ in self._views((one.story_id, "") for one in reversed(newest))]
        named = [view for view, _ in self._views((one, "") for one in memory.newest("persona"))]
        voices = {view.story.persona.slug: view for view in named}
        put(ABOUT, pages.about())
        put("404.html", pages.not_found())
        put("robots.txt", pages.robots())
        put(PERSONAS, pages.voices(sorted(voices.values(), key=lambda view: (view.persona, view.story.persona.slug))))
        for path, data in pages.feeds(latest).items():
            put(path, data)
        self._lists.render(latest[0] if latest else None, voices)


def _paths(slug: str) -> tuple[str, str]:
    return f"story/{slug}/index.html", f"story/{slug}/provenance.json"


def _ids(stories: Iterable[Brief]) -> str:
    return "\n".join(one.story_id for one in stories)


def instant(moment: datetime) -> str:
    """A moment as text that sorts by time."""
    return utc(moment).isoformat(timespec="microseconds")


@cache
def _code() -> str:
    """Names the code and the templates that make pages."""
    package, digest = Path(str(importlib.resources.files("threadjuice_dagster"))), hashlib.sha256()
    files = (file for folder in ("site", "domain") for file in (package / folder).rglob("*"))
    for file in sorted(file for file in files if file.is_file() and file.suffix != ".pyc"):
        digest.update(file.read_bytes())
    return digest.hexdigest()
