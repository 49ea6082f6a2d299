"""Quality: the assessment of each draft by rubric, judge, moderation, grounding and originality."""

from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.assets.decorators import story_asset
from threadjuice_dagster.assets.preview import escape, quote_table, score_table
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.domain.judging.assess import assess, public_text
from threadjuice_dagster.domain.judging.originality import Neighbour, bands, nearest, signature
from threadjuice_dagster.domain.judging.rubric import DIMENSIONS, VERSION
from threadjuice_dagster.domain.judging.screening import screen
from threadjuice_dagster.domain.judging.verdicts import QualityScore
from threadjuice_dagster.domain.story.stories import StoryDraft
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.writers import Writer

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store


@story_asset(
    kinds={"openai", "postgres"},
    code_version=VERSION,
    pool="openai",
    metadata={
        "dimensions": dg.MetadataValue.md("\n".join(f"* **{name}**: {what}" for name, what in DIMENSIONS.items()))
    },
)
def quality_score(
    context: dg.AssetExecutionContext, story_draft: StoryDraft, database: Database, writer: Writer
) -> dg.MaterializeResult[QualityScore]:
    """0 to 10 overall and per dimension with evidence, the judge's and the moderation's verdicts, quotes checked."""
    from threadjuice_dagster.database.ledger import Ledger

    story_id = context.partition_key
    meter = Meter()
    try:
        score = _score(story_draft, database.store, writer, meter)
    finally:
        Ledger(database.store.engine).add_usage("judge", "", meter.usage, story_id, context.run_id)
    return dg.MaterializeResult(
        value=score,
        metadata={
            "overall": score.overall,
            "rubric": score.rubric.overall,
            **({"judge": score.judge.overall, "judge_spread": score.judge.spread} if score.judge else {}),
            **{dimension.name: round(dimension.score, 2) for dimension in score.rubric.dimensions},
            "evidence": dg.MetadataValue.md(score_table(score)),
            "moderation": _moderation_line(score),
            "nearest story": score.nearest_story or "none",
            "similarity": round(score.similarity, 3),
            "quotes": dg.MetadataValue.md(quote_table(score)),
            "unsupported": dg.MetadataValue.md(escape("; ".join(score.grounding.unsupported)) or "none"),
            "versions": f"{score.rubric.version}, {score.judge.version if score.judge else 'no judge'}",
            "cost_usd": meter.usage.cost_usd,
            "tokens": meter.usage.input_tokens + meter.usage.output_tokens,
        },
    )


def _score(story: StoryDraft, store: "Store", writer: Writer, meter: Meter) -> QualityScore:
    from threadjuice_dagster.database.catalogue import Catalogue

    assignment = store.assignment(story.story_id)
    thread = store.thread(assignment.thread_id) if assignment.thread_id else None
    screened = screen(thread, assignment.category)[0] if thread else None
    assessment = assess(
        story.draft,
        thread,
        screened=screened,
        framing=Catalogue(store.engine).persona(assignment.persona).lines,
        writer=story.writer,
        category=assignment.category,
        neighbour=_neighbour(store, story),
        judge=writer.judge(story.draft, screened, story.writer, meter) if screened else None,
        moderation=writer.moderate(public_text(story.draft), story.writer, meter, assignment.category),
    )
    return QualityScore.of(assessment, story_id=story.story_id, usage=meter.usage, scored_at=now())


def _neighbour(store: "Store", story: StoryDraft) -> Neighbour:
    """Return the published story most like this one."""
    own = signature(story.draft.shown)
    return nearest(own, dict(store.stories_alike(list(bands(own)), excluding=story.story_id)))


def _moderation_line(score: QualityScore) -> str:
    verdict = score.moderation
    return f"{verdict.source}: {verdict.score:.2f}" if verdict else "no verdict"
