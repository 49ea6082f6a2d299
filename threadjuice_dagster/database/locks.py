"""Locks that die with their holder: PostgreSQL advisory locks on one connection per process.

A run holds the lock of its id while it lives, so "is that run alive?" is "is its lock held?", on any
machine, with no clock and no process table.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa


def lock_key(name: str) -> int:
    """The signed 64-bit key PostgreSQL locks for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


class Locks:
    """The locks this process holds. They share a connection outside the pool, which a small pool could not spare.

    A lock may be taken again by the process that holds it, and is free once it was released as often.
    """

    def __init__(self, url: sa.URL) -> None:
        self._engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True)
        self._turn = threading.Lock()
        self._connection: sa.Connection | None = None

    @contextmanager
    def held(self, name: str) -> Iterator[bool]:
        """Hold the lock of ``name`` for the block; yields False, without waiting, if another process holds it."""
        got = self._ask(sa.func.pg_try_advisory_lock(lock_key(name)))
        try:
            yield got
        finally:
            if got:
                with suppress(sa.exc.DBAPIError):  # a lost connection has lost its locks
                    self._ask(sa.func.pg_advisory_unlock(lock_key(name)))

    @contextmanager
    def waited_for(self, name: str, tell: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock of ``name`` for the block, waiting until it is free; ``tell`` is called once if it is not."""
        told = False
        while True:
            with self.held(name) as got:
                if got:
                    yield
                    return
            if not told:
                tell()
                told = True
            time.sleep(0.2)

    def close(self) -> None:
        """Release everything."""
        if self._connection is not None:
            self._connection.close()

    def _ask(self, question: "sa.Function[bool]") -> bool:
        with self._turn:
            if self._connection is None or self._connection.invalidated or self._connection.closed:
                self._connection = self._engine.connect()
            return bool(self._connection.execute(sa.select(question)).scalar())


def is_held(connection: sa.Connection, name: str) -> bool:
    """Whether any process holds the lock of ``name`` now."""
    key = lock_key(name) & 0xFFFF_FFFF_FFFF_FFFF
    query = sa.text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND classid::bigint = :high AND objid::bigint = :low)"
    )
    return bool(connection.execute(query, {"high": key >> 32, "low": key & 0xFFFF_FFFF}).scalar())
