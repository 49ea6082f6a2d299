"""Bringing a database to the schema this version needs, and telling whether it is there."""

import importlib.resources
from typing import TYPE_CHECKING

import sqlalchemy as sa

from threadjuice_dagster.failures import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config

    from threadjuice_dagster.database.store import Store

_MIGRATION_LOCK = 0x7468_7264_6A75_6963
"""Key of the advisory lock migrators queue on."""


def migrate(engine: sa.Engine) -> tuple[str | None, str]:
    """Run every missing migration; returns the revision before and after. Safe to run from several processes."""
    from alembic import command

    with engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        try:
            before = current_revision(connection)
            connection.execute(sa.text("SET lock_timeout = '5s'"))
            connection.commit()
            config = _config(connection)
            _refuse_newer(config, before)
            command.upgrade(config, "head")
            connection.commit()
            return before, current_revision(connection) or ""
        finally:
            connection.rollback()
            connection.execute(sa.text("RESET lock_timeout"))
            connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK})
            connection.commit()


def current_revision(connection: sa.Connection) -> str | None:
    """The migration the database is at, or None for a database without our tables."""
    if connection.execute(sa.text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def head_revision() -> str:
    """The newest migration this version knows, read from the file names alone."""
    folder = importlib.resources.files("threadjuice_dagster.database") / "migrations" / "versions"
    return max(entry.name for entry in folder.iterdir() if entry.name[0].isdigit()).partition("_")[0]


def _config(connection: sa.Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    folder = importlib.resources.files("threadjuice_dagster.database") / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _refuse_newer(config: "Config", revision: str | None) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision and revision not in known:
        raise ConfigurationError(
            f"The database is at migration {revision}, which this version does not know.",
            "Install the ThreadJuice version that migrated it, or restore a backup of this version.",
        )


def require_schema(store: "Store", *, migrate_if_missing: bool) -> None:
    """Make sure the tables are those of this version: migrate and seed where allowed, else say what to run.

    Raises ``TransientFailure`` if the database cannot be reached and ``ConfigurationError`` if it must be migrated.
    """
    from threadjuice_dagster.database.server import unreachable

    try:
        with store.engine.connect() as connection:
            revision = current_revision(connection)
    except sa.exc.OperationalError as error:
        raise unreachable(error) from error
    if revision == head_revision():
        return
    if not migrate_if_missing:
        raise ConfigurationError(
            f"The database is at migration {revision or 'none'}, this version needs {head_revision()}.",
            "Run: threadjuice database seed",
        )
    migrate(store.engine)
    store.catalogue.seed()
