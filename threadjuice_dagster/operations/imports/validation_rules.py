"""A stored story checked against its schema and assessed again, by the newsroom's own rules alone.

No model is asked: what a judge or a moderation service said when the story was written is kept. Reading and storing
many stories belongs in ``operations/imports/validation.py``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from threadjuice_dagster.domain.judging.assess import assess
from threadjuice_dagster.domain.judging.moderation import Verdict
from threadjuice_dagster.domain.judging.originality import Neighbour, signature
from threadjuice_dagster.domain.judging.verdicts import QualityScore
from threadjuice_dagster.domain.story.stories import StoryDraft, Usage
from threadjuice_dagster.domain.story.threads import Thread


class Subject(NamedTuple):
    """A story as stored: JSON records of the draft, of its thread and of its last score, where there are any."""

    story_id: str
    category: str
    story: Mapping[str, Any]
    thread: Mapping[str, Any] | None = None
    score: Mapping[str, Any] | None = None
    framing: tuple[str, ...] = ()


def sign(subject: Subject) -> tuple[bytes, str]:
    """Return the MinHash of a story, or what is wrong with its record."""
    try:
        return signature(StoryDraft.model_validate(subject.story).draft.shown), ""
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        return b"", f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def assess_again(subject: Subject, neighbour: Neighbour, moment: datetime) -> QualityScore:
    """Assess a stored story; the judge's verdict and what only a service could see are taken from its last score."""
    story = StoryDraft.model_validate(subject.story)
    last = QualityScore.model_validate(subject.score) if subject.score else None
    assessment = assess(
        story.draft,
        Thread.model_validate(subject.thread) if subject.thread else None,
        framing=subject.framing,
        writer=story.writer,
        category=subject.category,
        neighbour=neighbour,
        judge=last.judge if last else None,
        moderation=_flagged_by_service(last),
        earlier_grounding=last.grounding if last else None,
    )
    usage = last.usage if last else Usage()
    return QualityScore.of(assessment, story_id=subject.story_id, usage=usage, scored_at=moment)


def _flagged_by_service(last: QualityScore | None) -> Verdict | None:
    verdict = last.moderation if last else None
    return verdict if verdict and verdict.flagged and verdict.source != "local" else None
