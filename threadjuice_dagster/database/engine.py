"""Connections: how each one to PostgreSQL is opened, tested, bounded in time, and opened again after an outage.

What is asked over them belongs elsewhere. How many a process may open is decided in ``resources/postgres.py``.
"""

import functools
import random
import re
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa

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
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""A server that vanished without a word is noticed within a minute."""

_WILL_PASS = re.compile(
    "too many clients|too many connections|connection slots are reserved|is starting up|is shutting down"
    "|recovery mode|not yet accepting"
)
_WILL_NOT_PASS = re.compile("authentication failed|no pg_hba.conf entry|(role|database) .* does not exist")
_NO_TEXT = re.compile(r"\(0x00\)|Unicode (escape|(low|high) surrogate)|0x00 for encoding")
_TOO_LONG = "54000"
_reached: set[tuple[object, ...]] = set()

STARTERS: dict[str, Callable[[], None]] = {}
"""What starts a server that belongs to this newsroom, by the folder of its socket."""


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
    return patient(_engine(url, limits, **options), patience)


def lone_engine(url: str | sa.URL, limits: dict[str, str] | None = None, **options: Any) -> sa.Engine:
    """An engine that opens a connection when asked and closes it when done, for locks, migrations and backups.

    Its queries have no limit, whatever the server's own default is; ``limits`` are settings of its sessions.
    """
    unlimited = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
    return patient(_engine(url, {**unlimited, **(limits or {})}, poolclass=sa.NullPool, **options))


def lasting(call: Callable[P, R]) -> Callable[P, R]:
    """Make a call that can be made twice again when a connection is lost under it."""

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
    """The same engine, with transactions in which the server refuses every write."""
    return engine.execution_options(postgresql_readonly=True)


def _engine(url: str | sa.URL, limits: dict[str, str], **options: Any) -> sa.Engine:
    url = sa.make_url(url)
    settings = " ".join(f"-c {name}={value}" for name, value in limits.items())
    ours = {"application_name": "threadjuice", **_LIBPQ}
    given = {name: value for name, value in ours.items() if name not in url.query}
    given["options"] = f"{settings} {url.query.get('options', '')}".strip()  # what the address asks for comes last
    engine = sa.create_engine(url, connect_args=given, hide_parameters=True, **options)
    sa.event.listen(engine, "handle_error", _refuse_text)
    return engine


def _refuse_text(context: sa.ExceptionContext) -> None:
    """A text that no database stores is refused in words of ours, wherever it came from."""
    error = context.original_exception
    if isinstance(error, UnicodeEncodeError) or _NO_TEXT.search(str(error)):
        problem = "holds a NUL character or half a character, which no database stores"
    elif getattr(error, "sqlstate", None) == _TOO_LONG:
        problem = "is longer than an index takes"
    else:
        return
    raise PermanentFailure(f"A text {problem}. Nothing was written.", "Change it where it comes from.") from error


def patient(engine: sa.Engine, seconds: float = PATIENCE) -> sa.Engine:
    """Make an engine wait for a server that is going up or has no room, and for any this process has reached before."""
    server = (engine.url.host, engine.url.port, engine.url.query.get("host"))

    @sa.event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _: Any, arguments: Any, options: Any) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                connection = dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError as error:
                said = str(error)
                start = STARTERS.get(str(engine.url.query.get("host")))
                known = start is not None or server in _reached
                if not (_WILL_PASS.search(said) or (known and not _WILL_NOT_PASS.search(said))):
                    raise
                if time.monotonic() > deadline:
                    _reached.discard(server)  # what was waited for in vain is not waited for again
                    raise
                if start is not None:
                    start()
                time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 -- keeps processes apart, hides nothing
            else:
                _reached.add(server)
                return connection

    return engine
