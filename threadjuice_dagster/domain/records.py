"""A story as operators see it: the one shape of ``content show``, ``content list`` and asset metadata."""

from typing import Any

from threadjuice_dagster.domain.images import StoryImage
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.stories import Quote, Section

TEXT_GATES: tuple[str, ...] = ("meets_quality_threshold", "is_appropriate", "quotes_are_grounded", "is_original")
PICTURE_GATE = "image_is_licensed"
GATES: tuple[str, ...] = (*TEXT_GATES, PICTURE_GATE)
"""Every gate a story has to pass, in the order they are evaluated."""

QUALITY_THRESHOLD = 8.0
"""The lowest overall score, of 10, that is published."""


class GateVerdict(Model):
    """What one gate said of one story. An override lets it through, with the name and reason given."""

    gate: str
    passed: bool
    message: str
    overridden_by: str | None = None
    override_reason: str | None = None

    @property
    def lets_through(self) -> bool:
        """Passed, or overruled by an operator."""
        return self.passed or self.overridden_by is not None


class Reason(Model):
    """Why a story was not published."""

    check: str
    message: str


class StoryRecord(Model):
    """One story with its verdicts, picture and cost."""

    id: str
    status: str
    title: str
    slug: str = ""
    category: str
    persona: str
    writer: str = ""
    model: str = ""
    note: str = ""
    score: float | None = None
    rubric_score: float | None = None
    judge_score: float | None = None
    reasons: tuple[Reason, ...] = ()
    overrides: tuple[GateVerdict, ...] = ()
    quotes: tuple[Quote, ...] = ()
    sections: tuple[Section, ...] = ()
    dek: str = ""
    tags: tuple[str, ...] = ()
    image: StoryImage | None = None
    source_url: str = ""
    cost_usd: float = 0.0
    tokens: int = 0
    run_id: str = ""
    page: str = ""
    error: dict[str, Any] | None = None
    published_at: str | None = None
