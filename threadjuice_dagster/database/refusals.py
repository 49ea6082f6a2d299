"""What an error of the database means, by its SQLSTATE: the words of servers are in many languages.

How long a server is waited for belongs in ``database/engine.py``.
"""

import os
import re
import select
import time
from collections.abc import Mapping
from typing import Any

from threadjuice_dagster.database.addresses import OURS
from threadjuice_dagster.failures import ConfigurationError, ThreadJuiceError, TransientFailure

CANNOT_CONNECT_NOW, TOO_MANY_CONNECTIONS, NO_DATABASE = "57P03", "53300", "3D000"
ALREADY_THERE = "42P04"

ASK_SECONDS = 3.0
"""Seconds a server that refused a connection has to say why once more."""

BY_TRANSACTION = "A pooler in transaction mode stands before the database (such as PgBouncer): locks would not hold."
SESSION_PORT = "Set DATABASE_URL to the pooler's session port (Supabase: 5432) or to the server itself."

_FORBIDDEN = "Give the user of DATABASE_URL the ownership of its database, and CREATEDB."
_MEANINGS: dict[str, tuple[type[ThreadJuiceError], str, str]] = {
    "57014": (
        TransientFailure,
        "A query was stopped",
        "Look for what keeps the database busy, or raise DATABASE_STATEMENT_TIMEOUT_SECONDS.",
    ),
    "57P01": (
        TransientFailure,
        "The database server ended this connection: it was restarted, or a backup was put in its database's place.",
        "Run this again: what was finished is passed over, and what a restore took back is done anew.",
    ),
    "53100": (
        TransientFailure,
        "The disk of the database is full, and nothing of this was stored",
        "Free space on the database's server, then try again.",
    ),
    "53200": (TransientFailure, "The database's server has no memory left", "Look for what uses it, then try again."),
    TOO_MANY_CONNECTIONS: (
        TransientFailure,
        "The database's server has no room for another connection",
        "Find out who holds them, lower DATABASE_MAX_CONNECTIONS, or raise the server's limit.",
    ),
    "28P01": (ConfigurationError, "The database refuses this password", "Correct DATABASE_URL."),
    "28000": (ConfigurationError, "The database refuses this user", "Correct DATABASE_URL, or its pg_hba.conf."),
    NO_DATABASE: (
        ConfigurationError,
        "There is no such database",
        "Correct DATABASE_URL, or create it: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
    ),
    "42501": (ConfigurationError, "The database's user may not do this", _FORBIDDEN),
    "42P05": (ConfigurationError, BY_TRANSACTION, SESSION_PORT),
    "26000": (ConfigurationError, BY_TRANSACTION, SESSION_PORT),
    "25006": (
        ConfigurationError,
        "The database takes no writes",
        "Set DATABASE_URL to the primary, or end default_transaction_read_only there.",
    ),
}
_LOST_CLASSES = ("08", "53", "57", "58")
"""Classes of SQLSTATEs that are about the server's state, not about the statement."""

_TLS = re.compile(r"certificate|does not support SSL|sslmode|channel binding")
"""Words of libpq, which comes with the drivers and is in English."""


def sqlstate(error: BaseException | None) -> str | None:
    """The SQLSTATE of an error of SQLAlchemy's or of a driver's, where the server sent one."""
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def means_something(error: BaseException) -> bool:
    """Return whether an error of a statement has a known next step."""
    return sqlstate(error) in _MEANINGS


def meaning(error: BaseException) -> ThreadJuiceError:
    """Return the failure that an error of the database means, with the server's words but not the address."""
    words = f"{_words(getattr(error, 'orig', None) or error).rstrip('.')}."
    code = sqlstate(error)
    if code in _MEANINGS:
        kind, message, step = _MEANINGS[code]
        if message.endswith("."):
            return kind(message, step)
        if kind is TransientFailure and code == "53100":
            return TransientFailure(f"{message}: {words}", step, exhausted=True)
        return kind(f"{message}: {words}", step)
    if code is None and _TLS.search(words):
        step = "Set sslmode and sslrootcert in DATABASE_URL; sslrootcert is a file with the certificate of the CA."
        return ConfigurationError(f"There is no trusted connection to the database: {words}", step)
    return TransientFailure(
        f"The database cannot be reached: {words}", "Check that the server of DATABASE_URL runs and accepts this user."
    )


def _words(error: BaseException) -> str:
    lines = [line.strip("- \t") for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "failed:" in line), lines[0] if lines else "no answer")[:200]


def will_pass(error: BaseException, *, reached_before: bool) -> bool:
    """Return whether to try a refused connection again; ``reached_before`` says that this server was."""
    code = sqlstate(error)
    if code in (CANNOT_CONNECT_NOW, TOO_MANY_CONNECTIONS):
        return True
    return reached_before and (code[:2] in _LOST_CLASSES if code else not _TLS.search(str(error)))


def refusal_code(options: Mapping[str, Any]) -> str | None:
    """Return the SQLSTATE with which a server refuses connections of these options; None where it sends none.

    libpq passes on only the words of a refusal. So the server is asked once more while libpq traces the protocol.
    """
    from psycopg import Error, pq
    from psycopg.conninfo import make_conninfo

    chosen = {name: str(value) for name, value in options.items() if name in OURS and value is not None}
    read, write = os.pipe()
    try:
        connection = pq.PGconn.connect_start(make_conninfo("", **chosen).encode())
        connection.trace(write)
        _let_it_fail(connection, time.monotonic() + ASK_SECONDS)
        connection.untrace()
        connection.finish()
        os.set_blocking(read, False)
        said = os.read(read, 1 << 16)
    except (Error, BlockingIOError):
        return None
    finally:
        os.close(read)
        os.close(write)
    code = re.search(rb'ErrorResponse\t.* C "([0-9A-Z]{5})"', said)
    return code[1].decode() if code else None


def _let_it_fail(connection: Any, deadline: float) -> None:
    from psycopg.pq import PollingStatus

    while (left := deadline - time.monotonic()) > 0:
        status = connection.connect_poll()
        if status == PollingStatus.READING:
            select.select([connection.socket], [], [], left)
        elif status == PollingStatus.WRITING:
            select.select([], [connection.socket], [], left)
        else:
            return
