"""The gates on a story's text: blocking checks that read the story's score and store their verdicts."""

from collections.abc import Iterator

import dagster as dg

from threadjuice_dagster.assets.decorators import claims_story
from threadjuice_dagster.assets.steps import RETRIES, mark_outcome
from threadjuice_dagster.assets.stories.quality_score import quality_score
from threadjuice_dagster.assets.stories.verdict_results import gate, result
from threadjuice_dagster.domain.judging.verdicts import QualityScore, gate_findings
from threadjuice_dagster.resources.postgres import Database

TEXT_GATES = (
    gate("meets_quality_threshold", quality_score, "Rubric and judge both give at least 8.0 of 10."),
    gate("is_appropriate", quality_score, "Moderation gave a verdict and flagged nothing."),
    gate("quotes_are_grounded", quality_score, "Every quote stands word for word in its comment; no link was added."),
    gate("is_original", quality_score, "No published story and no long run of the source is repeated."),
)


@dg.multi_asset_check(specs=TEXT_GATES, ins={"score": quality_score.key}, retry_policy=RETRIES)
@claims_story
def text_gates(
    context: dg.AssetCheckExecutionContext, score: QualityScore, database: Database
) -> Iterator[dg.AssetCheckResult]:
    """Quality, moderation, grounding and originality of the partition's story."""
    story_id = context.partition_key
    verdicts = database.store.record_verdicts(story_id, gate_findings(score))
    mark_outcome(context, verdicts)
    for verdict in verdicts:
        yield result(story_id, verdict, quality_score)
