"""Which PostgreSQL to talk to: the one in the settings, or the embedded one, started when first asked for."""

import dataclasses
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from threadjuice_dagster.database.addresses import clean_address
from threadjuice_dagster.database.embedded import EmbeddedServer
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.refusals import ALREADY_THERE, meaning, sqlstate
from threadjuice_dagster.database.suitability import require_usable
from threadjuice_dagster.database.tools import packaged_programs
from threadjuice_dagster.failures import ConfigurationError, ThreadJuiceError
from threadjuice_dagster.settings import Settings

APP_DATABASE = "threadjuice"
DAGSTER_DATABASE = "dagster"

_FORBIDDEN = "42501"
_KNOWN = "SELECT 1 FROM pg_database WHERE datname = :name"
_LOCALE = """
SELECT CASE encoding WHEN 6 THEN datcollate ELSE 'C' END, CASE encoding WHEN 6 THEN datctype ELSE 'C' END
FROM pg_database WHERE datname = current_database()
"""
"""The order of text of the database that is asked, if its encoding is UTF8 (6)."""


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
    app = parsed(configured) if configured else make_url(embedded_url(settings.home))
    dagster = settings.database.dagster_url.get_secret_value()
    if configured:
        _require_usable(app)
    if dagster:
        _require_usable(parsed(dagster))
        return Databases(app=app_url(app), dagster=_render(parsed(dagster), "psycopg2"))
    name = f"{app.database}_{DAGSTER_DATABASE}" if configured else DAGSTER_DATABASE
    create_database(app, name)
    return Databases(app=app_url(app), dagster=_render(app.set(database=name), "psycopg2"))


def app_url(url: str | URL) -> str:
    """The address as our own tables use it, through psycopg 3."""
    return _render(parsed(url), "psycopg")


def _require_usable(url: URL) -> None:
    try:
        with lone_engine(app_url(url)).connect() as connection:
            require_usable(connection)
    except sa.exc.DBAPIError as error:
        raise unreachable(error) from error


def parsed(url: str | URL) -> URL:
    """An address without what other programs wrote into it. Raises ``ConfigurationError`` if it cannot be one."""
    try:
        return make_url(clean_address(url) if isinstance(url, str) else url)
    except ValueError as error:
        raise ConfigurationError(f"An address of a database {error}.", "Correct DATABASE_URL.") from None


def embedded_url(home: Path) -> str:
    """Address of the embedded server's newsroom database under ``home``, started if it is not running."""
    packaged_programs()  # ends with the next step where the embedded server is not installed
    server = EmbeddedServer(home)
    server.use()
    create_database(server.url, APP_DATABASE)
    return app_url(server.url.set(database=APP_DATABASE))


def create_database(server: URL, name: str) -> None:
    """Create a database beside ``server``'s unless it is there."""
    engine = lone_engine(app_url(server), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            if connection.execute(sa.text(_KNOWN), {"name": name}).scalar():
                return
            quoted = connection.dialect.identifier_preparer.quote_identifier(name)
            collate, ctype = connection.execute(sa.text(_LOCALE)).one()
            kind = f"ENCODING 'UTF8' LC_COLLATE '{collate}' LC_CTYPE '{ctype}' TEMPLATE template0"
            connection.exec_driver_sql(f"CREATE DATABASE {quoted} {kind}".replace("%", "%%"))
    except sa.exc.IntegrityError:  # another process created it at the same moment
        pass
    except sa.exc.DBAPIError as error:
        if sqlstate(error) == _FORBIDDEN:
            raise ConfigurationError(
                f"The database user may not create the database {name}.",
                "Give it CREATEDB, or create it with ENCODING 'UTF8'; Dagster's may be another DAGSTER_DATABASE_URL.",
            ) from error
        if sqlstate(error) != ALREADY_THERE:
            raise unreachable(error) from error


def unreachable(error: Exception) -> ThreadJuiceError:
    """The one way an error of the database is reported, with the server's words but not the address."""
    return meaning(error)


def _render(url: URL, driver: str) -> str:
    return url.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
