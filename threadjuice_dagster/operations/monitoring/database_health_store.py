"""The database asked about itself: sessions, statements, locks, tables, and how long queries of ours take.

Always the primary: a replica has sessions and statistics of its own. What is too much is
``operations/monitoring/database_health_rules.py``.
"""

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.operations.monitoring.database_health_rules import Health, Running, Statement, TableFigures

SHOWN = 20
"""Rows of each kind that are looked at, the heaviest first."""

_SERVER = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most,
    (SELECT sum(numbackends)::int FROM pg_stat_database) AS used,
    pg_database_size(current_database()) AS bytes, deadlocks::int,
    round((100.0 * blks_hit / greatest(blks_hit + blks_read, 1))::numeric, 2)::float AS cache_hits
FROM pg_stat_database WHERE datname = current_database()
"""
_SESSIONS = """
SELECT coalesce(nullif(application_name, ''), 'unnamed') AS application, coalesce(state, 'unknown') AS state,
    count(*)::int AS sessions
FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT :shown
"""
# A dump takes as long as it takes; who waits for its turn by an advisory lock of ours is not held up.
_RUNNING = """
SELECT pid, extract(epoch FROM clock_timestamp() - query_start)::float AS seconds, application_name AS application,
    query AS statement, array_to_string(pg_blocking_pids(pid), ', ') AS blocked_by,
    wait_event_type IS NOT DISTINCT FROM 'Lock' AND wait_event <> 'advisory' AS waits
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND state = 'active'
    AND pid <> pg_backend_pid() AND application_name NOT IN ('pg_dump', 'pg_restore')
    AND wait_event IS DISTINCT FROM 'advisory' AND query_start < clock_timestamp() - interval '1 second'
ORDER BY query_start LIMIT :shown
"""
_TABLES = """
SELECT relname AS name, pg_total_relation_size(relid) AS bytes, n_live_tup AS rows, n_dead_tup AS dead,
    greatest(last_vacuum, last_autovacuum) AS vacuumed_at
FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT :shown
"""
_STATEMENTS = """
SELECT query AS statement, calls, mean_exec_time AS mean_ms, total_exec_time / 1000 AS total_seconds
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND calls > 1
ORDER BY total_exec_time DESC LIMIT :shown
"""
OWN = {
    "counts of stories": "SELECT status, sum(stories) FROM story_counts GROUP BY status",
    "the newest stories": "SELECT story_id FROM assignments WHERE status = 'published'"
    " ORDER BY created_at DESC, story_id LIMIT 50",
    "unused threads": "SELECT id FROM threads WHERE NOT used ORDER BY engagement DESC LIMIT 50",
    "the newest pages": "SELECT slug FROM publications WHERE withdrawn_at IS NULL ORDER BY published_at DESC LIMIT 50",
    "the newest change": "SELECT max(updated_at) FROM publications",
}
"""Queries like those the newsroom asks all the time; each reads a few rows at the end of an index."""

_LITERAL = re.compile(r"'(?:[^']|'')*'")


def measure(engine: sa.Engine) -> Health:
    """The database as it is now. Raises what the connection raises.

    Of tables that somebody has locked away nothing is known but how long that was waited for.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1500ms'")
        running = _rows(connection, _RUNNING)
        return Health(
            **_rows(connection, _SERVER)[0],
            sessions=tuple(tuple(row.values()) for row in _rows(connection, _SESSIONS)),
            running=tuple(_running(one) for one in running),
            waiting=tuple(_running(one) for one in running if one["waits"]),
            statements=_statements(connection),
            tables=tuple(TableFigures.model_validate(one) for one in _attempt(connection, _TABLES) or ()),
            own_ms={name: _milliseconds(connection, query) for name, query in OWN.items()},
        )


def newest_proven(engine: sa.Engine) -> tuple[datetime, str] | None:
    """When the newest backup that a restore has proven was taken, and its key in storage."""
    columns = t.backups.c
    proven = (
        sa.select(columns.taken_at, columns.key)
        .where(columns.proven_at.is_not(None), columns.deleted_at.is_(None))
        .order_by(columns.taken_at.desc(), columns.id.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(proven).one_or_none()
    return (row.taken_at, row.key) if row else None


def _statements(connection: sa.Connection) -> tuple[Statement, ...] | None:
    """What pg_stat_statements has; None where it is not installed, or not loaded."""
    if connection.scalar(sa.text("SELECT to_regclass('pg_stat_statements')")) is None:
        return None
    rows = _attempt(connection, _STATEMENTS)
    if rows is None:
        return None
    return tuple(Statement.model_validate({**row, "statement": _plain(row["statement"])}) for row in rows)


def _running(row: Mapping[str, Any]) -> Running:
    return Running.model_validate({**row, "statement": _plain(row["statement"])})


def _plain(statement: str) -> str:
    """A statement in one line, without the texts in it: they are none of an operator's business."""
    return " ".join(_LITERAL.sub("'…'", statement).split())[:300]


def _milliseconds(connection: sa.Connection, query: str) -> float:
    began = time.perf_counter()
    _attempt(connection, query)
    return round((time.perf_counter() - began) * 1000, 1)


def _attempt(connection: sa.Connection, query: str) -> list[dict[str, Any]] | None:
    """The rows of a query; None where the server refuses it, or keeps it waiting for a lock."""
    try:
        with connection.begin_nested():
            return _rows(connection, query)
    except sa.exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        return None


def _rows(connection: sa.Connection, query: str) -> list[dict[str, Any]]:
    values = {"shown": SHOWN} if ":shown" in query else {}
    return [dict(row._mapping) for row in connection.execute(sa.text(query), values)]
