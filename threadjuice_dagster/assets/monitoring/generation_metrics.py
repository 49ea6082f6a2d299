"""Generation: how the stories of a day ended, how long they took and what they cost.

What counts as what belongs in ``operations/monitoring/generation_rules.py``.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.findings import results, specs
from threadjuice_dagster.assets.plots import bars, frame_table, table
from threadjuice_dagster.operations.monitoring.freshness import FRESH
from threadjuice_dagster.operations.monitoring.thresholds import Thresholds
from threadjuice_dagster.partitions import DAYS
from threadjuice_dagster.resources.postgres import Replica

if TYPE_CHECKING:
    import pandas as pd

BEFORE = 27
"""Days before the partition's that the plot of costs shows."""

TIMED = 500
"""Runs of a day whose beginning is looked up."""

CHECKS = specs(
    "generation_metrics",
    generation_succeeds="Few stories of the day failed.",
    gates_let_enough_through="The gates kept back at most REJECTION_ALERT_SHARE of the day's stories.",
    spend_is_within_budget="What the day cost is within DAILY_BUDGET_USD, and not close to it.",
)


@asset(
    kinds={"postgres", "pandas"},
    partitions_def=DAYS,
    deps=["site"],
    check_specs=CHECKS,
    freshness_policy=FRESH["generation_metrics"].policy,
)
def generation_metrics(
    context: dg.AssetExecutionContext, replica: Replica, thresholds: Thresholds
) -> dg.MaterializeResult:
    """Count the stories of a day by outcome, reason, persona, category and model, with time, tokens and cost."""
    from threadjuice_dagster.operations.monitoring import generation_store as figures
    from threadjuice_dagster.operations.monitoring.generation_rules import generation_findings

    day = date.fromisoformat(context.partition_key)
    reads = replica.reads()
    engine = reads.store.engine
    stories, usage = figures.stories_of_day(engine, day), figures.usage_of_day(engine, day)
    stories = figures.with_seconds(stories, started_at(context.instance, stories["run_id"].dropna()))
    spent = figures.spent_by_day(engine, day, BEFORE)
    findings = generation_findings(stories, usage, thresholds.daily_budget_usd, thresholds.rejection_share)
    return dg.MaterializeResult(
        metadata={**generation_metadata(stories, usage, spent), "read from": reads.source},
        check_results=list(results(findings, day)),
    )


def started_at(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, datetime]:
    """Return when runs started_at, by their ids; runs that were deleted are left out."""
    ids = list(dict.fromkeys(run_ids))[:TIMED]
    records = instance.get_run_records(dg.RunsFilter(run_ids=ids)) if ids else []
    return {
        record.dagster_run.run_id: datetime.fromtimestamp(record.start_time, UTC)
        for record in records
        if record.start_time
    }


def generation_metadata(stories: "pd.DataFrame", usage: "pd.DataFrame", spent: list[float]) -> dict[str, Any]:
    """Return the metadata: the day in numbers, and its stories by category, persona, model, step and purpose."""
    from threadjuice_dagster.operations.monitoring.generation_rules import OUTCOMES, cut, reasons, summed
    from threadjuice_dagster.operations.monitoring.generation_store import STEPS

    numbers = summed(stories, usage)
    outcomes = [numbers[name] for name in OUTCOMES]
    by_purpose = usage.groupby("purpose")[["requests", "input_tokens", "output_tokens", "cost_usd"]].sum()
    refused = [{"reason": name, "stories": count} for name, count in reasons(stories).most_common(20)]
    steps = stories[list(STEPS)].median().dropna().round(1)
    taken = [{"step": str(name), "seconds": float(seconds)} for name, seconds in steps.items()]
    return {
        **numbers,
        "outcomes": bars(outcomes, f"Stories that were {', '.join(OUTCOMES)}"),
        "cost by day": bars([round(dollars, 2) for dollars in spent], f"US dollars of {len(spent)} days"),
        "by reason": table(refused, ["reason", "stories"]),
        **{f"by {name}": frame_table(cut(stories, name)) for name in ("category", "persona", "model")},
        "by step": table(taken, ["step", "seconds"]),
        "by purpose": frame_table(by_purpose),
    }
