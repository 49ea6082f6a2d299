"""Read the Atom feed of one Reddit thread, which Reddit still serves without a key, as the listing of its API.

A feed is flat: it holds neither points nor who replied to whom, and at most the comments of the first page. What a
listing means belongs in ``sources/reddit_parser.py``.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.sources.thread_source import ThreadFormatError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ATOM = "{http://www.w3.org/2005/Atom}"
_IS_XML = re.compile(r"\s*(?:<\?xml\b|<feed\b)", re.IGNORECASE)
_FEED = re.compile(r"<feed\b[^>]{0,500}http://www\.w3\.org/2005/Atom")
_ID = re.compile(r"(t[13])_([a-z0-9]{2,16})", re.IGNORECASE)
_THREAD = re.compile(r"https://[\w.]*reddit\.com(/r/([\w-]+)/comments/\w+/)", re.IGNORECASE)


def is_feed(text: str) -> bool:
    """Return whether a text is an Atom feed, Reddit's or another."""
    return bool(_IS_XML.match(text.lstrip("\ufeff")) and _FEED.search(text[:4000]))


def listing_of_feed(text: str) -> dict[str, Any]:
    """Return the post and comments of a feed in the form of Reddit's API, with texts as HTML.

    Raises ``ThreadFormatError`` for what is no such feed, and for a document type: entities are never expanded.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        feed = fromstring(text.lstrip("\ufeff \t\r\n").encode(errors="replace"), forbid_dtd=True)
    except DefusedXmlException:
        raise ThreadFormatError("the feed has a document type of its own, which Reddit's feeds have not") from None
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        line = getattr(error, "position", (0, 0))[0]
        raise ThreadFormatError(f"the feed is not XML{(line and f' (line {line})') or ''}") from None
    things = list(_things(feed))
    if not things:
        raise ThreadFormatError("the feed holds no post and no comment of Reddit's")
    return {"kind": "Listing", "data": {"children": things}}


def _things(feed: "Element") -> Iterator[dict[str, Any]]:
    for entry in feed.iterfind(f"{_ATOM}entry"):
        if match := _ID.fullmatch(_text(entry, "id")):
            kind, thing_id = match[1].lower(), match[2].lower()
            fields = _post(entry) if kind == "t3" else {"body_html": _written(entry)}
            yield {"kind": kind, "data": {"id": thing_id, **_shared(entry), **fields}}


def _shared(entry: "Element") -> dict[str, Any]:
    """Return the fields of posts and comments. An entry without an author is one of an account that is gone."""
    name = _text(entry, "author", "name").removeprefix("/u/").strip()
    return {"author": name, "created_utc": _text(entry, "published") or _text(entry, "updated")}


def _post(entry: "Element") -> dict[str, Any]:
    """Return the fields that posts alone have. Behind the text stands a link to what a link post is about."""
    from turbohtml import parse

    links = parse(_text(entry, "content")).select("a")
    linked = next((str(link.attrs.get("href") or "") for link in links if link.text.strip() == "[link]"), "")
    address = _THREAD.match(_attribute(entry, "link", "href"))
    return {
        "title": _text(entry, "title"),
        "subreddit": address[2] if address else _attribute(entry, "category", "term"),
        "selftext_html": _written(entry),
        "url": linked,
        "is_self": not linked or bool(address and address[1] in linked),
    }


def _written(entry: "Element") -> str:
    """Return what the author wrote, as HTML, without the thumbnail before it and "submitted by" behind it."""
    from turbohtml import parse

    written = parse(_text(entry, "content")).select_one("div.md")
    return written.inner_html if written else ""


def _text(entry: "Element", *path: str) -> str:
    return (entry.findtext("/".join(f"{_ATOM}{name}" for name in path)) or "").strip()


def _attribute(entry: "Element", name: str, attribute: str) -> str:
    element = entry.find(f"{_ATOM}{name}")
    return "" if element is None else element.get(attribute, "")
