"""The static site as a resource: where it is built, and the addresses of its pages."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.domain.pictures.images import Variant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from threadjuice_dagster.domain.story.publication import PublicationSource, PublishedStory
    from threadjuice_dagster.site.builder import SiteBuild


class Publisher(dg.ConfigurableResource):
    """The site's folder and addresses. ``site_url`` is the public address, empty where there is none.

    ``pictures_root`` is the folder of those pictures that no CDN serves: the site carries them itself.
    """

    folder: str
    site_url: str = ""
    preview_url: str = "http://127.0.0.1:3001"
    pictures_root: str = ""

    @property
    def current(self) -> Path:
        """The folder of the newest complete build."""
        return Path(self.folder) / "current"

    def build(self, stories: "PublicationSource | Iterable[PublishedStory]", *, keep_old: bool = True) -> "SiteBuild":
        """Bring the site up to date with these stories. Without ``keep_old`` earlier versions are deleted."""
        from threadjuice_dagster.site.builder import build_site

        pictures = Path(self.pictures_root) if self.pictures_root else None
        return build_site(stories, Path(self.folder), self.site_url, pictures, keep_old=keep_old)

    def page(self, slug: str) -> str:
        """Return the public address of a story's page, or its file."""
        if self.site_url:
            return f"{self.site_url.rstrip('/')}/story/{slug}/"
        return str(self.current / "story" / slug / "index.html")

    def picture(self, variant: Variant) -> str:
        """Return a picture's public address, or its address on the preview."""
        return variant.url if variant.url.startswith("http") else f"{self.preview_url}/{variant.key}"

    def preview_page(self, slug: str) -> str:
        """Return the page's address on the public site, or on the preview that ``threadjuice dev`` serves."""
        return f"{(self.site_url or self.preview_url).rstrip('/')}/story/{slug}/"
