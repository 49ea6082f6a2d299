"""The public record of a story: everything a page shows, and nothing it does not."""

from datetime import datetime

from threadjuice_dagster.domain.images import StoryImage
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.provenance import Provenance
from threadjuice_dagster.domain.stories import Category, Draft, Persona


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
