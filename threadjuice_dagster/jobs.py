"""Jobs: the selections that schedules, sensors, operators and the command line run."""

from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.assets.deployment.deployments import production_deployment, staged_deployment
from threadjuice_dagster.assets.deployment.environment_report import environment_report
from threadjuice_dagster.assets.deployment.staging import configured_writer
from threadjuice_dagster.assets.publication.content_validation import content_validation
from threadjuice_dagster.assets.publication.image_library import image_library
from threadjuice_dagster.assets.publication.imported_stories import imported_stories
from threadjuice_dagster.assets.publication.published_story import published_story
from threadjuice_dagster.assets.publication.site import site
from threadjuice_dagster.assets.publication.takedowns import takedowns
from threadjuice_dagster.assets.stories.quality_score import quality_score
from threadjuice_dagster.assets.stories.story_draft import story_draft
from threadjuice_dagster.assets.stories.story_image import story_image
from threadjuice_dagster.assets.threads.threads import discovered_threads, story_assignments
from threadjuice_dagster.assets.upkeep.backups import database_backup, expired_backups, restore_database
from threadjuice_dagster.assets.upkeep.cleanup import content_cleanup, prune_runs
from threadjuice_dagster.assets.upkeep.database import database_schema, editorial_catalogue
from threadjuice_dagster.domain.language.text import cut
from threadjuice_dagster.domain.writing.assignments import Assignment

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store

MONITORING = dg.AssetSelection.groups("monitoring") | dg.AssetSelection.assets(environment_report)
"""What is looked at every hour."""

MAINTENANCE = {"ops": {"content_cleanup": {"config": {"dry_run": False}}}}
"""How the week's upkeep is launched: by itself, a clean-up would only say what it would do."""

STORY_STEPS = (story_draft, quality_score, story_image, published_story)
"""The assets of one story, in the order they run."""


def remaining_steps(store: "Store", story_id: str) -> list[dg.AssetKey]:
    """Return the keys of a story's assets that still have to be made."""
    finished = store.finished_steps(story_id)
    return [asset.key for asset in STORY_STEPS if asset.key.path[-1] not in finished]


def title_of(store: "Store", assignment: Assignment) -> str:
    """Return the title of the thread that a story is written from, cut to 120 characters; empty without a thread."""
    return cut(store.thread(assignment.thread_id, text=False).title, 120) if assignment.thread_id else ""


discover_stories_job = dg.define_asset_job(
    "discover_stories_job",
    selection=dg.AssetSelection.assets(discovered_threads, story_assignments),
    description="Find candidate threads and assign the stories to write next.",
)

assign_stories_job = dg.define_asset_job(
    "assign_stories_job",
    selection=dg.AssetSelection.assets(story_assignments),
    description="Assign further threads to an order, from the candidates already found.",
)

story_job = dg.define_asset_job(
    "story_job",
    selection=dg.AssetSelection.assets(*STORY_STEPS),
    description="One story from its assignment to its publication: write, score, illustrate, publish.",
)

site_job = dg.define_asset_job(
    "site_job",
    selection=dg.AssetSelection.assets(site),
    description="Rebuild the static site from the published stories.",
)

prepare_database_job = dg.define_asset_job(
    "prepare_database_job",
    selection=dg.AssetSelection.assets(database_schema, editorial_catalogue),
    description="Migrate the database to this version and seed the editorial catalogue.",
)

takedowns_job = dg.define_asset_job(
    "takedowns_job",
    selection=dg.AssetSelection.assets(takedowns),
    description="Re-check the sources of all stories, and take down what was deleted there.",
)

import_stories_job = dg.define_asset_job(
    "import_stories_job",
    selection=dg.AssetSelection.assets(imported_stories, content_validation),
    description="Import story files, then check what was imported and hand over what passed.",
)

validate_content_job = dg.define_asset_job(
    "validate_content_job",
    selection=dg.AssetSelection.assets(content_validation),
    description="Check stored stories against schema, gates and rules, and report what fails now.",
)

image_sweep_job = dg.define_asset_job(
    "image_sweep_job",
    selection=dg.AssetSelection.assets(image_library),
    description="Find public stories whose picture files are gone, and give them a picture anew.",
)

cleanup_job = dg.define_asset_job(
    "cleanup_job",
    selection=dg.AssetSelection.assets(content_cleanup),
    description="Say what a clean-up would remove; with `dry_run: false`, archive and remove it.",
)


@dg.job(description="Delete finished runs older than RUN_RETENTION_DAYS, save those whose results the UI still shows.")
def prune_runs_job() -> None:
    """Prune Dagster's runs."""
    prune_runs()


environment_job = dg.define_asset_job(
    "environment_job",
    selection=dg.AssetSelection.assets(environment_report),
    description="Look at every variable and ask every outside system once.",
)

staging_job = dg.define_asset_job(
    "staging_job",
    selection=dg.AssetSelection.assets(database_schema, site, staged_deployment),
    description="Migrate, build the site, stage it and test it there, and the writer too; readers do not see it.",
)

production_job = dg.define_asset_job(
    "production_job",
    selection=dg.AssetSelection.assets(database_schema, site, staged_deployment, production_deployment)
    - dg.AssetSelection.checks(configured_writer),
    description="Migrate, build, stage, test, show to readers and validate; what fails there is rolled back.",
)

rollback_job = dg.define_asset_job(
    "rollback_job",
    selection=dg.AssetSelection.assets(production_deployment),
    config={"ops": {"production_deployment": {"config": {"roll_back": "previous"}}}},
    description="Show readers an earlier deployment again: the one before, or the one that roll_back names.",
)

monitoring_job = dg.define_asset_job(
    "monitoring_job",
    selection=MONITORING,
    description="The figures of a day (database, generation, pictures, errors, readers); and every system asked.",
)

backup_job = dg.define_asset_job(
    "backup_job",
    selection=dg.AssetSelection.assets(database_backup, expired_backups),
    description="Back the database up, prove the backup by restoring it, and delete what BACKUP_RETENTION lets go.",
)


maintenance_job = dg.define_asset_job(
    "maintenance_job",
    selection=dg.AssetSelection.assets(database_backup, expired_backups, content_cleanup, image_library) | MONITORING,
    config=MAINTENANCE,
    description="The week's upkeep: a proven backup, then the clean-up, then the image sweep, then the figures.",
)


@dg.job(description="Put a backup in place of the live database; without its token, only say what would be done.")
def restore_job() -> None:
    """Restore a backup."""
    restore_database()
