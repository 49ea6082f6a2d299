"""Errors: the failures of a day's runs in one report by cause, the first thing to read when something is wrong.

How a failure is recorded belongs in ``assets/steps.py``.
"""

from datetime import UTC, date
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.findings import results, specs
from threadjuice_dagster.assets.plots import bars, table
from threadjuice_dagster.domain.language.text import cut
from threadjuice_dagster.operations.monitoring.errors_rules import by_class, error_finding
from threadjuice_dagster.operations.monitoring.freshness import FRESH
from threadjuice_dagster.partitions import DAYS
from threadjuice_dagster.resources.postgres import Replica

if TYPE_CHECKING:
    from threadjuice_dagster.operations.monitoring.errors_rules import ErrorGroup

COLUMNS = (
    "count", "class", "asset", "last seen", "message", "next step", "first seen", "run", "partition", "fingerprint"
)  # fmt: skip


@asset(
    kinds={"postgres"},
    partitions_def=DAYS,
    check_specs=specs("error_report", errors_stay_few="Few errors of the day are somebody's fault."),
    freshness_policy=FRESH["error_report"].policy,
)
def error_report(context: dg.AssetExecutionContext, replica: Replica) -> dg.MaterializeResult:
    """Group every failure of a day's runs by cause: class, place, count, first and last time, and what to do."""
    from threadjuice_dagster.operations.monitoring.errors_store import errors_of_day
    from threadjuice_dagster.operations.monitoring.generation_store import stories_of_day

    day = date.fromisoformat(context.partition_key)
    reads = replica.reads()
    errors = errors_of_day(reads.store.engine, day)
    stories = len(stories_of_day(reads.store.engine, day))
    return dg.MaterializeResult(
        metadata={
            "errors": errors.kinds.total(),
            **by_class(errors.kinds),
            "causes": errors.causes,
            "by hour": bars(errors.hours, "Errors by hour, UTC"),
            "by cause": table([_row(group) for group in errors.groups], COLUMNS),
            "read from": reads.source,
        },
        check_results=list(results([error_finding(errors.kinds, stories, errors.groups)], day)),
    )


def _row(group: "ErrorGroup") -> dict[str, str | int]:
    return {
        "count": group.count,
        "class": group.of_class if group.kind in (group.of_class, "permanent") else f"{group.of_class}, {group.kind}",
        "asset": group.asset,
        "message": cut(group.message, 300),
        "next step": cut(group.next_step, 200),
        "first seen": f"{group.first_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        "last seen": f"{group.last_at.astimezone(UTC):%H:%M}",
        "partition": group.partition,
        "run": group.run_id,
        "fingerprint": group.fingerprint,
    }
