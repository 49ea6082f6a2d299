"""The backup desk: takes, proves, expires and restores backups of the newsroom's database.

How a dump is taken and restored belongs in ``operations/backups/dump.py`` and ``operations/backups/restore.py``.
"""

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
    from threadjuice_dagster.operations.backups.dump import BackupStorage, History

Tell = Callable[[str], None]


class BackupService(dg.ConfigurableResource):
    """Backups of ``database`` in ``storage``. ``plan`` and ``restore`` need no tables, nor the database itself."""

    database: dg.ResourceDependency[Database]
    storage: dg.ResourceDependency[Storage]
    encryption_key: str = ""
    retention: str = "7d4w12m"

    def take(self, run_id: str | None = None, tell: Tell = lambda _: None) -> Manifest:
        """Take a backup and record it; the database is brought to this version's tables first, or refused."""
        from threadjuice_dagster.operations.backups.dump import take_backup

        history = self._history
        return take_backup(
            self._vault, self.database.address(), tell=tell, record=lambda manifest: history.add(manifest, run_id)
        )

    def prove(self, identity: str) -> Proof:
        """Restore a backup beside the live database, compare it, and record what that showed."""
        from threadjuice_dagster.operations.backups.restore import prove

        proof = prove(self._vault, self.database.address(), identity, _now())
        self._history.prove(identity, proof)
        return proof

    def expire(self) -> list[str]:
        """Delete what the retention does not keep; returns the ids. The newest proven backup and all since stay.

        What is being taken, judged or restored is left alone, and so is what nobody vouches for.
        """
        from threadjuice_dagster.operations.backups.restore_server import Server

        vault, history = self._vault, self._history
        deleted = []
        with Server(self.database.address()) as server:
            for backup in expired(vault.backups(), parse_retention(self.retention)):
                identity = backup.manifest.id
                with server.unread(identity) as unread:
                    if unread and not self._is_under_way((vault.records or {}).get(identity)):
                        vault.delete(identity)
                        history.mark_deleted(identity)
                        deleted.append(identity)
        return deleted

    def drop_kept(self) -> list[str]:
        """Drop the databases that restores put aside long ago; returns their names. One in use stays."""
        from threadjuice_dagster.operations.backups.restore_server import Server

        with Server(self.database.address()) as server:
            names = outlived((one.name for one in server.kept()), server.live, _now())
            return [name for name in names if server.drop_kept(name)]

    def backups(self) -> list[Backup]:
        """Every backup in storage with what is known of it, newest first; for a machine without a database too."""
        return self._vault.backups()

    def knows_proofs(self) -> bool:
        """Whether there is a database that remembers which backups were proven."""
        return self._vault.records is not None

    def count(self) -> int:
        """How many backups are in storage."""
        return len(self._vault.identities())

    def newest(self, run_id: str) -> str | None:
        """The backup a run took, or the newest one there is."""
        return self._history.of_run(run_id) or next(iter(self._vault.identities()), None)

    def plan(self, identity: str, *, unvouched: bool = False) -> RestorePlan:
        """What restoring a backup would do, and the token that confirms it."""
        from threadjuice_dagster.operations.backups.restore import plan_restore

        return plan_restore(self._vault, self.database.address(), identity, _now(), unvouched=unvouched)

    def restore(
        self,
        identity: str,
        confirm: str,
        prepare: Callable[[str], None] = lambda _: None,
        tell: Tell = lambda _: None,
        *,
        unvouched: bool = False,
    ) -> Restored:
        """Put a backup in place of the live database; as ``restore_backup``."""
        from threadjuice_dagster.operations.backups.restore import restore_backup

        address = self.database.address()
        return restore_backup(self._vault, address, identity, confirm, _now(), prepare, tell, unvouched=unvouched)

    def _is_under_way(self, record: "Record | None") -> bool:
        """Whether the run that took a backup has still to judge it."""
        if record is None or record.is_settled or not record.run_id:
            return False
        return self.database.store.run_lives(record.run_id)

    @property
    def _vault(self) -> "BackupStorage":
        from threadjuice_dagster.operations.backups.dump import BackupStorage, read_records
        from threadjuice_dagster.resources.encryption import Encryptor

        return BackupStorage(self.storage, Encryptor(self.encryption_key), read_records(self.database.address()))

    @property
    def _history(self) -> "History":
        from threadjuice_dagster.operations.backups.dump import History

        return History(self.database.store.engine)


def _now() -> datetime:
    return datetime.now(UTC)
