"""Whether a database can be the newsroom's: a session for each connection, writes, and UTF-8 are needed."""

from typing import Any

import sqlalchemy as sa

from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.refusals import BY_TRANSACTION, SESSION_PORT
from threadjuice_dagster.failures import ConfigurationError

TURNS = "ABBABAABBAABABBA"
"""Which of two connections asks next. In this order (Thue-Morse) no way of lending backends looks like one for each."""

_FACTS = """
SELECT pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') = 'on' AS read_only,
    pg_encoding_to_char(encoding) AS encoding, datname AS name
FROM pg_database WHERE datname = current_database()
"""
_MAY_CREATE = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
_BACKEND = "SELECT pg_backend_pid()"


def require_session(connection: sa.Connection) -> None:
    """Refuse a pooler that lends a backend for one transaction only: locks and settings need a session.

    The connection must be in no transaction. Raises ``ConfigurationError``.
    """
    driver: Any = connection.connection.driver_connection
    if connection.exec_driver_sql(_BACKEND).scalar() == driver.info.backend_pid:
        return  # no pooler stands between
    connection.rollback()
    engine = lone_engine(connection.engine.url, isolation_level="AUTOCOMMIT")
    seen: dict[str, set[int]] = {"A": set(), "B": set()}
    with engine.connect() as first, engine.connect() as second:
        drivers: dict[str, Any] = {
            "A": first.connection.driver_connection,
            "B": second.connection.driver_connection,
        }
        for turn in TURNS:
            seen[turn].add(drivers[turn].execute(_BACKEND, prepare=False).fetchone()[0])
    if len(seen["A"]) + len(seen["B"]) > len(seen) or seen["A"] & seen["B"]:
        raise ConfigurationError(BY_TRANSACTION, SESSION_PORT)


def require_usable(connection: sa.Connection, *, writes: bool = True) -> None:
    """Refuse a database that takes no writes or that cannot store every text. Raises ``ConfigurationError``."""
    facts = connection.exec_driver_sql(_FACTS).one()
    if writes and (facts.standby or facts.read_only):
        why = "it is a replica" if facts.standby else "default_transaction_read_only is on"
        raise ConfigurationError(
            f"The database {facts.name} takes no writes: {why}.",
            "Set DATABASE_URL to the primary."
            if facts.standby
            else f"Run: ALTER DATABASE {facts.name} RESET default_transaction_read_only (or ALTER ROLE ... RESET).",
        )
    if facts.encoding != "UTF8":
        raise ConfigurationError(
            f"The database {facts.name} stores {facts.encoding}, not UTF8: it cannot hold every text.",
            "Create another (CREATE DATABASE NAME ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0)"
            " and name it in DATABASE_URL.",
        )


def may_create_databases(connection: sa.Connection) -> bool:
    """Return whether the user may create databases, which trial restores and rehearsals of migrations need."""
    return bool(connection.exec_driver_sql(_MAY_CREATE).scalar())


def over_tls(connection: sa.Connection) -> bool:
    """Return whether a connection is encrypted."""
    driver: Any = connection.connection.driver_connection
    return bool(driver.pgconn.ssl_in_use)
