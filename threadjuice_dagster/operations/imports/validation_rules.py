"""A stored story held against its schema and the gates on its text, by the newsroom's own rules alone.

No model is asked: what a judge or a moderation service said when the story was written is kept. Reading and storing
many stories belongs in ``operations/imports/validation.py``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from threadjuice_dagster.domain.judging.grounding import Grounding, ground
from threadjuice_dagster.domain.judging.moderation import Verdict, load_moderator
from threadjuice_dagster.domain.judging.originality import originality_problem, signature
from threadjuice_dagster.domain.judging.rubric import rate
from threadjuice_dagster.domain.judging.verdicts import QualityScore, overall_score
from threadjuice_dagster.domain.story.stories import EXTRACTIVE, Draft, StoryDraft
from threadjuice_dagster.domain.story.threads import Thread


class Subject(NamedTuple):
    """A story as it is stored: JSON records of the draft, of its thread and of its last score, where there are any."""

    story_id: str
    category: str
    story: Mapping[str, Any]
    thread: Mapping[str, Any] | None = None
    score: Mapping[str, Any] | None = None


class Near(NamedTuple):
    """The story that another one is most like, and how like it is, 0 to 1."""

    story_id: str = ""
    similarity: float = 0.0


def sign(subject: Subject) -> tuple[bytes, str]:
    """The MinHash of a story, or what is wrong with its record."""
    try:
        return signature(StoryDraft.model_validate(subject.story).draft.shown), ""
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        return b"", f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def assess(subject: Subject, near: Near, moment: datetime) -> QualityScore:
    """Everything the gates on the text go by, found anew."""
    story = StoryDraft.model_validate(subject.story)
    thread = Thread.model_validate(subject.thread) if subject.thread else None
    last = QualityScore.model_validate(subject.score) if subject.score else None
    source = None if thread is None or thread.expired else thread
    excerpting = story.writer == EXTRACTIVE
    rubric = rate(story.draft, source, nearest=near.similarity, excerpting=excerpting)
    judge = last.judge if last else None
    return QualityScore(
        story_id=subject.story_id,
        rubric=rubric,
        judge=judge,
        moderation=_moderation(story.draft, subject.category, last),
        grounding=_grounding(story.draft, thread, last),
        originality_problem=originality_problem(story.draft, source, near.story_id, near.similarity, excerpting),
        nearest_story=near.story_id,
        similarity=near.similarity,
        overall=overall_score(rubric, judge),
        **({"usage": last.usage} if last else {}),
        scored_at=moment,
    )


def shown_text(draft: Draft) -> str:
    """All text of a draft that reaches a page."""
    parts = [draft.title, draft.dek, *(f"{one.heading}\n{one.text}" for one in draft.sections)]
    parts += [quote.text for quote in draft.quotes]
    return "\n\n".join([*parts, draft.seo_title, draft.seo_description, draft.alt_text, ", ".join(draft.tags)])


def _moderation(draft: Draft, category: str, last: QualityScore | None) -> Verdict:
    """The local verdict, unless a service had flagged the story before."""
    local = load_moderator().moderate(shown_text(draft), category)
    before = last.moderation if last else None
    return before if before and before.flagged and before.source != local.source else local


def _grounding(draft: Draft, thread: Thread | None, last: QualityScore | None) -> Grounding:
    """What was found while the thread's text was there outlives it."""
    if thread and thread.expired and last:
        return last.grounding
    return ground(draft, thread)
