"""Clean-up: rules, one after the other, over tables, picture storage, archive and Dagster's history.

What a rule finds in the tables belongs in ``operations/cleanup/store.py``; what may be removed at all, in
``operations/cleanup/rules.py``.
"""

import dataclasses
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg
from pydantic import Field

from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.instance import forget_story
from threadjuice_dagster.operations.backups.rules import backup_id
from threadjuice_dagster.operations.backups.service import BackupService
from threadjuice_dagster.operations.cleanup.rules import (
    ARCHIVE,
    BACKUP_HOURS,
    FILE_GRACE,
    TEST_PREFIXES,
    CleanupReport,
    RuleReport,
    checked_prefixes,
    proven_recently,
    too_many,
)
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.resources.postgres import Database

if TYPE_CHECKING:
    from threadjuice_dagster.operations.cleanup.archive import Archive
    from threadjuice_dagster.operations.cleanup.store import Cleanup, CleanupRule

Tell = Callable[[str], None]

LOCK = "cleanup"
"""Clean-ups of one database are done one after the other."""

PICTURES = "img/"
"""Under which keys of picture storage the files of pictures are; what else is there is nobody's here."""

_LISTED = 2000
_PARALLEL = 8
_NO_BACKUP = f"There is no proven backup younger than {BACKUP_HOURS} hours, so nothing is removed."
_NO_STORIES = "The database has no stories: is it the right one?"
_NOTHING_PUBLIC = "The site shows stories, but the database has none that is public: is it the right one?"
_NO_FILES = "Picture storage lists no files, but the database names some: is it the right place?"


class Site(NamedTuple):
    """The site as a clean-up needs it: whether it shows stories, and what builds it anew."""

    shows_stories: bool
    rebuild: Callable[[], None]


