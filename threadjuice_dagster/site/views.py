"""A published story as templates read it, with cleaned texts and checked addresses.

What the pages look like belongs in ``templates/``; which pages there are in ``site/pages.py``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

from threadjuice_dagster.domain.language.text import clean, cut, paragraphs
from threadjuice_dagster.domain.pictures.licences import CreditPart, credit_line
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import EXTRACTIVE, IMPORTED, MANUAL, Category, Quote, Section
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.site.credits import CreditView, TextView
from threadjuice_dagster.site.links import safe_link
from threadjuice_dagster.site.pictures import StoryPicture, picture_of

WORDS_PER_MINUTE = 230
"""Silent reading speed for non-fiction: 238 words a minute (Brysbaert 2019), rounded down."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,119}")


@dataclass(frozen=True)
class QuoteView:
    """A quote's paragraphs and the comment that it is from."""

    paragraphs: tuple[str, ...]
    origin: TextView


@dataclass(frozen=True)
class SectionView:
    """One section with its paragraphs and the quotes that follow it."""

    kind: str
    heading: str
    paragraphs: tuple[str, ...]
    quotes: tuple[QuoteView, ...]


@dataclass(frozen=True)
class StoryView:
    """One story. Its draft is clean already; every other text from outside is cleaned here."""

    story: PublishedStory
    picture: StoryPicture | None

    @property
    def path(self) -> str:
        """The page's path in the site."""
        return f"story/{self.story.slug}/index.html"

    @property
    def provenance_path(self) -> str:
        """The path of the record beside the page."""
        return f"story/{self.story.slug}/provenance.json"

    @property
    def persona_path(self) -> str:
        """The path of the page of all stories in this voice."""
        return f"persona/{self.story.persona.slug}/index.html"

    @property
    def overruled(self) -> tuple[str, ...]:
        """The gates a person overruled, with name and reason as given."""
        record = self.story.provenance
        verdicts = [verdict for verdict in record.gates if verdict.overridden_by] if record else []
        return tuple(
            clean(f"{verdict.gate.replace('_', ' ')}, by {verdict.overridden_by}: {verdict.override_reason}")
            for verdict in verdicts
        )

    @property
    def title(self) -> str:
        """The headline."""
        return self.story.draft.title

    @cached_property
    def category(self) -> Category:
        """The category the story belongs to, its texts cleaned."""
        category = self.story.category
        return category.model_copy(update={"name": clean(category.name), "description": clean(category.description)})

    @property
    def byline(self) -> str:
        """The persona's byline."""
        return clean(self.story.persona.byline) or clean(self.story.persona.name)

    @property
    def persona(self) -> str:
        """The persona's name."""
        return clean(self.story.persona.name)

    @property
    def description(self) -> str:
        """The summary for search engines, feeds and link previews."""
        draft = self.story.draft
        return cut(draft.seo_description or draft.dek or draft.sections[0].text, 200)

    @cached_property
    def published(self) -> datetime:
        """When the story was published, UTC."""
        return utc(self.story.published_at)

    @cached_property
    def updated(self) -> datetime:
        """When the story last changed, UTC; never before it was published."""
        return max(utc(self.story.updated_at), self.published)

    @cached_property
    def word_count(self) -> int:
        """Words in the body and the quotes."""
        return self.story.draft.word_count

    @property
    def minutes(self) -> int:
        """Reading time in whole minutes."""
        return max(1, round(self.word_count / WORDS_PER_MINUTE))

    @cached_property
    def credit(self) -> CreditView:
        """The thread that the story is from, its licence and its authors."""
        return CreditView(self.story.credit)

    @property
    def alt(self) -> str:
        """What the picture shows, for a reader who cannot see it."""
        return clean(self.picture.image.alt_text) or self.story.draft.alt_text if self.picture else ""

    @property
    def author(self) -> str:
        """The model that wrote the story and the writer that called it, as far as they are stored."""
        model, writer = clean(self.story.model), clean(self.story.writer)
        return f"{model} ({writer})" if model and writer else model or writer

    @property
    def is_manual(self) -> bool:
        """Whether a person wrote it."""
        return self.story.writer == MANUAL

    @property
    def is_imported(self) -> bool:
        """Whether it was imported from an earlier collection."""
        return self.story.writer == IMPORTED

    @property
    def is_extractive(self) -> bool:
        """Whether it was composed of the thread's own words, without a model."""
        return self.story.writer == EXTRACTIVE

    @cached_property
    def sections(self) -> tuple[SectionView, ...]:
        """The body in reading order."""
        return tuple(self._section(section, quotes) for section, quotes in self.story.draft.layout())

    def _section(self, section: Section, quotes: Iterable[Quote]) -> SectionView:
        shown = tuple(
            QuoteView(tuple(paragraphs(quote.text)), self.credit.origin(quote.comment_id))
            for quote in quotes
            if quote.text
        )
        return SectionView(section.kind, section.heading, tuple(paragraphs(section.text)), shown)


def credit_of(picture: StoryPicture) -> tuple[CreditPart, ...]:
    """Return the picture's credit line with checked addresses, some of which may be empty."""
    return tuple(
        replace(part, text=clean(part.text), address=safe_link(part.address))
        for part in credit_line(picture.image, picture.image.provider)
    )


def view_of(story: PublishedStory) -> StoryView:
    """Return the view of a story. Raises ``PermanentFailure`` for a name that cannot be part of an address."""
    for slug in (story.slug, story.category.slug, story.persona.slug):
        if not _SLUG.fullmatch(slug):
            raise PermanentFailure(
                f"Story {story.story_id}: {slug[:80]!r} cannot be part of an address.",
                "Give it a slug of lower-case letters, digits and hyphens.",
            )
    return StoryView(story, picture_of(story.image))


def utc(moment: datetime) -> datetime:
    """Return a moment in UTC. A moment without a zone is taken as UTC."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
