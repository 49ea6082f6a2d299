"""Render each page of the site. How pages look belongs in ``templates/`` and ``static/``.

Which pages there are is decided in ``site/builder.py`` and ``site/lists.py``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.domain.story.page_events import REACTIONS
from threadjuice_dagster.domain.story.stories import Category
from threadjuice_dagster.site.assets import site_assets
from threadjuice_dagster.site.headers import content_policy
from threadjuice_dagster.site.links import base_of, public_address, root_of
from threadjuice_dagster.site.metadata import SITE_NAME, news_article, open_graph, share_picture, web_page
from threadjuice_dagster.site.views import StoryView, credit_of

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

ROOT = "\x01"
"""Stands for the path to the top of the site in HTML that several pages share. No story's text can contain it."""

STRAPLINE = "The best of the thread, carefully squeezed."
ABOUT, ARCHIVE, PERSONAS = "about/index.html", "archive/index.html", "persona/index.html"
_ABOUT = ("About", f"What {SITE_NAME} is: stories written with AI from public discussions, and how each is checked.")
_ALL_STORIES = ("All stories", f"Every story of {SITE_NAME}, by month.")
_VOICES = ("Voices", f"The voices {SITE_NAME} tells its stories in.")
FEED, JSON_FEED = "feed.xml", "feed.json"

_LAZY, _EAGER = 'loading="lazy"', 'loading="eager" fetchpriority="high"'


@dataclass(frozen=True)
class Listing:
    """A list of stories. ``kind`` is front, category, persona or month. ``items`` are cards or lines with ROOT."""

    path: str
    kind: str
    title: str
    summary: str = ""
    slug: str = ""
    items: Sequence[str] = ()
    origins: Iterable[str] = ()
    lead: StoryView | None = None
    number: int = 0
    newer: str = ""
    older: str = ""


