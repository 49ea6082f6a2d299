"""Backups as the command line lists and restores them: that needs storage and key, not a newsroom that works.

What a command prints belongs in ``cli.py``, how a restore is done in ``database/restore.py``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.failures import ConfigurationError, TransientFailure
from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.resources.registry import build_resources
from threadjuice_dagster.settings import Settings

if TYPE_CHECKING:
    from threadjuice_dagster.domain.backups import Restored, RestorePlan
    from threadjuice_dagster.resources.backups import BackupDesk


def list_backups(settings: Settings) -> list[dict[str, Any]]:
    """Every backup in storage, newest first; ``proven`` is None where there is no database to know it."""
    with _desk(settings) as desk:
        manifests = desk.manifests()
        try:
            known = {backup.manifest.id: backup for backup in desk.backups()}
        except (TransientFailure, ConfigurationError):  # the database is what is to be restored
            known = {}
    return [
        {
            **manifest.model_dump(mode="json", include={"id", "taken_at", "sha256", "bytes", "seconds"}),
            "location": desk.storage.url(manifest.key),
            "rows": manifest.contents.rows,
            "encrypted": bool(manifest.recipient),
            "proven": known[manifest.id].proven_at is not None if known else None,
            "problem": known[manifest.id].problem if known else "",
        }
        for manifest in manifests
    ]


def plan_restore(settings: Settings, backup: str) -> "RestorePlan":
    """What restoring a backup would do, and the token that confirms it; as ``restore``, it creates the database."""
    _create_database(settings)
    with _desk(settings) as desk:
        return desk.plan(backup)


def restore(settings: Settings, backup: str, token: str, tell: Callable[[str], None]) -> "Restored":
    """Put a backup in place of the live database, with every takedown since then carried out in it.

    Where the server has no such database, as on an empty machine, an empty one is created first.
    """
    from threadjuice_dagster.assets.backups import replay_takedowns

    _create_database(settings)
    takedowns = build_resources(settings)["takedown_desk"]
    with (
        open_instance(settings) as instance,
        takedowns.process_config_and_initialize_cm() as takedown_desk,
        _desk(settings) as desk,
    ):
        return desk.restore(backup, token, lambda address: replay_takedowns(takedown_desk, address, instance), tell)


@contextmanager
def _desk(settings: Settings) -> "Iterator[BackupDesk]":
    with build_resources(settings)["backup_desk"].process_config_and_initialize_cm() as desk:
        yield desk


def _create_database(settings: Settings) -> None:
    from sqlalchemy.engine import make_url

    from threadjuice_dagster.database.server import create_database

    address = settings.database.url.get_secret_value()
    if address:
        url = make_url(address)
        create_database(url.set(database="postgres"), str(url.database))
