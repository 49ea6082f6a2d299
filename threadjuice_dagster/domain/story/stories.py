"""The models of a story: the draft that a writer returns, and the draft as it is stored.

How a story is judged belongs in ``domain/judging/rubric.py``; how it is written in ``domain/writing/prompts.py``
and ``domain/writing/extractive.py``.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from threadjuice_dagster.domain.language.text import clean, words
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.credit import SourceCredit

SectionKind = Literal["opening", "narrative", "excerpt", "discussion", "facts", "turn", "closing"]
SECTION_KINDS: tuple[str, ...] = SectionKind.__args__  # type: ignore[attr-defined]

EXTRACTIVE, MANUAL, IMPORTED = "extractive", "manual", "imported"
"""Writers that are no model: the extractive writer, a person, and whoever wrote an imported story."""


def _known_kind(value: object) -> object:
    return value if value in SECTION_KINDS else "narrative"


CleanText = Annotated[str, BeforeValidator(lambda value: clean(value) if isinstance(value, str) else value)]


class Section(Model):
    """One part of a story. An ``excerpt`` is the source's own words and is checked to be so."""

    kind: Annotated[SectionKind, BeforeValidator(_known_kind)] = Field(
        description="opening, narrative, discussion, facts, turn or closing; excerpt only for the post's exact words"
    )
    heading: CleanText = Field("", description="a short heading, or empty for none")
    text: CleanText = Field(description="paragraphs separated by a blank line; plain text, no markup")


class Quote(Model):
    """A commenter's exact words. ``comment_id`` names the comment they stand in."""

    text: CleanText = Field(description="exact, unchanged words of that comment")
    comment_id: CleanText = Field(description="the id of the comment quoted")
    section: int = Field(-1, description="index of the section this quote follows, from 0")


class Draft(Model):
    """The text that a writer returns, and everything that a page needs around it."""

    title: CleanText = Field(min_length=1, max_length=300, description="headline, at most 90 characters")
    dek: CleanText = Field("", description="one sentence under the headline")
    sections: tuple[Section, ...] = Field(min_length=1, max_length=40, description="four to seven sections")
    quotes: tuple[Quote, ...] = Field((), max_length=60, description="two to six quotes from comments")
    seo_title: CleanText = Field("", description="title for search engines, at most 60 characters")
    seo_description: CleanText = Field("", description="summary for search engines, at most 155 characters")
    tags: tuple[CleanText, ...] = Field((), max_length=20, description="three to six lower-case tags")
    picture_query: CleanText = Field(
        "",
        validation_alias=AliasChoices("picture_query", "image_query"),
        description="two to four words that find a fitting photograph",
    )
    alt_text: CleanText = Field("", description="what that photograph would show, for a reader who cannot see it")

    @property
    def text(self) -> str:
        """The body without headings and quotes, as paragraphs."""
        return "\n\n".join(section.text for section in self.sections)

    @property
    def shown(self) -> str:
        """The body with its quotes in place. ``text`` alone may only lead from quote to quote."""
        parts = ((section.text, *(quote.text for quote in quotes)) for section, quotes in self.layout())
        return "\n\n".join(text for part in parts for text in part)

    @property
    def narration(self) -> str:
        """The writer's own words: the body without excerpts."""
        return "\n\n".join(section.text for section in self.sections if section.kind != "excerpt")

    @property
    def word_count(self) -> int:
        """The number of words in the body and the quotes."""
        return len(words(self.text)) + sum(len(words(quote.text)) for quote in self.quotes)

    def layout(self) -> Iterator[tuple[Section, tuple[Quote, ...]]]:
        """Yield each section with the quotes that follow it. Quotes without a place are spread evenly."""
        count, placed = len(self.sections), {index: [] for index in range(len(self.sections))}  # type: ignore[var-annotated]
        for index, quote in enumerate(self.quotes):
            spread = (index + 1) * count // (len(self.quotes) + 1)
            placed[quote.section if 0 <= quote.section < count else min(spread, count - 1)].append(quote)
        for index, section in enumerate(self.sections):
            yield section, tuple(placed[index])


class Usage(Model):
    """Requests, tokens and US dollars that calls to a model took, failed attempts included."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum of both."""
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=round(self.cost_usd + other.cost_usd, 6),
        )


class StoryDraft(Model):
    """A draft with where it came from. ``story_id`` is the partition key.

    ``dated`` is the story's own date, where it was published elsewhere before. ``credit`` names the authors of all
    that the writer was given, where their licence demands it: the thread's own text expires.
    """

    story_id: str
    draft: Draft
    writer: str
    model: str
    prompt_version: str
    note: str = ""
    revisions: int = 0
    usage: Usage = Usage()
    written_at: datetime
    dated: datetime | None = None
    credit: SourceCredit | None = None


class Category(Model):
    """A category of stories, with the places and words by which threads are assigned to it.

    ``sources`` are specs such as ``stackexchange:workplace``; subreddits may be joined, as in ``reddit:jobs+work``.
    """

    slug: str
    name: str
    description: str
    colour: str
    sources: tuple[Annotated[str, BeforeValidator(lambda spec: "+".join(str(spec).split()))], ...] = ()
    keywords: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_earlier_versions(cls, values: Any) -> Any:
        """Read a category as earlier versions stored it, when Reddit was the only source."""
        if isinstance(values, dict) and "subreddits" in values:
            values = dict(values)
            names = values.pop("subreddits")
            values.setdefault("sources", [f"reddit:{'+'.join(names)}"] if names else [])
        return values

    @cached_property
    def places(self) -> frozenset[str]:
        """Every place of ``sources`` as a spec of its own, in lower case."""
        split = (
            (name, place)
            for name, _, places in (spec.partition(":") for spec in self.sources)
            for place in places.split("+")
        )
        return frozenset(f"{name}:{place}".lower() for name, place in split)


class Persona(Model):
    """A voice in which stories are written. Its openings, transitions and closings are used word for word."""

    slug: str
    name: str
    byline: str
    voice: str
    categories: tuple[str, ...] = ()
    openings: tuple[str, ...] = ()
    transitions: tuple[str, ...] = ()
    closings: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines that a story may take from this persona and not from its thread."""
        return (self.name, self.byline, *self.openings, *self.transitions, *self.closings)
