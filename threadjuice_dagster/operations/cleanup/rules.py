"""What a clean-up may remove: its settings, the guards that hold it back, and what it tells of its work.

Which rows and files a rule finds, and how they go, belongs in ``operations/cleanup/store.py`` and
``operations/cleanup/service.py``; what the archive looks like, in ``operations/cleanup/archive.py``.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pydantic import Field

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.failures import ConfigurationError
from threadjuice_dagster.operations.backups.rules import Backup
from threadjuice_dagster.operations.clock import APART
from threadjuice_dagster.operations.takedowns.rules import Tombstone

ARCHIVE = "archive/"
"""Under which keys of the backups' storage the archive is."""

BACKUP_HOURS = 26
"""How old the newest proven backup may be: a day, and two hours for it to be late."""

FILE_GRACE = timedelta(hours=24)
"""A picture's files are stored before the row that names them: younger ones may belong to a story being made."""

TEST_PREFIXES = ("[test]", "test-content-")
"""How the id, slug or title of test content begins, unless CLEANUP_TEST_PREFIXES says otherwise."""

SHORTEST_PREFIX = 4

CLEANED = {
    "kind": "cleanup",
    "message": "Its text was removed by a clean-up.",
    "next_step": "It is in the archive of the backups' storage for CLEANUP_ARCHIVE_DAYS.",
}
"""What is told of a story whose assignment is all that is left."""


class RuleReport(Model):
    """What one rule found among ``total``, and what of it was removed. ``refused`` says why nothing was."""

    name: str
    found: int = 0
    total: int = 0
    removed: int = 0
    refused: str = ""

    @property
    def share(self) -> float:
        """Of all there are, how many were found; 0 to 1."""
        return round(self.found / self.total, 4) if self.total else 0.0

    @property
    def held_back(self) -> bool:
        """Whether something was found that a guard kept."""
        return bool(self.refused) and self.found > 0


class CleanupReport(Model):
    """What a clean-up did, or in a dry run would do. ``archive`` is empty where nothing was archived."""

    dry_run: bool
    archive: str = ""
    rules: tuple[RuleReport, ...] = ()

    @property
    def files(self) -> int:
        """Picture files that were removed."""
        return sum(rule.removed for rule in self.rules if rule.name == "orphan_files")

    @property
    def refused(self) -> tuple[RuleReport, ...]:
        """Rules a guard held back."""
        return tuple(rule for rule in self.rules if rule.held_back)

    def document(self) -> dict[str, object]:
        """The report as JSON holds it."""
        rules = [{**rule.model_dump(mode="json"), "share": rule.share} for rule in self.rules]
        return {"dry_run": self.dry_run, "archive": self.archive, "rules": rules, "files": self.files}


class Label(Model):
    """What is in one part of the archive; stored after the part was read back, and before its rows are deleted.

    ``stories`` gives the thread of each story the rows are about, empty for none. ``sources`` are the threads whose
    deletion has to be looked for, with the comments that are repeated in the part. ``sha256`` and ``bytes`` are of
    the stored part, ``recipient`` the public half of its key, empty for none.
    """

    key: str
    rule: str
    rows: int
    sha256: str
    bytes: int
    recipient: str
    stories: Mapping[str, str] = Field(default_factory=dict)
    sources: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)

    def rests_on(self, tombstone: Tombstone) -> set[str]:
        """Its stories that a deleted source takes along: all of a thread's, whichever comment was deleted."""
        thread = tombstone.thread or (tombstone.id if tombstone.kind == "thread" else "")
        return {
            story
            for story, of in self.stories.items()
            if (thread and of == thread) or (tombstone.kind == "story" and story == tombstone.id)
        }

    def without(self, stories: Iterable[str], rows: int, sha256: str, size: int) -> "Label":
        """The label of the part once these stories are out of it."""
        left = {story: thread for story, thread in self.stories.items() if story not in set(stories)}
        threads = set(left.values())
        sources = {thread: said for thread, said in self.sources.items() if thread in threads}
        changes = {"stories": left, "sources": sources, "rows": rows, "sha256": sha256, "bytes": size}
        return self.model_copy(update=changes)


def archive_of(key: str) -> str:
    """The archive a key of the storage belongs to: ``<moment>-<token>``, as a backup's id."""
    return key.removeprefix(ARCHIVE).partition("/")[0]


def proven_recently(backups: Iterable[Backup], moment: datetime) -> bool:
    """Whether a backup was taken within the last ``BACKUP_HOURS`` and proven by a restore."""
    oldest = moment - timedelta(hours=BACKUP_HOURS)
    sound = (backup.manifest.taken_at for backup in backups if backup.proven_at and not backup.problem)
    return any(oldest <= taken_at <= moment + APART for taken_at in sound)


def too_many(found: int, total: int, floor: int, max_share: float) -> str:
    """Why so many are not removed unasked; empty where they may be. Up to ``floor`` are never too many."""
    if found <= floor or found <= total * max_share:
        return ""
    share = f"{found:,} of {total:,} ({found / max(total, 1):.0%})"
    return f"{share} is more than CLEANUP_MAX_SHARE ({max_share:.0%}): look at them, then force the clean-up."


def checked_prefixes(prefixes: Iterable[str]) -> list[str]:
    """Prefixes of test content in lower case. Raises ``ConfigurationError`` for one that too much would begin with."""
    lowered = [prefix.strip().lower() for prefix in prefixes if prefix.strip()]
    for prefix in lowered:
        if len(prefix) < SHORTEST_PREFIX:
            raise ConfigurationError(
                f"CLEANUP_TEST_PREFIXES should have {SHORTEST_PREFIX} characters or more each (one is {prefix!r}).",
                "Example: CLEANUP_TEST_PREFIXES=[test],test-content-.",
            )
    return lowered
