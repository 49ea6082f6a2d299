"""The provenance of a story: its source, how it was made and who signed it off. The site publishes it with the page.

It holds ids, offsets and digests of its sources and never their text, besides the credit that their licence demands.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from threadjuice_dagster.domain.judging.gates import GateVerdict
from threadjuice_dagster.domain.judging.grounding import Passage
from threadjuice_dagster.domain.judging.verdicts import QualityScore
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.story.credit import SourceCredit
from threadjuice_dagster.domain.story.stories import Draft, StoryDraft, Usage


class StorySource(SourceCredit):
    """The thread of a story, its credit, and the places whose words the story repeats (``Grounding.passages``)."""

    thread: str = ""
    passages: tuple[Passage, ...] = ()


class Provenance(Model):
    """How a story was made and checked. ``text_sha256`` ties the record to the text (``text_digest``)."""

    story_id: str
    statement: str
    text_sha256: str
    source: StorySource
    writer: str
    model: str
    prompt_version: str
    revisions: int
    rubric_version: str
    judge_version: str = ""
    judge_model: str = ""
    scores: dict[str, float]
    gates: tuple[GateVerdict, ...]
    moderation: dict[str, Any]
    unsupported: tuple[str, ...] = ()
    picture: dict[str, Any]
    cost_usd: float
    tokens: int
    run_id: str
    signed_off_by: tuple[str, ...]
    signed_off_at: datetime


def provenance_of(
    story: StoryDraft,
    score: QualityScore,
    image: StoryImage,
    source: StorySource,
    verdicts: Sequence[GateVerdict],
    spent: Usage,
    run_id: str,
    moment: datetime,
) -> Provenance:
    """Return the provenance of a story at its publication, signed off by its gates or by who overruled them."""
    judge, moderation = score.judge, score.moderation
    scores = {"overall": score.overall, "rubric": score.rubric.overall, **({"judge": judge.overall} if judge else {})}
    people = dict.fromkeys(verdict.overridden_by for verdict in verdicts if verdict.overridden_by)
    return Provenance(
        story_id=story.story_id,
        statement=statement(story.writer, story.model),
        text_sha256=text_digest(story.draft),
        source=source,
        **story.model_dump(include={"writer", "model", "prompt_version", "revisions"}),
        rubric_version=score.rubric.version,
        judge_version=judge.version if judge else "",
        judge_model=judge.model if judge else "",
        scores=scores,
        gates=tuple(verdicts),
        moderation=moderation.model_dump(mode="json", exclude={"reasons"}) if moderation else {},
        unsupported=score.grounding.unsupported,
        picture=image.model_dump(mode="json", exclude={"story_id", "variants", "placeholder", "note"}),
        cost_usd=spent.cost_usd,
        tokens=spent.input_tokens + spent.output_tokens,
        run_id=run_id,
        signed_off_by=tuple(people) or ("the gates",),
        signed_off_at=moment,
    )


def text_digest(draft: Draft) -> str:
    """Return the SHA-256 of a draft's canonical JSON, in hexadecimal."""
    return hashlib.sha256(draft.model_dump_json().encode(errors="replace")).hexdigest()


def statement(writer: str, model: str) -> str:
    """Return one sentence that tells readers who wrote the story."""
    if writer == "manual":
        return f"Written by {model or 'a person'}, and checked by the newsroom's gates."
    if writer == "imported":
        return f"Imported{f', by {model}' if model else ''}, and checked by the newsroom's gates."
    if writer == "extractive":
        return "Composed by a program from the thread's own words; no language model wrote it."
    return f"Written with AI ({model}), and checked by the newsroom's gates."
