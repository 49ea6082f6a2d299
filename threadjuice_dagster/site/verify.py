"""The last look at a built site: every internal link, picture and file a page names is there."""

from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

from threadjuice_dagster.failures import PermanentFailure

_ADDRESSES = {"href", "src"}


class _Links(HTMLParser):
    """Collects what a page refers to and the ids it can be jumped to."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the element's addresses and id."""
        for name, value in attrs:
            if name in _ADDRESSES and tag != "base":
                self.found.append(value or "")
            elif name == "srcset" and value:
                self.found += [candidate.split()[0] for candidate in value.split(", ")]
            elif name == "id" and value:
                self.ids.add(value)


def verify_site(folder: Path) -> None:
    """Raise ``PermanentFailure`` for the first page that names a file the site does not have."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for page in sorted(name for name in files if name.endswith(".html")):
        for broken in _broken_links(page, (folder / page).read_text(encoding="utf-8"), files):
            raise PermanentFailure(
                f"The page {page} refers to {broken}, which the site does not have.",
                "The site in use is unchanged; materialize story_image for that story, then build again.",
            )


def _broken_links(page: str, text: str, files: Iterable[str]) -> Iterator[str]:
    links = _Links()
    links.feed(text)
    links.close()
    for link in dict.fromkeys(links.found):
        parts = urlsplit(link)
        if parts.scheme in {"http", "https", "data"}:
            continue
        reached = normpath(join(dirname(page), unquote(parts.path))) if parts.path else page
        lost_id = bool(parts.fragment) and reached == page and parts.fragment not in links.ids
        if not link or parts.scheme or parts.netloc or link.startswith("/") or reached not in files or lost_id:
            yield link or "an empty address"
