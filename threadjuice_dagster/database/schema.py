"""Bringing a database to the schema this version needs, and telling whether it is there."""

import importlib.resources
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.failures import ConfigurationError, TransientFailure

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from alembic.config import Config
    from alembic.script import Script

    from threadjuice_dagster.database.store import Store

LOCK_TIMEOUT = "5s"
"""How long a migration may wait for a lock: as long as that, everybody else waits behind it."""

TRIES = 6

_PAUSE = 0.5
_MIGRATION_LOCK = 0x7468_7264_6A75_6963
"""Key of the advisory lock migrators queue on."""

_BUSY = ("55P03", "40P01")
"""PostgreSQL's codes for a lock that was not granted in time, and for a deadlock."""

_LONGEST = """
SELECT pid, application_name, extract(epoch FROM now() - xact_start)::int AS seconds FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1
"""


class Step(NamedTuple):
    """A migration that was run: its revision, what it is for, and the seconds it took."""

    name: str
    state: str
    seconds: float
    message: str


_CREATE_SCHEMA = """
DO $$ BEGIN
    EXECUTE format('CREATE SCHEMA %I', trim(BOTH ' "' FROM split_part(current_setting('search_path'), ',', 1)));
END $$
"""


def migrate(
    engine: sa.Engine, report: Callable[[Step], None] = lambda _: None, *, contracting: bool = False
) -> tuple[str | None, str]:
    """Run every missing migration, each in one transaction; returns the revision before and after.

    Those marked ``contract = True`` that nothing follows wait until they are asked for: the version that still runs
    needs what they take away.

    Of several processes one migrates and the others wait. A migration that gets no lock in time is tried again, so
    that nobody waits behind it for long. Raises ``TransientFailure`` if that goes on, ``ConfigurationError`` for a
    database that a newer version has migrated.
    """
    from threadjuice_dagster.database.server import unreachable

    own = lone_engine(engine.url, {"lock_timeout": LOCK_TIMEOUT})
    try:
        with own.connect() as connection:
            connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
            connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
            before = current_revision(connection)
            connection.commit()
            _refuse_newer(before)
            for script in _missing(connection, before, "head" if contracting else expanded_revision()):
                report(_apply(connection, script))
            return before, current_revision(connection) or ""
    except sa.exc.OperationalError as error:
        raise unreachable(error) from error


def migrate_empty(engine: sa.Engine, revision: str) -> None:
    """Bring an empty database that nobody else uses to a migration this version knows, be it an old one."""
    from alembic import command

    with engine.connect() as connection:
        if connection.exec_driver_sql("SELECT current_schema()").scalar() is None:  # an address may name one of its own
            connection.exec_driver_sql(_CREATE_SCHEMA)
        connection.commit()
        command.upgrade(_config(connection), revision)
        connection.commit()


def knows(revision: str) -> bool:
    """Whether this version has a migration of that name."""
    return revision in _known_revisions()


def rehearse(url: sa.URL) -> list[str]:
    """Run every migration on an empty database, take all of them back, and run them again; where each run led."""
    from alembic import command

    engine = lone_engine(url)
    _, first = migrate(engine, contracting=True)
    with engine.connect() as connection:
        command.downgrade(_config(connection), "base")
        connection.commit()
    return [first, migrate(engine, contracting=True)[1]]


def current_revision(connection: sa.Connection) -> str | None:
    """The migration the database is at, or None for a database without our tables."""
    if connection.execute(sa.text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def head_revision() -> str:
    """The newest migration this version knows."""
    return max(_known_revisions())


def expanded_revision() -> str:
    """The migration this version needs: the newest that does not only take away what the version before still used."""
    folder = _migrations() / "versions"
    files = sorted((file for file in folder.iterdir() if file.name[0].isdigit()), key=lambda file: file.name)
    needed = [file for file in files if "\ncontract = True\n" not in file.read_text(encoding="utf-8")]
    return needed[-1].name.partition("_")[0]


def _migrations() -> "Traversable":
    return importlib.resources.files("threadjuice_dagster.database") / "migrations"


def _known_revisions() -> set[str]:
    """Every migration this version knows, read from the file names alone."""
    return {entry.name.partition("_")[0] for entry in (_migrations() / "versions").iterdir() if entry.name[0].isdigit()}


def _refuse_newer(revision: str | None) -> None:
    if revision and revision not in _known_revisions():
        raise ConfigurationError(
            f"The database is at migration {revision}, which this version does not know.",
            "Install the ThreadJuice version that migrated it, or restore a backup of this version.",
        )


def _config(connection: sa.Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _missing(connection: sa.Connection, revision: str | None, wanted: str) -> "list[Script]":
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config(connection))
    if wanted != "head" and revision and revision > wanted:
        return []
    return list(scripts.iterate_revisions(wanted, revision or "base"))[::-1]


def _apply(connection: sa.Connection, script: "Script") -> Step:
    """Run one migration, again and again while it gets no lock."""
    from alembic import command

    began = time.monotonic()
    for attempt in range(1, TRIES + 1):
        try:
            command.upgrade(_config(connection), script.revision)
            connection.commit()
            break
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in _BUSY:
                raise
            connection.rollback()
            if attempt == TRIES:
                raise _blocked(connection, script.revision) from error
            time.sleep(_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 -- jitter
    tries = f" (in {attempt} tries)" if attempt > 1 else ""
    return Step(script.revision, "done", round(time.monotonic() - began, 3), script.doc.partition("\n")[0] + tries)


def _blocked(connection: sa.Connection, revision: str) -> TransientFailure:
    """Return the failure, with the transaction that is open longest: as a rule it holds the lock."""
    row = connection.execute(sa.text(_LONGEST)).first()
    longest = f"; pid {row.pid} ({row.application_name}) is in a transaction for {row.seconds} s" if row else ""
    return TransientFailure(
        f"Migration {revision} got no lock in {TRIES} tries of {LOCK_TIMEOUT}{longest}. Nothing of it was changed.",
        "Let that end, then run: threadjuice deploy migrate",
        exhausted=True,
    )


def require_schema(store: "Store", *, migrate_if_missing: bool) -> None:
    """Make sure the tables are those of this version: migrate and seed where allowed, else say what to run.

    Raises ``TransientFailure`` if the database cannot be reached and ``ConfigurationError`` if it must be migrated.
    """
    from threadjuice_dagster.database.catalogue import Catalogue
    from threadjuice_dagster.database.server import unreachable

    try:
        with store.engine.connect() as connection:
            revision = current_revision(connection)
    except sa.exc.OperationalError as error:
        raise unreachable(error) from error
    _refuse_newer(revision)
    if revision and revision >= expanded_revision():
        return
    if not migrate_if_missing:
        raise ConfigurationError(
            f"The database is at migration {revision or 'none'}, this version needs {expanded_revision()}.",
            "Run: threadjuice database seed, or only migrate with: threadjuice deploy migrate",
        )
    migrate(store.engine)
    Catalogue(store.engine).seed()
