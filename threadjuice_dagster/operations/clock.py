"""Whether a clock can be believed: nothing is deleted for its age by one that was set.

What is compared is read in ``database/clock.py``.
"""

from datetime import datetime, timedelta

from threadjuice_dagster.operations.findings import Finding, judged

APART = timedelta(minutes=5)
"""Between two clocks, or a clock and what was written by it: more is no drift, one of them is wrong."""

IDLE = timedelta(days=3)
"""A newsroom that wrote nothing for so long stood still, or its clock went ahead: only people can tell."""


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
    return judged("clocks_agree", "database-issues", "The clocks agree.", ("failed", bool(problem), problem, step))


def _apart(now: datetime, server: datetime) -> str:
    ahead = now > server
    seconds = round(abs(now - server).total_seconds())
    days, rest = divmod(seconds, 86_400)
    told = f"{days} d {rest // 3600} h" if days else f"{rest // 3600} h {rest % 3600 // 60} min"
    return f"{told} {'ahead of' if ahead else 'behind'}"
