"""The gate on a story's picture."""

from collections.abc import Iterator

import dagster as dg

from threadjuice_dagster.assets.decorators import claims_story
from threadjuice_dagster.assets.steps import RETRIES, mark_outcome
from threadjuice_dagster.assets.stories.story_image import story_image
from threadjuice_dagster.assets.stories.verdict_results import gate, result
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.pictures.licences import licence_finding
from threadjuice_dagster.resources.postgres import Database

PICTURE_GATE = gate("image_is_licensed", story_image, "Licence, credit and delivery are what its provider asks for.")


@dg.multi_asset_check(specs=[PICTURE_GATE], ins={"image": story_image.key}, retry_policy=RETRIES)
@claims_story
def picture_gate(
    context: dg.AssetCheckExecutionContext, image: StoryImage, database: Database
) -> Iterator[dg.AssetCheckResult]:
    """Whether the picture of the partition's story is used as its provider's terms ask."""
    story_id = context.partition_key
    verdicts = database.store.record_verdicts(story_id, {PICTURE_GATE.name: licence_finding(image)})
    mark_outcome(context, verdicts)
    for verdict in verdicts:
        yield result(story_id, verdict, story_image)
