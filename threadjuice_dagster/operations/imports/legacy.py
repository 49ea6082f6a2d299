"""Reads ThreadJuice's earlier story files as today's records.

It takes title, slug, excerpt, category, status, author, persona, creation time, tags, and of the parts in
``content`` their headings and texts. Comments (their authors are left out) and quotes become quotes that a person has
to check; a picture's caption becomes a search for another one, since its licence is not known. Quizzes, embeds and
advertisements have no text of the story, so they are left out, as are all counters.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.story.stories import SECTION_KINDS

_TABLE = editorial.table("imports")["legacy"]
KINDS = {part: kind for kind, parts in _TABLE["kinds"].items() for part in parts.split()}
_QUOTES, _PICTURES, _WITHOUT_TEXT = (_TABLE[name].split() for name in ("quotes", "pictures", "without_text"))
_NUMBER = re.compile(r"[-_ ]?\d+$")
_TEXTS = ("content", "text", "body", "paragraphs", "items", "description")


def is_legacy(record: Mapping[str, Any]) -> bool:
    """Whether a record has the earlier form, in which ``content`` consists of parts."""
    content = record.get("content")
    return isinstance(content, list) or (isinstance(content, Mapping) and "rendered" not in content)


def from_legacy(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same story with ``sections`` and ``quotes`` as in a draft."""
    content = record["content"]
    parts = list(_parts(content)) if isinstance(content, Mapping) else list(content)
    sections: list[dict[str, Any]] = []
    quotes: list[dict[str, Any]] = []
    pictures: list[str] = []
    heading = ""
    for part in parts:
        kind, words, title = _kind(part), text_in(part), _title(part)
        if kind in _PICTURES:
            pictures.append(words)
        elif kind in _QUOTES:
            quotes.append(_quote(words, len(sections)))
        elif kind == "heading":
            heading = words or title
        elif kind not in _WITHOUT_TEXT:
            if words:
                sections.append({"kind": _section_kind(kind, sections), "heading": title or heading, "text": words})
                heading = ""
            quotes.extend(_quote(words, len(sections)) for words in _comments(part))
    pictured = {"alt_text": pictures[0], "picture_query": _query(record, pictures[0])} if pictures else {}
    texts = {"sections": sections, "quotes": [quote for quote in quotes if quote["text"]]}
    return {**record, **pictured, **texts, "content": None}


def text_in(value: Any) -> str:
    """Return the text of a part, however deeply nested, with blank lines between its paragraphs."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping):
        return next((text for key in _TEXTS if (text := text_in(value.get(key)))), "")
    if isinstance(value, Sequence):
        return "\n\n".join(text for part in value if (text := text_in(part)))
    return ""


def _parts(content: Mapping[str, Any]) -> Iterator[Any]:
    for name in ("introduction", "intro"):
        if content.get(name):
            yield {"type": "intro", "content": content[name]}
    parts: Any = next((content[key] for key in ("sections", "parts") if isinstance(content.get(key), list)), None)
    yield from parts or ([{"type": "text", "content": text_in(content)}] if text_in(content) else [])
    for name in ("conclusion", "outro"):
        if content.get(name):
            yield {"type": "outro", "content": content[name]}


def _kind(part: Any) -> str:
    kind = part.get("type") or part.get("kind") if isinstance(part, Mapping) else ""
    return _NUMBER.sub("", str(kind or "").strip().lower())


def _title(part: Any) -> str:
    title = part.get("title") or part.get("heading") if isinstance(part, Mapping) else ""
    return title if isinstance(title, str) else ""


def _section_kind(kind: str, sections: Sequence[Any]) -> str:
    if kind in KINDS or kind in SECTION_KINDS:
        # What earlier files called an excerpt was retold: only the words of a source are one today.
        return KINDS.get(kind, kind if kind != "excerpt" else "narrative")
    return "narrative" if sections else "opening"


def _comments(part: Any) -> Iterator[str]:
    metadata = part.get("metadata") if isinstance(part, Mapping) else None
    comments = metadata.get("comments") if isinstance(metadata, Mapping) else None
    yield from (text_in(comment) for comment in (comments if isinstance(comments, list) else ()))


def _quote(words: str, sections: int) -> dict[str, Any]:
    return {"text": words, "comment_id": "", "section": max(sections - 1, 0)}


def _query(record: Mapping[str, Any], caption: str) -> str:
    keywords = record.get("image_keywords")
    return " ".join(map(str, keywords[:4])) if isinstance(keywords, list) else " ".join(caption.split()[:6])
