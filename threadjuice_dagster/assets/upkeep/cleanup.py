"""Clean-up: what has served its time leaves the newsroom, archived first, and the oldest runs leave Dagster.

What is removed, and what holds a clean-up back, belongs in ``operations/cleanup/service.py``.
"""

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.findings import result
from threadjuice_dagster.assets.steps import classified, now
from threadjuice_dagster.assets.upkeep.backups import database_backup
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.operations.cleanup.rules import CleanupReport
from threadjuice_dagster.operations.cleanup.service import CleanupService, Site
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.site.publisher import Publisher

COMPLETE = dg.AssetCheckSpec(
    "nothing_was_held_back",
    asset="content_cleanup",
    description="No guard kept the clean-up from removing what its rules found.",
)


class CleanupConfig(dg.Config):
    """``dry_run`` only reports what would go. ``force`` removes it however large its share, whatever the clock is."""

    dry_run: bool = True
    force: bool = False


@asset(
    kinds={"postgres", "s3"},
    deps=[database_backup],
    check_specs=[COMPLETE],
)
def content_cleanup(
    context: dg.AssetExecutionContext,
    config: CleanupConfig,
    database: Database,
    cleanup_service: CleanupService,
    publisher: Publisher,
) -> dg.MaterializeResult:
    """Test content, rejected drafts, withdrawn stories, expired threads, old events, files of nobody: archived, gone.

    By default a dry run, which removes nothing; launch it with `dry_run: false` to clean up.
    """
    if not (config.dry_run or config.force):
        refuse_wrong_clock(database)
    pages = (publisher.current / "story").glob("*/index.html")
    site = Site(any(pages), lambda: _rebuild(database, publisher))
    report = cleanup_service.clean(
        context.instance, site, now(), dry_run=config.dry_run, force=config.force, tell=context.log.info
    )
    held = ", ".join(f"{rule.name}: {rule.refused}" for rule in report.refused)
    check = result(COMPLETE.name, not held, held or "Nothing was held back.")
    return dg.MaterializeResult(metadata=_metadata(report), check_results=[check])


class PruningConfig(dg.Config):
    """How many runs at most are deleted at a time."""

    limit: int = 5000


@dg.op
def prune_runs(context: dg.OpExecutionContext, config: PruningConfig, cleanup_service: CleanupService) -> None:
    """Delete finished runs older than ``RUN_RETENTION_DAYS``, save those whose results the UI still shows."""
    try:
        refuse_wrong_clock(cleanup_service.database)
        pruned = cleanup_service.prune_runs(context.instance, now(), config.limit)
    except Exception as error:
        failure = classified(error)
        raise dg.Failure(str(failure), metadata={"kind": failure.kind}, allow_retries=False) from error
    context.add_output_metadata({"pruned": pruned})


def refuse_wrong_clock(database: Database) -> None:
    """Raise ``PermanentFailure`` where ages cannot be believed: what a wrong clock has deleted is gone."""
    from threadjuice_dagster.operations.clock import why_not_to_delete

    if problem := why_not_to_delete(database.store.engine, now(), unless_idle=True):
        step = "Set the clock by NTP. If it is right: threadjuice maintenance cleanup --force"
        raise PermanentFailure(f"Nothing is removed. {problem}", step)


def _rebuild(database: Database, publisher: Publisher) -> None:
    from threadjuice_dagster.database.publications import Publications

    publisher.build(Publications(database.store.engine), keep_old=False)


def _metadata(report: CleanupReport) -> dict[str, dg.MetadataValue | str | int]:
    rows = [
        {**rule.model_dump(include={"name", "found", "removed", "refused"}), "share": rule.share}
        for rule in report.rules
    ]
    return {
        "dry run": "yes: nothing was removed" if report.dry_run else "no",
        "rules": dg.MetadataValue.table([dg.TableRecord(row) for row in rows]),
        "found": sum(rule.found for rule in report.rules),
        "removed": sum(rule.removed for rule in report.rules),
        "files": report.files,
        "archive": report.archive or "nothing was archived",
        "report": dg.MetadataValue.json(report.document()),
    }
