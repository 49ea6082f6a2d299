"""The judge: what it is asked to score, the shape of its answer, and how several answers become one verdict.

The scale and its anchors are data (``editorial/judge.yaml``), asking belongs in ``resources/openai.py``, the words
around the scale in ``domain/writing/prompts.py``; the deterministic rubric is ``domain/judging/rubric.py``.
"""

from collections.abc import Sequence
from statistics import fmean, median
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.language.text import clean, cut
from threadjuice_dagster.domain.model import Model

SAMPLES = 3
"""Answers asked of the judge per story; the median of three shrugs off one outlier."""

FAITHFUL = 4.0
"""Lowest median of faithfulness, 1 to 5, with which a story may pass. It is a veto: no other dimension makes it up."""

MAX_SPREAD = 2.0
"""Of 10: samples whose overall scores lie further apart do not decide; a person does."""


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


def anchors() -> dict[str, str]:
    """Return each dimension with what its scores from 1 to 5 mean."""
    return dict(editorial.table("judge")["anchors"])


def _describe(schema: dict[str, Any]) -> None:
    """Put the anchors into the schema that a model is asked to follow; they are read only when it is made."""
    for name, meaning in anchors().items():
        schema["properties"][name]["description"] = meaning


class JudgeAnswer(Model):
    """One answer of the judge: a rating for every dimension of ``anchors``."""

    model_config = ConfigDict(json_schema_extra=_describe)

    hook: Rating
    clarity: Rating
    structure: Rating
    specificity: Rating
    voice: Rating
    faithfulness: Rating


class JudgedDimension(Model):
    """One dimension over all samples: ``median`` 1–5, ``spread`` highest minus lowest, evidence of the median."""

    median: float
    spread: int
    evidence: str


class JudgeVerdict(Model):
    """What the judge made of a story: ``overall`` is 0–10, twice the mean of the medians.

    ``spread`` is the highest sample's overall score less the lowest's.
    """

    version: str
    model: str
    overall: float
    spread: float = 0.0
    dimensions: dict[str, JudgedDimension]
    samples: int

    @property
    def is_unfaithful(self) -> bool:
        """Whether the story says what its thread does not: the median of faithfulness is below ``FAITHFUL``."""
        faithfulness = self.dimensions.get("faithfulness")
        return faithfulness is not None and faithfulness.median < FAITHFUL

    @property
    def is_divided(self) -> bool:
        """Whether the samples disagree too much to decide."""
        return self.spread > MAX_SPREAD


def combine(samples: Sequence[JudgeAnswer], model: str = "") -> JudgeVerdict:
    """One verdict from several answers of ``model``: medians per dimension; all fours make 8.0.

    Raises ``ValueError`` without a sample: a story that was not judged has no verdict.
    """
    if not samples:
        raise ValueError("a verdict needs at least one answer of the judge")
    dimensions = {name: _dimension([getattr(sample, name) for sample in samples]) for name in anchors()}
    overall = 2 * fmean(dimension.median for dimension in dimensions.values())
    each = [2 * fmean(getattr(sample, name).score for name in anchors()) for sample in samples]
    return JudgeVerdict(
        version=editorial.table("judge")["version"],
        model=model,
        overall=round(overall, 2),
        spread=round(max(each) - min(each), 2),
        dimensions=dimensions,
        samples=len(samples),
    )


def _dimension(ratings: Sequence[Rating]) -> JudgedDimension:
    scores = [rating.score for rating in ratings]
    middle = float(median(scores))
    nearest = min(ratings, key=lambda rating: (abs(rating.score - middle), not rating.evidence))
    return JudgedDimension(median=middle, spread=max(scores) - min(scores), evidence=nearest.evidence)
