"""Image delivery: pictures of public stories really fetched, as of the moment it is materialized.

Which public stories lack files is a sweep over all of them: ``assets/publication/image_library.py``.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.findings import results, specs
from threadjuice_dagster.assets.plots import bars, table
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.domain.language.text import cut
from threadjuice_dagster.operations.monitoring.freshness import FRESH
from threadjuice_dagster.operations.monitoring.image_delivery_rules import FORMATS, Delivered, delivery_findings
from threadjuice_dagster.partitions import DAYS
from threadjuice_dagster.resources.postgres import Replica
from threadjuice_dagster.resources.storage import Storage

CHECKS = specs(
    "image_delivery",
    pictures_are_delivered="Every fetched file answers 200, is of its format by its bytes and by name, and is whole.",
    pictures_are_cacheable="Caches may keep our pictures for long, and need not ask again.",
)
COLUMNS = ("wrong", "story", "width", "format", "place", "status", "first_byte_ms", "bytes", "type", "cache_control")


@asset(
    kinds={"http"},
    partitions_def=DAYS,
    deps=["image_library"],
    check_specs=CHECKS,
    freshness_policy=FRESH["image_delivery"].policy,
)
def image_delivery(context: dg.AssetExecutionContext, replica: Replica, cdn: Storage) -> dg.MaterializeResult:
    """Files of the newest public stories and of some others, fetched as a browser does: status, type, cache, time."""
    from threadjuice_dagster.operations.monitoring.image_delivery import deliver, lacking, sampled

    reads = replica.reads()
    samples = sampled(reads.store.engine, seed_of(context.partition_key))
    delivered, never_made = deliver(samples, cdn), lacking(samples)
    return dg.MaterializeResult(
        metadata={**delivery_metadata(delivered), "stories": len(samples), "never made": never_made},
        check_results=list(results(delivery_findings(delivered, never_made))),
    )


def seed_of(day: str) -> int:
    """By what lot other stories are drawn on a day."""
    return date.fromisoformat(day).toordinal()


def delivery_metadata(delivered: Sequence[Delivered]) -> dict[str, Any]:
    """What an operator sees; files that are wrong come first."""
    times = [one.first_byte_ms for one in delivered if one.status]
    weights = {kind: [one.bytes for one in delivered if one.found == kind] for kind in FORMATS}
    mean = [round(statistics.fmean(found) / 1000, 1) if found else 0 for found in weights.values()]
    places = Counter(one.place for one in delivered)
    ordered = sorted(delivered, key=lambda one: (not one.wrong, one.is_cacheable))
    shown = [{"wrong": one.wrong, "story": cut(one.story, 30), "type": one.content_type} for one in ordered]
    rows = [{**one.model_dump(), **more} for one, more in zip(ordered, shown, strict=True)]
    return {
        "as of": dg.MetadataValue.timestamp(now()),
        "files": len(delivered),
        "wrong": sum(bool(one.wrong) for one in delivered),
        "not cacheable": sum(not one.is_cacheable for one in delivered),
        "first byte ms, median": float(statistics.median(times)) if times else 0.0,
        "first byte ms, slowest": max(times, default=0.0),
        "bytes": sum(one.bytes for one in delivered),
        "places": ", ".join(f"{count} from {place}" for place, count in places.items()) or "none yet",
        "weight by format": bars(mean, f"Mean kB of {', '.join(FORMATS)}"),
        "by file": table(rows, COLUMNS),
    }
