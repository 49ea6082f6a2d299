"""The image library: every public story has its picture's files, where and as they should be.

The picture of a story that is being written belongs in ``assets/stories/story_image.py``.
"""

import dataclasses

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.findings import result
from threadjuice_dagster.assets.plots import listed
from threadjuice_dagster.assets.publication.published_story import public_record
from threadjuice_dagster.assets.steps import classified
from threadjuice_dagster.assets.stories.story_image import choose_picture
from threadjuice_dagster.domain.pictures.images import StoryImage
from threadjuice_dagster.domain.pictures.licences import licence_finding
from threadjuice_dagster.domain.story.stories import StoryDraft
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.resources.pictures import PictureService
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import FolderStorage, Storage
from threadjuice_dagster.resources.writers import Writer
from threadjuice_dagster.site.publisher import Publisher

COMPLETE = dg.AssetCheckSpec(
    "pictures_are_complete",
    asset="image_library",
    description="Every public story has all its picture's files in picture storage.",
)


class SweepConfig(dg.Config):
    """How many stories at most get a picture anew in one run; files that only lie elsewhere are brought over anyway."""

    redraw: int = 200


@asset(kinds={"pillow", "s3"}, deps=["published_story", "content_cleanup"], check_specs=[COMPLETE], pool="pictures")
def image_library(
    context: dg.AssetExecutionContext,
    config: SweepConfig,
    database: Database,
    writer: Writer,
    pictures: PictureService,
    cdn: Storage,
    publisher: Publisher,
) -> dg.MaterializeResult:
    """A sweep over all public stories: whose picture files are gone, lie elsewhere or are of another quality."""
    from threadjuice_dagster.database.publications import pictures_of_public_stories, stories_lacking_files

    engine = database.store.engine
    lacking = stories_lacking_files(engine, cdn.list("img/"))
    sweep = Sweep(context.run_id, database, writer, pictures, cdn, FolderStorage(root=publisher.pictures_root))
    outdated = [
        image
        for image in pictures_of_public_stories(engine)
        if image.story_id in lacking or not pictures.is_current(image, cdn)
    ]
    for image in outdated:
        sweep.mend(image, is_lacking=image.story_id in lacking, most=config.redraw)
    left = [story_id for story_id in lacking if story_id in sweep.left]
    why = [f"{story_id}: {reason}" for story_id, reason in sweep.left.items()]
    return dg.MaterializeResult(
        metadata={
            "lacking": len(lacking),
            "files": sum(lacking.values()),
            "outdated": len(outdated) - len(lacking),
            "renewed": sweep.renewed,
            "redrawn": sweep.redrawn,
            "left": len(left),
            "stories": listed(why, "all complete"),
        },
        check_results=[result(COMPLETE.name, not left, f"{len(left) or 'No'} stories lack picture files.")],
    )


@dataclasses.dataclass
class Sweep:
    """What a sweep works with, and what it did: stories ``left`` as they are with the reason."""

    run_id: str
    database: Database
    writer: Writer
    pictures: PictureService
    cdn: Storage
    former: Storage
    renewed: int = 0
    redrawn: int = 0
    encoded: int = 0
    left: dict[str, str] = dataclasses.field(default_factory=dict)

    def mend(self, image: StoryImage, *, is_lacking: bool, most: int) -> None:
        """The same picture as it should be; where its files are nowhere, another one."""
        is_lost = is_lacking and not self._is_elsewhere(image)
        try:
            if is_lost or not self.pictures.is_encoded(image):
                self._count(most)
            if is_lost:
                self._redraw(image.story_id)
                self.redrawn += 1
            else:
                self._renew(image)
                self.renewed += 1
        except Exception as error:
            self.left[image.story_id] = str(classified(error))

    def _is_elsewhere(self, image: StoryImage) -> bool:
        return bool(image.variants) and all(self.former.exists(variant.key) for variant in image.variants)

    def _count(self, most: int) -> None:
        if self.encoded >= most:
            raise PermanentFailure("Not tried in this run.", "Run: threadjuice maintenance optimize")
        self.encoded += 1

    def _redraw(self, story_id: str) -> None:
        """Another picture for one public story, judged."""
        story = self.database.store.draft(story_id)
        self._replace(choose_picture(story, self.run_id, self.database, self.writer, self.pictures, self.cdn), story)

    def _renew(self, image: StoryImage) -> None:
        from threadjuice_dagster.database.catalogue import Catalogue

        store = self.database.store
        story = store.draft(image.story_id)
        category = Catalogue(store.engine).category(store.assignment(image.story_id).category)
        self._replace(self.pictures.renew(image, story.draft.title, category, self.cdn, self.former), story)

    def _replace(self, image: StoryImage, story: StoryDraft) -> None:
        """Store the picture, and the public record with it."""
        store = self.database.store
        record = public_record(store, story, store.score(image.story_id), image, self.run_id)
        store.replace_picture(image, licence_finding(image), record)
