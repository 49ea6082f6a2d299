"""Threads that people write down or send in: one Markdown file with a post, then comments.

The form is shown in docs/OPERATIONS.md, "Saved threads and submissions". Files are opened in ``sources/files.py``.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from threadjuice_dagster.domain.language.text import clean, cut, fold
from threadjuice_dagster.domain.story.threads import Comment, SourceName, Thread, thread_key
from threadjuice_dagster.domain.story.user_names import telling_names
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.sources.markup import text_of_markdown
from threadjuice_dagster.sources.texts import (
    MAX_COMMENTS,
    cleaned,
    cleaned_title,
    is_bots_name,
    moment,
    number,
    says_it_is_a_bot,
)
from threadjuice_dagster.sources.thread_source import SourcePolicy, ThreadFormatError, ThreadSource

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_SUBMISSION = 500_000
"""Characters of a submission. Its headings are found in 2 s at worst."""

FIELDS = ("title", "community", "date", "url", "licence", "points")
LICENCES = ("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0")

_UNNAMED = "submissions"
_HEAD = re.compile(r"\A---[ \t]*\n(.{0,4000}?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_STARTS_A_THREAD = re.compile(r"\A(?:---[ \t]*\n|#[ \t])")
_COMMENTS = re.compile(r"\W*(?:comments?|replies|answers|discussion)\W*", re.IGNORECASE)
_POSTER = re.compile(r"\(\s*(?:the\s+)?(?:original\s+)?(?:poster|op|author|asker)\s*\)|\bOP\b")
_POINTS = re.compile(
    r"([+−-]?\d{1,9})\s*(?:points?|pts?|(?:up)?votes?|likes?)\b|(?<!\S)([+−-]\d{1,9})(?!\S)", re.IGNORECASE
)
_ADDRESS = re.compile(r"https?://[\w.-]+(?::\d+)?(?:[/?#][^\s<>\"]*)?")
_GONE = re.compile(r"\W*(?:deleted|removed)\W*", re.IGNORECASE)


class Submissions(ThreadSource):
    """Threads of files. They come by the inbox or by ``--thread``, so there is nothing to be listed or fetched."""

    name: ClassVar[SourceName] = "submission"
    prefix: ClassVar[str] = "sub"
    policy: ClassVar[SourcePolicy] = SourcePolicy(
        terms="docs/OPERATIONS.md#saved-threads-and-submissions",
        terms_read=date(2026, 12, 1),
        licence="its authors' own, unless the file names a licence; who submits it answers for the right to use it",
        credit="a link to where it was written, if the file names one",
        unattended_use=True,
        deletion_hours=None,
    )

    def listing(self, place: str, limit: int) -> list[Thread]:
        """Return no threads: those of the inbox are stored as they arrive."""
        return []

    def recognises(self, reference: str) -> bool:
        """Return that no reference is a submission's: it has no address, and files are told by their content."""
        return False

    def thread(self, reference: str) -> Thread:
        """Raise ``UsageError``, since a submission has no address."""
        raise UsageError("A submission has no address.", "Pass its file.")

    def parse(self, document: Any) -> Thread | None:
        """Return the thread of a submission's text; None for what does not begin as one."""
        return parse_submission(document) if isinstance(document, str) and is_submission(document) else None


def is_submission(text: str) -> bool:
    """Return whether a text begins as a submission does: with a head or with a title."""
    return bool(_STARTS_A_THREAD.match(_with_line_feeds(text).lstrip()))


def parse_submission(text: str) -> Thread:
    """Return the thread of a submission. Names in its headings are not stored.

    Raises ``ThreadFormatError``, which names the line, for a text that is not in the form.
    """
    if len(text) > MAX_SUBMISSION:
        raise ThreadFormatError(f"it is longer than {MAX_SUBMISSION:,} characters")
    text = _with_line_feeds(text)
    head = _HEAD.match(text)
    fields = _fields(head[1]) if head else {}
    # The head's lines stay as empty ones, so that lines are counted as in the file.
    body = "\n" * head[0].count("\n") + text[head.end() :] if head else text
    title, parts = _parts(body, fields.get("title", ""))
    names = telling_names(word for part in parts for word in re.findall(r"[\w-]+", part.label))
    post, *replies = parts
    title = cleaned_title(text_of_markdown(title), names)
    community, when = fields.get("community", "") or _UNNAMED, moment(fields.get("date"))
    comments = tuple(_comments(replies, names, fields.get("date", "")))
    return Thread(
        id=_id(fields.get("url", ""), community, title),
        source="submission",
        spec="submission",
        community=cleaned_title(community),
        title=title,
        body=cleaned(text_of_markdown(post.text), names),
        permalink=fields.get("url", ""),
        licence=fields.get("licence", ""),
        score=number(int(fields.get("points", "0"))),
        num_comments=len(comments),
        created_at=when,
        comments=comments,
    )


