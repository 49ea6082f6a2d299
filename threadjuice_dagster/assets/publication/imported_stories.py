"""Imports story files from paths or from the inbox, and stores the inbox's threads for stories to be made of."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.plots import listed
from threadjuice_dagster.failures import PermanentFailure, TransientFailure
from threadjuice_dagster.operations.imports.inbox import QUIET_SECONDS, Inbox, InboxFile, pass_over, passed_over
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import FolderStorage, Storage

if TYPE_CHECKING:
    from threadjuice_dagster.operations.imports.store import ImportSummary

_SHOWN = 25
"""Files and categories that the run names of each kind."""


class ImportConfig(dg.Config):
    """What to import. Left as it is, everything in the inbox."""

    paths: list[str] = Field(default=[], description="Story files or folders on this machine; empty is the inbox.")
    dry_run: bool = Field(default=False, description="Say what would be done, and change nothing.")
    map_category: list[str] = Field(default=[], description="NAME=CATEGORY: a category of ours for one of theirs.")
    quiet_seconds: float = Field(
        default=QUIET_SECONDS, ge=0, description="Seconds for which a file of the inbox must have been left alone."
    )


@asset(kinds={"postgres"})
def imported_stories(
    context: dg.AssetExecutionContext,
    config: ImportConfig,
    database: Database,
    inbox: Storage,
    imports_folder: FolderStorage,
    policy: EditorialPolicy,
) -> dg.MaterializeResult[None]:
    """Stories of files, one for each slug; refused records are kept in a file. They still have to pass the gates.

    Threads of the inbox (submissions, feeds, the folder ``threads/``) are stored for stories to be made of them.
    """
    intake = _Intake(context, config, database, Path(imports_folder.root), policy)
    if config.paths:
        intake.store([Path(path) for path in config.paths])
    else:
        intake.take_all(Inbox(inbox))
    return dg.MaterializeResult(metadata=intake.metadata())


class _Intake:
    """The import of one run. A file that cannot be taken is reported and stops no other."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        config: ImportConfig,
        database: Database,
        folder: Path,
        policy: EditorialPolicy,
    ) -> None:
        from threadjuice_dagster.operations.imports.rules import category_map

        self._context, self._config, self._store, self._folder = context, config, database.store, folder
        self._mapped = category_map([*policy.import_category_map, *config.map_category])
        self._default = policy.import_default_category
        self._counts: Counter[str] = Counter()
        self._categories: Counter[str] = Counter()
        self._files: dict[str, list[str]] = {
            "rejects": [],
            "kept_back_files": [],
            "left_alone": [],
            "refused_files": [],
            "threads": [],
        }

    def take_all(self, inbox: Inbox) -> None:
        """Take every complete file of the inbox; leave the others for a later run."""
        self._require_categories()
        ready = self._settled(inbox)
        tried = passed_over(self._store.engine, [file.mark for file in ready])
        self._files["left_alone"] += [f"{name} (no file by itself)" for name in inbox.links()]
        for file in ready:
            if file.mark in tried:
                self._files["left_alone"].append(f"{file.name} (it could not be taken before)")
                continue
            try:
                self._take(inbox, file)
            except Exception as error:
                if _stops_all(error):
                    raise
                self._pass_over(inbox, file, error)

    def store(self, paths: Sequence[Path]) -> "ImportSummary":
        """Import these files or folders and add to the counts."""
        from threadjuice_dagster.operations.imports.store import COUNTS, import_files

        summary = import_files(
            self._store,
            paths,
            self._folder,
            dry_run=self._config.dry_run,
            category_map=self._mapped,
            default_category=self._default,
            progress=self._context.log.info,
        )
        self._counts.update({name: getattr(summary, name) for name in COUNTS})
        self._categories.update(summary.unknown_categories)
        if self._config.paths:
            self._files["rejects"] += [summary.rejects_file] if summary.rejects_file else []
            self._files["kept_back_files"] += [summary.kept_back_file] if summary.kept_back_file else []
        return summary

    def metadata(self) -> dict[str, dg.MetadataValue | int]:
        """Return the counts, and the files and categories that need attention."""
        from threadjuice_dagster.operations.imports.store import COUNTS

        unknown = [f"{name}: {count} records" for name, count in self._categories.most_common()]
        return {
            **{name: self._counts[name] for name in COUNTS},
            **{name: listed(files, "none", _SHOWN) for name, files in self._files.items()},
            "unknown_categories": listed(unknown, "none", _SHOWN),
        }

    def _require_categories(self) -> None:
        """Raise ``UsageError`` for a wrong category map before any file is taken."""
        from threadjuice_dagster.assets.steps import now
        from threadjuice_dagster.database.catalogue import Catalogue
        from threadjuice_dagster.operations.imports.rules import RecordReader

        catalogue = Catalogue(self._store.engine)
        RecordReader(catalogue.categories(), catalogue.personas(), now(), self._mapped, self._default)

    def _settled(self, inbox: Inbox) -> list[InboxFile]:
        """Return the complete files; wait once for those that were written just now."""
        seconds, moment = self._config.quiet_seconds, time.time()
        young = [file for file in inbox.waiting() if not inbox.is_quiet(file, seconds, moment)]
        if young:
            time.sleep(min(seconds, max(0.0, *(seconds - moment + file.changed for file in young), 0.0)))
        files, moment = inbox.waiting(), time.time()
        growing = [file for file in files if not inbox.is_quiet(file, seconds, moment)]
        self._files["left_alone"] += [f"{file.name} (still being written)" for file in growing]
        return [file for file in files if file not in growing]

    def _take(self, inbox: Inbox, file: InboxFile) -> None:
        from threadjuice_dagster.operations.imports.threads import is_thread_file, store_thread

        with inbox.opened(file) as path:
            written: dict[str, str | None] = {}
            if is_thread_file(file.key):
                self._files["threads"].append(store_thread(self._store, path, dry_run=self._config.dry_run))
            else:
                summary = self.store([path])
                written = {".rejects.jsonl": summary.rejects_file, ".kept-back.jsonl": summary.kept_back_file}
            if self._config.dry_run:
                return
            if not inbox.is_unchanged(file):
                self._files["left_alone"].append(f"{file.name} (it changed while it was read)")
                return
            beside = {ending: Path(place) for ending, place in written.items() if place}
            for name in inbox.archive(file, path, beside):
                self._files["kept_back_files" if name.endswith(".kept-back.jsonl") else "rejects"].append(name)

    def _pass_over(self, inbox: Inbox, file: InboxFile, error: Exception) -> None:
        """Remember and report a file that cannot be taken or moved away, unless it is gone or changed."""
        from threadjuice_dagster.database.ledger import Ledger
        from threadjuice_dagster.operations.imports.fields import shown

        if not inbox.is_unchanged(file):
            return
        problem = shown(str(error), 200) if str(error) else type(error).__name__
        pass_over(self._store.engine, file.mark, file.name, problem)
        self._files["refused_files"].append(f"{file.name}: {problem}")
        failure = PermanentFailure(
            f"{file.name} of the inbox could not be taken: {problem}",
            "Put it right and put it there again, or remove it.",
        )
        self._context.log.warning(str(failure))
        Ledger(self._store.engine).add_error(failure, "imported_stories", None, self._context.run_id)


def _stops_all(error: Exception) -> bool:
    """Whether an exception concerns every file, as one of the database, disk or network does."""
    import psycopg
    import sqlalchemy as sa

    from threadjuice_dagster.operations.imports.files import is_of_one_file

    outage = isinstance(error, TransientFailure | sa.exc.SQLAlchemyError | psycopg.Error)
    return outage or not is_of_one_file(error)
