"""What a database looks like from inside, and from where on an operator should look at it.

How it is asked belongs in ``operations/monitoring/database_health_store.py``.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.operations.backups.rules import KEPT_DAYS, KEPT_MOST, KeptDatabase, kept_since
from threadjuice_dagster.operations.findings import Finding, first_problem

BACKUP_AGE = timedelta(hours=26)
"""The newest proven backup may be this old: a day, and the time a late one takes."""

AHEAD = 0.1
"""Hours that a backup may be dated ahead of this clock: two clocks differ by minutes at most."""

OWN_SLOWEST = 1.0
"""Seconds that queries of ours which read an index may take."""

CROWDED, FULL = 0.8, 0.95
"""Shares of the server's connections in use that are worth a look, and that stop somebody soon."""

BLOATED, BLOATED_ROWS, BLOATED_BYTES = 0.3, 10_000, 16 << 20
"""Share and number of dead rows from which a table of at least this size is bloated; autovacuum begins at 0.2."""

WAITING = 30.0
"""Seconds after which it matters that a transaction waits for another one; migrations give up after five."""

_RUNBOOK = "database-issues"


class Running(Model):
    """A statement that runs, or a transaction that waits for a lock."""

    pid: int
    seconds: float
    application: str
    statement: str
    blocked_by: str = ""


class Statement(Model):
    """What pg_stat_statements knows of one kind of statement."""

    statement: str
    calls: int
    mean_ms: float
    total_seconds: float


class TableFigures(Model):
    """One table as PostgreSQL's statistics have it; ``bytes`` with indexes, rows as estimated."""

    name: str
    bytes: int
    rows: int
    dead: int
    vacuumed_at: datetime | None

    @property
    def dead_share(self) -> float:
        """Dead rows of all."""
        return self.dead / max(self.rows + self.dead, 1)

    @property
    def is_bloated(self) -> bool:
        """Whether so much of it is dead that reading it costs noticeably more."""
        return self.bytes >= BLOATED_BYTES and self.dead >= BLOATED_ROWS and self.dead_share > BLOATED


class Health(Model):
    """The database at one moment. ``most`` and ``used`` are the server's connections, ``sessions`` this database's."""

    most: int
    used: int
    sessions: tuple[tuple[str, str, int], ...]
    running: tuple[Running, ...]
    waiting: tuple[Running, ...]
    statements: tuple[Statement, ...] | None
    tables: tuple[TableFigures, ...]
    bytes: int
    cache_hits: float
    deadlocks: int
    own_ms: dict[str, float]


def health_findings(health: Health, slow_seconds: float) -> list[Finding]:
    """Whether queries are fast, connections have room, no table is bloated and nobody waits for locks."""
    return [_queries(health, slow_seconds), _connections(health), _bloat(health), _locks(health)]


def backup_finding(taken_at: datetime | None, now: datetime, *, is_stored: bool = True) -> Finding:
    """Whether the newest backup that a restore has proven is recent, and still where it was stored."""
    hours = (now - taken_at).total_seconds() / 3600 if taken_at else 0.0
    step = "Run: threadjuice maintenance backup"
    message = f"The newest proven backup is {hours:.1f} hours old."
    return first_problem(
        "backup_is_recent",
        "backups",
        message,
        ("warning", taken_at is None, "No backup is proven yet.", step),
        ("warning", hours < -AHEAD, f"The newest proven backup is dated {-hours:.1f} hours ahead.", "Set the clock."),
        ("failed", not is_stored, f"{message} Its file is gone from storage.", step),
        ("failed", hours > BACKUP_AGE.total_seconds() / 3600, message, step),
    )


def kept_finding(kept: Sequence[KeptDatabase], live: str, now: datetime) -> Finding:
    """Whether the databases that restores put aside are few and leave in time; what they are and take in any case."""
    late = [one for one in kept if now - (kept_since(one.name, live) or now) > timedelta(days=KEPT_DAYS + 1)]
    size = sum(one.bytes for one in kept) / 1e6
    oldest = kept[0].name if kept else ""
    message = f"{len(kept)} databases that restores put aside take {size:,.0f} MB; the oldest is {oldest}."
    return first_problem(
        "databases_put_aside_are_few",
        _RUNBOOK,
        f"{message} They are dropped after {KEPT_DAYS} days." if kept else "No restore has put one aside.",
        (
            "warning",
            bool(late) or len(kept) > KEPT_MOST,
            message,
            f'See to it that nobody is connected to it, or drop it: DROP DATABASE "{oldest}";',
        ),
    )


def _queries(health: Health, slow: float) -> Finding:
    running = [one for one in health.running if one.seconds > slow]
    costly = [statement for statement in health.statements or () if statement.mean_ms > slow * 1000]
    own = {name: taken for name, taken in health.own_ms.items() if taken > OWN_SLOWEST * 1000}
    told = [f"Process {one.pid} has been running {one.seconds:.0f} s: {one.statement[:120]}" for one in running[:3]]
    told += [f"{one.mean_ms / 1000:.1f} s each, {one.calls} times: {one.statement[:120]}" for one in costly[:3]]
    told += [f"Our own query for {name} took {taken / 1000:.1f} s." for name, taken in own.items()]
    step = "Look at its plan with EXPLAIN; end one with SELECT pg_cancel_backend(PID)."
    good = f"None takes longer than {slow:g} s; ours took up to {max(health.own_ms.values(), default=0):.0f} ms."
    return first_problem("queries_are_fast", _RUNBOOK, good, ("warning", bool(told), " ".join(told), step))


def _connections(health: Health) -> Finding:
    message = f"{health.used} of the server's {health.most} connections are in use."
    step = "Find out who holds them (table of sessions), lower DATABASE_MAX_CONNECTIONS, or raise the server's limit."
    share = health.used / max(health.most, 1)
    return first_problem(
        "connections_have_room",
        _RUNBOOK,
        message,
        ("failed", share >= FULL, message, step),
        ("warning", share >= CROWDED, message, step),
    )


def _bloat(health: Health) -> Finding:
    bloated = [table for table in health.tables if table.is_bloated]
    message = ", ".join(f"{one.name} ({one.dead_share:.0%} of its rows are dead)" for one in bloated)
    step = f"Run: VACUUM (ANALYZE) {bloated[0].name}; and end transactions left open." if bloated else ""
    return first_problem("no_bloat", _RUNBOOK, "No table is.", ("warning", bool(bloated), f"Bloated: {message}.", step))


def _locks(health: Health) -> Finding:
    waits = [one for one in health.waiting if one.seconds > WAITING]
    message = "; ".join(f"process {wait.pid} for {wait.seconds:.0f} s, for {wait.blocked_by}" for wait in waits[:3])
    step = f"End what holds it: SELECT pg_terminate_backend({waits[0].blocked_by.split(',')[0]});" if waits else ""
    good = f"{len(health.waiting)} wait, none longer than {WAITING:.0f} s."
    return first_problem(
        "locks_are_free", _RUNBOOK, good, ("failed", bool(waits), f"Waiting for locks: {message}.", step)
    )
