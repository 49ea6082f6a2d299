"""Backups as the command line lists and restores them: that needs storage and key, not a newsroom that works.

What a command prints belongs in ``cli/app.py``, how a restore is done in ``operations/backups/restore.py``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.settings import Settings
from threadjuice_dagster.wiring import build_resources

if TYPE_CHECKING:
    from threadjuice_dagster.operations.backups.rules import Restored, RestorePlan
    from threadjuice_dagster.operations.backups.service import BackupService


def list_backups(settings: Settings) -> list[dict[str, Any]]:
    """Every backup in storage, newest first; ``proven`` is None where there is no database to know it."""
    with _writer(settings) as service:
        knows_proofs = service.knows_proofs()
        return [
            {
                **backup.manifest.model_dump(mode="json", include={"id", "taken_at", "sha256", "bytes", "seconds"}),
                "location": service.storage.url(backup.manifest.key),
                "rows": backup.manifest.contents.rows,
                "encrypted": bool(backup.manifest.recipient),
                "signed": bool(backup.manifest.signed),
                "proven": backup.proven_at is not None if knows_proofs or backup.problem else None,
                "problem": backup.problem,
            }
            for backup in service.backups()
        ]


def plan_restore(settings: Settings, backup: str, *, unvouched: bool = False) -> "RestorePlan":
    """What restoring a backup would do, and the token that confirms it; as ``restore``, it creates the database."""
    _create_database(settings)
    with _writer(settings) as service:
        return service.plan(backup, unvouched=unvouched)


def restore(
    settings: Settings, backup: str, token: str, tell: Callable[[str], None], *, unvouched: bool = False
) -> "Restored":
    """Put a backup in place of the live database, with every takedown since then carried out in it.

    Where the server has no such database, as on an empty machine, an empty one is created first.
    """
    from threadjuice_dagster.assets.upkeep.backups import replay_takedowns

    _create_database(settings)
    takedowns = build_resources(settings)["takedown_service"]
    with (
        open_instance(settings) as instance,
        takedowns.process_config_and_initialize_cm() as takedown_service,
        _writer(settings) as service,
    ):

        def prepare(address: str) -> None:
            replay_takedowns(takedown_service, address, instance)

        return service.restore(backup, token, prepare, tell, unvouched=unvouched)


@contextmanager
def _writer(settings: Settings) -> "Iterator[BackupService]":
    with build_resources(settings)["backup_service"].process_config_and_initialize_cm() as service:
        yield service


def _create_database(settings: Settings) -> None:
    from sqlalchemy.engine import make_url

    from threadjuice_dagster.database.server import create_database

    address = settings.database.url.get_secret_value()
    if address:
        url = make_url(address)
        create_database(url.set(database="postgres"), str(url.database))
