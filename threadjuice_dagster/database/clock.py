"""The clocks there are: the database server's, and what was last written by any.

What they have to agree in is decided in ``operations/clock.py``.
"""

from datetime import datetime

import sqlalchemy as sa

from threadjuice_dagster.operations.clock import clock_problem, idle_problem

# By number, not by time: once the clock is right again, the next record is, whatever was written ahead of it.
_CLOCKS = """
SELECT clock_timestamp() AS server, greatest(
    (SELECT at FROM events ORDER BY id DESC LIMIT 1), (SELECT at FROM audit ORDER BY id DESC LIMIT 1),
    (SELECT at FROM pipeline_errors ORDER BY id DESC LIMIT 1), (SELECT at FROM model_usage ORDER BY id DESC LIMIT 1),
    (SELECT created_at FROM alerts ORDER BY number DESC LIMIT 1),
    (SELECT created_at FROM deployments ORDER BY number DESC LIMIT 1)
) AS newest
"""


def clocks(engine: sa.Engine) -> tuple[datetime, datetime | None]:
    """The server's time, and when a record was last written; None in a newsroom that has none."""
    with engine.connect() as connection:
        server, newest = connection.execute(sa.text(_CLOCKS)).one()
    return server, newest


def why_not_to_delete(engine: sa.Engine, now: datetime, *, unless_idle: bool = False) -> str:
    """Why nothing may be deleted for its age at a time that this machine takes for ``now``; empty if it may.

    ``unless_idle`` refuses as well where nothing was written for days, since ages are then not what they seem.
    """
    server, newest = clocks(engine)
    return clock_problem(now, server, newest) or (idle_problem(now, newest) if unless_idle else "")
