"""Build the site: render what changed into the next version, check it, and make it the current version.

A story's page depends on the story, a few neighbours of its category, and what all pages share. A list depends on its
stories. So a build reads the list of all stories and the records of those that changed, and makes the same files as a
build from nothing would. What pages show belongs in ``site/pages.py``, how versions lie on disk in
``site/versions.py``, what is stored between builds in
``site/build_state.py``.
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
from threadjuice_dagster.site.build_state import BuildState, BuiltStory, Key
from threadjuice_dagster.site.links import base_of, site_address
from threadjuice_dagster.site.lists import Lists
from threadjuice_dagster.site.markup import verify_site
from threadjuice_dagster.site.pages import ABOUT, PERSONAS, Pages, version_file
from threadjuice_dagster.site.pictures import ReadPicture, place_picture
from threadjuice_dagster.site.versions import SiteVersion, next_version
from threadjuice_dagster.site.views import StoryView, utc, view_of

FEED_LENGTH = 30
"""Stories in the feeds, newest first."""

RELATED, NEAR = 3, 24
"""How many stories are shown below a story, and how many of its category before it they are chosen from."""

BATCH = 100
"""Records in state at a time."""


@dataclass(frozen=True)
class SiteBuild:
    """The result of a build. ``version`` depends on the content alone, ``changed`` says whether it is a new one.

    ``written`` and ``removed`` count the files that differ from the version before.
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


class StoriesInMemory:
    """A ``PublicationSource`` of stories in state."""

    def __init__(self, stories: Iterable[PublishedStory]) -> None:
        self._stories = {story.story_id: story for story in stories}

    def listing(self) -> Iterator[Listed]:
        """Yield each story, stamped with the digest of its record."""
        for story in self._stories.values():
            stamp = hashlib.sha256(story.model_dump_json().encode(errors="replace")).hexdigest()
            yield Listed(story.story_id, story.category.slug, story.published_at, stamp)

    def stories(self, ids: Sequence[str]) -> Iterator[PublishedStory]:
        """Return those of these stories that there are."""
        return (self._stories[story_id] for story_id in ids if story_id in self._stories)


def build_site(
    stories: PublicationSource | Iterable[PublishedStory],
    target: Path,
    site_url: str,
    storage_root: Path | None,
    read_picture: ReadPicture | None = None,
    keep_old: bool = True,
) -> SiteBuild:
    """Build the site into ``<target>/versions/<version>/`` and point ``<target>/current`` at it.

    Without a ``site_url`` no page names an absolute address of its own. Pictures at ``file://`` addresses are linked or
    copied from ``storage_root`` by key; those that it lacks are read by ``read_picture``. Without ``keep_old`` no file
    of a withdrawn story stays on disk. Raises ``PermanentFailure`` for a story that cannot be shown and for a broken
    link. After any failure ``current`` stays as it was.
    """
    source = stories if isinstance(stories, PublicationSource) else StoriesInMemory(stories)
    fetch = partial(place_picture, storage_root=storage_root, read_picture=read_picture)
    started, address = time.perf_counter(), site_address(site_url)
    # A second round builds everything anew, if the build state or files on disk turn out to be damaged.
    for last in (False, True):
        try:
            with next_version(target, afresh=last) as version:
                build = _Build(source, version, address, fetch)
                build.run()
                if not last and version.is_damaged():
                    continue
                build.check()
                name, changed = version.publish(build.marker, keep_old)
                return build.result(name, changed, started)
        except sqlite3.DatabaseError as error:
            # OperationalError is a full disk or a lock, not damage: building anew would not help.
            if last or isinstance(error, sqlite3.OperationalError):
                raise (OSError(errno.ENOSPC, str(error)) if "is full" in str(error) else error) from error
    raise AssertionError


