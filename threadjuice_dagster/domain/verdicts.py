"""All judgements of one draft together: rubric, judge, moderation, grounding and originality."""

from collections.abc import Mapping
from datetime import datetime

from threadjuice_dagster.domain.grounding import Grounding
from threadjuice_dagster.domain.judging import JudgeVerdict
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.moderation import Verdict
from threadjuice_dagster.domain.quality import Rubric
from threadjuice_dagster.domain.records import QUALITY_THRESHOLD
from threadjuice_dagster.domain.stories import Usage


class QualityScore(Model):
    """What was found of one draft. ``moderation`` None means no verdict could be had, which is no pass."""

    story_id: str
    rubric: Rubric
    judge: JudgeVerdict | None = None
    moderation: Verdict | None = None
    grounding: Grounding
    originality_problem: str | None = None
    nearest_story: str = ""
    similarity: float = 0.0
    overall: float
    usage: Usage = Usage()
    scored_at: datetime


def overall_score(rubric: Rubric, judge: JudgeVerdict | None) -> float:
    """The lower of the rubric's and the judge's scores, 0 to 10: neither can talk the other up."""
    scores = [rubric.overall] + ([judge.overall] if judge else [])
    return round(min(scores), 2)


def gate_verdicts(score: QualityScore) -> Mapping[str, tuple[bool, str]]:
    """What each gate on the text says: gate → (passed, one line for the operator)."""
    moderation = score.moderation
    return {
        "meets_quality_threshold": (score.overall >= QUALITY_THRESHOLD, _quality_line(score)),
        "is_appropriate": (
            moderation is not None and not moderation.flagged,
            "No moderation verdict could be had."
            if moderation is None
            else "; ".join(moderation.reasons) or f"Nothing found ({moderation.source})."
            if not moderation.flagged
            else f"Flagged ({moderation.source}): {'; '.join(moderation.reasons) or 'see categories'}",
        ),
        "quotes_are_grounded": (
            score.grounding.ok,
            "; ".join(score.grounding.problems) or "Every quote stands in its comment.",
        ),
        "is_original": (
            score.originality_problem is None,
            score.originality_problem or "No published story and no long run of the source is repeated.",
        ),
    }


def _quality_line(score: QualityScore) -> str:
    line = f"{score.overall:.1f} of 10 (rubric {score.rubric.overall:.1f}"
    line += f", judge {score.judge.overall:.1f})" if score.judge else ")"
    weak = [d for d in score.rubric.dimensions if d.score < QUALITY_THRESHOLD and d.evidence]
    if score.overall < QUALITY_THRESHOLD and weak:
        worst = min(weak, key=lambda dimension: dimension.score)
        line += f"; weakest: {worst.name} {worst.score:.1f}, {worst.evidence[0]}"
    return line