def _with_line_feeds(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


class _Part(NamedTuple):
    """The post or a comment as written: what its heading says, its text, its line and its level (the post's is 0)."""

    label: str
    text: str
    line: int
    level: int


def _id(url: str, community: str, title: str) -> str:
    """Return the thread's id. A correction has the same: that of the address, or else of title and community."""
    identity = url or f"{fold(community)}\n{fold(title)}"
    return thread_key(Submissions.prefix, hashlib.sha256(identity.encode(errors="replace")).hexdigest()[:12])


def _fields(head: str) -> dict[str, str]:
    """Return the fields of a head. Raises ``ThreadFormatError`` for one that is unknown or has no such value."""
    import yaml

    try:
        values = yaml.load(head, Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 2
        raise ThreadFormatError(f"line {line}: the head holds one “name: value” to a line") from None
    fields: dict[str, str] = {}
    for name, value in (values if isinstance(values, dict) else {}).items():
        line = next((at for at, written in enumerate(head.split("\n"), 2) if written.startswith(str(name))), 2)
        if name not in FIELDS or not isinstance(value, str):
            raise ThreadFormatError(f"line {line}: “{cut(str(name), 30)}” is no field; known: {', '.join(FIELDS)}")
        fields[name] = clean(value)
        if problem := _problem(name, fields[name]):
            raise ThreadFormatError(f"line {line}: {name} {problem}")
    if licence := fields.get("licence"):
        fields["licence"] = _licence(licence)
    if fields.get("licence", "").startswith("cc-by") and not fields.get("url"):
        raise ThreadFormatError("the head names a licence that demands credit; add url, where readers see who wrote it")
    return fields


def _problem(name: str, value: str) -> str:
    """Return what is wrong with the value of a field, as the end of "line 3: date …", or an empty text."""
    if name == "url" and value and not _ADDRESS.fullmatch(value):
        return "is no web address"
    if name == "date" and value and moment(value) == moment(None):
        return "is no date such as 2026-11-20"
    if name == "points" and not re.fullmatch(r"[+-]?\d{1,9}", value):
        return "is no whole number"
    if name == "licence" and value and _licence(value) not in LICENCES:
        return f"is none of {', '.join(LICENCES)}; leave it out for any other"
    return ""


def _licence(value: str) -> str:
    return re.sub(r"\s+", "-", value.strip().lower())


def _parts(body: str, title: str) -> tuple[str, list[_Part]]:
    """Return the title, and the post followed by its comments. Raises ``ThreadFormatError``."""
    lines, marks = body.split("\n"), list(_marks(body))
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    has_title = bool(marks) and (marks[0].level, marks[0].line) == (1, first + 1)
    if has_title:
        title, marks = title or marks[0].label, marks[1:]
    if not title:
        raise ThreadFormatError(f"line {first + 1}: the title is missing; begin with one, as in “# My kettle sings”")
    section = next((place for place, mark in enumerate(marks) if _COMMENTS.fullmatch(mark.label)), -1)
    behind = marks[section + 1 :]
    # Rules part comments only where no heading does: in a long post they part scenes.
    marked = [mark for mark in behind if mark.level] or behind
    if not marked:
        raise ThreadFormatError(f"line {len(lines)}: it has no comments; begin each as in “## 12 points”")
    if second := next((mark for mark in marked if mark.level == 1), None):
        raise ThreadFormatError(f"line {second.line}: a second title; begin comments with ## and replies with ###")
    end = (marks[section] if section >= 0 else marked[0]).line - 1
    post = _Part("", "\n".join(lines[first + has_title : end]), first + 1, 0)
    ends = (*(mark.line - 1 for mark in marked[1:]), len(lines))
    texts = ("\n".join(lines[mark.line : stop]) for mark, stop in zip(marked, ends, strict=True))
    return title, [post, *(mark._replace(text=text) for mark, text in zip(marked, texts, strict=True))]


def _marks(body: str) -> Iterator[_Part]:
    """Yield the headings and rules that are no part of a quotation, a list or code; a rule's level is 0."""
    from markdown_it import MarkdownIt

    # A rule right below a text would make that text a heading.
    tokens: Sequence[Token] = MarkdownIt("commonmark").disable(["inline", "lheading"]).parse(body)
    for place, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else 0
        if token.level == 0 and token.type == "heading_open":
            yield _Part(tokens[place + 1].content, "", line, int(token.tag[1]))
        elif token.level == 0 and token.type == "hr":
            yield _Part("", "", line, 0)


def _comments(parts: Sequence[_Part], names: frozenset[str], when: str) -> Iterator[Comment]:
    """Yield the comments, each below the nearest one before it of a lower level; those of programs are left out."""
    above: list[tuple[int, str]] = []
    seen: set[str] = set()
    for part in parts[:MAX_COMMENTS]:
        text = cleaned(text_of_markdown(part.text), names)
        if not text and not part.label:
            continue
        if not text:
            raise ThreadFormatError(f"line {part.line}: this comment has no text")
        while above and above[-1][0] >= part.level:
            above.pop()
        comment_id = _comment_id(text, seen)
        if not (_GONE.fullmatch(text) or says_it_is_a_bot(text) or any(map(is_bots_name, part.label.split()))):
            points = _POINTS.search(part.label)
            yield Comment(
                id=comment_id,
                body=text,
                score=int((points[1] or points[2]).replace("−", "-")) if points else 0,
                parent_id=above[-1][1] if above else None,
                depth=len(above),
                by_poster=bool(_POSTER.search(part.label)),
                created_at=moment(when),
            )
        above.append((part.level, comment_id))


def _comment_id(text: str, seen: set[str]) -> str:
    """Return an id that a comment keeps when others are added or corrected."""
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:10]
    comment_id = next(name for copy in range(len(seen) + 1) if (name := f"c{digest}{copy or ''}") not in seen)
    seen.add(comment_id)
    return comment_id
