"""Read a page's HTML back: the addresses it links and loads, its ids, and its pictures; and check a built site's links.

How pictures arrive is checked by ``operations/monitoring``.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.site.links import root_of

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_SPACE = " \t\n\f\r"


class PagePicture(NamedTuple):
    """A picture that a page loads.

    ``choices`` are the addresses a browser may choose from: the preferred format first, in each format the widest.
    ``fallback`` is for a browser that reads no ``srcset``, ``has_formats`` says that ``<source>`` elements offer more.
    """

    choices: tuple[str, ...]
    fallback: str
    has_formats: bool
    is_lazy: bool
    has_size: bool


class Page:
    """A page as a browser reads it."""

    def __init__(self, text: str) -> None:
        from selectolax.lexbor import LexborHTMLParser

        self._tree: LexborHTMLParser = LexborHTMLParser(text)

    def addresses(self) -> list[str]:
        """Return every address that the page links or loads, each once, in its order, with entities resolved."""
        addresses: dict[str, None] = {}
        for node in self._tree.css("[href], [src], [srcset]"):
            given = node.attributes
            addresses |= dict.fromkeys(given[name] or "" for name in ("href", "src") if name in given)
            addresses |= dict.fromkeys(address for address, _ in srcset(given.get("srcset") or ""))
        return list(addresses)

    def links(self) -> list[str]:
        """Return the addresses of the page's links, in its order."""
        return [node.attributes["href"] or "" for node in self._tree.css("a[href]")]

    def has_id(self, name: str) -> bool:
        """Return whether an element has this id."""
        return any(node.id == name for node in self._tree.css("[id]"))

    def pictures(self) -> list[PagePicture]:
        """Return the pictures that the page fetches, in its order. Those with a ``data:`` address are not fetched."""
        pictures = (_picture(node) for node in self._tree.css("img"))
        return [picture for picture in pictures if picture.choices]


def srcset(value: str) -> list[tuple[str, float]]:
    """Return the addresses of a ``srcset`` and the width or density of each, 1 where none is given.

    It is split as in the HTML standard: an address may contain commas, but not end with one.
    """
    choices: list[tuple[str, float]] = []
    rest = value.lstrip(_SPACE + ",")
    while rest:
        address, rest = _until(rest, _SPACE)
        described = ""
        if not address.endswith(","):
            described, _, rest = rest.partition(",")
        choices.append((address.rstrip(","), _number(described)))
        rest = rest.lstrip(_SPACE + ",")
    return choices


def _picture(image: "LexborNode") -> PagePicture:
    parent = image.parent
    around = parent.css("source") if parent is not None and parent.tag == "picture" else []
    offered = [address for node in (*around, image) for address in _widest_first(node.attributes.get("srcset") or "")]
    given: dict[str, Any] = image.attributes
    fallback = given.get("src") or ""
    choices = [choice for choice in dict.fromkeys((*offered, fallback)) if choice and not choice.startswith("data:")]
    has_size = bool(given.get("width") and given.get("height"))
    return PagePicture(tuple(choices), fallback, bool(around), given.get("loading") == "lazy", has_size)


def _widest_first(value: str) -> list[str]:
    return [address for address, _ in sorted(srcset(value), key=lambda choice: -choice[1])]


def _until(text: str, ends: str) -> tuple[str, str]:
    """Return the text before the first of these characters, and the rest."""
    length = next((place for place, letter in enumerate(text) if letter in ends), len(text))
    return text[:length], text[length:]


def _number(described: str) -> float:
    """Return the number of a descriptor such as ``480w`` or ``2x``."""
    try:
        return float(described.strip(_SPACE)[:-1])
    except ValueError:
        return 1.0


_PLAIN = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*")
_REMEMBERED_PATHS = 50_000
"""Paths that are remembered as existing, so that a site of any size is checked in the same memory."""


def verify_site(folder: Path, base: str = "/", pages: Iterable[str] | None = None) -> None:
    """Raise ``PermanentFailure`` for the first page that refers to a file which the site does not have.

    Only ``pages`` are checked, or by default all. ``base`` is the path of the site's top on its host.
    """
    exists = lru_cache(_REMEMBERED_PATHS)(lambda path: (folder / path).is_file())
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
        # The usual case, without parsing the address: a site has millions of links.
        if link.startswith(root) and _PLAIN.fullmatch(link, len(root)) and exists(link[len(root) :]):
            continue
        parts = urlsplit(link)
        inside = link.removeprefix(base) if page == "404.html" and link.startswith(base) else link
        path = unquote(urlsplit(inside).path)
        reached = normpath(path if inside != link else join(place, path)) if path else page
        lost_id = bool(parts.fragment) and reached == page and not parsed.has_id(parts.fragment)
        if not inside or parts.scheme or parts.netloc or inside.startswith("/") or lost_id or not exists(reached):
            yield link or "an empty address"
