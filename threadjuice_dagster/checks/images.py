"""The gate on a story's picture."""

from collections.abc import Iterator

import dagster as dg

from threadjuice_dagster.assets.images import story_image
from threadjuice_dagster.assets.steps import RETRIES, mark_rejected, story_step
from threadjuice_dagster.checks.verdicts import gate, result
from threadjuice_dagster.domain.images import licence_problem
from threadjuice_dagster.resources.postgres import Database

PICTURE_GATE = gate("image_is_licensed", story_image, "The licence allows this use and the credit is there.")


@dg.multi_asset_check(specs=[PICTURE_GATE], retry_policy=RETRIES)
def picture_gate(context: dg.AssetCheckExecutionContext, database: Database) -> Iterator[dg.AssetCheckResult]:
    """Licence and credit of the partition's picture."""
    with story_step(context, database) as story_id:
        problem = licence_problem(database.store.image(story_id))
        message = problem or "Licensed for this use, with credit."
        verdict = database.store.judge(story_id, PICTURE_GATE.name, problem is None, message)
        if not verdict.lets_through:
            mark_rejected(context)
    yield result(story_id, verdict, story_image)
