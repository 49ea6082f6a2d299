"""Images: the picture of each story."""

import dagster as dg

from threadjuice_dagster.assets.steps import RETRIES, story_step
from threadjuice_dagster.assets.threads import OWNERS
from threadjuice_dagster.domain.images import StoryImage
from threadjuice_dagster.domain.stories import StoryDraft
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.preview import image_markdown
from threadjuice_dagster.resources.pictures import PictureDesk
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.publisher import Publisher
from threadjuice_dagster.resources.storage import Storage


@dg.asset(
    group_name="images",
    owners=OWNERS,
    kinds={"pillow", "s3"},
    partitions_def=STORIES,
    code_version="1",
    deps=[dg.AssetDep("quality_score")],
    retry_policy=RETRIES,
    io_manager_key="store",
    pool="pictures",
)
def story_image(
    context: dg.AssetExecutionContext,
    story_draft: StoryDraft,
    database: Database,
    pictures: PictureDesk,
    cdn: Storage,
    publisher: Publisher,
) -> dg.MaterializeResult[StoryImage]:
    """The chosen picture: licensed, credited, encoded as AVIF, WebP and JPEG at up to four widths, and uploaded."""
    with story_step(context, database) as story_id:
        assignment = database.store.assignment(story_id)
        category = next(c for c in database.store.catalogue.categories() if c.slug == assignment.category)
        draft = story_draft.draft
        image = pictures.choose(
            story_id,
            draft.picture_query or draft.title,
            draft.title,
            draft.alt_text,
            category,
            cdn,
            database.store.used_pictures(excluding=story_id),
        )
        return dg.MaterializeResult(
            value=image,
            data_version=dg.DataVersion(image.sha256[:16]),
            metadata={
                "picture": dg.MetadataValue.md(image_markdown(image, publisher.picture)),
                "provider": image.provider,
                "licence": f"{image.licence.code} {image.licence.version}".strip(),
                "credit": image.credit,
                "variants": len(image.variants),
                "bytes": sum(variant.bytes for variant in image.variants),
                "largest": dg.MetadataValue.url(publisher.picture(image.variants[0])),
                **({"passed over": image.note} if image.note else {}),
            },
        )
