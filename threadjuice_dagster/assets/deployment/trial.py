"""The trial of a writer: a story is written and assessed like any other, and published nowhere.

The checks that run a trial are ``assets/deployment/checklist.py`` and ``assets/deployment/staging.py``.
"""

from typing import NamedTuple

from threadjuice_dagster.assets.stories.story_draft import write_best
from threadjuice_dagster.domain.judging.assess import assess, public_text
from threadjuice_dagster.domain.judging.verdicts import gate_findings, refusal
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.resources.writers import Material, Writer


class Trial(NamedTuple):
    """Who wrote, the score, and why the story would not be published; ``problem`` is empty if it would be."""

    writer: str
    model: str
    title: str
    score: float
    problem: str


def try_writer(writer: Writer, sample: Thread, meter: Meter) -> Trial:
    """Have a writer make a story of a sample thread and assess it. Raises what the writer raises."""
    from threadjuice_dagster.database.catalogue import read_catalogue

    (category, *_), (persona, *_) = read_catalogue()
    screened, verdict = writer.screen(sample, category.slug, meter)
    if verdict.flagged:
        return Trial("", "", "", 0.0, refusal(verdict))
    writing, _ = write_best(writer, Material(screened, category, persona), meter)
    assessment = assess(
        writing.draft,
        sample,
        screened=screened,
        framing=persona.lines,
        writer=writing.writer,
        category=category.slug,
        judge=writer.judge(writing.draft, screened, writing.writer, meter),
        moderation=writer.moderate(public_text(writing.draft), writing.writer, meter, category.slug),
    )
    problems = [finding.message for finding in gate_findings(assessment).values() if not finding.passed]
    return Trial(writing.writer, writing.model, writing.draft.title, assessment.overall, "; ".join(problems))
