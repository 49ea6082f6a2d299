"""The backup desk: takes, proves, expires and restores backups of the newsroom's database.

How a dump is taken and restored belongs in ``database/backup.py`` and ``database/restore.py``.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.domain.backups import Backup, Manifest, Proof, Restored, RestorePlan, expired, parse_retention
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import Storage

if TYPE_CHECKING:
    from threadjuice_dagster.database.backup import History, Vault

Tell = Callable[[str], None]


class BackupDesk(dg.ConfigurableResource):
    """Backups of ``database`` in ``storage``. ``plan`` and ``restore`` need no tables, nor the database itself."""

    database: dg.ResourceDependency[Database]
    storage: dg.ResourceDependency[Storage]
    encryption_key: str = ""
    retention: str = "7d4w12m"

    def take(self, run_id: str | None = None, tell: Tell = lambda _: None) -> Manifest:
        """Take a backup and record it."""
        from threadjuice_dagster.database.backup import take_backup

        manifest = take_backup(self._vault, self.database.address(), _now(), tell)
        self._history.add(manifest, run_id)
        return manifest

    def prove(self, identity: str) -> Proof:
        """Restore a backup beside the live database, compare it, and record what that showed."""
        from threadjuice_dagster.database.restore import prove

        proof = prove(self._vault, self.database.address(), identity, _now())
        self._history.prove(identity, proof)
        return proof

    def expire(self) -> list[str]:
        """Delete what the retention does not keep; returns the ids. The newest proven backup and all since stay."""
        vault, history = self._vault, self._history
        leaving = expired(history.backups(vault.manifests()), parse_retention(self.retention))
        for backup in leaving:
            vault.delete(backup.manifest)
            history.mark_deleted(backup.manifest.id)
        return [backup.manifest.id for backup in leaving]

    def backups(self) -> list[Backup]:
        """Every backup in storage with what is known of it, newest first."""
        return self._history.backups(self._vault.manifests())

    def newest(self, run_id: str) -> str | None:
        """The backup a run took, or the newest one there is."""
        found = self._history.of_run(run_id)
        return found or next((manifest.id for manifest in self._vault.manifests()), None)

    def manifests(self) -> list[Manifest]:
        """Every backup in storage, newest first; for a machine that has no database yet."""
        return self._vault.manifests()

    def plan(self, identity: str) -> RestorePlan:
        """What restoring a backup would do, and the token that confirms it."""
        from threadjuice_dagster.database.restore import plan_restore

        return plan_restore(self._vault, self.database.address(), identity, _now())

    def restore(
        self, identity: str, confirm: str, prepare: Callable[[str], None] = lambda _: None, tell: Tell = lambda _: None
    ) -> Restored:
        """Put a backup in place of the live database; as ``restore_backup``."""
        from threadjuice_dagster.database.restore import restore_backup

        return restore_backup(self._vault, self.database.address(), identity, confirm, _now(), prepare, tell)

    @property
    def _vault(self) -> "Vault":
        from threadjuice_dagster.database.backup import Vault
        from threadjuice_dagster.database.sealing import Seal

        return Vault(self.storage, Seal(self.encryption_key))

    @property
    def _history(self) -> "History":
        from threadjuice_dagster.database.backup import History

        return History(self.database.store.engine)


def _now() -> datetime:
    return datetime.now(UTC)
