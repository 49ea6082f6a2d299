"""The archive of a clean-up: rows as zstd-compressed JSON lines in the backups' storage, encrypted as backups are.

A part is stored and read back before its rows are deleted, and only then labelled: what has no label is nothing.
Labels live beside the parts rather than in the database, so that a restored database still knows them; by them a
takedown finds what it has to cut out. Which rows are archived belongs in ``operations/cleanup/store.py``.
"""

import contextlib
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.database.locks import Locks
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.operations.backups.rules import backup_id
from threadjuice_dagster.operations.cleanup.rules import ARCHIVE, Label, archive_of
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.resources.encryption import Encryptor

if TYPE_CHECKING:
    from threadjuice_dagster.resources.storage import Storage

_LOCK = "archive"
_ABANDONED = timedelta(days=1)


class Archive:
    """Parts and labels under ``archive/`` of a storage."""

    def __init__(self, storage: "Storage", encryptor: Encryptor, locks: Locks) -> None:
        self._storage, self._encryptor, self._locks = storage, encryptor, locks

    def add(self, name: str, rule: str, rows: list[dict[str, Any]], **about: Mapping[str, Any]) -> Label:
        """Store rows (``{table, row}``) as part ``name`` and read them back; ``about`` is the label's ids.

        Raises ``PermanentFailure`` where storage gives back something else than it was given.
        """
        key = f"{ARCHIVE}{name}.jsonl.zst{'.age' if self._encryptor.recipient else ''}"
        plain = _lines(rows)
        encrypted = self._encrypted(plain)
        self._storage.put(key, encrypted)
        stored = self._storage.get(key)
        if stored != encrypted or self._opened(stored, encrypted=bool(self._encryptor.recipient)) != plain:
            message = f"{key} is not in storage as it was written, so nothing of it was deleted."
            raise PermanentFailure(message, "Check the health of the backups' storage, then clean up again.")
        size, digest, recipient = len(encrypted), _digest(encrypted), self._encryptor.recipient
        label = Label(key=key, rule=rule, rows=len(rows), sha256=digest, bytes=size, recipient=recipient, **about)
        self._put_label(f"{ARCHIVE}{name}.json", label)
        return label

    def labels(self) -> Iterator[tuple[str, Label]]:
        """Every label with its key, oldest first; one that cannot be read, or that is not of its own part, is none."""
        for key in self._storage.list(ARCHIVE):
            if key.endswith(".json"):
                with contextlib.suppress(PermanentFailure, ValueError):  # deleted meanwhile, or cut short
                    label = Label.model_validate_json(self._storage.get(key))
                    if label.key.partition(".jsonl")[0] == key.removesuffix(".json"):
                        yield key, label

    def rows(self, label: Label) -> list[dict[str, Any]]:
        """What is in a part. Raises ``PermanentFailure`` if it cannot be opened with this key."""
        plain = self._opened(self._storage.get(label.key), encrypted=bool(label.recipient))
        return [json.loads(line) for line in plain.splitlines()]

    def sources(self) -> dict[str, set[str]]:
        """Threads that archived stories were written from, and the ids of their comments that are repeated there."""
        found: dict[str, set[str]] = defaultdict(set)
        for _, label in self.labels():
            for thread, comments in label.sources.items():
                found[thread] |= set(comments)
        return dict(found)

    def forget(self, tombstones: Iterable[Tombstone]) -> None:
        """Cut everything that rests on deleted sources out of the parts. Doing it again after a kill finishes it."""
        buried = list(tombstones)
        if not buried:
            return
        with self._locks.waited_for(_LOCK):
            for key, label in self.labels():
                if stories := set[str]().union(*(label.rests_on(one) for one in buried)):
                    self._cut(key, label, stories)

    def older_than(self, moment: datetime) -> list[str]:
        """Keys of the parts and labels of archives made before, a part before its label."""
        last = backup_id(moment, "")
        return sorted((key for key in self._storage.list(ARCHIVE) if archive_of(key) < last), key=_label_last)

    def delete(self, keys: Iterable[str]) -> int:
        """Remove parts and labels; returns how many."""
        with self._locks.waited_for(_LOCK):
            return self._delete(keys)

    def clean(self, moment: datetime) -> None:
        """Remove parts that killed clean-ups left without a label; their rows were not deleted."""
        old = self.older_than(moment - _ABANDONED)
        labelled = {key.removesuffix(".json") for key in old if key.endswith(".json")}
        self.delete(key for key in old if not key.endswith(".json") and key.partition(".jsonl")[0] not in labelled)

    def _delete(self, keys: Iterable[str]) -> int:
        return sum(self._storage.delete(key) is None for key in keys)

    def _cut(self, key: str, label: Label, stories: set[str]) -> None:
        """The part goes first: killed after it, the label still names the stories, and this is done once more."""
        try:
            rows = self.rows(label)
        except PermanentFailure:  # gone, or for another key: what cannot be read cannot be cut, and may not stay
            self._delete((label.key, key))
            return
        left = [row for row in rows if row["row"].get("story_id") not in stories]
        if not left:
            self._delete((label.key, key))
            return
        encrypted = self._encrypted(_lines(left))
        self._storage.put(label.key, encrypted)
        self._put_label(key, label.without(stories, len(left), _digest(encrypted), len(encrypted)))

    def _encrypted(self, plain: bytes) -> bytes:
        target = io.BytesIO()
        self._encryptor.encrypt(io.BytesIO(plain), target)
        return target.getvalue()

    def _opened(self, stored: bytes, *, encrypted: bool) -> bytes:
        if encrypted and not self._encryptor.recipient:
            raise PermanentFailure("The archive is encrypted.", "Set BACKUP_ENCRYPTION_KEY.")
        target = io.BytesIO()
        self._encryptor.decrypt(io.BytesIO(stored), target, encrypted=encrypted)
        return target.getvalue()

    def _put_label(self, key: str, label: Label) -> None:
        self._storage.put(key, label.model_dump_json().encode(), "application/json")


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _label_last(key: str) -> tuple[str, bool]:
    return key.partition(".json")[0], key.endswith(".json")
