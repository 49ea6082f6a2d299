"""One imported story: a record of a file, read and checked, as it is stored.

Cutting files into records belongs in ``domain/import_formats.py``, the earlier story files in ``domain/legacy.py``,
storing in ``database/imports.py``. Whether a story may be published is decided later, by the gates.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from threadjuice_dagster.domain.legacy import from_legacy, is_legacy
from threadjuice_dagster.domain.manual import sections_of
from threadjuice_dagster.domain.stories import Category, CleanText, Draft, Persona, Usage
from threadjuice_dagster.domain.text import cut, slugify, words

IMPORTED = "imported"
"""The writer's name under which imported stories are stored."""

MAX_SLUG = 120
"""Characters of a story's slug; what is cut off is told apart by a digest."""

UNWANTED, WANTED, WANTED_FIRST = 0, 1, 2
"""How much a story is wanted on the site: never by itself, once it passed its gates, before all others."""

_NUL = "It holds a NUL character."
_LETTER = re.compile(r"[^\W_]")
_STATUSES = {"published": WANTED_FIRST, "live": WANTED_FIRST, **dict.fromkeys(
    ("draft", "archived", "deleted", "hidden", "private", "rejected", "trash", "unpublished", "withdrawn"), UNWANTED
)}  # fmt: skip
_OTHER_NAMES = {
    "dek": ("excerpt", "summary", "description", "subtitle"),
    "text": ("body", "content"),
    "created_at": ("createdAt", "published_at", "publishedAt", "date"),
    "author": ("byline",),
    "seo_title": ("seoTitle",),
    "seo_description": ("seoDescription",),
}


class Refused(ValueError):
    """The record cannot be imported; the message says why, in one line."""


class ImportRecord(Draft):
    """What a record may hold beside a draft. ``text`` may stand in place of ``sections``."""

    category: CleanText = Field(min_length=1)
    persona: CleanText = ""
    author: CleanText = Field("", max_length=300)
    slug: CleanText = ""
    status: str = ""
    created_at: datetime | None = None


class StoryRow(NamedTuple):
    """A story as it is stored. ``record`` is a ``StoryDraft`` as JSON; equal ``digest``, equal story."""

    story_id: str
    category: str
    persona: str
    title: str
    author: str
    written_at: datetime
    wanted: int
    digest: bytes
    record: str


class RecordReader:
    """Reads records against the categories and personas there are."""

    def __init__(self, categories: Sequence[Category], personas: Sequence[Persona], now: datetime) -> None:
        self._now = now
        self._categories = {name.casefold(): one.slug for one in categories for name in (one.slug, one.name)}
        self._words = {word: one.slug for one in reversed(categories) for word in (*one.keywords, *_names(one))}
        self._personas = {name.casefold(): one.slug for one in personas for name in (one.slug, one.name)}
        at_home = {slug: one.slug for one in reversed(personas) for slug in one.categories}
        self._voices = {one.slug: at_home.get(one.slug, personas[0].slug) for one in categories}
        self._validator = TypeAdapter(ImportRecord)
        self._draft = TypeAdapter(Draft)

    def read(self, data: bytes | dict[str, Any]) -> StoryRow:
        """The story of a record, JSON text or a row. Raises ``Refused``."""
        found = parsed(data) if isinstance(data, bytes) else data
        if not isinstance(found, dict):
            raise Refused("It is no object.")
        # Text without this sequence holds no NUL; looking at every value is left to the few records that have it.
        if (isinstance(data, dict) or b"\\u0000" in data) and _holds_nul(found):
            raise Refused(_NUL)
        legacy = is_legacy(found)
        try:
            record = self._validator.validate_python(_plain(from_legacy(found) if legacy else found))
        except ValidationError as error:
            raise Refused(_complaint(error)) from None
        if not any(_LETTER.search(section.text) for section in record.sections):
            raise Refused("It has no text.")
        category = self._category(record.category, legacy)
        return self._row(record, category, self._persona(record.persona, category, legacy))

    def _category(self, name: str, legacy: bool) -> str:
        slug = self._categories.get(name.strip().casefold())
        if slug is None and legacy:
            slug = next((self._words[word] for word in words(name.lower()) if word in self._words), None)
        if slug is None:
            known = ", ".join(sorted({*self._categories.values()}))
            raise Refused(f"There is no category {cut(name, 60)!r}; known: {known}.")
        return slug

    def _persona(self, name: str, category: str, legacy: bool) -> str:
        """The voice named, or that of the category; the voices of earlier files are bylines here."""
        slug = self._personas.get(name.strip().casefold())
        if slug is None and name and not legacy:
            raise Refused(f"There is no persona {cut(name, 60)!r}; known: {', '.join({*self._personas.values()})}.")
        return slug or self._voices[category]

    def _row(self, record: ImportRecord, category: str, persona: str) -> StoryRow:
        story_id = f"{IMPORTED}-{slug_for(record.slug, record.title)}"
        wanted = _STATUSES.get(record.status.strip().lower(), WANTED)
        draft = self._draft.dump_json(record).decode()
        author = record.author or record.persona
        moment = record.created_at or self._now
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        told = f"{draft}\0{category}\0{persona}\0{author}\0{wanted}\0{record.created_at}"
        head = {
            "story_id": story_id,
            "writer": IMPORTED,
            "model": author,
            "prompt_version": "",
            "usage": _NO_USAGE,
            "written_at": moment.isoformat(),
        }
        stored = f'{to_json(head).decode()[:-1]},"draft":{draft}}}'
        digest = hashlib.sha256(told.encode()).digest()[:16]
        return StoryRow(story_id, category, persona, record.title, author, moment, wanted, digest, stored)


