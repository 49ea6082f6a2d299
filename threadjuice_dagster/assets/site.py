"""Site: the static pages of every public story."""

from pathlib import Path

import dagster as dg

from threadjuice_dagster.assets.publication import published_story
from threadjuice_dagster.assets.steps import RETRIES, reported
from threadjuice_dagster.assets.threads import OWNERS
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.publisher import Publisher


@dg.asset(
    group_name="site",
    owners=OWNERS,
    kinds={"html"},
    deps=[published_story],
    code_version="1",
    retry_policy=RETRIES,
)
def site(context: dg.AssetExecutionContext, database: Database, publisher: Publisher) -> dg.MaterializeResult[None]:
    """The whole static site, checked link by link and swapped in at once."""
    from threadjuice_dagster.site.builder import build_site

    with reported(context, database):
        pictures = Path(publisher.pictures_root) if publisher.pictures_root else None
        built = build_site(database.store.published(), Path(publisher.folder), publisher.site_url, pictures)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(built.version),
            metadata={
                "front page": dg.MetadataValue.url(publisher.site_url or publisher.preview_url),
                "folder": dg.MetadataValue.path(str(publisher.current)),
                "pages": built.pages,
                "version": built.version,
                "seconds": round(built.seconds, 3),
            },
        )
