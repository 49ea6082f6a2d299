"""Backups: one a day, the ones that are no longer kept, and the restore of one by an operator.

Proving them belongs in ``assets/upkeep/backup_checks.py``.
"""

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.plots import listed
from threadjuice_dagster.assets.steps import classified, now
from threadjuice_dagster.assets.upkeep.database import database_schema
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.operations.backups.rules import NO_KEY, Manifest
from threadjuice_dagster.operations.backups.service import BackupService
from threadjuice_dagster.operations.monitoring.freshness import FRESH
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.partitions import DAYS
from threadjuice_dagster.resources.postgres import Database, Postgres


@asset(
    kinds={"postgres"},
    partitions_def=DAYS,
    deps=[database_schema],
    freshness_policy=FRESH["database_backup"].policy,
)
def database_backup(context: dg.AssetExecutionContext, backup_service: BackupService) -> dg.MaterializeResult[None]:
    """A dump of the newsroom's database in storage, with a manifest of what is in it.

    A partition is the day the backup was taken for; a past day's, made again, is of today.
    """
    manifest = backup_service.take(context.run_id, context.log.info)
    return dg.MaterializeResult(metadata=_metadata(manifest, backup_service))


@asset(
    kinds={"postgres"},
    partitions_def=DAYS,
    deps=[database_backup],
)
def expired_backups(
    context: dg.AssetExecutionContext, database: Database, backup_service: BackupService
) -> dg.MaterializeResult[None]:
    """The backups that ``BACKUP_RETENTION`` no longer keeps, deleted; never the newest proven one or any after it.

    Databases that restores put aside a month ago go with them.
    """
    from threadjuice_dagster.operations.clock import why_not_to_delete

    held_back = why_not_to_delete(database.store.engine, now())
    if held_back:
        context.log.warning(f"No backup is deleted. {held_back}")
    deleted, dropped = ([], []) if held_back else (backup_service.expire(), backup_service.drop_kept())
    return dg.MaterializeResult(
        metadata={
            "deleted": len(deleted),
            "kept": backup_service.count(),
            "retention": backup_service.retention,
            "held back": held_back or "nothing",
            "databases dropped": len(dropped),
            "removed": listed([*deleted, *dropped], "none"),
        }
    )


class RestoreConfig(dg.Config):
    """Which backup to restore. Without ``confirm`` the run says what it would do, and the token that confirms it.

    ``unverified`` also restores a backup that neither a key nor the database confirms.
    """

    backup: str
    confirm: str = ""
    unverified: bool = False


@dg.op
def restore_database(
    context: dg.OpExecutionContext,
    config: RestoreConfig,
    backup_service: BackupService,
    takedown_service: TakedownService,
) -> None:
    """Put a backup in place of the live database, which is kept under another name; takedowns since are replayed."""

    def prepare(address: str) -> None:
        replay_takedowns(takedown_service, address, context.instance)

    try:
        if not config.confirm:
            plan = backup_service.plan(config.backup, allow_unverified=config.unverified)
            raise UsageError(
                f"Nothing was restored. {plan.backup} with {plan.rows} rows would take the place of {plan.database}, "
                f"which would be kept as {plan.keeps}. {plan.warning}",
                f"To restore it, run this again with confirm: {plan.token}",
            )
        restored = backup_service.restore(
            config.backup, config.confirm, prepare, context.log.info, allow_unverified=config.unverified
        )
        context.log.info(f"{restored.backup} is live; the database before it is kept as {restored.kept or 'nothing'}.")
    except Exception as error:
        failure = classified(error)
        metadata = {"kind": failure.kind, "next step": failure.next_step}
        raise dg.Failure(str(failure), metadata=metadata, allow_retries=False) from error


def replay_takedowns(service: TakedownService, address: str, instance: dg.DagsterInstance) -> None:
    """Carry out in a restored database, before it goes live, every takedown since its backup.

    Unsigned tombstones count as well: both the backup and the database before it are kept, so nothing is lost.
    """
    restored = Postgres(url=address, pool_size=2)
    TakedownService(
        database=restored, storage=service.storage, cdn=service.cdn, encryption_key=service.encryption_key
    ).replay(instance, accept_unsigned=True)
    restored.store.locks.close()
    restored.store.engine.dispose()


def _metadata(manifest: Manifest, service: BackupService) -> dict[str, dg.MetadataValue | str | int | float]:
    tables = [{"table": name, **figures.model_dump()} for name, figures in manifest.contents.tables.items()]
    return {
        "backup": manifest.id,
        "location": service.storage.url(manifest.key),
        "sha256": manifest.sha256,
        "bytes": manifest.bytes,
        "dump_bytes": manifest.dump_bytes,
        "rows": manifest.contents.rows,
        "seconds": manifest.seconds,
        "encrypted": "yes" if manifest.recipient else f"no: {NO_KEY}",
        "migration": manifest.contents.revision or "none",
        "tables": dg.MetadataValue.table([dg.TableRecord(record) for record in tables]),
    }
