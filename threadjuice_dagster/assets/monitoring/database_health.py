"""Database health: statements, connections, locks, bloat and growth, as of the moment it is materialized.

How the database is asked belongs in ``operations/monitoring/database_health_store.py``.
"""

from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.findings import results, specs
from threadjuice_dagster.assets.plots import bars, table
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.operations.clock import clock_finding
from threadjuice_dagster.operations.findings import Finding
from threadjuice_dagster.operations.monitoring.database_health_rules import (
    Health,
    backup_finding,
    health_findings,
    kept_finding,
)
from threadjuice_dagster.operations.monitoring.freshness import FRESH
from threadjuice_dagster.operations.monitoring.thresholds import Thresholds
from threadjuice_dagster.partitions import DAYS
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.storage import Storage

if TYPE_CHECKING:
    import sqlalchemy as sa

BEFORE = 27
"""Days before today that the plot of sizes shows."""

CHECKS = specs(
    "database_health",
    queries_are_fast="No statement takes longer than SLOW_QUERY_SECONDS, on average or now.",
    connections_have_room="The server's connections are not nearly used up.",
    no_bloat="No large table consists of dead rows to a considerable part.",
    locks_are_free="Nobody waits long for a lock that another transaction holds.",
    clocks_agree="This machine's clock is the database server's, and nothing was written at a time still to come.",
    backup_is_recent="The newest backup that a restore has proven is at most 26 hours old, and in storage.",
    databases_put_aside_are_few="Restores have left at most five databases behind, none older than a month.",
)
_SIZE = "size MB"


@asset(
    kinds={"postgres"},
    partitions_def=DAYS,
    deps=["expired_backups", "content_cleanup"],
    check_specs=CHECKS,
    freshness_policy=FRESH["database_health"].policy,
)
def database_health(
    context: dg.AssetExecutionContext, database: Database, backups: Storage, thresholds: Thresholds
) -> dg.MaterializeResult:
    """Measure slow statements, connections, locks, bloat and size of the primary, as of now."""
    from threadjuice_dagster.operations.monitoring.database_health_store import measure

    engine = database.store.engine
    health = measure(engine)
    findings = [
        *health_findings(health, thresholds.slow_query_seconds),
        agreement(engine),
        newest_backup(engine, backups),
        databases_put_aside(engine),
    ]
    sizes = sizes_by_day(context.instance, now().astimezone(UTC).date())
    return dg.MaterializeResult(metadata=health_metadata(health, sizes), check_results=list(results(findings)))


def agreement(engine: "sa.Engine") -> Finding:
    """Return whether this machine's clock and the database server's agree."""
    from threadjuice_dagster.operations.clock import clocks

    return clock_finding(now(), *clocks(engine))


def newest_backup(engine: "sa.Engine", backups: Storage) -> Finding:
    """Return whether the newest proven backup is recent and still in storage."""
    from threadjuice_dagster.operations.monitoring.database_health_store import newest_proven

    newest = newest_proven(engine)
    return backup_finding(newest and newest[0], now(), is_stored=newest is None or backups.exists(newest[1]))


def databases_put_aside(engine: "sa.Engine") -> Finding:
    """Return whether restores have left too many or too old databases behind."""
    from threadjuice_dagster.operations.backups.restore_server import kept_databases

    live = str(engine.url.database)
    return kept_finding(kept_databases(engine, live), live, now())


def sizes_by_day(instance: dg.DagsterInstance, today: date) -> list[float]:
    """Return the last size in MB of each of the days before, oldest first; days without one are left out."""
    key = dg.AssetKey("database_health")
    days = [f"{today - timedelta(days=number):%Y-%m-%d}" for number in range(BEFORE, 0, -1)]
    newest = instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(days))
    if not newest:
        return []
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, storage_ids=list(newest.values())), limit=len(newest)
    ).records
    made = {record.partition_key: record.asset_materialization for record in records}
    sizes = [made[day].metadata.get(_SIZE) for day in days if made.get(day)]  # type: ignore[union-attr]
    return [float(size.value) for size in sizes if size is not None]  # type: ignore[arg-type]


def health_metadata(health: Health, sizes: list[float]) -> dict[str, Any]:
    """Return the metadata; ``sizes`` are those of the days before."""
    size = round(health.bytes / 1e6, 2)
    of_tables = [{**figures.model_dump(), "dead %": round(100 * figures.dead_share, 1)} for figures in health.tables]
    statements = [statement.model_dump() for statement in health.statements or ()]
    own = [{"query": name, "ms": taken} for name, taken in health.own_ms.items()]
    return {
        "as of": dg.MetadataValue.timestamp(now()),
        _SIZE: size,
        "growth MB": round(size - sizes[-1], 2) if sizes else 0.0,
        "connections": health.used,
        "connections, most": health.most,
        "slowest own query ms": max(health.own_ms.values()),
        "cache hits %": health.cache_hits,
        "deadlocks": health.deadlocks,
        "waiting for locks": len(health.waiting),
        "dead rows": sum(figures.dead for figures in health.tables),
        "size by day": bars([*sizes, size], "MB, day by day"),
        "sessions": table(
            [{"application": name, "state": state, "sessions": count} for name, state, count in health.sessions],
            ["application", "state", "sessions"],
        ),
        "running": table([session.model_dump() for session in health.running], list(_RUNNING)),
        "tables": table(of_tables, ["name", "bytes", "rows", "dead", "dead %", "vacuumed_at"]),
        "own queries": table(own, ["query", "ms"]),
        "statements": "pg_stat_statements is not installed."
        if health.statements is None
        else table(statements, ["statement", "calls", "mean_ms", "total_seconds"]),
    }


_RUNNING = ("pid", "seconds", "application", "statement", "blocked_by")
