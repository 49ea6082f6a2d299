"""Which PostgreSQL to talk to: the one in the settings, or the embedded one, started when first asked for."""

import dataclasses
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from threadjuice_dagster.database.embedded import EmbeddedServer
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.failures import ConfigurationError, TransientFailure
from threadjuice_dagster.settings import Settings

APP_DATABASE = "threadjuice"
DAGSTER_DATABASE = "dagster"


@dataclasses.dataclass(frozen=True)
class Databases:
    """SQLAlchemy addresses of the newsroom's own tables and of Dagster's storage. They hold a password."""

    app: str
    dagster: str

    def __repr__(self) -> str:
        return f"Databases(app={make_url(self.app)!r}, dagster={make_url(self.dagster)!r})"


def databases(settings: Settings) -> Databases:
    """Both addresses for these settings; starts the embedded server and creates databases where needed."""
    configured = settings.database.url.get_secret_value()
    app = make_url(configured) if configured else make_url(embedded_url(settings.home))
    dagster = settings.database.dagster_url.get_secret_value()
    if dagster:
        return Databases(app=app_url(app), dagster=_render(make_url(dagster), "psycopg2"))
    name = f"{app.database}_{DAGSTER_DATABASE}" if configured else DAGSTER_DATABASE
    create_database(app, name)
    return Databases(app=app_url(app), dagster=_render(app.set(database=name), "psycopg2"))


def app_url(url: str | URL) -> str:
    """The address as our own tables use it, through psycopg 3."""
    return _render(make_url(url), "psycopg")


def embedded_url(home: Path) -> str:
    """Address of the embedded server's newsroom database under ``home``, started if it is not running."""
    server = EmbeddedServer(home)
    server.use()
    create_database(server.url, APP_DATABASE)
    return app_url(server.url.set(database=APP_DATABASE))


def create_database(server: URL, name: str) -> None:
    """Create a database beside ``server``'s unless it is there."""
    engine = lone_engine(app_url(server), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            known = sa.text("SELECT 1 FROM pg_database WHERE datname = :name")
            if connection.execute(known, {"name": name}).scalar():
                return
            quoted = connection.dialect.identifier_preparer.quote_identifier(name)
            connection.execute(sa.text(f"CREATE DATABASE {quoted}"))
    except sa.exc.ProgrammingError as error:
        if "already exists" not in str(error.orig):
            raise ConfigurationError(
                f"The database user may not create the database {name}.",
                "Create it, or set DAGSTER_DATABASE_URL to one that exists.",
            ) from error
    except sa.exc.IntegrityError:  # another process created it at the same moment
        pass
    except sa.exc.OperationalError as error:
        raise unreachable(error) from error


_SENT_AWAY = "57P01"


def unreachable(error: Exception) -> TransientFailure:
    """The one way a database that does not answer is reported, with the server's words but not the address."""
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()
    sqlstate = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    if sqlstate == _SENT_AWAY:
        return TransientFailure(
            "The database server ended this connection: it was restarted, or a backup was put in its database's place.",
            "Run this again: what was finished is passed over, and what a restore took back is done anew.",
        )
    if sqlstate == "57014":
        return TransientFailure(
            f"A query was stopped: {cause[0][:200]}",
            "Look for what keeps the database busy, or raise DATABASE_STATEMENT_TIMEOUT_SECONDS.",
        )
    return TransientFailure(
        f"The database cannot be reached: {cause[0][:200] if cause else 'no answer'}",
        "Check that the server of DATABASE_URL runs and accepts this user.",
    )


def _render(url: URL, driver: str) -> str:
    return url.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
