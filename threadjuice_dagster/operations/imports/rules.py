"""Reads and checks one record of a file, and makes the imported story that is stored.

Cutting files into records belongs in ``operations/imports/formats.py``, the names and spellings of fields in
``operations/imports/fields.py``, the earlier story files in ``operations/imports/legacy.py``, storing in
``operations/imports/store.py``. Whether a story may be published is decided later, by the gates.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import chain, count
from typing import Any, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from threadjuice_dagster.domain.language.text import cut, words
from threadjuice_dagster.domain.story.stories import IMPORTED, Category, CleanText, Draft, Persona, Usage
from threadjuice_dagster.domain.story.user_names import masked
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.operations.imports.fields import (
    day_of,
    days_in,
    field_of,
    fields_of,
    folded,
    labels_in,
    name_in,
    shown,
    words_in,
)
from threadjuice_dagster.operations.imports.legacy import from_legacy, is_legacy
from threadjuice_dagster.operations.imports.markdown import TooManyMarks, is_marked, plain_line, plain_text, sections_of
from threadjuice_dagster.operations.imports.slugs import earlier_slug_for, slug_for
from threadjuice_dagster.operations.imports.visibility import says_it_was_public, why_not_public

UNWANTED, WANTED, WANTED_FIRST = 0, 1, 2
"""How much a story is wanted on the site: only when a person publishes it; once it passed its gates; first of all."""

_NUL = "It holds a NUL character."
_LETTER = re.compile(r"[^\W_]")
_WORDS = ("title", "dek", "seo_title", "seo_description", "picture_query", "alt_text")
_WRAPPED_IN = ("attributes", "fields", "frontmatter", "front_matter", "data", "node", "post", "article", "story")


class RefusedRecord(ValueError):
    """The record cannot be imported; the message says why, in one line."""


class UnknownCategory(RefusedRecord):
    """No category has this ``name``, and no category map replaces it."""

    def __init__(self, name: str, categories: Sequence[str]) -> None:
        super().__init__(f"There is no category {cut(name, 60)!r}; known: {', '.join(categories)}.")
        self.name = cut(name, 60)


class ImportRecord(Draft):
    """A draft with the further fields that a record may hold."""

    persona: CleanText = ""
    author: CleanText = Field("", max_length=300)
    slug: CleanText = ""


class ImportedStory(NamedTuple):
    """A record as it was read. ``kept_back`` says why its own system did not show it, ``dated`` is its own date."""

    draft: ImportRecord
    category: str
    persona: str
    author: str
    dated: datetime | None
    wanted: int
    kept_back: str

    @property
    def as_draft(self) -> Draft:
        """The draft as it is stored."""
        return Draft.model_validate({name: getattr(self.draft, name) for name in Draft.model_fields})


class StoryRow(NamedTuple):
    """A story as it is stored. ``record`` is a ``StoryDraft`` as JSON; equal ``digest``, equal story.

    ``earlier_id`` is the id that ``earlier_slug_for`` gives, where that is another one.
    """

    story_id: str
    category: str
    persona: str
    title: str
    author: str
    written_at: datetime
    wanted: int
    digest: bytes
    record: str
    kept_back: str = ""
    earlier_id: str = ""

    def stored_as(self, story_id: str) -> "StoryRow":
        """Return the same story under another id."""
        record = self.record.replace(f'"story_id":"{self.story_id}"', f'"story_id":"{story_id}"', 1)
        return self._replace(story_id=story_id, record=record)


class RecordReader:
    """Reads records and finds their categories and personas in the catalogue.

    ``category_map`` names categories of ours for those of the records, ``default_category`` one for all others.
    Raises ``UsageError`` where one of these is none of ours.
    """

    def __init__(
        self,
        categories: Sequence[Category],
        personas: Sequence[Persona],
        now: datetime,
        category_map: Mapping[str, str] | None = None,
        default_category: str = "",
    ) -> None:
        self._now = now
        self._categories = {
            name.casefold(): category.slug for category in categories for name in (category.slug, category.name)
        }
        self._words = {
            word: category.slug for category in reversed(categories) for word in (*category.keywords, *_names(category))
        }
        self._personas = {
            name.casefold(): persona.slug for persona in personas for name in (persona.slug, persona.name)
        }
        at_home = {slug: persona.slug for persona in reversed(personas) for slug in persona.categories}
        self._voices = {category.slug: at_home.get(category.slug, personas[0].slug) for category in categories}
        self._mapped = {name.strip().casefold(): self._ours(slug) for name, slug in (category_map or {}).items()}
        self._default = self._ours(default_category) if default_category else ""
        self._validator = TypeAdapter(ImportRecord)
        self._draft = TypeAdapter(Draft)

    def read(self, data: bytes | dict[str, Any]) -> StoryRow:
        """Return the story of a record (JSON text or a row) as it is stored. Raises ``RefusedRecord``."""
        record = parsed(data) if isinstance(data, bytes) else data
        # Text without this sequence holds no NUL; looking at every value is left to the few records that have it.
        suspect = isinstance(data, dict) or b"\\u0000" in data
        return self._row(self.story(record, suspect=suspect))

    def story(self, source: Any, *, suspect: bool = True) -> ImportedStory:
        """Return the story of a record. A ``suspect`` record may hold NUL characters. Raises ``RefusedRecord``."""
        if not isinstance(source, dict):
            raise RefusedRecord("It is no object.")
        if suspect and _holds_nul(source):
            raise RefusedRecord(_NUL)
        source = _unwrapped(source)
        legacy = is_legacy(source)
        kept_back = why_not_public(source, self._now)
        dated = _dated(source)
        given = fields_of(from_legacy(source) if legacy else source)
        try:
            record = self._validator.validate_python(_plain(given))
        except ValidationError as error:
            raise RefusedRecord(_complaint(error)) from None
        except TooManyMarks as error:
            raise RefusedRecord(str(error)) from None
        if not any(_LETTER.search(section.text) for section in record.sections):
            raise RefusedRecord("It has no text.")
        category = self._category(given.get("category"), legacy)
        persona = self._persona(record.persona, category, legacy)
        wanted = UNWANTED if kept_back else WANTED_FIRST if says_it_was_public(source) else WANTED
        return ImportedStory(record, category, persona, record.author or record.persona, dated, wanted, kept_back)

    def _ours(self, name: str) -> str:
        if (slug := self._categories.get(name.strip().casefold())) is None:
            slugs = ", ".join(sorted({*self._categories.values()}))
            raise UsageError(f"There is no category {cut(name, 60)!r}.", f"Known: {slugs}.")
        return slug

    def _category(self, value: Any, legacy: bool) -> str:
        """Return the first category of the record that is mapped or exists, else the default."""
        if isinstance(value, str) and not self._mapped and (slug := self._categories.get(value.strip().casefold())):
            return slug
        names = _category_names(value)
        for name in names:
            slug = self._mapped.get(name.casefold()) or self._categories.get(name.casefold())
            if slug is None and legacy:
                slug = next((self._words[word] for word in words(name.lower()) if word in self._words), None)
            if slug:
                return slug
        if self._default:
            return self._default
        if not names:
            raise RefusedRecord("category: It has none.")
        raise UnknownCategory(names[0], sorted({*self._categories.values()}))

    def _persona(self, name: str, category: str, legacy: bool) -> str:
        """Return the persona of this name, or the category's. In earlier files the name is only a byline."""
        slug = self._personas.get(name.strip().casefold())
        if slug is None and name and not legacy:
            raise RefusedRecord(
                f"There is no persona {cut(name, 60)!r}; known: {', '.join({*self._personas.values()})}."
            )
        return slug or self._voices[category]

    def _row(self, story: ImportedStory) -> StoryRow:
        record = story.draft
        story_id = f"{IMPORTED}-{slug_for(record.slug, record.title)}"
        draft = self._draft.dump_json(record).decode()
        moment = story.dated or self._now
        content = f"{draft}\0{story.category}\0{story.persona}\0{story.author}\0{story.wanted}\0{story.dated}"
        head = {
            "story_id": story_id,
            "writer": IMPORTED,
            "model": story.author,
            "prompt_version": "",
            "usage": _NO_USAGE,
            "written_at": moment.isoformat(),
            **({"dated": story.dated.isoformat()} if story.dated else {}),
        }
        stored = f'{to_json(head).decode()[:-1]},"draft":{draft}}}'
        digest = hashlib.sha256(content.encode()).digest()[:16]
        place = (story_id, story.category, story.persona, record.title, story.author)
        earlier_id = f"{IMPORTED}-{earlier_slug_for(record.slug, record.title)}"
        earlier_id = "" if earlier_id == story_id else earlier_id
        return StoryRow(*place, moment, story.wanted, digest, stored, story.kept_back, earlier_id)


