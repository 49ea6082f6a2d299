"""Locks that die with their holder: PostgreSQL advisory locks on one connection per process.

A run holds the lock of its id while it lives. So a run is alive if its lock is held, on any machine, and no clock or
process table is needed. A server that restarts forgets all locks: a thread watches the connection and takes them again
at once, and no run counts as dead before there was time for that.
"""

import hashlib
import logging
import os
import select
import socket
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.refusals import NO_DATABASE, sqlstate
from threadjuice_dagster.database.suitability import require_session
from threadjuice_dagster.failures import ThreadJuiceError

log = logging.getLogger(__name__)

GRACE = 2.0
"""Seconds that processes have to take their locks again after an outage, before one is thought dead."""

LONGEST_PAUSE = 30.0
"""Seconds between two tries to take lost locks again, while the server cannot be reached."""


def lock_key(name: str) -> int:
    """Return the signed 64-bit key that PostgreSQL locks for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(errors="replace"), digest_size=8).digest(), "big", signed=True)


class Locks:
    """The locks this process holds. They share a connection outside the pool, which a small pool could not spare.

    A lock may be taken again by the process that holds it, and is free once it was released as often.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self._engine = lone_engine(url, isolation_level="AUTOCOMMIT")
        self._turn = threading.RLock()
        self._connection: sa.Connection | None = None
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, name: str) -> Iterator[bool]:
        """Hold the lock of ``name`` for the block; yields False, without waiting, if another process holds it."""
        got = self._take(name)
        try:
            yield got
        finally:
            if got:
                self._release(name)

    @contextmanager
    def waited_for(self, name: str, say: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock of ``name`` for the block, waiting until it is free; ``say`` is called once if it is not."""
        said = False
        while True:
            with self.held(name) as got:
                if got:
                    yield
                    return
            if not said:
                say()
                said = True
            time.sleep(0.2)

    def kept(self, names: Sequence[str]) -> bool:
        """Hold one of these locks until the process ends; return False and keep no connection if all are taken."""
        with self._turn:
            if any(self._held[name] for name in names) or any(map(self._take, names)):
                return True
            if not +self._held:
                self.close()
            return False

    def kept_of(self, names: Sequence[str]) -> int:
        """Hold the free ones of these locks until the process ends, and return how many they are."""
        with self._turn:
            return sum(map(self._take, names))

    def close(self) -> None:
        """Release everything."""
        with self._turn:
            connection, self._connection = self._connection, None
            self._held.clear()
            if connection is not None:
                connection.close()

    def _take(self, name: str) -> bool:
        with self._turn:
            if self._held[name] or self._ask(sa.func.pg_try_advisory_lock(lock_key(name))):
                self._held[name] += 1
            return self._held[name] > 0

    def _release(self, name: str) -> None:
        with self._turn:
            self._held[name] -= 1
            if self._held[name] <= 0:
                del self._held[name]
                with suppress(sa.exc.DBAPIError, ThreadJuiceError):  # a lost connection has lost its locks
                    self._ask(sa.func.pg_advisory_unlock(lock_key(name)))

    def _ask(self, question: "sa.ColumnElement[bool]") -> bool:
        """Return the answer of the server; a lost connection is replaced by one that holds the same locks."""
        with self._turn:
            if self._connection is not None and not self._connection.invalidated:
                try:
                    return bool(self._connection.scalar(sa.select(question)))
                except sa.exc.DBAPIError as error:
                    if not error.connection_invalidated:
                        raise
            self._connection = self._engine.connect()
            require_session(self._connection)
            driver: Any = self._connection.connection.driver_connection
            line = socket.socket(fileno=os.dup(driver.fileno()))
            threading.Thread(target=_watch, args=(weakref.ref(self), self._connection, line), daemon=True).start()
            for name in +self._held:
                if not self._connection.scalar(sa.select(sa.func.pg_try_advisory_lock(lock_key(name)))):
                    log.warning("While the database was away, another process took the lock of %s.", name)
            return bool(self._connection.scalar(sa.select(question)))

    def _lives_on(self, connection: sa.Connection, line: socket.socket, *, give_up: bool) -> bool:
        """Return whether this connection is still in use; it is tested if the server sent something unasked.

        ``give_up`` ends the watch where the database is gone for longer than a restore takes.
        """
        with self._turn:
            if self._connection is connection and _has_spoken(line, 0):
                try:
                    self._ask(sa.true())
                except (
                    sa.exc.DBAPIError,
                    ThreadJuiceError,
                ) as error:  # the next caller gets the error
                    if give_up and sqlstate(error) == NO_DATABASE:
                        self._connection = None
            return self._connection is connection


def _watch(locks: "weakref.ref[Locks]", connection: sa.Connection, line: socket.socket) -> None:
    """Replace a connection at once that is lost while nobody uses it; ``line`` is its socket."""
    pause = 1.0
    with line:
        while True:
            _has_spoken(line, 1.0)
            owner = locks()
            if owner is None or not owner._lives_on(connection, line, give_up=pause >= LONGEST_PAUSE):
                return
            del owner
            if _has_spoken(line, 0):  # the line is dead, and there is no other yet
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)


def _has_spoken(line: socket.socket, seconds: float) -> bool:
    """Return whether data, or the end of the connection, arrives within so many seconds."""
    return bool(select.select([line], [], [], seconds)[0])


def is_held(connection: sa.Connection, name: str) -> bool:
    """Return whether any process holds the lock of ``name`` now.

    If no session is older than ``GRACE``, the server may just have restarted, so the answer waits until locks are back.
    """
    key = lock_key(name) & 0xFFFF_FFFF_FFFF_FFFF
    values = {"high": key >> 32, "low": key & 0xFFFF_FFFF}
    held = connection.execute(_HELD, values).scalar()
    if not held and (young := GRACE - float(connection.execute(_OLDEST).scalar() or 0)) > 0:
        time.sleep(min(young, GRACE))
        held = connection.execute(_HELD, values).scalar()
    return bool(held)


_HELD = sa.text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND classid::bigint = :high AND objid::bigint = :low)"
)
_OLDEST = sa.text(
    "SELECT extract(epoch FROM clock_timestamp() - min(backend_start)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user"
)
