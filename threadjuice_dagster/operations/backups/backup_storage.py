"""The files of backups in storage: manifests are written, read and verified here, and leftovers are removed."""

import dataclasses
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, UsageError
from threadjuice_dagster.operations.backups import rules
from threadjuice_dagster.operations.backups.rules import Backup, Manifest, Origin, Record
from threadjuice_dagster.resources.encryption import Encryptor
from threadjuice_dagster.resources.storage import Storage

_ABANDONED = timedelta(days=1)
"""A killed process left unfinished files of this age: no dump takes that long."""

_MANIFEST_BYTES = 16 << 20
_READERS = 8
"""Manifests that are fetched at a time."""


@dataclasses.dataclass(frozen=True)
class BackupStorage:
    """Where backups are, their encryption, and the database's records of them (None without a database)."""

    storage: Storage
    encryptor: Encryptor
    records: Mapping[str, Record] | None = None

    def identities(self) -> list[str]:
        """Return the ids of all backups that have a manifest, newest first."""
        keys = set(self.storage.list(rules.PREFIX))
        identities = {rules.id_of(key) or "" for key in keys}
        return sorted((name for name in identities if name and rules.manifest_key(name) in keys), reverse=True)

    def manifests(self) -> list[Manifest]:
        """Return the manifests of all complete backups, newest first; an unreadable one is left out."""
        with ThreadPoolExecutor(_READERS) as pool:
            manifests = [manifest for manifest in pool.map(self._try_read, self.identities()) if manifest]
        # Ids name the second, and two backups may be of one second.
        return sorted(manifests, key=lambda manifest: manifest.taken_at, reverse=True)

    def backups(self) -> list[Backup]:
        """Return all complete backups, newest first. One whose origin is in doubt is never proven."""
        return [self._describe(manifest) for manifest in self.manifests()]

    def manifest(self, identity: str, *, allow_unverified: bool = False) -> Manifest:
        """Return the manifest of a backup that may be restored.

        Raises ``PermanentFailure`` for one that is not there, forged or, unless ``allow_unverified``, unverified.
        """
        key = rules.manifest_key(identity)
        if rules.id_of(key) != identity or not self.storage.exists(key):
            next_step = "Choose one of: threadjuice database backups"
            raise UsageError(f"There is no backup {identity[:60]!r} in storage.", next_step)
        manifest = self._read(identity)
        origin = self.origin(manifest)
        if origin.forged:
            raise PermanentFailure(origin.forged, "Find out who can write to the storage, and choose another backup.")
        self._refuse_other_key(manifest)
        if origin.unverified and not allow_unverified:
            next_step = "If you know where it comes from, restore it with --unverified; else choose another backup."
            raise PermanentFailure(f"{origin.unverified} Whoever can write to the storage may have made it.", next_step)
        return manifest

    def origin(self, manifest: Manifest) -> Origin:
        """Return what this key and these records say about who made a backup."""
        record = (self.records or {}).get(manifest.id)
        return rules.check_origin(manifest, self.encryptor.recipient, record, has_history=bool(self.records))

    def put_manifest(self, manifest: Manifest) -> None:
        """Store the manifest of a stored dump, signed where there is a key; this makes it a backup."""
        content = manifest.model_dump(mode="json")
        signature = self.encryptor.sign(rules.signed_content(content))
        stored = {**content, **({"signature": signature} if signature else {})}
        self.storage.put(rules.manifest_key(manifest.id), json.dumps(stored, indent=1).encode(), "application/json")

    def delete(self, identity: str) -> None:
        """Remove a backup, its manifest first. Keys that a manifest names are not used: they may be forged."""
        for key in (rules.manifest_key(identity), *rules.dump_keys(identity)):
            self.storage.delete(key)

    def clean(self, moment: datetime) -> None:
        """Remove what killed processes left: unfinished uploads, and dumps without a manifest."""
        self.storage.discard_unfinished(rules.PREFIX, moment - _ABANDONED)
        keys = set(self.storage.list(rules.PREFIX))
        oldest = rules.backup_id(moment - _ABANDONED, "")
        for key in keys:
            identity = rules.id_of(key)
            if identity and identity < oldest and rules.manifest_key(identity) not in keys:
                self.storage.delete(key)

    def _refuse_other_key(self, manifest: Manifest) -> None:
        if manifest.recipient and not self.encryptor.recipient:
            message = f"Backup {manifest.id} is encrypted, and BACKUP_ENCRYPTION_KEY is not set."
            raise ConfigurationError(message, "Set it to the key the backup was taken with.")
        if manifest.recipient and manifest.recipient != self.encryptor.recipient:
            message = f"Backup {manifest.id} is encrypted with another key than the one in BACKUP_ENCRYPTION_KEY."
            raise ConfigurationError(message, f"Set it to the key of {manifest.recipient}.")

    def _describe(self, manifest: Manifest) -> Backup:
        record, origin = (self.records or {}).get(manifest.id), self.origin(manifest)
        return Backup(
            manifest=manifest,
            proven_at=record.proven_at if record and not origin.problem else None,
            problem=origin.problem or (record.problem if record else ""),
            warning=origin.warning if manifest.recipient and not origin.problem else "",
            is_ours=not origin.forged and bool(record or manifest.signed or not origin.unverified),
        )

    def _try_read(self, identity: str) -> Manifest | None:
        try:
            return self._read(identity)
        except PermanentFailure:
            return None

    def _read(self, identity: str) -> Manifest:
        with self.storage.get_stream(rules.manifest_key(identity)) as stream:
            data = stream.read(_MANIFEST_BYTES)
        try:
            stored = json.loads(data)
            signature = stored.get("signature")
            signed = None if signature is None else self.encryptor.verify(rules.signed_content(stored), str(signature))
            manifest = Manifest.model_validate({**stored, "signed": signed})
            if manifest.id != identity:
                raise ValueError
        except (ValueError, AttributeError, RecursionError):
            message = f"The manifest of backup {identity} cannot be read: it was cut short or altered."
            raise PermanentFailure(message, "Choose another backup.") from None
        return manifest
