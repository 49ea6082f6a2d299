"""The static site: the pages of every public story."""

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.publication.published_story import published_story
from threadjuice_dagster.assets.upkeep.database import database_schema
from threadjuice_dagster.operations.monitoring.freshness import FRESH
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.site.publisher import Publisher


@asset(
    kinds={"html"},
    deps=[database_schema, published_story],
    code_version="2",
    freshness_policy=FRESH["site"].policy,
)
def site(
    context: dg.AssetExecutionContext, database: Database, publisher: Publisher, takedown_service: TakedownService
) -> dg.MaterializeResult[None]:
    """The static site: brought up to date, checked, and shown to readers at once, without what was taken down."""
    from threadjuice_dagster.database.publications import Publications

    # A restored database may hold what was taken down since its backup was made.
    replayed = takedown_service.replay(context.instance)
    built = publisher.build(Publications(database.store.engine), keep_old=not replayed)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(built.version),
        metadata={
            "front page": dg.MetadataValue.url(publisher.site_url or publisher.preview_url),
            "folder": dg.MetadataValue.path(str(publisher.current)),
            "stories": built.stories,
            "pages": built.pages,
            "files written": built.written,
            "files removed": built.removed,
            "version": built.version,
            "seconds": round(built.seconds, 3),
        },
    )
