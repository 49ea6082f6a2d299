"""A story that is written and judged as any other, and goes nowhere: how a writer proves itself before it is needed.

The checks that ask for one are ``assets/deployment/checklist.py`` and ``assets/deployment/staging.py``.
"""

from typing import NamedTuple

from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.assets.stories.story_draft import write_best
from threadjuice_dagster.domain.judging.grounding import ground
from threadjuice_dagster.domain.judging.injection import for_people
from threadjuice_dagster.domain.judging.originality import originality_problem
from threadjuice_dagster.domain.judging.rubric import rate
from threadjuice_dagster.domain.judging.verdicts import QualityScore, gate_findings, overall_score, refusal
from threadjuice_dagster.domain.story.stories import EXTRACTIVE
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.resources.writers import Material, Writer


class Trial(NamedTuple):
    """Who wrote, the score, and why the story would not be published; empty if it would."""

    writer: str
    model: str
    title: str
    score: float
    problem: str


def try_writer(writer: Writer, sample: Thread, meter: Meter) -> Trial:
    """A story of a sample thread by the desk's writer, judged by the gates on the text. Raises as the desk does."""
    from threadjuice_dagster.database.catalogue import read_catalogue

    (category, *_), (persona, *_) = read_catalogue()
    thread, verdict = writer.screen(for_people(sample), category.slug, meter)
    if verdict.flagged:
        return Trial("", "", "", 0.0, refusal(verdict))
    writing, _ = write_best(writer, Material(thread, category, persona), meter)
    draft, excerpting = writing.draft, writing.writer == EXTRACTIVE
    rubric = rate(draft, thread, excerpting=excerpting)
    judge = writer.judge(draft, thread, writing.writer, meter)
    score = QualityScore(
        story_id=sample.id,
        rubric=rubric,
        judge=judge,
        moderation=writer.moderate(f"{draft.title}\n\n{draft.text}", writing.writer, meter, category.slug),
        grounding=ground(draft, thread, persona.lines),
        originality_problem=originality_problem(draft, thread, "", 0.0, excerpting=excerpting),
        overall=overall_score(rubric, judge),
        scored_at=now(),
    )
    problems = [found.message for found in gate_findings(score).values() if not found.passed]
    return Trial(writing.writer, writing.model, draft.title, score.overall, "; ".join(problems))
