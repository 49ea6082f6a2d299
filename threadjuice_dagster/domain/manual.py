"""Stories people wrote: read from JSON, or from Markdown with a YAML head, into the drafts the newsroom checks.

Storing and checking them belong to the caller.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.stories import Category, CleanText, Draft, Persona
from threadjuice_dagster.domain.text import slugify
from threadjuice_dagster.failures import UsageError

MANUAL = "manual"
"""The writer's name under which stories of people are stored and labelled."""

_HEAD = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*\n", re.DOTALL)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+)$")


class ManualStory(Model):
    """A person's story: its draft, its desk, its byline. ``slug`` is its key: the same slug replaces it."""

    draft: Draft
    category: CleanText = Field(min_length=1)
    persona: CleanText = ""
    author: CleanText = ""
    slug: CleanText = ""

    @property
    def story_id(self) -> str:
        """The partition key: ``manual-<slug>``."""
        return f"manual-{slugify(self.slug or self.draft.title)}"


def read_manual(text: str, name: str) -> list[ManualStory]:
    """The stories of a file: a JSON object or list of objects, or one story in Markdown.

    JSON objects hold ``title``, ``category``, and ``sections`` (as in a draft) or ``text``; Markdown has the same
    names in its head. Raises ``UsageError`` naming the file, the story and what is wrong with it.
    """
    records = _json(text, name) if text.lstrip().startswith(("{", "[")) else [_markdown(text, name)]
    return [_story(record, f"{name}, story {number}") for number, record in enumerate(records, start=1)]


def persona_for(story: ManualStory, category: Category, personas: list[Persona]) -> str:
    """The slug of the persona named, or of the first that writes for the category."""
    fitting = [one.slug for one in personas if category.slug in one.categories]
    return story.persona or (fitting or [one.slug for one in personas])[0]


def _json(text: str, name: str) -> list[Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{name} is not JSON text.", "Correct it, or write the story as Markdown.") from None
    return document if isinstance(document, list) else [document]


def _markdown(text: str, name: str) -> dict[str, Any]:
    import yaml

    head = _HEAD.match(text.replace("\r\n", "\n").lstrip("\ufeff"))
    if not head:
        raise UsageError(f"{name} has no head.", "Begin it with ---, then title: and category: lines, then ---.")
    try:
        values = yaml.safe_load(head[1])
    except yaml.YAMLError:
        raise UsageError(f"The head of {name} is not YAML.", "Write one `name: value` to a line.") from None
    body = text.replace("\r\n", "\n").lstrip("\ufeff")[head.end() :]
    return {**(values if isinstance(values, dict) else {}), "text": body}


def _story(record: Any, place: str) -> ManualStory:
    if not isinstance(record, Mapping):
        raise UsageError(f"{place} is not an object.", "Give each story a title, a category and sections or text.")
    sections = record.get("sections") or sections_of(str(record.get("text") or ""))
    try:
        draft = Draft.model_validate({**record, "sections": sections})
        own = {key: str(record[key]) for key in ("category", "persona", "author", "slug") if record.get(key)}
        return ManualStory.model_validate({"draft": draft, **own})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the story"
        raise UsageError(f"{place}: {field}: {first['msg']}.", "Correct it and import the file again.") from None


def sections_of(text: str) -> list[dict[str, str]]:
    """Sections of plain text or Markdown: each heading starts one; without headings there is one."""
    sections: list[dict[str, str]] = [{"kind": "opening", "heading": "", "text": ""}]
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            sections.append({"kind": "narrative", "heading": heading[1], "text": ""})
        else:
            sections[-1]["text"] += f"{line}\n"
    return [section for section in sections if section["text"].strip()]
