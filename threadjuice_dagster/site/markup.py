"""What a page's HTML names: the addresses it links and loads, its ids, and its pictures.

Pages are read back by a parser that reads as browsers do. Whether what is named is there, and arrives as it should,
belongs in ``site/verify.py``, ``operations/monitoring/image_delivery_rules.py`` and ``assets/``.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

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
        """Every address the page links or loads, in its order, each once; entities are resolved."""
        found: dict[str, None] = {}
        for node in self._tree.css("[href], [src], [srcset]"):
            given = node.attributes
            found |= dict.fromkeys(given[name] or "" for name in ("href", "src") if name in given)
            found |= dict.fromkeys(address for address, _ in srcset(given.get("srcset") or ""))
        return list(found)

    def links(self) -> list[str]:
        """Where the page's links lead, in its order."""
        return [node.attributes["href"] or "" for node in self._tree.css("a[href]")]

    def has_id(self, name: str) -> bool:
        """Whether an element has this id."""
        return any(node.id == name for node in self._tree.css("[id]"))

    def pictures(self) -> list[PagePicture]:
        """The pictures the page fetches, in its order. One whose bytes stand in the page is not fetched."""
        found = (_picture(node) for node in self._tree.css("img"))
        return [picture for picture in found if picture.choices]


def srcset(value: str) -> list[tuple[str, float]]:
    """The addresses of a ``srcset`` and the width or density each is for, 1 where none is given.

    Split as the HTML standard does: an address may hold commas, but not end with one.
    """
    found: list[tuple[str, float]] = []
    rest = value.lstrip(_SPACE + ",")
    while rest:
        address, rest = _until(rest, _SPACE)
        described = ""
        if not address.endswith(","):
            described, _, rest = rest.partition(",")
        found.append((address.rstrip(","), _number(described)))
        rest = rest.lstrip(_SPACE + ",")
    return found


def _picture(image: "LexborNode") -> PagePicture:
    parent = image.parent
    around = parent.css("source") if parent is not None and parent.tag == "picture" else []
    offered = [address for node in (*around, image) for address in _widest_first(node.attributes.get("srcset") or "")]
    given: dict[str, Any] = image.attributes
    fallback = given.get("src") or ""
    choices = [one for one in dict.fromkeys((*offered, fallback)) if one and not one.startswith("data:")]
    has_size = bool(given.get("width") and given.get("height"))
    return PagePicture(tuple(choices), fallback, bool(around), given.get("loading") == "lazy", has_size)


def _widest_first(value: str) -> list[str]:
    return [address for address, _ in sorted(srcset(value), key=lambda choice: -choice[1])]


def _until(text: str, ends: str) -> tuple[str, str]:
    """The text up to the first of these characters, and what follows."""
    length = next((place for place, letter in enumerate(text) if letter in ends), len(text))
    return text[:length], text[length:]


def _number(described: str) -> float:
    """The number of a descriptor such as ``480w`` or ``2x``."""
    try:
        return float(described.strip(_SPACE)[:-1])
    except ValueError:
        return 1.0
