"""Publication in bulk: story files stored, from paths or from the inbox. Gates belong in ``assets/validation.py``."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from threadjuice_dagster.assets.plots import listed
from threadjuice_dagster.assets.steps import RETRIES, reported
from threadjuice_dagster.assets.threads import OWNERS
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import FolderStorage, Storage

if TYPE_CHECKING:
    from threadjuice_dagster.database.imports import ImportSummary

ARCHIVE = "archived/"
"""Where the inbox keeps files whose rows are committed, and what of them was refused."""


_BLOCK = 1 << 18


class ImportConfig(dg.Config):
    """What to import. Left as it is, everything in the inbox."""

    paths: list[str] = Field(default=[], description="Story files or folders on this machine; empty is the inbox.")
    dry_run: bool = Field(default=False, description="Say what would be done, and change nothing.")


@dg.asset(group_name="publication", owners=OWNERS, kinds={"postgres"}, retry_policy=RETRIES)
def imported_stories(
    context: dg.AssetExecutionContext,
    config: ImportConfig,
    database: Database,
    inbox: Storage,
    imports_folder: FolderStorage,
) -> dg.MaterializeResult[None]:
    """Stories of files, one for each slug; refused records are kept in a file. They still have to pass the gates."""
    with reported(context, database):
        folder = Path(imports_folder.root)
        if config.paths:
            done = [_import([Path(path) for path in config.paths], folder, config, context, database)]
        else:
            done = [_import_inbox(key, inbox, folder, config, context, database) for key in waiting_files(inbox)]
        counts = {name: sum(getattr(one, name) for one in done) for name in _counted()}
        rejects = [one.rejects_file for one in done if one.rejects_file]
        return dg.MaterializeResult(metadata={**counts, "rejects": listed([f"`{one}`" for one in rejects], "none")})


def waiting_files(inbox: Storage) -> list[str]:
    """The names of the files in the inbox that are to be imported: no archived, hidden or unfinished ones."""
    return [key for key in inbox.list() if not key.startswith(ARCHIVE) and not _unfinished(key)]


@contextmanager
def local_copy(inbox: Storage, key: str) -> Iterator[Path]:
    """The file on this machine's disk: itself, or a copy that is removed afterwards, written piece by piece."""
    if isinstance(inbox, FolderStorage):
        yield Path(inbox.root) / key
        return
    with tempfile.TemporaryDirectory(prefix="threadjuice-inbox-") as folder:
        path = Path(folder) / Path(key).name
        with inbox.get_stream(key) as source, path.open("wb") as copy:
            while block := source.read(_BLOCK):
                copy.write(block)
        yield path


def archive(inbox: Storage, key: str, path: Path, rejects: str | None) -> str | None:
    """Move an imported file out of the way, with its rejects beside it; the name of those, if there are any."""
    taken = set(inbox.list(ARCHIVE))
    names = (f"{ARCHIVE}{number}/{key}" if number > 1 else ARCHIVE + key for number in itertools.count(1))
    target = next(name for name in names if name not in taken)
    if rejects:
        _move(inbox, Path(rejects), f"{target}.rejects.jsonl")
    _move(inbox, path, target)
    if not isinstance(inbox, FolderStorage):
        inbox.delete(key)
    return f"{target}.rejects.jsonl" if rejects else None


def _move(inbox: Storage, path: Path, key: str) -> None:
    """Into the inbox by name; in a folder whatever the name, since people choose it."""
    if isinstance(inbox, FolderStorage):
        target = Path(inbox.root) / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        return
    with path.open("rb") as file:
        inbox.put_stream(key, file)
    path.unlink()


def _import_inbox(
    key: str,
    inbox: Storage,
    folder: Path,
    config: ImportConfig,
    context: dg.AssetExecutionContext,
    database: Database,
) -> "ImportSummary":
    import dataclasses

    with local_copy(inbox, key) as path:
        done = _import([path], folder, config, context, database)
        if config.dry_run:
            return done
        return dataclasses.replace(done, rejects_file=archive(inbox, key, path, done.rejects_file))


def _import(
    paths: Sequence[Path], folder: Path, config: ImportConfig, context: dg.AssetExecutionContext, database: Database
) -> "ImportSummary":
    from threadjuice_dagster.database.imports import import_files

    return import_files(database.store, paths, folder, dry_run=config.dry_run, progress=context.log.info)


def _counted() -> Sequence[str]:
    from threadjuice_dagster.database.imports import COUNTS

    return COUNTS


def _unfinished(key: str) -> bool:
    name = key.rsplit("/", 1)[-1]
    return name.startswith((".", "_")) or name.endswith((".part", ".tmp", ".partial", "~", ".rejects.jsonl"))
