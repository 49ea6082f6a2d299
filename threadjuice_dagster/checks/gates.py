"""The gates a story has to pass: blocking checks that read the stored findings and store their verdict."""

from collections.abc import Iterator

import dagster as dg

from threadjuice_dagster.assets.images import story_image
from threadjuice_dagster.assets.quality import quality_score
from threadjuice_dagster.assets.steps import RETRIES, mark_rejected, story_step
from threadjuice_dagster.domain.images import licence_problem
from threadjuice_dagster.domain.records import GateVerdict
from threadjuice_dagster.domain.verdicts import gate_verdicts
from threadjuice_dagster.resources.postgres import Database


def _gate(name: str, asset: dg.AssetsDefinition, description: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=True)


TEXT_GATES = (
    _gate("meets_quality_threshold", quality_score, "Rubric and judge both give at least 8.0 of 10."),
    _gate("is_appropriate", quality_score, "Moderation gave a verdict and flagged nothing."),
    _gate("quotes_are_grounded", quality_score, "Every quote stands word for word in its comment; no link was added."),
    _gate("is_original", quality_score, "No published story and no long run of the source is repeated."),
)
PICTURE_GATE = _gate("image_is_licensed", story_image, "The licence allows this use and the credit is there.")


@dg.multi_asset_check(specs=TEXT_GATES, retry_policy=RETRIES)
def text_gates(context: dg.AssetCheckExecutionContext, database: Database) -> Iterator[dg.AssetCheckResult]:
    """Quality, moderation, grounding and originality of the partition's story."""
    with story_step(context, database) as story_id:
        found = gate_verdicts(database.store.score(story_id))
        verdicts = [database.store.judge(story_id, gate, *verdict) for gate, verdict in found.items()]
        if not all(verdict.lets_through for verdict in verdicts):
            mark_rejected(context)
    for verdict in verdicts:
        yield _result(story_id, verdict, quality_score)


@dg.multi_asset_check(specs=[PICTURE_GATE], retry_policy=RETRIES)
def picture_gate(context: dg.AssetCheckExecutionContext, database: Database) -> Iterator[dg.AssetCheckResult]:
    """Licence and credit of the partition's picture."""
    with story_step(context, database) as story_id:
        problem = licence_problem(database.store.image(story_id))
        message = problem or "Licensed for this use, with credit."
        verdict = database.store.judge(story_id, PICTURE_GATE.name, problem is None, message)
        if not verdict.lets_through:
            mark_rejected(context)
    yield _result(story_id, verdict, story_image)


def _result(story_id: str, verdict: GateVerdict, asset: dg.AssetsDefinition) -> dg.AssetCheckResult:
    notes = {"story": story_id, "overruled by": verdict.overridden_by, "because": verdict.override_reason}
    return dg.AssetCheckResult(
        passed=verdict.lets_through,
        check_name=verdict.gate,
        asset_key=asset.key,
        severity=dg.AssetCheckSeverity.ERROR,
        description=verdict.message,
        metadata={key: value for key, value in notes.items() if value},
    )
