"""Images: the picture of each story."""

from typing import Any

import dagster as dg

from threadjuice_dagster.assets.decorators import story_asset
from threadjuice_dagster.assets.preview import image_markdown
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.pictures.licences import POLICIES, licence_name
from threadjuice_dagster.domain.story.stories import StoryDraft
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.resources.pictures import PictureService
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import Storage
from threadjuice_dagster.resources.writers import Writer
from threadjuice_dagster.site.publisher import Publisher


@story_asset(
    kinds={"pillow", "s3"},
    code_version="2",
    deps=[dg.AssetDep("quality_score")],
    pool="pictures",
)
def story_image(
    context: dg.AssetExecutionContext,
    story_draft: StoryDraft,
    database: Database,
    writer: Writer,
    pictures: PictureService,
    cdn: Storage,
    publisher: Publisher,
) -> dg.MaterializeResult[StoryImage]:
    """Choose a picture: licensed, credited, moderated, and encoded as AVIF, WebP and JPEG at up to four widths."""
    image = choose_picture(story_draft, context.run_id, database, writer, pictures, cdn)
    return dg.MaterializeResult(
        value=image, data_version=dg.DataVersion(image.sha256[:16]), metadata=_facts(image, publisher)
    )


def choose_picture(
    story: StoryDraft, run_id: str, database: Database, writer: Writer, pictures: PictureService, cdn: Storage
) -> StoryImage:
    """Choose a picture for a story and store its files; the cost of moderating pictures is counted for the run."""
    from threadjuice_dagster.database.catalogue import Catalogue
    from threadjuice_dagster.database.ledger import Ledger

    draft, store, meter = story.draft, database.store, Meter()
    wanted = store.assignment(story.story_id).category

    def inspect(data: bytes) -> str | None:
        verdict = writer.inspect(data, "image/jpeg", meter)
        if verdict is None or not verdict.flagged:
            return None
        return "; ".join(verdict.reasons) or f"{verdict.source} flagged it"

    try:
        return pictures.choose(
            story.story_id,
            draft.picture_query or draft.title,
            draft.title,
            draft.alt_text,
            Catalogue(store.engine).category(wanted),
            cdn,
            store.used_pictures(excluding=story.story_id),
            inspect,
            now,
        )
    finally:
        Ledger(store.engine).add_usage("moderate", "", meter.usage, story.story_id, run_id)


def _facts(image: StoryImage, publisher: Publisher) -> dict[str, Any]:
    """Return the metadata of a picture: the picture, its origin, and the terms on which it is shown."""
    reported = image.use_reported_at
    return {
        "picture": dg.MetadataValue.md(image_markdown(image, publisher.picture)),
        "provider": image.provider,
        "licence": licence_name(image.licence),
        "credit": image.credit,
        "delivery": image.delivery,
        "use reported": dg.MetadataValue.timestamp(reported) if reported else "not asked for",
        "beside advertising": "allowed" if POLICIES[image.provider].ads else "not allowed",
        "variants": len(image.variants),
        "bytes": sum(variant.bytes for variant in image.variants),
        "largest": dg.MetadataValue.url(publisher.picture(image.variants[0])),
        **({"passed over": image.note} if image.note else {}),
    }
