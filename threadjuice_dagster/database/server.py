"""The addresses of the newsroom's databases: a server that was configured, or the embedded one."""

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

APP_DATABASE = "threadjuice"
DAGSTER_DATABASE = "dagster"

_NOT_PERMITTED = "42501"
_EXISTS = "SELECT 1 FROM pg_database WHERE datname = :name"
_LOCALE = """
SELECT CASE encoding WHEN 6 THEN datcollate ELSE 'C' END, CASE encoding WHEN 6 THEN datctype ELSE 'C' END
FROM pg_database WHERE datname = current_database()
"""
"""The collation of the current database, if its encoding is UTF8 (6)."""


@dataclasses.dataclass(frozen=True)
class Databases:
    """SQLAlchemy addresses of the newsroom's own tables and of Dagster's storage. They hold a password."""

    app: str
    dagster: str

    def __repr__(self) -> str:
        return f"Databases(app={make_url(self.app)!r}, dagster={make_url(self.dagster)!r})"


def databases(url: str, dagster_url: str, home: Path) -> Databases:
    """Return both addresses; starts the embedded server in ``home`` where ``url`` is empty, and creates databases.

    ``dagster_url`` may be empty: Dagster's storage is then a second database on the newsroom's server.
    """
    app = parsed(url) if url else make_url(embedded_url(home))
    if url:
        _require_usable(app)
    if dagster_url:
        _require_usable(parsed(dagster_url))
        return Databases(app=app_url(app), dagster=_render(parsed(dagster_url), "psycopg2"))
    name = f"{app.database}_{DAGSTER_DATABASE}" if url else DAGSTER_DATABASE
    create_database(app, name)
    return Databases(app=app_url(app), dagster=_render(app.set(database=name), "psycopg2"))


def app_url(url: str | URL) -> str:
    """Return the address for our own tables, with psycopg 3 as its driver."""
    return _render(parsed(url), "psycopg")


def _require_usable(url: URL) -> None:
    try:
        with lone_engine(app_url(url)).connect() as connection:
            require_usable(connection)
    except sa.exc.DBAPIError as error:
        raise unreachable(error) from error


def parsed(url: str | URL) -> URL:
    """Return an address without the parameters of other programs. Raises ``ConfigurationError`` if it is none."""
    try:
        return make_url(clean_address(url) if isinstance(url, str) else url)
    except ValueError as error:
        raise ConfigurationError(f"An address of a database {error}.", "Correct DATABASE_URL.") from None


def embedded_url(home: Path) -> str:
    """Return the address of the newsroom's database on the embedded server in ``home``; starts the server."""
    packaged_programs()  # ends with the next step where the embedded server is not installed
    server = EmbeddedServer(home)
    server.use()
    create_database(server.url, APP_DATABASE)
    return app_url(server.url.set(database=APP_DATABASE))


def create_database(server: URL, name: str) -> None:
    """Create a database of this name on a server unless it exists."""
    engine = lone_engine(app_url(server), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            if connection.execute(sa.text(_EXISTS), {"name": name}).scalar():
                return
            quoted = connection.dialect.identifier_preparer.quote_identifier(name)
            collate, ctype = connection.execute(sa.text(_LOCALE)).one()
            kind = f"ENCODING 'UTF8' LC_COLLATE '{collate}' LC_CTYPE '{ctype}' TEMPLATE template0"
            connection.exec_driver_sql(f"CREATE DATABASE {quoted} {kind}".replace("%", "%%"))
    except sa.exc.IntegrityError:  # another process created it at the same moment
        pass
    except sa.exc.DBAPIError as error:
        if sqlstate(error) == _NOT_PERMITTED:
            raise ConfigurationError(
                f"The database user may not create the database {name}.",
                "Give it CREATEDB, or create it with ENCODING 'UTF8'; Dagster's may be another DAGSTER_DATABASE_URL.",
            ) from error
        if sqlstate(error) != ALREADY_THERE:
            raise unreachable(error) from error


def unreachable(error: Exception) -> ThreadJuiceError:
    """Return what an error of the database means, with the server's words but not the address."""
    return meaning(error)


def _render(url: URL, driver: str) -> str:
    return url.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
