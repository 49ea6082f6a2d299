"""Takedowns: tombstones are stored where no restore of a database can undo them, and are carried out in each database.

``ThreadSource.deleted`` finds out which sources are gone; ``operations/takedowns/store.py`` removes their stories.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.instance import forget_story
from threadjuice_dagster.operations.backups.rules import signed_content
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import Storage
from threadjuice_dagster.sources.thread_source import StoredThread

if TYPE_CHECKING:
    from threadjuice_dagster.operations.cleanup.archive import Archive
    from threadjuice_dagster.resources.encryption import Encryptor

Say = Callable[[str], None]

_LOG = logging.getLogger(__name__)


class TakedownService(dg.ConfigurableResource):
    """Removes deleted sources and everything written from them.

    ``storage`` holds tombstones and the archive of clean-ups, ``cdn`` the pictures. With an ``encryption_key``
    tombstones are signed, so that nobody else who can write to the storage has stories removed.
    """

    database: dg.ResourceDependency[Database]
    storage: dg.ResourceDependency[Storage]
    cdn: dg.ResourceDependency[Storage]
    encryption_key: str = ""

    @property
    def archive(self) -> "Archive":
        """The archive of clean-ups, which may not keep a story that was taken down."""
        from threadjuice_dagster.operations.cleanup.archive import Archive

        return Archive(self.storage, self._encryptor, self.database.store.locks)

    def sources(self) -> dict[str, StoredThread]:
        """Return every thread whose deletion matters here, each with the ids of the comments that stories repeat."""
        from threadjuice_dagster.operations.takedowns.store import Takedowns

        return Takedowns(self.database.store.engine).sources(self.archive.sources())

    def take_down(self, references: Sequence[str], reason: str, instance: dg.DagsterInstance) -> list[str]:
        """Remove stories, threads (``t3_…``) or quoted comments (``t1_…``) for good; return the stories concerned."""
        from threadjuice_dagster.operations.takedowns.store import Takedowns

        find = Takedowns(self.database.store.engine).find
        tombstones = [find(reference, self.sources) for reference in references]
        return self.record_deletions(
            [tombstone.model_copy(update={"reason": reason}) for tombstone in tombstones], instance
        )

    def record_deletions(
        self, tombstones: Iterable[Tombstone], instance: dg.DagsterInstance, say: Say = _LOG.warning
    ) -> list[str]:
        """Store tombstones, then carry them out as ``replay`` does; return the stories that were removed or changed."""
        for tombstone in tombstones:
            content = tombstone.model_dump(mode="json")
            signature = self._encryptor.sign(signed_content(content))
            stored = {**content, **({"signature": signature} if signature else {})}
            self.storage.put(tombstone.key, json.dumps(stored).encode(), "application/json")
        return self.replay(instance, say=say)

    def replay(
        self, instance: dg.DagsterInstance, *, accept_unsigned: bool = False, say: Say = _LOG.warning
    ) -> list[str]:
        """Carry out the tombstones that this database does not know, as after a restore of an older backup.

        With a key, a tombstone that it did not sign is carried out only if ``accept_unsigned``; ``say`` names it.
        Returns the stories that were removed or changed. The next call finishes one that was killed.
        """
        from threadjuice_dagster.operations.takedowns.store import Takedowns

        takedowns = Takedowns(self.database.store.engine)
        unknown = takedowns.unknown(self.storage.list("tombstones/"))
        for tombstone in [*self._read(unknown, accept_unsigned, say), *takedowns.returned()]:
            takedowns.apply(tombstone)
        changed: list[str] = []
        uncleared = takedowns.uncleared()
        self.archive.forget(tombstone for tombstone, _ in uncleared)
        for tombstone, remains in uncleared:
            for key in remains.files:
                self.cdn.delete(key)
            forgotten = [forget_story(instance, story, whole=remains.whole) for story in remains.stories]
            if all(forgotten):
                takedowns.clear(tombstone)
            changed += remains.stories
        return changed

    def _read(self, keys: Iterable[str], accept_unsigned: bool, say: Say) -> Iterator[Tombstone]:
        """Yield the tombstones of these files that may be carried out."""
        for key in keys:
            try:
                stored = dict(json.loads(self.storage.get(key)))
                signature = str(stored.pop("signature", ""))
                tombstone = Tombstone.model_validate(stored)
                if tombstone.key != key:
                    raise ValueError
            except (ValueError, TypeError, RecursionError):
                say(f"{key} cannot be read: nothing is taken down for it.")
                continue
            if not self.encryption_key or self._encryptor.verify(signed_content(stored), signature):
                yield tombstone
            elif accept_unsigned:
                say(f"{key} is not signed with BACKUP_ENCRYPTION_KEY. It is carried out in the restored database.")
                yield tombstone
            else:
                say(
                    f"{key} is not signed with BACKUP_ENCRYPTION_KEY: nothing is taken down for it. If it is right,"
                    " take its source down again: threadjuice content takedown"
                )

    @property
    def _encryptor(self) -> "Encryptor":
        from threadjuice_dagster.resources.encryption import Encryptor

        return Encryptor(self.encryption_key)
