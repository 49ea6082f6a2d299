"""Backups of the newsroom's database: taken, proven, listed, restored, and deleted when they expire."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.operations.backups.rules import (
    Backup,
    Manifest,
    Proof,
    Record,
    Restored,
    RestorePlan,
    expired,
    outlived,
    parse_retention,
)
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import Storage

if TYPE_CHECKING:
    from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
    from threadjuice_dagster.operations.backups.store import BackupHistory

Say = Callable[[str], None]


class BackupService(dg.ConfigurableResource):
    """Backups of ``database`` in ``storage``. ``plan`` and ``restore`` need no tables, nor the database itself."""

    database: dg.ResourceDependency[Database]
    storage: dg.ResourceDependency[Storage]
    encryption_key: str = ""
    retention: str = "7d4w12m"

    def take(self, run_id: str | None = None, say: Say = lambda _: None) -> Manifest:
        """Take a backup and record it. A database of another version is migrated first, or refused."""
        from threadjuice_dagster.operations.backups.dump import take_backup

        history = self._history
        return take_backup(
            self._backup_storage,
            self.database.address(),
            say=say,
            record=lambda manifest: history.add(manifest, run_id),
        )

    def prove(self, identity: str) -> Proof:
        """Restore a backup beside the live database, compare it, and record what that showed."""
        from threadjuice_dagster.operations.backups.restore import prove

        proof = prove(self._backup_storage, self.database.address(), identity, _now())
        self._history.add_proof(identity, proof)
        return proof

    def expire(self) -> list[str]:
        """Delete the backups that the retention does not keep; return their ids.

        The newest proven backup and all after it stay. So do backups that are not ours, that are being restored, or
        whose run still has to prove them.
        """
        from threadjuice_dagster.operations.backups.restore_server import RestoreServer

        backup_storage, history = self._backup_storage, self._history
        deleted = []
        with RestoreServer(self.database.address()) as server:
            for backup in expired(backup_storage.backups(), parse_retention(self.retention)):
                identity = backup.manifest.id
                with server.unread(identity) as unread:
                    if unread and not self._is_under_way((backup_storage.records or {}).get(identity)):
                        backup_storage.delete(identity)
                        history.mark_deleted(identity)
                        deleted.append(identity)
        return deleted

    def drop_kept(self) -> list[str]:
        """Drop the databases that restores put aside long ago; return their names. One in use stays."""
        from threadjuice_dagster.operations.backups.restore_server import RestoreServer

        with RestoreServer(self.database.address()) as server:
            names = outlived((kept.name for kept in server.kept()), server.live, _now())
            return [name for name in names if server.drop_kept(name)]

    def backups(self) -> list[Backup]:
        """Return every backup in storage, newest first; this works on a machine without a database too."""
        return self._backup_storage.backups()

    def knows_proofs(self) -> bool:
        """Return whether there is a database that records which backups were proven."""
        return self._backup_storage.records is not None

    def count(self) -> int:
        """Return how many backups are in storage."""
        return len(self._backup_storage.identities())

    def newest(self, run_id: str) -> str | None:
        """Return the id of the backup that a run took, or of the newest one there is."""
        return self._history.find_by_run(run_id) or next(iter(self._backup_storage.identities()), None)

    def plan(self, identity: str, *, allow_unverified: bool = False) -> RestorePlan:
        """Return what restoring a backup would do, and the token that confirms it."""
        from threadjuice_dagster.operations.backups.restore import plan_restore

        address = self.database.address()
        return plan_restore(self._backup_storage, address, identity, _now(), allow_unverified=allow_unverified)

    def restore(
        self,
        identity: str,
        confirm: str,
        prepare: Callable[[str], None] = lambda _: None,
        say: Say = lambda _: None,
        *,
        allow_unverified: bool = False,
    ) -> Restored:
        """Put a backup in place of the live database, as ``restore_backup`` does."""
        from threadjuice_dagster.operations.backups.restore import restore_backup

        storage, address = self._backup_storage, self.database.address()
        return restore_backup(
            storage, address, identity, confirm, _now(), prepare, say, allow_unverified=allow_unverified
        )

    def _is_under_way(self, record: Record | None) -> bool:
        """Return whether the run that took a backup still has to prove it."""
        if record is None or record.is_settled or not record.run_id:
            return False
        return self.database.store.run_lives(record.run_id)

    @property
    def _backup_storage(self) -> "BackupStorage":
        from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
        from threadjuice_dagster.operations.backups.store import read_records
        from threadjuice_dagster.resources.encryption import Encryptor

        return BackupStorage(self.storage, Encryptor(self.encryption_key), read_records(self.database.address()))

    @property
    def _history(self) -> "BackupHistory":
        from threadjuice_dagster.operations.backups.store import BackupHistory

        return BackupHistory(self.database.store.engine)


def _now() -> datetime:
    return datetime.now(UTC)
