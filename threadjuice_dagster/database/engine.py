"""Connections: how each one to PostgreSQL is opened, tested, bounded in time, and opened again after an outage.

What is asked over them belongs elsewhere. How many a process may open is decided in ``resources/postgres.py``.
"""

import functools
import json
import random
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa

from threadjuice_dagster.database.refusals import refusal_code, sqlstate, will_pass
from threadjuice_dagster.failures import PermanentFailure

STATEMENT_SECONDS = 60.0
"""Seconds an ordinary query may take, unless the settings say otherwise."""

UNHURRIED = "SET LOCAL statement_timeout = 0"
"""Begins the transactions of bulk work (imports, validation), whose queries take as long as they take."""

PATIENCE = 60.0
"""Seconds an engine that worked before tries to connect again: a restart takes less, recovery seldom more."""

P = ParamSpec("P")
R = TypeVar("R")

_TRIES = 5
_IDLE_IN_TRANSACTION = "10min"
_LIBPQ = {
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""Keepalives notice within a minute that a server is gone; UTF-8 is asked for where a server stores plain bytes."""

_DRIVER_SAYS_NUL = "(0x00)"
_NO_TEXT, _NO_JSON, _TOO_LONG = ("22021", "22P05"), "22P02", "54000"
_SET = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS limits (name, value)"
_reached: set[tuple[object, ...]] = set()

STARTERS: dict[str, Callable[[], None]] = {}
"""Functions that start an embedded server of this newsroom, by the folder of its socket."""


def pooled_engine(
    url: str | sa.URL, size: int, statement_seconds: float = STATEMENT_SECONDS, patience: float = PATIENCE
) -> sa.Engine:
    """An engine for ordinary queries: at most ``size`` connections, each tested before it is used.

    A thread waits a little longer for one of them than an outage may last.
    """
    limits = {
        "statement_timeout": f"{int(statement_seconds * 1000)}ms",
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION,
    }
    options = {"pool_size": size, "max_overflow": 0, "pool_pre_ping": True, "pool_timeout": patience + 10}
    return wait_for_server(_engine(url, limits, **options), patience)


def lone_engine(url: str | sa.URL, limits: dict[str, str] | None = None, **options: Any) -> sa.Engine:
    """An engine that opens a connection when asked and closes it when done, for locks, migrations and backups.

    Its queries have no limit, whatever the server's own default is; ``limits`` are settings of its sessions.
    """
    unlimited = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
    return wait_for_server(_engine(url, {**unlimited, **(limits or {})}, poolclass=sa.NullPool, **options))


def retry_lost_connection(call: Callable[P, R]) -> Callable[P, R]:
    """Repeat a call when its connection is lost; only for calls that may be made twice."""

    @functools.wraps(call)
    def tried(*arguments: P.args, **options: P.kwargs) -> R:
        for attempt in range(1, _TRIES + 1):
            try:
                return call(*arguments, **options)
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated or attempt == _TRIES:
                    raise
        raise AssertionError

    return tried


def read_only(engine: sa.Engine) -> sa.Engine:
    """Return the same engine with transactions in which the server refuses every write."""
    return engine.execution_options(postgresql_readonly=True)


def _engine(url: str | sa.URL, limits: dict[str, str], **options: Any) -> sa.Engine:
    url = sa.make_url(url)
    ours = {"application_name": "threadjuice", **_LIBPQ}
    given = {name: value for name, value in ours.items() if name not in url.query}
    engine = sa.create_engine(url, connect_args=given, hide_parameters=True, **options)
    sa.event.listen(engine, "handle_error", _refuse_text)
    chosen = {name: value for name, value in limits.items() if name not in str(url.query.get("options", ""))}
    sa.event.listen(engine, "connect", functools.partial(_limit, chosen))
    return engine


def _limit(limits: dict[str, str], connection: Any, _: Any) -> None:
    """Set the limits of a new session. They are not start parameters, since poolers refuse or ignore those."""
    before, connection.autocommit = connection.autocommit, True
    connection.execute(_SET, [list(limits), list(limits.values())])
    connection.autocommit = before


def _refuse_text(context: sa.ExceptionContext) -> None:
    """Refuse a text that no database stores with an error that says so."""
    error = context.original_exception
    code = sqlstate(error)
    half = code == _NO_JSON and _has_half_a_character(context.parameters)
    if isinstance(error, UnicodeEncodeError) or half or code in _NO_TEXT or _DRIVER_SAYS_NUL in str(error):
        problem = "holds a NUL character or half a character, which no database stores"
    elif code == _TOO_LONG:
        problem = "is longer than an index takes"
    else:
        return
    raise PermanentFailure(f"A text {problem}. Nothing was written.", "Change it where it comes from.") from error


def _has_half_a_character(parameters: Any) -> bool:
    """Return whether JSON among the parameters holds half a character; its wrapper keeps the value in ``obj``."""
    try:
        json.dumps(parameters, ensure_ascii=False, default=lambda value: getattr(value, "obj", None)).encode()
    except UnicodeEncodeError:
        return True
    return False


def wait_for_server(engine: sa.Engine, seconds: float = PATIENCE) -> sa.Engine:
    """Make an engine wait for a server that is starting or has no room, and for any that was reached before."""
    server = (engine.url.host, engine.url.port, engine.url.query.get("host"))

    @sa.event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _: Any, arguments: Any, options: Any) -> Any:
        deadline = time.monotonic() + seconds
        codes: dict[str, str | None] = {}
        while True:
            try:
                connection = dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError as error:
                if str(error) not in codes:
                    codes[str(error)] = refusal_code(options)
                error.sqlstate = codes[str(error)]
                start = STARTERS.get(str(engine.url.query.get("host")))
                if not will_pass(error, reached_before=start is not None or server in _reached):
                    raise
                if time.monotonic() > deadline:
                    _reached.discard(server)  # the next connection does not wait for it again
                    raise
                if start is not None:
                    start()
                time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 -- keeps processes apart, hides nothing
            else:
                _reached.add(server)
                return connection

    return engine
