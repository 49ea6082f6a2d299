"""The last look at a built site: every internal link, picture and file a page names is there."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.site.links import root_of
from threadjuice_dagster.site.markup import Page

_PLAIN = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*")
_KNOWN = 50_000
"""Addresses remembered as being there, so that a site of any size is checked in the same memory."""


def verify_site(folder: Path, base: str = "/", pages: Iterable[str] | None = None) -> None:
    """Raise ``PermanentFailure`` for the first page that names a file the site does not have.

    ``pages`` are looked at, else all. ``base`` is where the top of the site is on its host.
    """
    exists = lru_cache(_KNOWN)(lambda path: (folder / path).is_file())
    for page in pages if pages is not None else _pages(folder):
        for broken in _broken_links(page, (folder / page).read_text(encoding="utf-8"), base, exists):
            raise PermanentFailure(
                f"The page {page} refers to {broken}, which the site does not have.",
                "The site in use is unchanged; materialize story_image for that story, then build again.",
            )


def _pages(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))


def _broken_links(page: str, text: str, base: str, exists: Callable[[str], bool]) -> Iterator[str]:
    place, root, parsed = dirname(page), root_of(page), Page(text)
    for link in parsed.addresses():
        if link.startswith(("https://", "http://", "data:")):
            continue
        if link.startswith(root) and _PLAIN.fullmatch(link, len(root)) and exists(link[len(root) :]):
            continue
        parts = urlsplit(link)
        inside = link.removeprefix(base) if page == "404.html" and link.startswith(base) else link
        path = unquote(urlsplit(inside).path)
        reached = normpath(path if inside != link else join(place, path)) if path else page
        lost_id = bool(parts.fragment) and reached == page and not parsed.has_id(parts.fragment)
        if not inside or parts.scheme or parts.netloc or inside.startswith("/") or lost_id or not exists(reached):
            yield link or "an empty address"
