"""Which pages the site has and what each is given. How they look belongs in ``templates/`` and ``static/``."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.site.assets import site_assets
from threadjuice_dagster.site.links import public_address, root_of
from threadjuice_dagster.site.metadata import SITE_NAME, news_article, open_graph
from threadjuice_dagster.site.pictures import Picture
from threadjuice_dagster.site.views import StoryView, credit_of

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

PER_PAGE = 24
"""Stories in the grid of a listing page; the front page has a lead story above them."""

FEED_LENGTH = 30
"""Stories in the feed, newest first."""

RELATED = 3
"""Stories of the same desk under a story."""

STRAPLINE = "The best of the thread, carefully squeezed."
_ABOUT, _FEED = "about/index.html", "feed.xml"


class Pages:
    """Renders every page of one build. ``views`` are newest first; ``site_url`` has no final slash."""

    def __init__(self, views: list[StoryView], site_url: str) -> None:
        self._views, self._site_url = views, site_url
        self._desks: dict[str, list[StoryView]] = {}
        for view in views:
            self._desks.setdefault(view.category.slug, []).append(view)
        # A desk's newest story carries its newest name and colour.
        self._categories = sorted((desk[0].category for desk in self._desks.values()), key=lambda desk: desk.name)
        self._assets = site_assets(self._categories)
        self._templates = _templates()

    def render(self) -> Iterator[tuple[str, bytes]]:
        """Every file of the site but pictures and ``version.json``, as path and content."""
        yield from self._assets.files.items()
        yield from self._listing("", self._views)
        for category in self._categories:
            yield from self._listing(f"category/{category.slug}/", self._desks[category.slug])
        for view in self._views:
            yield view.path, self._story(view)
            if record := view.story.provenance:
                yield view.provenance_path, f"{record.model_dump_json(indent=1)}\n".encode()
        yield _ABOUT, self._page("about.html", _ABOUT)
        yield "404.html", self._not_found()
        yield from self._for_machines()

    def _listing(self, folder: str, views: list[StoryView]) -> Iterator[tuple[str, bytes]]:
        lead, rest = (views[:1], views[1:]) if not folder else ([], views)
        pages = [rest[start : start + PER_PAGE] for start in range(0, len(rest), PER_PAGE)] or [[]]
        paths = [
            f"{folder}page/{index + 1}/index.html" if index else f"{folder}index.html" for index in range(len(pages))
        ]
        for index, (path, stories) in enumerate(zip(paths, pages, strict=True)):
            leading = lead if index == 0 else []
            yield (
                path,
                self._page(
                    "listing.html",
                    path,
                    pictures=[*_pictures(leading, blurred=True), *_pictures(stories, blurred=False)],
                    category=views[0].category if folder else None,
                    lead=leading[0] if leading else None,
                    stories=stories,
                    number=index + 1,
                    count=len(paths),
                    newer=paths[index - 1] if index else "",
                    older=paths[index + 1] if index + 1 < len(paths) else "",
                ),
            )

    def _story(self, view: StoryView) -> bytes:
        related = [other for other in self._desks[view.category.slug][: RELATED + 1] if other is not view][:RELATED]
        return self._page(
            "story.html",
            view.path,
            pictures=[*_pictures([view], blurred=True), *_pictures(related, blurred=False)],
            story=view,
            credit=credit_of(view.picture) if view.picture else None,
            related=related,
            article=news_article(view, self._site_url),
            properties=open_graph(view, self._site_url),
        )

    def _not_found(self) -> bytes:
        """A page that looks right from any address, so it refers to nothing but the front page."""
        return self._page("404.html", "404.html", style=self._assets.plain_style)

    def _for_machines(self) -> Iterator[tuple[str, bytes]]:
        newest = max((view.updated for view in self._views), default=None)
        listed = ["index.html", _ABOUT, *(f"category/{category.slug}/index.html" for category in self._categories)]
        yield _FEED, self._text("feed.xml", stories=self._views[:FEED_LENGTH], newest=newest, feed=_FEED)
        yield "sitemap.xml", self._text("sitemap.xml", stories=self._views, newest=newest, listed=listed)
        sitemap = f"Sitemap: {self._site_url}/sitemap.xml\n" if self._site_url else ""
        yield "robots.txt", f"User-agent: *\nAllow: /\n{sitemap}".encode()

    def _page(
        self, template: str, path: str, pictures: Iterable[tuple[Picture, str]] = (), style: str = "", **context: Any
    ) -> bytes:
        shown = list(pictures)
        style += "".join(sorted({rule for _, rule in shown if rule}))
        origins = sorted(set().union(*(picture.origins for picture, _ in shown)))
        return self._text(
            template,
            path=path,
            root=root_of(path),
            style=_markup(style),
            policy=_policy(style, origins),
            canonical=public_address(self._site_url, path) if self._site_url else "",
            **context,
        )

    def _text(self, template: str, **context: Any) -> bytes:
        text = self._templates.get_template(template).render(
            site_name=SITE_NAME,
            strapline=STRAPLINE,
            site_url=self._site_url,
            address=lambda path: public_address(self._site_url, path),
            categories=self._categories,
            assets=self._assets,
            about=_ABOUT,
            **context,
        )
        return text.encode()


def version_file(version: str, views: list[StoryView]) -> bytes:
    """``version.json``: what a deployment compares to know which build it serves."""
    newest = max((view.updated for view in views), default=None)
    facts = {"version": version, "stories": len(views), "updated": newest.isoformat() if newest else None}
    return (json.dumps(facts, indent=1) + "\n").encode()


def _pictures(views: Iterable[StoryView], blurred: bool) -> Iterator[tuple[Picture, str]]:
    for view in views:
        if view.picture:
            yield view.picture, view.picture.placeholder_style(blurred)


def _policy(style: str, origins: list[str]) -> str:
    """The page's content security policy: nothing but its own files and the pictures it names."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    styles = f"'self' 'sha256-{digest}'" if style else "'self'"
    pictures = " ".join(["'self'", "data:", *origins])
    return (
        f"default-src 'none'; img-src {pictures}; style-src {styles}; font-src 'self'; "
        "base-uri 'self'; form-action 'none'"
    )


def _markup(style: str) -> "Markup":
    """Style rules are built here from hashes, base64 and checked colours, never from a story's text."""
    from markupsafe import Markup

    return Markup(style)  # noqa: S704


def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["day"] = lambda moment: f"{moment.day} {moment:%B %Y}"
    environment.filters["rfc822"] = lambda moment: f"{moment:%a, %d %b %Y %H:%M:%S} +0000"
    return environment
