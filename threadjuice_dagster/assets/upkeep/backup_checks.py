"""The check on a backup: only a real restore proves it."""

import dagster as dg

from threadjuice_dagster.assets.decorators import reports_failures
from threadjuice_dagster.assets.findings import result
from threadjuice_dagster.assets.preview import escape
from threadjuice_dagster.assets.steps import RETRIES
from threadjuice_dagster.assets.upkeep.backups import database_backup
from threadjuice_dagster.operations.backups.service import BackupService


@dg.asset_check(asset=database_backup, blocking=True, retry_policy=RETRIES)
@reports_failures
def restore_is_proven(context: dg.AssetCheckExecutionContext, backup_service: BackupService) -> dg.AssetCheckResult:
    """Restored into a scratch database, the backup has the rows, contents and migration its manifest names."""
    identity = backup_service.newest(context.run.run_id)
    if identity is None:
        return _result(False, "There is no backup to prove. Materialize database_backup.")
    proof = backup_service.prove(identity)
    message = proof.problem or f"Restored and compared in {proof.seconds:.1f} s."
    differences = "\n".join(f"* {escape(line)}" for line in proof.differences)
    return _result(
        not proof.problem,
        message,
        backup=identity,
        seconds=proof.seconds,
        differences=dg.MetadataValue.md(differences) if differences else "none",
    )


def _result(passed: bool, message: str, **metadata: str | float | dg.MetadataValue) -> dg.AssetCheckResult:
    return result("restore_is_proven", passed, message, dg.AssetCheckSeverity.ERROR, metadata)
