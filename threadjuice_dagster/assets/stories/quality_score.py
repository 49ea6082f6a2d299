"""Quality: what rubric, judge, moderation, grounding and originality found of each draft."""

from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.assets.decorators import story_asset
from threadjuice_dagster.assets.preview import escape, quote_table, score_table
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.domain.judging.grounding import ground
from threadjuice_dagster.domain.judging.injection import for_people
from threadjuice_dagster.domain.judging.originality import bands, originality_problem, signature, similarity
from threadjuice_dagster.domain.judging.rubric import DIMENSIONS, VERSION, rate
from threadjuice_dagster.domain.judging.verdicts import QualityScore, overall_score
from threadjuice_dagster.domain.story.stories import EXTRACTIVE, StoryDraft
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

    draft, excerpting = story.draft, story.writer == EXTRACTIVE
    assignment = store.assignment(story.story_id)
    source = store.thread(assignment.thread_id) if assignment.thread_id else None
    thread = for_people(source) if source else None
    nearest, closeness = _nearest(store, story)
    rubric = rate(draft, thread, nearest=closeness, excerpting=excerpting)
    judge = writer.judge(draft, thread, story.writer, meter) if thread else None
    return QualityScore(
        story_id=story.story_id,
        rubric=rubric,
        judge=judge,
        moderation=writer.moderate(_everything(story), story.writer, meter, assignment.category),
        grounding=ground(draft, source, Catalogue(store.engine).persona(assignment.persona).lines),
        originality_problem=originality_problem(draft, thread, nearest, closeness, excerpting),
        nearest_story=nearest,
        similarity=closeness,
        overall=overall_score(rubric, judge),
        usage=meter.usage,
        scored_at=now(),
    )


def _nearest(store: "Store", story: StoryDraft) -> tuple[str, float]:
    """The published story most like this one and how alike the two are."""
    own = signature(story.draft.shown)
    alike = store.stories_alike(list(bands(own)), excluding=story.story_id)
    pairs = [(similarity(own, other), story_id) for story_id, other in alike]
    closeness, nearest = max(pairs, default=(0.0, ""))
    return nearest, closeness


def _moderation_line(score: QualityScore) -> str:
    found = score.moderation
    return f"{found.source}: {found.score:.2f}" if found else "no verdict"


def _everything(story: StoryDraft) -> str:
    """All text of a draft that reaches a page."""
    draft = story.draft
    parts = [draft.title, draft.dek, *(f"{s.heading}\n{s.text}" for s in draft.sections)]
    parts += [quote.text for quote in draft.quotes]
    return "\n\n".join([*parts, draft.seo_title, draft.seo_description, draft.alt_text, ", ".join(draft.tags)])
