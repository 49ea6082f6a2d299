"""Stories: the written draft of each assignment."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from threadjuice_dagster.assets.decorators import story_asset
from threadjuice_dagster.assets.preview import story_markdown, story_summary
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.assets.threads.threads import story_assignments
from threadjuice_dagster.domain.judging.assess import assess
from threadjuice_dagster.domain.judging.gates import QUALITY_THRESHOLD, GateFinding
from threadjuice_dagster.domain.judging.rubric import feedback
from threadjuice_dagster.domain.judging.verdicts import refusal
from threadjuice_dagster.domain.story.credit import SourceCredit, credit_of
from threadjuice_dagster.domain.story.stories import Draft, StoryDraft
from threadjuice_dagster.domain.story.terms import terms_of
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.domain.writing.prompts import PROMPT_VERSION, given
from threadjuice_dagster.failures import PermanentFailure, Unsuitable
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.writers import Material, Writer, Writing

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store

MAX_REVISIONS = 2
"""Times a draft under the threshold is written again with the rubric's findings."""


@story_asset(
    kinds={"openai", "postgres"},
    deps=[story_assignments],
    code_version=PROMPT_VERSION,
    pool="openai",
)
def story_draft(
    context: dg.AssetExecutionContext, database: Database, writer: Writer
) -> dg.MaterializeResult[StoryDraft]:
    """The story as written: in a persona's voice, from the thread alone, revised while it scores too low."""
    from threadjuice_dagster.database.ledger import Ledger

    story_id = context.partition_key
    meter = Meter()
    try:
        material = _material(database.store, story_id, writer, meter)
        writing, revisions = write_best(writer, material, meter)
    finally:
        Ledger(database.store.engine).add_usage("write", "", meter.usage, story_id, context.run_id)
    story = StoryDraft(
        story_id=story_id,
        draft=writing.draft,
        writer=writing.writer,
        model=writing.model,
        prompt_version=writing.prompt_version,
        note=writing.note,
        revisions=revisions,
        usage=meter.usage,
        written_at=now(),
        credit=credit_for(material.thread, writing.draft),
    )
    metadata = _metadata(story, material)
    return dg.MaterializeResult(value=story, data_version=dg.DataVersion(context.run_id), metadata=metadata)


def _metadata(story: StoryDraft, material: Material) -> dict[str, Any]:
    return {
        "story": dg.MetadataValue.md(story_summary(story)),
        "full text": dg.MetadataValue.md(story_markdown(story)),
        "thread": material.thread.permalink if material.thread.source != "sample" else terms_of(material.thread).name,
        "category": material.category.name,
        "persona": material.persona.name,
        "writer": f"{story.writer} ({story.model})",
        "words": story.draft.word_count,
        "quotes": len(story.draft.quotes),
        "revisions": story.revisions,
        "requests": story.usage.requests,
        "tokens": story.usage.input_tokens + story.usage.output_tokens,
        "cost_usd": story.usage.cost_usd,
        **({"note": story.note} if story.note else {}),
    }


def credit_for(thread: Thread, draft: Draft) -> SourceCredit | None:
    """Return the credit for all that a writer was given or quotes, where the licence of the thread demands it."""
    quoted = {quote.comment_id.removeprefix("t1_") for quote in draft.quotes}
    shown = given(thread)
    more = (comment for comment in thread.comments if comment.id in quoted and comment not in shown)
    return credit_of(thread, (*shown, *more)) if thread.licence else None


def _material(store: "Store", story_id: str, writer: Writer, meter: Meter) -> Material:
    """Return what a writer works from: the screened thread. No story is written of a thread that is flagged itself."""
    from threadjuice_dagster.database.catalogue import Catalogue

    assignment = store.assignment(story_id)
    if assignment.thread_id is None:
        raise PermanentFailure(f"Story {story_id} was written by a person.", "Import a new version of it instead.")
    thread, verdict = writer.screen(store.thread(assignment.thread_id), assignment.category, meter)
    overruled = any(one.gate == "is_appropriate" and one.overridden_by for one in store.verdicts(story_id))
    if verdict.flagged and not overruled:
        problem = f"The thread, before writing: {refusal(verdict)}"
        store.record_verdicts(story_id, {"is_appropriate": GateFinding(False, problem)})
        raise Unsuitable(problem, "Choose another thread, or: threadjuice content approve STORY --reason TEXT")
    return Material(
        thread=thread,
        category=Catalogue(store.engine).category(assignment.category),
        persona=Catalogue(store.engine).persona(assignment.persona),
    )


def write_best(writer: Writer, material: Material, meter: Meter) -> tuple[Writing, int]:
    """Return the best of the first draft and its revisions, and how many revisions were asked for."""
    best, revisions = writer.write(material, meter), 0
    merit, findings = _merit(best, material)
    while findings and revisions < MAX_REVISIONS:
        revisions += 1
        writing = writer.revise(material, best, findings, revisions, meter)
        revised_merit, revised_findings = _merit(writing, material)
        if revised_merit > merit:
            best, merit, findings = writing, revised_merit, revised_findings
    return best, revisions


def _merit(writing: Writing, material: Material) -> tuple[tuple[bool, float], list[str]]:
    """Return how good a draft is (grounded, then the rubric's score), and what a revision has to put right."""
    thread, framing = material.thread, material.persona.lines
    assessment = assess(writing.draft, thread, screened=thread, framing=framing, writer=writing.writer)
    findings = list(assessment.grounding.problems)
    if assessment.rubric.overall < QUALITY_THRESHOLD:
        findings += feedback(assessment.rubric).splitlines()
    return (assessment.grounding.ok, assessment.rubric.overall), findings
