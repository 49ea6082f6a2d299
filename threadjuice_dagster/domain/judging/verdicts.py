"""All judgements of one draft together, and what the gates on its text make of them.

The judgements are made in ``domain/judging/assess.py``.
"""

from collections.abc import Mapping
from datetime import datetime

from threadjuice_dagster.domain.judging.gates import QUALITY_THRESHOLD, GateFinding, Outcome
from threadjuice_dagster.domain.judging.grounding import Grounding
from threadjuice_dagster.domain.judging.judge import FAITHFUL, JudgeVerdict
from threadjuice_dagster.domain.judging.moderation import Verdict
from threadjuice_dagster.domain.judging.rubric import Rubric
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.stories import Usage


class Assessment(Model):
    """What was found of one draft. Without a verdict of ``moderation`` a story does not pass."""

    rubric: Rubric
    judge: JudgeVerdict | None = None
    moderation: Verdict | None = None
    grounding: Grounding
    originality_problem: str | None = None
    nearest_story: str = ""
    similarity: float = 0.0
    overall: float


class QualityScore(Assessment):
    """The assessment of a stored story, with what it cost and when it was made."""

    story_id: str
    usage: Usage = Usage()
    scored_at: datetime

    @classmethod
    def of(
        cls, assessment: Assessment, *, story_id: str, scored_at: datetime, usage: Usage = Usage()
    ) -> "QualityScore":
        """Return the score that is stored of an assessment."""
        return cls(**dict(assessment), story_id=story_id, usage=usage, scored_at=scored_at)


def overall_score(rubric: Rubric, judge: JudgeVerdict | None) -> float:
    """Return the lower of the rubric's and the judge's scores, 0 to 10, so that neither can raise the other."""
    scores = [rubric.overall] + ([judge.overall] if judge else [])
    return round(min(scores), 2)


def gate_findings(score: Assessment) -> Mapping[str, GateFinding]:
    """Return what each gate on the text says of an assessment."""
    return {
        "meets_quality_threshold": _quality(score),
        "is_appropriate": _appropriateness(score.moderation),
        "quotes_are_grounded": _grounding(score.grounding),
        "is_original": GateFinding(
            score.originality_problem is None,
            score.originality_problem or "No published story and no long run of the source is repeated.",
        ),
    }


def overall_outcome(findings: Mapping[str, GateFinding]) -> Outcome:
    """Return the outcome of all gates together: one that rejects decides before one that holds."""
    outcomes = {finding.outcome for finding in findings.values()}
    return "reject" if "reject" in outcomes else "hold" if "hold" in outcomes else "pass"


def refusal(verdict: Verdict) -> str:
    """Return in one line why a moderation verdict refuses."""
    return f"Flagged ({verdict.source}): {'; '.join(verdict.reasons) or 'see categories'}"


def _quality(score: Assessment) -> GateFinding:
    line = f"{score.overall:.1f} of 10 (rubric {score.rubric.overall:.1f}"
    line += f", judge {score.judge.overall:.1f})" if score.judge else ")"
    weak = [d for d in score.rubric.dimensions if d.score < QUALITY_THRESHOLD and d.evidence]
    if score.overall < QUALITY_THRESHOLD and weak:
        worst = min(weak, key=lambda dimension: dimension.score)
        line += f"; weakest: {worst.name} {worst.score:.1f}, {worst.evidence[0]}"
    divided = score.judge is not None and score.judge.is_divided and score.rubric.overall >= QUALITY_THRESHOLD
    if score.judge and divided:
        line += f"; the judge's answers lie {score.judge.spread:.1f} apart: a person has to decide"
    unfaithful = score.judge is not None and score.judge.is_unfaithful
    if score.judge and unfaithful:
        faithfulness = score.judge.dimensions["faithfulness"]
        line += f"; faithfulness {faithfulness.median:g} of 5, below {FAITHFUL:g}: {faithfulness.evidence}".rstrip(": ")
    passed = score.overall >= QUALITY_THRESHOLD and not divided and not unfaithful
    return GateFinding(passed, line, held=divided)


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
