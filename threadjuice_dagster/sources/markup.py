"""Turn the HTML and Markdown of posts and comments into plain text that keeps quotes, lists, code and tables.

What of a text is kept, and whose names are masked in it, belongs in ``sources/texts.py``. Markdown of imported stories,
whose links have to stay for the gates to see, belongs in ``operations/imports/markdown.py``.
"""

import functools
import re
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.domain.language.text import clean, head, unescaped
from threadjuice_dagster.domain.story.user_names import SOMEBODY

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from turbohtml import Element, Markdown

MOST_MARKS = 20_000
"""Brackets and marks of emphasis. The parser's time grows with their square at worst: 0.1 s for this many."""

_MOST_HTML, _MOST_MARKDOWN = 200_000, 80_000
"""Characters that are read: five times, and twice, what is kept of a text."""

_PROFILE = re.compile(r"(?:^|//[^/]+)/(?:(?:u|user)/[^/]|users/\d)|\buser\?id=", re.IGNORECASE)
_NO_DESCRIPTION = re.compile(r"\W*(?:enter image description here|image|img|gif|video|emote|avatar)?\W*", re.IGNORECASE)
"""What editors write themselves in place of a picture's description."""

_POWER = re.compile(r"[+−-]?\d[\w.]*|[a-z]")

_MARKED = re.compile(r"[*_`~\\\[|^<]|:::|^[ \t]*(?:[-+>#]|\d{1,9}[.)][ \t]|={2,})|^(?: {4}|\t)", re.MULTILINE)
_SPOILER = re.compile(r">!(?=\S)|(?<=\S)!<")
_SPOILER_BLOCK = re.compile(r"^[ \t]*:::[ \t]*(?:spoiler[ \t]*)?", re.MULTILINE)
_TITLE_WITHOUT_SPACE = re.compile(r"^#{1,6}(?=[^\W\d])(?![^\n]*\s#\w)", re.MULTILINE)
_RAISED = re.compile(r"(?<![\w^)])\^+\(([^()\n]{0,500})\)|(?<=\d)\^(st|nd|rd|th)\b\^?|(?<![\w^)])\^+(?=\w)")


def text_of_html(html: str) -> str:
    """Return the plain text of HTML, which may be any text at all.

    Paragraphs are separated by a blank line; lines of quotes begin with ``> ``, items of lists with ``* `` or ``1. ``;
    code stands between lines of three backticks, tables have ``|`` between their cells. Links are their words, pictures
    their descriptions, and links to profiles of users ``SOMEBODY``. What was struck out stays marked, ``~~so~~``.
    """
    from turbohtml import parse

    text = parse(clean(head(html, _MOST_HTML))).to_markdown(_layout())
    return "\n".join(line.rstrip() for line in unescaped(text).split("\n")).strip("\n")


def text_of_markdown(text: str) -> str:
    """Return the plain text of Markdown as Reddit, Lemmy and Stack Exchange write it, in the form of ``text_of_html``.

    HTML in it is no markup on these sites and stays. Line breaks stay too: people mean them, although Reddit shows a
    space. A text with more than ``MOST_MARKS`` marks is returned as it is.
    """
    # The mark in front keeps the indentation of a first line, which makes it code.
    text = clean("." + unescaped(head(text, _MOST_MARKDOWN)))[1:]
    if not _MARKED.search(text) or has_too_many_marks(text):
        return re.sub(r"\n\s*\n", "\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip("\n")
    # They would begin a quotation, so they go before the parser sees them.
    text = _SPOILER.sub("", text) if "!<" in text else text
    text = _SPOILER_BLOCK.sub("\n", text) if ":::" in text else text
    return text_of_html(_parser().render(text))


def has_too_many_marks(text: str) -> bool:
    """Return whether a text has so many marks of Markdown that parsing it would take too long."""
    return sum(map(text.count, "[*_~|")) > MOST_MARKS


@functools.cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.core.ruler.before("inline", "other_dialects", _read_other_dialects)
    return parser


def _read_other_dialects(state: "StateCore") -> None:
    """Take away the marks of Reddit and Lemmy that CommonMark does not know, except in blocks of code."""
    for token in state.tokens:
        if token.type == "inline":
            token.content = _RAISED.sub(r"\1\2", _TITLE_WITHOUT_SPACE.sub("", token.content))


@functools.cache
def _layout() -> "Markdown":
    from turbohtml import Markdown

    struck = dict.fromkeys(("s", "del", "strike"), _struck)
    headings = dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), _as_is)
    inline = {"a": _link, "img": _picture, "sup": _raised, **dict.fromkeys(("code", "kbd", "samp", "tt"), _as_is)}
    blocks = {"hr": _nothing, "aside": _aside, "div": _division}
    return Markdown(
        lists=Markdown.Lists(bullets="*"),
        inline=Markdown.Inline(ignore_emphasis=True),
        escaping=Markdown.Escaping(mode="none", asterisks=False, underscores=False),
        converters={**struck, **headings, **inline, **blocks},
    )


def _as_is(element: "Element", words: str) -> str:
    return words


def _nothing(element: "Element", words: str) -> str:
    return ""


def _struck(element: "Element", words: str) -> str:
    return f"~~{words}~~" if words.strip() else words


def _raised(element: "Element", words: str) -> str:
    """Return raised words; a raised number keeps a mark, so that 10² does not turn into 102."""
    return f"^{words}" if _POWER.fullmatch(words) else words


def _link(element: "Element", words: str) -> str:
    """Return a link's words, or its whole address where they are that address cut short, as on Hacker News."""
    address = _attribute(element, "href")
    if _PROFILE.search(address):
        return SOMEBODY
    if "inline-onebox" in _attribute(element, "class").split():
        return address  # Its words are the title of the page that it leads to.
    begins = words.removesuffix("...").removesuffix("…")
    return address if begins != words and len(begins) > len("https://") and address.startswith(begins) else words


def _picture(element: "Element", words: str) -> str:
    described = _attribute(element, "alt")
    if "emoji" in _attribute(element, "class").split():
        return "" if described.isascii() else described  # Discourse describes them by codes, such as :smile:.
    return "" if _NO_DESCRIPTION.fullmatch(described) else described


def _aside(element: "Element", words: str) -> str:
    """Return a quotation of Discourse without whom it quotes; of a preview of another page its address alone."""
    return _attribute(element, "data-onebox-src") if "onebox" in _attribute(element, "class").split() else words


def _division(element: "Element", words: str) -> str:
    """Return a division, but nothing for what Discourse writes itself around quotations, pictures and polls."""
    parent: Any = element.parent
    around = _attribute(parent, "class").split() if getattr(parent, "attrs", None) else []
    classes = _attribute(element, "class").split()
    is_label = ("title" in classes and "quote" in around) or ("meta" in classes and "lightbox" in around)
    is_label = is_label or not {"poll-info", "poll-buttons"}.isdisjoint(classes)
    return "" if is_label else words


def _attribute(element: "Element", name: str) -> str:
    value = element.attrs.get(name)
    return " ".join(value) if isinstance(value, list) else value or ""
