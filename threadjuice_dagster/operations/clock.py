"""Whether a clock can be believed: nothing is deleted for its age by one that was set.

The clocks there are: this machine's, the database server's, and the one that wrote the newest record.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from threadjuice_dagster.operations.findings import Finding, first_problem

if TYPE_CHECKING:
    import sqlalchemy as sa

APART = timedelta(minutes=5)
"""Between two clocks, or a clock and what was written by it: more is no drift, one of them is wrong."""

IDLE = timedelta(days=3)
"""A newsroom that wrote nothing for so long stood still, or its clock went ahead: only people can tell."""


# The newest record is found by its number, not by its time: a record that a fast clock dated ahead counts only until
# the next one is written.
_CLOCKS = """
SELECT clock_timestamp() AS server, greatest(
    (SELECT at FROM events ORDER BY id DESC LIMIT 1), (SELECT at FROM audit ORDER BY id DESC LIMIT 1),
    (SELECT at FROM pipeline_errors ORDER BY id DESC LIMIT 1), (SELECT at FROM model_usage ORDER BY id DESC LIMIT 1),
    (SELECT created_at FROM alerts ORDER BY number DESC LIMIT 1),
    (SELECT created_at FROM deployments ORDER BY number DESC LIMIT 1)
) AS newest
"""


def clocks(engine: "sa.Engine") -> tuple[datetime, datetime | None]:
    """Return the server's time, and when a record was last written (None in a newsroom that has none)."""
    with engine.connect() as connection:
        server, newest = connection.exec_driver_sql(_CLOCKS).one()
    return server, newest


def why_not_to_delete(engine: "sa.Engine", now: datetime, *, unless_idle: bool = False) -> str:
    """Return why nothing may be deleted for its age at ``now``, this machine's time; empty if it may.

    ``unless_idle`` refuses also where nothing was written for days, since ages may then be wrong.
    """
    server, newest = clocks(engine)
    return clock_problem(now, server, newest) or (idle_problem(now, newest) if unless_idle else "")


def clock_problem(now: datetime, server: datetime, newest: datetime | None) -> str:
    """Why this machine's clock is not to be believed; empty if it is. ``newest`` is when a record was last written."""
    if abs(now - server) > APART:
        return f"This machine's clock is {_apart(now, server)} the database server's."
    if newest and newest - now > APART:
        return f"The newest record is of {newest:%Y-%m-%d %H:%M} UTC, which is still to come: a clock was set back."
    return ""


def idle_problem(now: datetime, newest: datetime | None) -> str:
    """Why ages may be wrong by days although clocks agree; empty if the newsroom has been at work lately."""
    if newest and now - newest > IDLE:
        days = (now - newest).days
        return f"Nothing was written for {days} days: the newsroom stood still, or the clock was set ahead."
    return ""


def clock_finding(now: datetime, server: datetime, newest: datetime | None) -> Finding:
    """Whether the clocks of this machine and of the database server agree, and with what was written by them."""
    problem = clock_problem(now, server, newest)
    step = "Have both machines keep time by NTP (timedatectl); until then nothing is deleted for its age."
    return first_problem(
        "clocks_agree", "database-issues", "The clocks agree.", ("failed", bool(problem), problem, step)
    )


def _apart(now: datetime, server: datetime) -> str:
    ahead = now > server
    seconds = round(abs(now - server).total_seconds())
    days, rest = divmod(seconds, 86_400)
    length = f"{days} d {rest // 3600} h" if days else f"{rest // 3600} h {rest % 3600 // 60} min"
    return f"{length} {'ahead of' if ahead else 'behind'}"
