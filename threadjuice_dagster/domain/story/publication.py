"""The public record of a story: everything a page shows, and nothing it does not."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.pictures.images import StoryImage
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
    source_url: str
    subreddit: str
    writer: str
    model: str
    score: float
    published_at: datetime
    updated_at: datetime
    run_id: str = ""
    provenance: Provenance | None = None


class Listed(NamedTuple):
    """A public story without its text. ``stamp`` differs whenever anything of its record may."""

    story_id: str
    category: str
    published_at: datetime
    stamp: str


@runtime_checkable
class PublicationSource(Protocol):
    """The public stories, to be read in part: ``database/publications.py`` has those of the newsroom."""

    def listing(self) -> Iterator[Listed]:
        """Every story, in no order."""

    def stories(self, ids: Sequence[str]) -> Iterator[PublishedStory]:
        """These stories, in no order; one that is public no more is left out."""
