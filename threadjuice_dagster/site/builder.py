"""Building the site: pages and pictures into a folder, checked, then swapped in.

What pages there are belongs in ``site/pages.py``, folders and the swap in ``site/versions.py``.
"""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from threadjuice_dagster.domain.publication import PublishedStory
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.site.links import site_address
from threadjuice_dagster.site.pages import Pages, version_file
from threadjuice_dagster.site.pictures import ReadPicture, place_picture
from threadjuice_dagster.site.verify import verify_site
from threadjuice_dagster.site.versions import swap_in, workspace
from threadjuice_dagster.site.views import StoryView, views_of

KEEP_VERSIONS = 3
"""Finished versions kept, the current one included."""


@dataclass(frozen=True)
class SiteBuild:
    """What a build made. ``version`` depends on the content alone; ``changed`` is False if it was current already."""

    version: str
    folder: Path
    stories: int
    pages: int
    pictures: int
    seconds: float
    changed: bool


def build_site(
    stories: Iterable[PublishedStory],
    target: Path,
    site_url: str,
    storage_root: Path | None,
    read_picture: ReadPicture | None = None,
    keep: int = KEEP_VERSIONS,
) -> SiteBuild:
    """Build the whole site into ``<target>/versions/<version>/`` and point ``<target>/current`` at it.

    ``site_url`` may be empty: then no page names an absolute address of its own. Pictures at ``file://``
    addresses are linked or copied from ``storage_root`` by key, or read through ``read_picture`` where it
    does not have them. ``keep=1`` leaves nothing of a withdrawn story behind. Raises
    ``PermanentFailure`` for a story that cannot be shown or a link that leads nowhere; ``current`` then
    stays as it was.
    """
    started = time.perf_counter()
    views, address = views_of(stories), site_address(site_url)
    with workspace(target) as folder:
        digest = hashlib.sha256()
        pages = _write_pages(Pages(views, address), folder, digest)
        pictures = _place_pictures(views, folder, storage_root, read_picture, digest)
        version = digest.hexdigest()[:16]
        (folder / "version.json").write_bytes(version_file(version, views))
        verify_site(folder)
        changed = swap_in(folder, target, version, keep)
    seconds = time.perf_counter() - started
    return SiteBuild(version, target / "versions" / version, len(views), pages, pictures, seconds, changed)


def _write_pages(pages: Pages, folder: Path, digest: "hashlib._Hash") -> int:
    count = 0
    for path, content in pages.render():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        digest.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        count += path.endswith(".html")
    return count


def _place_pictures(
    views: Iterable[StoryView],
    folder: Path,
    storage_root: Path | None,
    read_picture: ReadPicture | None,
    digest: "hashlib._Hash",
) -> int:
    """Bring every stored picture into the site; keys hold a content hash, so path and size tell them apart."""
    wanted = {place: (view, variant) for view in views if view.picture for variant, place in view.picture.local}
    for place, (view, variant) in sorted(wanted.items()):
        try:
            place_picture(variant, folder / place, storage_root, read_picture)
        except FileNotFoundError as error:
            raise PermanentFailure(
                f"The page {view.path} refers to {place}, which picture storage does not have.",
                "The site in use is unchanged; materialize story_image for that story, then build again.",
            ) from error
        digest.update(f"{place}\0{(folder / place).stat().st_size}\n".encode())
    return len(wanted)
