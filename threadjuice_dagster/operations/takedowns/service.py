"""The takedown desk: tombstones in storage, where no restore of a database can undo them, and their replay.

Which sources are gone is for ``ThreadSource.deleted`` to say; what goes of a story, for
``operations/takedowns/store.py``.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.instance import forget_story
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import Storage

if TYPE_CHECKING:
    from threadjuice_dagster.operations.cleanup.archive import Archive


class TakedownService(dg.ConfigurableResource):
    """Buries sources and everything written from them. ``vault`` keeps tombstones and archive, ``cdn`` the pictures."""

    database: dg.ResourceDependency[Database]
    vault: dg.ResourceDependency[Storage]
    cdn: dg.ResourceDependency[Storage]
    encryption_key: str = ""

    @property
    def archive(self) -> "Archive":
        """What clean-ups removed: it may not keep what was taken down."""
        from threadjuice_dagster.operations.cleanup.archive import Archive
        from threadjuice_dagster.resources.encryption import Encryptor

        return Archive(self.vault, Encryptor(self.encryption_key), self.database.store.locks)

    def sources(self) -> dict[str, set[str]]:
        """Every thread that a stored or archived story rests on, and the ids of its comments that are repeated."""
        from threadjuice_dagster.operations.takedowns.store import Takedowns

        found = Takedowns(self.database.store.engine).sources()
        for thread, comments in self.archive.sources().items():
            found[thread] = found.get(thread, set()) | comments
        return found

    def take_down(self, references: Sequence[str], reason: str, instance: dg.DagsterInstance) -> list[str]:
        """Remove stories, threads (``t3_…``) or quoted comments (``t1_…``) for good; return the stories concerned."""
        from threadjuice_dagster.operations.takedowns.store import Takedowns

        find = Takedowns(self.database.store.engine).find
        tombstones = [find(reference, self.sources) for reference in references]
        return self.bury([tombstone.model_copy(update={"reason": reason}) for tombstone in tombstones], instance)

    def bury(self, tombstones: Iterable[Tombstone], instance: dg.DagsterInstance) -> list[str]:
        """Record deletions where they last, then carry them out; as ``replay``."""
        for tombstone in tombstones:
            self.vault.put(tombstone.key, tombstone.model_dump_json().encode(), "application/json")
        return self.replay(instance)

    def replay(self, instance: dg.DagsterInstance) -> list[str]:
        """Carry out every tombstone that this database has not, such as one restored from an older backup.

        Returns the stories that were removed or changed. A sweep that was killed is finished by the next one.
        """
        from threadjuice_dagster.operations.takedowns.store import Takedowns

        takedowns = Takedowns(self.database.store.engine)
        lasting = [Tombstone(**json.loads(self.vault.get(key))) for key in takedowns.unknown(self._keys())]
        for tombstone in [*lasting, *takedowns.returned()]:
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

    def _keys(self) -> list[str]:
        return self.vault.list("tombstones/")
