"""Listing and restoring backups for the command line: this needs storage and key, not a newsroom that works."""

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
    """Return every backup in storage, newest first; ``proven`` is None where no database records it."""
    with _backup_service(settings) as service:
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
                "warning": backup.warning,
            }
            for backup in service.backups()
        ]


def plan_restore(settings: Settings, backup: str, *, allow_unverified: bool = False) -> "RestorePlan":
    """Return what restoring a backup would do, and the token that confirms it. Creates the database, as ``restore``."""
    _create_database(settings)
    with _backup_service(settings) as service:
        return service.plan(backup, allow_unverified=allow_unverified)


def restore(
    settings: Settings, backup: str, token: str, say: Callable[[str], None], *, allow_unverified: bool = False
) -> "Restored":
    """Put a backup in place of the live database, without anything that was taken down since.

    Where the server has no such database, as on an empty machine, an empty one is created first.
    """
    from threadjuice_dagster.assets.upkeep.backups import replay_takedowns

    _create_database(settings)
    takedowns = build_resources(settings)["takedown_service"]
    with (
        open_instance(settings) as instance,
        takedowns.process_config_and_initialize_cm() as takedown_service,
        _backup_service(settings) as service,
    ):

        def prepare(address: str) -> None:
            replay_takedowns(takedown_service, address, instance)

        return service.restore(backup, token, prepare, say, allow_unverified=allow_unverified)


@contextmanager
def _backup_service(settings: Settings) -> "Iterator[BackupService]":
    with build_resources(settings)["backup_service"].process_config_and_initialize_cm() as service:
        yield service


def _create_database(settings: Settings) -> None:
    from sqlalchemy.engine import make_url

    from threadjuice_dagster.database.server import create_database

    address = settings.database.url.get_secret_value()
    if address:
        url = make_url(address)
        create_database(url.set(database="postgres"), str(url.database))
