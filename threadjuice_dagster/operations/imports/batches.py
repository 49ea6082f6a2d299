"""Batches of records, and the decision about each record: stored, refused, or kept back.

How they are stored belongs in ``operations/imports/store.py``.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator

from threadjuice_dagster.operations.imports.raw import RawRecord
from threadjuice_dagster.operations.imports.rules import StoryRow


@dataclasses.dataclass
class Batch:
    """Records that are stored in one transaction, and those among them that were refused."""

    rows: list[tuple[RawRecord, StoryRow]] = dataclasses.field(default_factory=list)
    refused: list[tuple[RawRecord, str]] = dataclasses.field(default_factory=list)
    categories: Counter[str] = dataclasses.field(default_factory=Counter)
    size: int = 0

    @property
    def last(self) -> int:
        """The number of the batch's last record in its file."""
        return max(raw.number for raw, _ in (*self.rows, *self.refused))

    def __len__(self) -> int:
        return len(self.rows) + len(self.refused)

    def parts(self, problem: str) -> Iterator["Batch"]:
        """Yield both halves in order; for a single row one batch that refuses it for this problem."""
        if len(self.rows) == 1:
            yield Batch([], [*self.refused, (self.rows[0][0], problem)], self.categories)
            return
        middle = self.rows[len(self.rows) // 2][0].number
        for first in (True, False):
            yield Batch(
                [record for record in self.rows if (record[0].number < middle) is first],
                [record for record in self.refused if (record[0].number < middle) is first],
                self.categories if first else Counter(),
            )


@dataclasses.dataclass
class SortedBatch:
    """The records of a batch by what happens to them.

    ``changed`` are new or different, ``moved`` are stored already but stood elsewhere, ``kept_back`` were not public
    in the system they come from. ``waiting`` are the ids of stories that have only records kept back.
    """

    changed: dict[str, tuple[RawRecord, StoryRow]] = dataclasses.field(default_factory=dict)
    moved: dict[str, int] = dataclasses.field(default_factory=dict)
    refused: list[tuple[RawRecord, str]] = dataclasses.field(default_factory=list)
    kept_back: list[tuple[RawRecord, str, str]] = dataclasses.field(default_factory=list)
    waiting: set[str] = dataclasses.field(default_factory=set)
    counts: Counter[str] = dataclasses.field(default_factory=Counter)

    def place(self, raw: RawRecord, row: StoryRow, stored: bytes | None, public: bool, *, first: bool = True) -> None:
        """Decide what happens to a record; ``stored`` is the digest of the stored story of its id, if there is one.

        A record that was not public is stored and waits for a person. It is not stored if the story has a public page,
        or if it is not the ``first`` of its slug in the file. A public record replaces one kept back.
        """
        if row.kept_back:
            withdraw = f"; its page here stays, take it off with: threadjuice content withdraw {row.story_id}"
            reason = f"It was not public: {row.kept_back}{withdraw if public else ''}"
            self.kept_back.append((raw, reason, row.story_id))
            self.counts["kept_back"] += 1
            if public or not first:
                return
            self.waiting.add(row.story_id)
        else:
            self.waiting.discard(row.story_id)
            self.counts["unchanged" if stored == row.digest else "updated" if stored else "imported"] += 1
        self.moved.pop(row.story_id, None)
        self.changed.pop(row.story_id, None)
        if stored == row.digest:
            self.moved[row.story_id] = raw.number
        else:
            self.changed[row.story_id] = (raw, row)

    def earlier(self, story_id: str) -> int | None:
        """Return the number of an earlier record of this batch with the same id, if there is one."""
        return self.changed[story_id][0].number if story_id in self.changed else self.moved.get(story_id)
