"""Turns Markdown into the plain sections of a story: marks become paragraphs, headings and quotation marks.

Links, pictures and HTML, which a story may not hold, stay as they were written, so that the gates refuse them.
Markdown of threads, of which the words alone count, is read in ``sources/markup.py``.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from threadjuice_dagster.sources.markup import has_too_many_marks

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_SINGLE = {"\\": ("\\",), "[": ("[^",), "<": ("<!--",), "|": ("--",)}
_IN_FRONT = r"[ \t]*(?:[-+*>#]|\d{1,9}[.)][ \t]|={2,})"
_FIRST_LINE, _FURTHER_LINE = re.compile(_IN_FRONT), re.compile(rf"\n{_IN_FRONT}")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_NOTE, _NOTED = re.compile(r"^\[\^([\w-]+)\]:[ \t]*", re.MULTILINE), re.compile(r"\[\^[\w-]+\]")
_MARKED = re.compile(r"==(?=\S)([^=\n]+)(?<=\S)==")
_TASK = re.compile(r"^\[[ xX]\][ \t]+")
_QUOTED = ('"', "“", "„", "«", "‘", "'")

_parsers: list["MarkdownIt"] = []


class TooManyMarks(ValueError):
    """A text has so many marks that parsing it would take too long."""


def is_marked(text: str) -> bool:
    """Whether a text has any mark that is rendered. Parsing takes a hundred times as long as this check."""
    signs = [sign for sign in "*_`~=\\[<|" if sign in text]  # one character is found fast, two are not
    paired = any(text.count(sign) > 1 for sign in signs if sign in "*_`~=")
    single = any(mark in text for sign in signs for mark in _SINGLE.get(sign, ()))
    return paired or single or bool(_FIRST_LINE.match(text) or ("\n" in text and _FURTHER_LINE.search(text)))


def sections_of(text: str) -> list[dict[str, str]]:
    """Return the sections of plain text or Markdown. Each heading starts one.

    Raises ``TooManyMarks``, as ``plain_text`` does.
    """
    parts = _parts(text)
    sections = [{"kind": "narrative", "heading": heading, "text": text} for heading, text in parts if text.strip()]
    if sections and not parts[0][0]:
        sections[0]["kind"] = "opening"
    return sections


def plain_text(text: str) -> str:
    """Return the text without the marks of Markdown; headings become paragraphs."""
    return "\n\n".join(part for heading_and_text in _parts(text) for part in heading_and_text if part)


def plain_line(text: str) -> str:
    """Return a title or a name without Markdown's inline marks; marks that begin a block stay."""
    if not any(mark in text for mark in "*_`~\\") or has_too_many_marks(text):
        return text
    return "".join(_words(_parser().parseInline(text)[0].children or ()))


def _parser() -> "MarkdownIt":
    if not _parsers:
        from markdown_it import MarkdownIt

        _parsers.append(MarkdownIt("commonmark").enable(["table", "strikethrough"]))
    return _parsers[0]


def _parts(text: str) -> list[tuple[str, str]]:
    if not is_marked(text):
        return [("", text)]
    if has_too_many_marks(text):
        raise TooManyMarks("It holds too many marks of Markdown for a story.")
    return _Rendering(_COMMENT.sub("", text)).parts


class _Rendering:
    """One walk over the tokens of a text.

    ``parts`` are its headings, each with the text below it; the first heading is empty where the text begins without.
    """

    def __init__(self, text: str) -> None:
        self._heading, self._paragraphs = "", list[str]()
        self.parts: list[tuple[str, str]] = []
        self._marker = ""
        self._quoting = 0
        self._head: list[str] = []
        self._cells: list[str] = []
        self._within = ""
        for token in _parser().parse(text):
            self._take(token)
        self._end_part()

    def _take(self, token: "Token") -> None:
        match token.type:
            case "heading_open" | "th_open" | "td_open" | "paragraph_open":
                self._within = token.type
            case "inline":
                self._take_inline("".join(_words(token.children or ())))
            case "fence" | "code_block" | "html_block":
                self._add(token.content)
            case "list_item_open":
                self._marker = f"{token.info}. " if token.info else "• "
            case "blockquote_open" | "blockquote_close":
                self._quoting += token.nesting
            case "thead_open":
                self._head = []
            case "tr_close":
                self._end_row()

    def _take_inline(self, text: str) -> None:
        text = _MARKED.sub(r"\1", _NOTED.sub("", _NOTE.sub(r"Note \1: ", text)))
        if self._within == "heading_open":
            self._end_part()
            self._heading = " ".join(text.split())
        elif self._within in ("th_open", "td_open"):
            (self._head if self._within == "th_open" else self._cells).append(" ".join(text.split()))
        else:
            self._add(text)

    def _add(self, text: str) -> None:
        text = text.strip("\n")
        if self._marker:
            text, self._marker = self._marker + _TASK.sub("", text), ""
        elif self._quoting and text and not text.startswith(_QUOTED):
            text = f"“{text}”"
        if text.strip():
            self._paragraphs.append(text)

    def _end_row(self) -> None:
        """Add a table's row as a paragraph that names its columns."""
        if self._cells:
            named = zip(self._head, self._cells, strict=False)
            self._add("; ".join(f"{name}: {cell}" if name else cell for name, cell in named if cell))
        self._cells = []

    def _end_part(self) -> None:
        if self._heading or self._paragraphs:
            self.parts.append((self._heading, "\n\n".join(self._paragraphs)))
        self._heading, self._paragraphs = "", []


def _words(tokens: Sequence["Token"]) -> Iterator[str]:
    """Yield the words between the marks of a line; links and pictures are written out again."""
    addresses: list[str] = []
    for token in tokens:
        match token.type:
            case "text" | "code_inline" | "html_inline":
                yield token.content
            case "softbreak" | "hardbreak":
                yield "\n"
            case "link_open" if token.markup != "autolink":
                addresses.append(str(token.attrs.get("href", "")))
                yield "["
            case "link_close" if addresses:
                yield f"]({addresses.pop()})"
            case "image":
                yield f"![{token.content}]({token.attrs.get('src', '')})"