class _Build:
    """One build of one version."""

    def __init__(
        self, source: PublicationSource, version: SiteVersion, site_url: str, fetch: Callable[[Variant, Path], None]
    ) -> None:
        self._source, self._version, self._site_url, self._fetch = source, version, site_url, fetch
        self._state: BuildState = version.state
        self._everything = False
        self._rendered: set[str] = set()
        self._shifted: list[tuple[str, Key]] = []

    def run(self) -> None:
        """Bring the version up to date with the stories."""
        listed = self._source.listing()
        self._state.set_public_stories(
            (entry.story_id, entry.category, instant(entry.published_at), entry.stamp) for entry in listed
        )
        categories = self._categories()
        self._everything = self._is_renewed(categories)
        self._pages = Pages(categories, self._site_url)
        self._lists = Lists(self._version, self._pages, {category.slug: category for category in categories})
        for story in self._state.withdrawn():
            self._remove(story)
        for view, stamp in self._views(self._state.changed_stories()):
            self._render(view, stamp)
        for view, _ in self._views((story_id, "") for story_id in self._neighbours()):
            self._page(view)
        if self._everything or self._lists.changed:
            self._shared()

    def check(self) -> None:
        """Check the links of the pages that were written, or of every page if files were removed."""
        written, dropped = self._version.written, self._version.removed
        if written or dropped:
            pages = None if dropped else self._state.changed_paths("*.html")
            verify_site(self._version.folder, base_of(self._site_url), pages)

    def marker(self, version: str) -> bytes:
        """Return the content of ``version.json``."""
        state = self._state
        return version_file(version, state.count(), state.newest_change(), state.origins())

    def result(self, version: str, changed: bool, started: float) -> SiteBuild:
        """Return the result of the build."""
        pages, pictures = self._state.count_pages_and_pictures()
        return SiteBuild(
            version=version,
            folder=self._version.current.resolve(),
            stories=self._state.count(),
            pages=pages,
            pictures=pictures,
            seconds=time.perf_counter() - started,
            changed=changed,
            written=self._version.written,
            removed=self._version.removed,
        )

    def _categories(self) -> list[Category]:
        """Return the categories that have stories, by name. Each is taken from its newest story."""
        views = [view_of(story) for story in self._source.stories(self._state.newest_public_by_category())]
        return sorted((view.category for view in views), key=lambda category: (category.name, category.slug))

    def _is_renewed(self, categories: Sequence[Category]) -> bool:
        """Return whether anything that all pages share changed, and mark every story as changed if so."""
        shared = [
            _code(),
            self._site_url,
            *((category.slug, category.name, category.description, category.colour) for category in categories),
        ]
        basis = hashlib.sha256(json.dumps(shared).encode()).hexdigest()
        if basis == self._state.get("basis"):
            return False
        self._state.set("basis", basis)
        self._state.mark_all_changed()
        return True

    def _views(self, wanted: Iterable[tuple[str, str]]) -> Iterator[tuple[StoryView, str]]:
        """Yield stories with their stamps in the given order. Remove those that were withdrawn meanwhile."""
        stamps = iter(wanted)
        while batch := dict(islice(stamps, BATCH)):
            stories = {story.story_id: story for story in self._source.stories(list(batch))}
            for story_id, stamp in batch.items():
                if story_id in stories:
                    yield view_of(stories[story_id]), stamp
                elif withdrawn := self._state.story(story_id):
                    self._remove(withdrawn)

    def _remove(self, story: BuiltStory) -> None:
        for path in (*_paths(story.slug), *self._state.delete_story(story.story_id)):
            self._version.remove(path)
        self._lists.moved(story)
        self._shifted.append((story.category, story.key))

    def _render(self, view: StoryView, stamp: str) -> None:
        """Render a story's page, and record the lists and neighbours that show it."""
        before = self._state.story(view.story.story_id)
        story = self._brief(view, stamp)
        self._refuse_twins(story)
        if before and before.slug != story.slug:
            self._remove(before)
            before = None
        for path in self._state.save_story(story, self._pictures(view)):
            self._version.remove(path)
        if self._everything or before is None or before.position != story.position:
            for changed in (before, story):
                if changed:
                    self._lists.moved(changed)
        else:
            self._lists.touched(story, shown=before.appearance != story.appearance)
        if not self._everything:
            self._rendered.add(story.story_id)
            self._shifted += [(changed.category, changed.key) for changed in {before, story} if changed]
        self._page(view)

    def _refuse_twins(self, story: BuiltStory) -> None:
        holder = self._state.slug_owner(story.slug)
        if holder not in ("", story.story_id):
            raise PermanentFailure(
                f"Stories {holder} and {story.story_id} share the slug {story.slug}.",
                "Withdraw one of them or give it another slug.",
            )

    def _pictures(self, view: StoryView) -> list[str]:
        """Add a story's stored pictures to the version. Return their paths."""
        local = list(view.picture.local) if view.picture else []
        for variant, place in local:
            try:
                self._version.add_file(place, partial(self._fetch, variant))
            except FileNotFoundError as error:
                raise PermanentFailure(
                    f"The page {view.path} refers to {place}, which picture storage does not have.",
                    "The site in use is unchanged; materialize story_image for that story, then build again.",
                ) from error
        return [place for _, place in local]

    def _brief(self, view: StoryView, stamp: str) -> BuiltStory:
        published = instant(view.published)
        return BuiltStory(
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
        """Write a story's page with its related stories, and its provenance record."""
        key = (instant(view.published), view.story.story_id)
        related = self._related(view.story.category.slug, key, view.story.draft.tags)
        self._state.set_related(view.story.story_id, _ids(related))
        origins = {origin for neighbour in related for origin in neighbour.origins.split()}
        self._version.write(view.path, self._pages.story(view, [neighbour.card for neighbour in related], origins))
        if record := view.story.provenance:
            self._version.write(view.provenance_path, f"{record.model_dump_json(indent=1)}\n".encode())
        else:
            self._version.remove(view.provenance_path)

    def _related(self, category: str, key: Key, tags: Iterable[str]) -> list[BuiltStory]:
        """Return those of the stories shortly before a story, of its category, that share most tags with it.

        Older stories alone: a new story then changes no other story's page.
        """
        near, own = self._state.older(category, key, NEAR), set(tags)
        chosen = sorted(near, key=lambda neighbour: -len(own.intersection(neighbour.tags.split("\n"))))[:RELATED]
        missing = RELATED - len(chosen)
        return chosen + (self._state.newer(category, key, missing) if missing else [])

    def _neighbours(self) -> list[str]:
        """Return the stories that may show a changed one as related and were not rendered after it."""
        categories = (
            dict(self._state.counts_by("category")) if self._everything else {category for category, _ in self._shifted}
        )
        late = [
            neighbour.story_id
            for category in categories
            for neighbour in self._state.stories_from(0, RELATED, "category", category)
        ]
        near = {
            neighbour.story_id: neighbour
            for category, key in self._shifted
            for neighbour in self._state.newer(category, key, NEAR)
        }
        for story_id in near.keys() - self._rendered:
            neighbour = near[story_id]
            related = self._related(neighbour.category, neighbour.key, neighbour.tags.split("\n"))
            if _ids(related) != neighbour.related or any(other.story_id in self._rendered for other in related):
                late.append(story_id)
        return list(dict.fromkeys(late))

    def _shared(self) -> None:
        """Write the files that do not belong to one story."""
        state, pages, put = self._state, self._pages, self._version.write
        for path, data in pages.assets.files.items():
            put(path, data)
        for path in state.paths("assets/*"):
            if path not in pages.assets.files:
                self._version.remove(path)
        newest = state.stories_from(max(state.count() - FEED_LENGTH, 0), FEED_LENGTH)
        latest = [view for view, _ in self._views((story.story_id, "") for story in reversed(newest))]
        named = [view for view, _ in self._views((story_id, "") for story_id in state.newest_by("persona"))]
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


def _ids(stories: Iterable[BuiltStory]) -> str:
    return "\n".join(story.story_id for story in stories)


def instant(moment: datetime) -> str:
    """Return a moment as text that sorts by time."""
    return utc(moment).isoformat(timespec="microseconds")


@cache
def _code() -> str:
    """Return a digest of the code and templates that make pages."""
    package, digest = Path(str(importlib.resources.files("threadjuice_dagster"))), hashlib.sha256()
    files = [file for folder in ("site", "domain") for file in (package / folder).rglob("*")]
    files.append(package / "editorial" / "sources.yaml")  # the words that pages speak of a source by
    for file in sorted(file for file in files if file.is_file() and file.suffix != ".pyc"):
        digest.update(file.read_bytes())
    return digest.hexdigest()
