"""Engagement: what readers did on a day, by story, category and persona.

What is counted at all is decided in ``operations/engagement/rules.py``.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.plots import bars, frame_table
from threadjuice_dagster.assets.publication.site import site
from threadjuice_dagster.operations.monitoring.freshness import FRESH
from threadjuice_dagster.partitions import DAYS
from threadjuice_dagster.resources.postgres import Replica

LISTED = 20
"""Stories in the table, the most viewed ones."""

BEFORE = 27
"""Days before the partition's that the plot of views shows."""


@asset(
    kinds={"postgres", "pandas"},
    partitions_def=DAYS,
    deps=[site],
    freshness_policy=FRESH["engagement_metrics"].policy,
)
def engagement_metrics(context: dg.AssetExecutionContext, replica: Replica) -> dg.MaterializeResult[None]:
    """Count the views, read depth, shares and reactions of a day; nothing is stored about readers."""
    from threadjuice_dagster.operations.engagement.store import ViewCounts, through

    day = date.fromisoformat(context.partition_key)
    reads = replica.reads()
    view_counts = ViewCounts(through(reads.store.engine))
    metadata = engagement_metadata(view_counts.of_day(day), view_counts.views(day, BEFORE))
    return dg.MaterializeResult(metadata={**metadata, "read from": reads.source})


def engagement_metadata(counts: Sequence[Any], views: Sequence[Any]) -> dict[str, Any]:
    """Return the metadata: sums, tables, and plots of the last weeks and of how far stories were read.

    ``counts`` and ``views`` are what ``ViewCounts.of_day`` and ``ViewCounts.views`` return.
    """
    import pandas as pd

    from threadjuice_dagster.domain.story.page_events import QUARTERS
    from threadjuice_dagster.operations.engagement.rules import figures

    columns = ["story", "category", "persona", "event", "count", "dropped"]
    frame = pd.DataFrame([tuple(row) for row in counts], columns=columns).astype({"count": "int64"})
    by_story = figures(frame, "story")
    total = figures(frame.assign(all="all"), "all").sum()
    depth = [int(total[name]) for name in ("views", *(f"read_{quarter}" for quarter in QUARTERS))]
    return {
        **{name: int(total[name]) for name in ("views", "shares", "reactions")},
        "finished %": float(total["finished"]),
        "stories": len(by_story),
        "dropped": int(frame["dropped"].sum()),
        "views by day": bars([row.views for row in views], f"Views of {len(views)} days"),
        "depth": bars(depth, "Views, and those that read a quarter, half, three quarters, all"),
        "by story": frame_table(by_story.head(LISTED)),
        "by category": frame_table(figures(frame, "category")),
        "by persona": frame_table(figures(frame, "persona")),
    }
