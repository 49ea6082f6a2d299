"""Reads stories that people wrote: JSON files, or Markdown files with a YAML head.

What a record means belongs in ``operations/imports/rules.py``; storing and checking belong to the caller.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from threadjuice_dagster.domain.story.stories import MANUAL
from threadjuice_dagster.operations.imports.formats import split_records
from threadjuice_dagster.operations.imports.json_records import start_of_list
from threadjuice_dagster.operations.imports.raw import RawRecord
from threadjuice_dagster.operations.imports.rules import ImportedStory, RefusedRecord, parsed
from threadjuice_dagster.operations.imports.slugs import earlier_slug_for, earlier_slugify, slug_for

_HEAD = re.compile(r"\A\s*---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")


def manual_records(text: str) -> list[Any]:
    """Return the records of a file: a JSON object, a list of objects, or one Markdown story. Raises ``RefusedRecord``.

    JSON objects hold ``title``, ``category``, and ``sections`` (as in a draft) or ``text``; Markdown has the same
    names in its head.
    """
    return _json(text) if text.lstrip().startswith(("{", "[")) else [_markdown(text)]


def manual_id(story: ImportedStory, title_of: Callable[[str], str | None]) -> str:
    """Return the partition key of a story: the key of the stored story that it replaces, else a new one.

    Stories with the same slug are the same story; without a slug, those with the same title. ``title_of`` returns the
    title that is stored under a key, or None.
    """
    slug, title = story.draft.slug, story.draft.title
    new, earlier = (f"{MANUAL}-{make(slug, title)}" for make in (slug_for, earlier_slug_for))
    if slug:
        return new if title_of(earlier) is None else earlier
    ending = f"-{hashlib.sha256(title.encode()).hexdigest()[:8]}"
    shortest = f"{MANUAL}-{earlier_slugify(title, 60)}"  # how keys of long titles were once cut
    keys = (new + ending, earlier + ending, shortest, earlier, new)
    return next((key for key in keys if title_of(key) == title), new if title_of(new) is None else new + ending)


def _json(text: str) -> list[Any]:
    """Return the objects of JSON text: in a list, in a list inside an object, one after the other, or a single one."""
    data = text.encode(errors="surrogatepass")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raws = list(split_records([data], ".json"))
        if len(raws) < 2 or any(raw.problem for raw in raws):
            raise RefusedRecord("It is not JSON text. Correct it, or write the story as Markdown.") from None
        return [_parsed(raw) for raw in raws]
    if isinstance(document, dict) and (start_of_list(data) or -1) > 0:
        return [_parsed(raw) for raw in split_records([data], ".json")]
    return document if isinstance(document, list) else [document]


def _parsed(raw: RawRecord) -> Any:
    if raw.problem:
        raise RefusedRecord(raw.problem)
    return parsed(raw.data) if isinstance(raw.data, bytes) else raw.data


def _markdown(text: str) -> dict[str, Any]:
    import yaml

    head = _HEAD.match(text)
    if not head:
        raise RefusedRecord("It has no head. Begin it with ---, then title: and category: lines, then ---.")
    try:
        values = yaml.load(head[1], Loader=_plain_loader())  # noqa: S506
    except (yaml.YAMLError, RecursionError):
        raise RefusedRecord("Its head is not YAML. Write one `name: value` to a line.") from None
    return {**(values if isinstance(values, dict) else {}), "text": text[head.end() :]}


def _plain_loader() -> Any:
    """Return a YAML loader that keeps 1984, No and 2024-01-01 as words and refuses aliases, which may grow."""
    import yaml

    class Loader(yaml.BaseLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not taken")
            return super().compose_node(parent, index)

    Loader.add_implicit_resolver("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""])
    Loader.add_constructor("tag:yaml.org,2002:null", lambda loader, node: None)
    return Loader