class Pages:
    """Renders the pages of one build. The navigation shows ``categories``; ``site_url`` has no final slash."""

    def __init__(self, categories: Sequence[Category], site_url: str) -> None:
        self._site_url = site_url
        self.assets = site_assets(categories)
        self._templates = _templates()
        self._templates.globals.update(
            site_name=SITE_NAME,
            strapline=STRAPLINE,
            site_url=site_url,
            address=lambda path: public_address(site_url, path),
            assets=self.assets,
            about=ABOUT,
            archive=ARCHIVE,
            personas=PERSONAS,
            reactions=REACTIONS,
        )
        self._pieces: Any = self._templates.get_template("macros.html").module
        self._templates.globals["nav"] = cache(lambda root, slug: self._pieces.nav(categories, root, slug))
        self._get = cache(self._templates.get_template)

    def card(self, view: StoryView) -> str:
        """Return a story as lists show it, with ``ROOT`` in its links."""
        return str(self._pieces.card(view, ROOT))

    def line(self, view: StoryView) -> str:
        """Return a story as the archive shows it, with ``ROOT`` in its links."""
        return str(self._pieces.line(view, ROOT))

    def story(self, view: StoryView, related: Sequence[str], origins: Iterable[str]) -> bytes:
        """Return a story's page with the ``related`` cards below it, whose pictures come from ``origins``."""
        return self._page(
            "story.html",
            view.path,
            origins={*origins, *(view.picture.origins if view.picture else ())},
            story=view,
            credit=credit_of(view.picture) if view.picture else None,
            related=[_rooted(card, root_of(view.path)) for card in related],
            article=news_article(view, self._site_url),
            properties=open_graph(view, self._site_url),
        )

    def listing(self, listing: Listing) -> bytes:
        """Return a page of stories. Browsers fetch its first picture at once, the others when they are scrolled to."""
        items = list(listing.items)
        if items and not listing.lead:
            items[0] = items[0].replace(_LAZY, _EAGER, 1)
        own = listing.lead.picture.origins if listing.lead and listing.lead.picture else ()
        return self._page(
            "listing.html",
            listing.path,
            origins={*listing.origins, *own},
            page=listing,
            items=[_rooted(item, root_of(listing.path)) for item in items],
            described=(listing.title, listing.summary),
            shared=share_picture(listing.lead, self._site_url) if listing.lead else {},
        )

    def archive(self, years: Sequence[tuple[str, Sequence[tuple[str, str, int]]]]) -> bytes:
        """Return the archive. Each year has months with path, name and number of stories."""
        return self._page("archive.html", ARCHIVE, described=_ALL_STORIES, years=years)

    def voices(self, views: Sequence[StoryView]) -> bytes:
        """Return the page of the personas. Each view is the newest story of one."""
        return self._page("personas.html", PERSONAS, described=_VOICES, voices=views)

    def about(self) -> bytes:
        """Return the page about the site, and how its stories are made and checked."""
        return self._page("about.html", ABOUT, described=_ABOUT)

    def not_found(self) -> bytes:
        """Return the page for unknown addresses. Shown at any of them, its links start at the site's top."""
        return self._page("404.html", "404.html", root=base_of(self._site_url), canonical="")

    def feeds(self, views: Sequence[StoryView]) -> dict[str, bytes]:
        """Return the RSS and the JSON feed by path."""
        newest = max((view.updated for view in views), default=None)
        return {
            FEED: self._text("feed.xml", stories=views, newest=newest, feed=FEED),
            JSON_FEED: _json(self._json_feed(views)),
        }

    def sitemap(self, listed: Iterable[tuple[str, str]]) -> bytes:
        """Return a sitemap of these pages: path and time of change, which may be empty."""
        return self._text("sitemap.xml", kind="urlset", entry="url", listed=listed)

    def sitemap_index(self, listed: Iterable[tuple[str, str]]) -> bytes:
        """Return the list of sitemaps."""
        return self._text("sitemap.xml", kind="sitemapindex", entry="sitemap", listed=listed)

    def robots(self) -> bytes:
        """Return a ``robots.txt`` that allows everything."""
        sitemap = f"Sitemap: {self._site_url}/sitemap.xml\n" if self._site_url else ""
        return f"User-agent: *\nAllow: /\n{sitemap}".encode()

    def _json_feed(self, views: Sequence[StoryView]) -> dict[str, Any]:
        """Return the feed as JSON Feed 1.1 (https://www.jsonfeed.org/version/1.1/)."""
        addresses = {"home_page_url": f"{self._site_url}/", "feed_url": f"{self._site_url}/{JSON_FEED}"}
        items = [
            {
                "id": f"threadjuice:{view.story.slug}",
                "url": public_address(self._site_url, view.path),
                "title": view.title,
                "content_text": view.description,
                "date_published": view.published.isoformat(),
                "date_modified": view.updated.isoformat(),
                "authors": [{"name": view.persona}],
                "tags": [view.category.name, *view.story.draft.tags],
                **_rights(view),
                **({"image": shared["og:image"]} if (shared := share_picture(view, self._site_url)) else {}),
            }
            for view in views
        ]
        about = {"title": SITE_NAME, "description": STRAPLINE, "language": "en"}
        return {
            "version": "https://jsonfeed.org/version/1.1",
            **about,
            **(addresses if self._site_url else {}),
            "items": items,
        }

    def _page(
        self,
        template: str,
        path: str,
        described: tuple[str, str] = ("", ""),
        origins: Iterable[str] = (),
        **context: Any,
    ) -> bytes:
        """Return the page at ``path``. ``described`` is the title and summary of a page that is no story's."""
        address = public_address(self._site_url, path) if self._site_url else ""
        given = {"root": root_of(path), "canonical": address, "shared": {}, **context}
        page = web_page(described[0] or SITE_NAME, described[1] or STRAPLINE, address)
        return self._text(template, policy=content_policy(origins), described=page, **given)

    def _text(self, template: str, **context: Any) -> bytes:
        return self._get(template).render(context).encode()


def version_file(version: str, stories: int, updated: str, origins: Sequence[str]) -> bytes:
    """Return ``version.json``, which says what a deployment serves and which origins its headers have to allow."""
    return _json({"version": version, "stories": stories, "updated": updated or None, "origins": origins})


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def _rights(view: StoryView) -> dict[str, Any]:
    """Return the credit and licence of a story as an extension of the JSON feed; nothing where none is demanded."""
    credit = view.story.credit
    rights = {"notice": credit.notice, "license": credit.licence_url, "source": view.credit.address}
    return {"_rights": rights} if credit.licence else {}


def _rooted(html: str, root: str) -> "Markup":
    """Return HTML that a template made, and so escaped, for a page that reaches the top of the site by ``root``."""
    from markupsafe import Markup

    return Markup(html.replace(ROOT, root))  # noqa: S704


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
    environment.filters["rfc822"] = format_datetime
    environment.filters["capitalised"] = lambda text: text[:1].upper() + text[1:]
    return environment