def parsed(data: bytes) -> Any:
    """JSON text as a value. Raises ``Refused`` for what is none, and for what no database can hold."""
    try:
        found = from_json(data.strip(), cache_strings="keys")
    except ValueError as error:
        raise Refused(_damage(data, str(error))) from None
    return found


def slug_for(slug: str, title: str) -> str:
    """A story's slug: the one given, or its title's; of another text it is another, whatever the script."""
    wanted = slug or title
    plain = slugify(wanted, MAX_SLUG)
    whole = slug.isascii() if slug else title.isascii() or len(plain) > 20
    if whole and len(wanted) <= MAX_SLUG:
        return plain
    return f"{plain[: MAX_SLUG - 9].rstrip('-')}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"


_NO_USAGE = Usage().model_dump()


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record under today's names, without what is null, and with its text as sections."""
    found = {key: value for key, value in record.items() if value is not None and value != ""}
    for name, others in _OTHER_NAMES.items():
        if name not in found and (other := next((one for one in others if one in found), None)):
            found[name] = found[other]
    for name in ("persona", "author", "category"):
        if isinstance(found.get(name), dict):
            found[name] = found[name].get("slug") or found[name].get("name") or ""
    for name in ("tags", "sections", "quotes"):
        if isinstance(found.get(name), str):
            found[name] = _listed(found[name], name)
    if "sections" not in found and isinstance(found.get("text"), str):
        found["sections"] = sections_of(found["text"])
    if isinstance(found.get("sections"), list):
        found["sections"] = [_section(one, index) for index, one in enumerate(found["sections"])]
    if isinstance(found.get("quotes"), list):
        found["quotes"] = [_quote(one) for one in found["quotes"]]
    return found


def _section(value: Any, index: int) -> Any:
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict) or ("kind" in value and "text" in value):
        return value
    named = {"kind": value.get("type") or ("narrative" if index else "opening"), "heading": value.get("title") or ""}
    return {**named, "text": value.get("content"), **value}


def _quote(value: Any) -> Any:
    return {"comment_id": "", **value} if isinstance(value, dict) else {"comment_id": "", "text": value}


def _listed(value: str, name: str) -> Any:
    """A list in a CSV cell: JSON, or for tags words between commas or semicolons."""
    if value.lstrip().startswith("["):
        return parsed(value.encode())
    return [one.strip() for one in re.split("[,;|]", value) if one.strip()] if name == "tags" else value


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(map(_holds_nul, chain(value, value.values())))
    return isinstance(value, list) and any(map(_holds_nul, value))


def _names(category: Category) -> tuple[str, ...]:
    return (category.slug, category.slug.rstrip("s"), *words(category.name.lower()))


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "the story"
    return f"{field}: {first['msg'].removeprefix('Value error, ')}."


def _damage(data: bytes, message: str) -> str:
    """What is wrong with JSON text, in an operator's words."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return "It is not UTF-8 text."
    if b"\0" in data:
        return _NUL
    if "hex escape" in message:
        return "It holds half a character (a lone surrogate)."
    return f"It is not JSON: {message}."
