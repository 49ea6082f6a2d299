"""The image library: every public story has its picture's files, and gets a picture anew where it has not.

The picture of a story that is being written belongs in ``assets/images.py``.
"""

import dagster as dg

from threadjuice_dagster.assets.images import choose_picture
from threadjuice_dagster.assets.plots import listed
from threadjuice_dagster.assets.publication import public_record
from threadjuice_dagster.assets.steps import RETRIES, classified, reported
from threadjuice_dagster.assets.threads import OWNERS
from threadjuice_dagster.domain.licences import licence_finding
from threadjuice_dagster.resources.desk import Desk
from threadjuice_dagster.resources.pictures import PictureDesk
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import Storage

COMPLETE = dg.AssetCheckSpec(
    "pictures_are_complete",
    asset="image_library",
    description="Every public story has all its picture's files in picture storage.",
)


class SweepConfig(dg.Config):
    """How many stories at most get a picture anew in one run; 0 only reports."""

    redraw: int = 200


@dg.asset(
    group_name="images",
    owners=OWNERS,
    kinds={"pillow", "s3"},
    deps=["published_story", "content_cleanup"],
    check_specs=[COMPLETE],
    retry_policy=RETRIES,
    pool="pictures",
)
def image_library(
    context: dg.AssetExecutionContext,
    config: SweepConfig,
    database: Database,
    desk: Desk,
    pictures: PictureDesk,
    cdn: Storage,
) -> dg.MaterializeResult:
    """A sweep over all public stories: whose picture files are gone gets a picture anew, judged by the same gate."""
    from threadjuice_dagster.database.pictures import stories_lacking_files

    with reported(context, database):
        lacking = stories_lacking_files(database.store.engine, cdn.list("img/"))
        failed: dict[str, str] = {}
        redrawn = list(lacking)[: config.redraw]
        for story_id in redrawn:
            try:
                _redraw(story_id, context.run_id, database, desk, pictures, cdn)
            except Exception as error:
                failed[story_id] = str(classified(error))
        left = [story_id for story_id in lacking if story_id in failed or story_id not in redrawn]
        lacks = [f"`{story_id}`: {failed.get(story_id, 'not tried in this run')}" for story_id in left]
        return dg.MaterializeResult(
            metadata={
                "lacking": len(lacking),
                "files": sum(lacking.values()),
                "redrawn": len(redrawn) - len(failed),
                "left": len(left),
                "stories": listed(lacks, "all complete"),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=COMPLETE.name,
                    passed=not left,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=f"{len(left)} stories lack picture files." if left else "Nothing is missing.",
                )
            ],
        )


def _redraw(story_id: str, run_id: str, database: Database, desk: Desk, pictures: PictureDesk, cdn: Storage) -> None:
    """Another picture for one public story, judged, and its public record with it."""
    store = database.store
    story = store.draft(story_id)
    image = choose_picture(story, run_id, database, desk, pictures, cdn)
    record = public_record(store, story, store.score(story_id), image, run_id)
    store.replace_picture(image, licence_finding(image), record)
