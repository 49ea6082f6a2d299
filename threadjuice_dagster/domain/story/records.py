"""A story as operators see it: the one shape of ``content show``, ``content list`` and asset metadata."""

from datetime import datetime
from typing import Any

from pydantic import Field

from threadjuice_dagster.domain.judging.gates import GateVerdict
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.story.credit import SourceCredit
from threadjuice_dagster.domain.story.provenance import Provenance
from threadjuice_dagster.domain.story.stories import Quote, Section


class Reason(Model):
    """Why a story was not published."""

    check: str
    message: str


class Decision(Model):
    """A decision on a story by a person, or by a sweep in their name: one line of the audit."""

    action: str
    actor: str
    reason: str
    at: datetime
    story_id: str = ""
    detail: dict[str, Any] = Field(default_factory=dict)


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
    decisions: tuple[Decision, ...] = ()
    unsupported: tuple[str, ...] = ()
    provenance: Provenance | None = None
    quotes: tuple[Quote, ...] = ()
    sections: tuple[Section, ...] = ()
    dek: str = ""
    tags: tuple[str, ...] = ()
    image: StoryImage | None = None
    source_url: str = ""
    credit: SourceCredit | None = None
    cost_usd: float = 0.0
    tokens: int = 0
    run_id: str = ""
    page: str = ""
    error: dict[str, Any] | None = None
    published_at: str | None = None
