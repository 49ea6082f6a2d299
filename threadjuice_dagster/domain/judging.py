"""The judge: what it is asked to score, the shape of its answer, and how several answers become one verdict.

Asking belongs in ``resources/openai.py``, the words around the scale in ``domain/prompts.py``; the
deterministic rubric is ``domain/quality.py``.
"""

from collections.abc import Sequence
from statistics import fmean, median
from typing import Annotated

from pydantic import BeforeValidator, Field

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.text import clean, cut

JUDGE_VERSION = "judge-1"
"""Changes whenever the scale, its anchors or the way samples are combined change."""

SAMPLES = 3
"""Answers asked of the judge per story; the median of three shrugs off one outlier."""

ANCHORS: dict[str, str] = {
    "hook": "headline and first sentences. 1: generic or misleading; 2: names the topic only; 3: says what happened; "
    "4: a concrete detail makes one read on; 5: precise, surprising, and true to the source",
    "clarity": "1: cannot be followed; 2: who did what has to be guessed; 3: understood with effort; "
    "4: understood at first reading; 5: effortless, every sentence earns its place",
    "structure": "1: a heap of remarks; 2: order without purpose; 3: beginning, middle and end; "
    "4: each part leads to the next and the discussion has a place; 5: builds to a turn and lands its ending",
    "specificity": "1: platitudes; 2: mostly general; 3: some details of this thread; "
    "4: details, figures and voices of this thread throughout; 5: could have been written of no other thread",
    "voice": "1: no voice, or filler of a machine; 2: flat or uneven; 3: neutral and correct; "
    "4: a person is recognisably telling this; 5: distinct, consistent, and fair to the people in it",
    "faithfulness": "1: contradicts or invents the main facts; 2: an invented fact or quote that matters; "
    "3: minor facts not in the thread; 4: everything is in the thread; 5: also its doubts and disagreements are kept",
}
"""Each dimension with what its scores from 1 to 5 mean."""


def _no_truth_value(value: object) -> object:
    """A score is a number: pydantic would read ``true`` as 1."""
    return None if isinstance(value, bool) else value


def _evidence(value: object) -> str:
    return cut(clean(value), 400) if isinstance(value, str) else ""


class Rating(Model):
    """One dimension in one answer. The evidence comes first so that the score follows from it."""

    evidence: Annotated[str, BeforeValidator(_evidence)] = Field(
        "", description="the words of the story that decide this score, and why, in one sentence"
    )
    score: Annotated[int, BeforeValidator(_no_truth_value)] = Field(ge=1, le=5, description="1 to 5, by the anchors")


class JudgeAnswer(Model):
    """One answer of the judge: a rating for every dimension of ``ANCHORS``."""

    hook: Rating = Field(description=ANCHORS["hook"])
    clarity: Rating = Field(description=ANCHORS["clarity"])
    structure: Rating = Field(description=ANCHORS["structure"])
    specificity: Rating = Field(description=ANCHORS["specificity"])
    voice: Rating = Field(description=ANCHORS["voice"])
    faithfulness: Rating = Field(description=ANCHORS["faithfulness"])


class JudgedDimension(Model):
    """One dimension over all samples: ``median`` 1–5, ``spread`` highest minus lowest, evidence of the median."""

    median: float
    spread: int
    evidence: str


class JudgeVerdict(Model):
    """What the judge made of a story: ``overall`` is 0–10, twice the mean of the medians."""

    version: str
    model: str
    overall: float
    dimensions: dict[str, JudgedDimension]
    samples: int


def combine(samples: Sequence[JudgeAnswer], model: str = "") -> JudgeVerdict:
    """One verdict from several answers of ``model``: medians per dimension; all fours make 8.0.

    Raises ``ValueError`` without a sample: a story that was not judged has no verdict.
    """
    if not samples:
        raise ValueError("a verdict needs at least one answer of the judge")
    dimensions = {name: _dimension([getattr(sample, name) for sample in samples]) for name in ANCHORS}
    overall = 2 * fmean(dimension.median for dimension in dimensions.values())
    return JudgeVerdict(
        version=JUDGE_VERSION, model=model, overall=round(overall, 2), dimensions=dimensions, samples=len(samples)
    )


def _dimension(ratings: Sequence[Rating]) -> JudgedDimension:
    scores = [rating.score for rating in ratings]
    middle = float(median(scores))
    nearest = min(ratings, key=lambda rating: (abs(rating.score - middle), not rating.evidence))
    return JudgedDimension(median=middle, spread=max(scores) - min(scores), evidence=nearest.evidence)
