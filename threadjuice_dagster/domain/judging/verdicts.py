"""All judgements of one draft together: rubric, judge, moderation, grounding and originality."""

from collections.abc import Mapping
from datetime import datetime

from threadjuice_dagster.domain.judging.gates import QUALITY_THRESHOLD, GateFinding
from threadjuice_dagster.domain.judging.grounding import Grounding
from threadjuice_dagster.domain.judging.judge import JudgeVerdict
from threadjuice_dagster.domain.judging.moderation import Verdict
from threadjuice_dagster.domain.judging.rubric import Rubric
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.stories import Usage


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


def gate_findings(score: QualityScore) -> Mapping[str, GateFinding]:
    """What each gate on the text says of a score."""
    return {
        "meets_quality_threshold": _quality(score),
        "is_appropriate": _appropriateness(score.moderation),
        "quotes_are_grounded": _grounding(score.grounding),
        "is_original": GateFinding(
            score.originality_problem is None,
            score.originality_problem or "No published story and no long run of the source is repeated.",
        ),
    }


def refusal(verdict: Verdict) -> str:
    """Why a moderation verdict refuses, in one line."""
    return f"Flagged ({verdict.source}): {'; '.join(verdict.reasons) or 'see categories'}"


def _quality(score: QualityScore) -> GateFinding:
    line = f"{score.overall:.1f} of 10 (rubric {score.rubric.overall:.1f}"
    line += f", judge {score.judge.overall:.1f})" if score.judge else ")"
    weak = [d for d in score.rubric.dimensions if d.score < QUALITY_THRESHOLD and d.evidence]
    if score.overall < QUALITY_THRESHOLD and weak:
        worst = min(weak, key=lambda dimension: dimension.score)
        line += f"; weakest: {worst.name} {worst.score:.1f}, {worst.evidence[0]}"
    divided = score.judge is not None and score.judge.is_divided and score.rubric.overall >= QUALITY_THRESHOLD
    if score.judge and divided:
        line += f"; the judge's answers lie {score.judge.spread:.1f} apart: a person has to decide"
    return GateFinding(score.overall >= QUALITY_THRESHOLD and not divided, line, held=divided)


def _appropriateness(verdict: Verdict | None) -> GateFinding:
    if verdict is None:
        return GateFinding(False, "No moderation verdict could be had.")
    if verdict.flagged:
        return GateFinding(False, refusal(verdict))
    return GateFinding(True, "; ".join(verdict.reasons) or f"Nothing found ({verdict.source}).")


def _grounding(grounding: Grounding) -> GateFinding:
    if grounding.problems:
        return GateFinding(False, "; ".join(grounding.problems))
    if grounding.unverifiable:
        return GateFinding(False, grounding.unverifiable, held=True)
    return GateFinding(True, "Every quote stands in its comment.")
