"""Locks that die with their holder: PostgreSQL advisory locks on a connection of their own.

A run holds the lock of its id while it lives, so "is that run alive?" is "is its lock held?", on any
machine, with no clock and no process table.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa


def lock_key(name: str) -> int:
    """The signed 64-bit key PostgreSQL locks for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


@contextmanager
def held(engine: sa.Engine, name: str) -> Iterator[bool]:
    """Hold the lock of ``name`` for the block; yields False, without waiting, if someone else holds it."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        got = bool(connection.execute(sa.select(sa.func.pg_try_advisory_lock(lock_key(name)))).scalar())
        try:
            yield got
        finally:
            if got and not connection.invalidated:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(lock_key(name))))


def is_held(connection: sa.Connection, name: str) -> bool:
    """Whether any process holds the lock of ``name`` now."""
    key = lock_key(name) & 0xFFFF_FFFF_FFFF_FFFF
    query = sa.text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND classid::bigint = :high AND objid::bigint = :low)"
    )
    return bool(connection.execute(query, {"high": key >> 32, "low": key & 0xFFFF_FFFF}).scalar())
