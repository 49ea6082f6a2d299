"""The public record of a story, which holds exactly what its page shows."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pydantic import model_validator

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.story.credit import SourceCredit
from threadjuice_dagster.domain.story.provenance import Provenance
from threadjuice_dagster.domain.story.stories import Category, Draft, Persona


class PublishedStory(Model):
    """A published story as the site reads it. ``slug`` is unique and never changes."""

    story_id: str
    slug: str
    draft: Draft
    category: Category
    persona: Persona
    image: StoryImage
    credit: SourceCredit = SourceCredit()
    writer: str
    model: str
    score: float
    published_at: datetime
    updated_at: datetime
    run_id: str = ""
    provenance: Provenance | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_earlier_versions(cls, values: Any) -> Any:
        """Read a story as earlier versions stored it: with the address and the subreddit of its thread."""
        if isinstance(values, dict) and "credit" not in values:
            source = {name: values.get(name) or "" for name in ("source_url", "subreddit")}
            values = {**values, "credit": source}
        return values


class Listed(NamedTuple):
    """A public story without its text. ``stamp`` changes whenever the record changes."""

    story_id: str
    category: str
    published_at: datetime
    stamp: str


@runtime_checkable
class PublicationSource(Protocol):
    """A source of public stories, such as the database (``database/publications.py``)."""

    def listing(self) -> Iterator[Listed]:
        """Yield every story, in no order."""

    def stories(self, ids: Sequence[str]) -> Iterator[PublishedStory]:
        """Yield those of these stories that are still public, in no order."""