class CleanupService(dg.ConfigurableResource):
    """Removes what the rules say, archived first. Ages are in days; ``max_share`` is of all there are, 0 to 1."""

    database: dg.ResourceDependency[Database]
    backup_service: dg.ResourceDependency[BackupService]
    takedown_service: dg.ResourceDependency[TakedownService]
    rejected_days: int = 30
    withdrawn_days: int = 90
    events_days: int = 180
    archive_days: int = 90
    run_days: int = 90
    thread_retention_hours: float = 48.0
    test_prefixes: list[str] = Field(default=list(TEST_PREFIXES))
    max_share: float = 0.2

    def clean(
        self,
        instance: dg.DagsterInstance,
        site: Site,
        moment: datetime,
        *,
        dry_run: bool,
        force: bool = False,
        tell: Tell = lambda _: None,
    ) -> CleanupReport:
        """Find what has to go and, unless it is a ``dry_run``, remove it; ``force`` removes any share of all there is.

        Waits for another clean-up. Whatever ends it, the next one goes on. Raises ``PermanentFailure`` without a
        backup that was proven lately.
        """
        if dry_run:
            return self._clean(instance, site, moment, tell, force=force, dry_run=True)
        with self.database.store.locks.waited_for(LOCK, lambda: tell("Waiting for another clean-up to end")):
            return self._clean(instance, site, moment, tell, force=force, dry_run=False)

    def prune_runs(self, instance: dg.DagsterInstance, moment: datetime, limit: int) -> int:
        """Delete finished runs older than ``run_days``, as ``run_history.prune_runs``."""
        from threadjuice_dagster.operations.cleanup.run_history import prune_runs

        store, before = self.database.store, moment - timedelta(days=self.run_days)
        return prune_runs(instance, before, self._cleanup("").undecided, store.run_lives, limit)

    def _clean(
        self, instance: dg.DagsterInstance, site: Site, moment: datetime, tell: Tell, *, force: bool, dry_run: bool
    ) -> CleanupReport:
        blocked = "" if proven_recently(self.backup_service.backups(), moment) else _NO_BACKUP
        if blocked and not dry_run:
            raise PermanentFailure(blocked, "Run: threadjuice maintenance backup")
        if not dry_run:
            self._archive.clean(moment)
            if self.takedown_service.replay(instance):  # nothing is archived that was taken down
                site.rebuild()
        name = backup_id(moment, uuid.uuid4().hex[:8])
        cleanup = self._cleanup(name)
        blocked = blocked or self._empty_upstream(cleanup, site)
        reports = []
        for rule in self._rules(cleanup, instance, site, moment):
            report = self._apply(rule, blocked, force=force, dry_run=dry_run)
            tell(f"{report.name}: {report.found:,} found, {report.removed:,} removed. {report.refused}".rstrip())
            reports.append(report)
        location = self.takedown_service.storage.url(f"{ARCHIVE}{name}") if cleanup.archived else ""
        return CleanupReport(dry_run=dry_run, archive=location, rules=tuple(reports))

    def _apply(self, rule: "CleanupRule", blocked: str, *, force: bool, dry_run: bool) -> RuleReport:
        from threadjuice_dagster.operations.cleanup.store import key_file

        with key_file(rule.keys()) as found:
            total, removed = rule.total(), 0
            refused = blocked or rule.problem()
            if rule.floor is not None and not (refused or force):
                refused = too_many(found.count, total, rule.floor, self.max_share)
            if not (dry_run or refused):
                removed = sum(map(rule.remove, found.chunks(rule.batch)))
        return RuleReport(name=rule.name, found=found.count, total=total, removed=removed, refused=refused)

    def _rules(
        self, cleanup: "Cleanup", instance: dg.DagsterInstance, site: Site, moment: datetime
    ) -> "Iterator[CleanupRule]":
        """In this order: files are nobody's, and runs of nothing, once the rows are gone."""
        from threadjuice_dagster.operations.cleanup import store as rows

        def before(days: int) -> datetime:
            return moment - timedelta(days=days)

        test = cleanup.rule(rows.test_content(checked_prefixes(self.test_prefixes)))
        yield self._off_the_site_first(test, cleanup, site)
        yield cleanup.rule(rows.turned_down(before(self.rejected_days)))
        yield cleanup.rule(rows.withdrawn(before(self.withdrawn_days)))
        yield self._expired_threads(cleanup)
        yield from map(cleanup.rule, rows.records(before(self.events_days)))
        yield self._orphan_files(cleanup, moment - FILE_GRACE)
        yield self._story_runs(cleanup, instance)
        yield self._old_archives(before(self.archive_days))

    def _off_the_site_first(self, rule: "CleanupRule", cleanup: "Cleanup", site: Site) -> "CleanupRule":
        """Withdrawn, then off the site, then removed: a page never outlives its story, even if this is killed."""

        def remove(stories: Sequence[str]) -> int:
            shown, store = cleanup.published(stories), self.database.store
            for story in (story for story, public in shown.items() if public and not store.is_busy(story)):
                store.withdraw(story, "clean-up", "test content (CLEANUP_TEST_PREFIXES)")
            if shown:
                site.rebuild()
            return rule.remove(stories)

        return dataclasses.replace(rule, remove=remove)

    def _expired_threads(self, cleanup: "Cleanup") -> "CleanupRule":
        from threadjuice_dagster.operations.cleanup import store as rows
        from threadjuice_dagster.operations.takedowns.store import Takedowns

        takedowns, hours = Takedowns(self.database.store.engine), self.thread_retention_hours
        return rows.CleanupRule(
            "expired_threads",
            lambda: cleanup.count("threads"),
            lambda: takedowns.expiring(hours),
            lambda threads: takedowns.expire(hours, threads),
            floor=None,
            batch=500,
        )

    def _orphan_files(self, cleanup: "Cleanup", before: datetime) -> "CleanupRule":
        from threadjuice_dagster.operations.cleanup import store as rows

        listed = 0

        def keys() -> Iterator[str]:
            nonlocal listed
            for chunk in rows.chunked(self.takedown_service.cdn.entries(PICTURES), _LISTED):
                listed += len(chunk)
                yield from cleanup.unused([key for key, stored in chunk if stored < before])

        def remove(files: Sequence[str]) -> int:
            with ThreadPoolExecutor(_PARALLEL) as pool:
                return sum(pool.map(lambda key: self._delete_file(key, before), cleanup.unused(files)))

        def problem() -> str:
            return "" if listed or not cleanup.names_files() else _NO_FILES

        return rows.CleanupRule("orphan_files", lambda: listed, keys, remove, floor=120, batch=200, problem=problem)

    def _delete_file(self, key: str, before: datetime) -> bool:
        """Looked at again at the last moment: whoever makes a picture stores its files anew, then names them."""
        stored = self.takedown_service.cdn.stored_at(key)
        if stored is None or stored >= before:
            return False
        self.takedown_service.cdn.delete(key)
        return True

    def _story_runs(self, cleanup: "Cleanup", instance: dg.DagsterInstance) -> "CleanupRule":
        """Found by the archive's labels, so that a clean-up that was killed is finished by the next one."""
        from threadjuice_dagster.operations.cleanup import store as rows

        partitions = set(instance.get_dynamic_partitions(str(STORIES.name)))

        def keys() -> list[str]:
            labels = (label for _, label in self._archive.labels() if label.rule in rows.STORY_RULES)
            archived = dict.fromkeys(story for label in labels for story in label.stories if story in partitions)
            return cleanup.gone(archived)

        def remove(stories: Sequence[str]) -> int:
            return sum(forget_story(instance, story, whole=True) for story in stories)

        return rows.CleanupRule("story_runs", lambda: len(partitions), keys, remove, floor=None, batch=200)

    def _old_archives(self, before: datetime) -> "CleanupRule":
        from threadjuice_dagster.operations.cleanup import store as rows

        archive = self._archive
        return rows.CleanupRule(
            "old_archives",
            lambda: len(self.takedown_service.storage.list(ARCHIVE)),
            lambda: archive.older_than(before),
            archive.delete,
            floor=None,
            batch=200,
        )

    def _empty_upstream(self, cleanup: "Cleanup", site: Site) -> str:
        if not cleanup.has_stories():
            return _NO_STORIES
        return _NOTHING_PUBLIC if site.shows_stories and not cleanup.published() else ""

    def _cleanup(self, name: str) -> "Cleanup":
        from threadjuice_dagster.operations.cleanup.store import Cleanup

        return Cleanup(self.database.store.engine, self._archive, name)

    @property
    def _archive(self) -> "Archive":
        return self.takedown_service.archive