def category_map(pairs: Sequence[str]) -> dict[str, str]:
    """Return ``NAME=CATEGORY`` pairs as a mapping. Raises ``UsageError``."""
    parted = [pair.rpartition("=") for pair in pairs]
    if wrong := [
        pair for pair, (name, _, slug) in zip(pairs, parted, strict=True) if not name.strip() or not slug.strip()
    ]:
        raise UsageError(f"{cut(wrong[0], 60)!r} names no category.", "Write NAME=CATEGORY, such as revenge=workplace.")
    return {name.strip(): slug.strip() for name, _, slug in parted}


def parsed(data: bytes) -> Any:
    """Parse JSON text. Raises ``RefusedRecord`` for damaged text, and for text that no database can hold."""
    try:
        value = from_json(data.strip(), cache_strings="keys")
    except ValueError as error:
        raise RefusedRecord(_damage(data, str(error))) from None
    return value


_NO_USAGE = Usage().model_dump()


def _unwrapped(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with its fields at the top, where an interface wrapped them in an inner object."""
    if "title" not in record and not any(field_of(name) == "title" for name in record):
        for name in _WRAPPED_IN:
            if isinstance(inner := record.get(name), dict):
                return {**record, **inner}
    return record


def _dated(record: Mapping[str, Any]) -> datetime | None:
    """Return when the story was published or written, or None. Raises ``RefusedRecord`` for a wrong date."""
    for name, value in days_in(record):
        if day := day_of(value):
            return day
        if folded(name) != "published":  # a yes, a no or a status under some systems
            raise RefusedRecord(f"{shown(name, 40)}: {shown(value, 40)!r} is no date.")
    return None


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields in the form that the draft's model takes: words as text, Markdown as sections."""
    fields: dict[str, Any] = {name: _masked_text(given[name]) for name in _WORDS if name in given}
    if "title" in fields:
        fields["title"] = plain_line(fields["title"])
    if "slug" in given:
        fields["slug"] = words_in(given["slug"])
    if "dek" in fields:
        fields["dek"] = plain_text(fields["dek"])
    if "persona" in given:
        fields["persona"] = next(iter(labels_in([given["persona"]])), "")
    for name, read in (("author", name_in), ("tags", labels_in)):
        if name in given:
            fields[name] = _read(name, read, given[name])
    if "author" in fields:
        fields["author"] = plain_line(fields["author"])
    if "tags" in fields:
        fields["tags"] = [masked(tag) for tag in fields["tags"]]
    listed = {name: _listed(given[name]) for name in ("sections", "quotes") if name in given}
    if "sections" not in listed and "text" in given:
        listed["sections"] = sections_of(_masked_text(given["text"]))
    elif isinstance(listed.get("sections"), list) and not _are_plain(listed["sections"]):
        listed["sections"] = list(chain.from_iterable(map(_sections, listed["sections"], count())))
    if isinstance(listed.get("quotes"), list):
        listed["quotes"] = [_quote(quote) for quote in listed["quotes"]]
    return {**fields, **listed}


def _masked_text(value: Any) -> str:
    """Return a value as text with HTML entities resolved and user names masked."""
    return masked(words_in(value))


def _read(name: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise RefusedRecord(f"{name}: {error}.") from None


def _sections(value: Any, index: int) -> list[Any]:
    """Return a section in the draft's form. Each heading inside its text begins another section."""
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict):
        return [value]
    kind = value.get("kind") or value.get("type") or ("narrative" if index else "opening")
    heading = plain_line(_masked_text(value.get("heading") or value.get("title") or ""))
    text = value["text"] if "text" in value else value.get("content")
    text = _masked_text(text) if isinstance(text, str) else text
    section = {"kind": kind, "heading": heading, "text": text}
    if not isinstance(text, str) or not is_marked(text):
        return [section]
    parts = sections_of(text) or [{"heading": "", "text": ""}]
    return [{**section, "heading": heading or parts[0]["heading"], "text": parts[0]["text"]}, *parts[1:]]


def _are_plain(sections: list[Any]) -> bool:
    """Whether all sections have the draft's form already and hold no entities, marks or user names."""
    try:
        whole = "\n".join([f"{section['kind']} {section['heading']}\n{section['text']}" for section in sections])
    except (TypeError, KeyError):
        return False
    return not ("&" in whole or "/" in whole or "@" in whole or "%" in whole or is_marked(whole))


def _quote(value: Any) -> Any:
    quote = {"comment_id": "", **value} if isinstance(value, dict) else {"comment_id": "", "text": value}
    return {**quote, "text": plain_text(_masked_text(quote["text"]))} if isinstance(quote.get("text"), str) else quote


def _listed(value: Any) -> Any:
    """Return the value; parse it where it is a list in a table's cell."""
    return parsed(value.encode()) if isinstance(value, str) and value.lstrip().startswith("[") else value


def _category_names(value: Any) -> list[str]:
    """Return the names under which a record's category is looked up: the whole value first, then its parts."""
    if value is None or value == "":
        return []
    whole = [words_in(value).strip()] if isinstance(value, str) and not value.lstrip().startswith("[") else []
    return list(dict.fromkeys(name for name in (*whole, *labels_in(value)) if name))


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
    """Say in an operator's words what is wrong with JSON text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return "It is not UTF-8 text."
    if b"\0" in data:
        return _NUL
    if "hex escape" in message:
        return "It holds half a character (a lone surrogate)."
    return f"It is not JSON: {message}."
