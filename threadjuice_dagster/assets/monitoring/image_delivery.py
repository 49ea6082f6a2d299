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
    """Fetch pictures of the newest public stories and of some others as a browser does: status, type, cache, time."""
    from threadjuice_dagster.operations.monitoring.image_delivery import deliver, lacking, sampled

    reads = replica.reads()
    samples = sampled(reads.store.engine, seed_of(context.partition_key))
    delivered, never_made = deliver(samples, cdn), lacking(samples)
    return dg.MaterializeResult(
        metadata={**delivery_metadata(delivered), "stories": len(samples), "never made": never_made},
        check_results=list(results(delivery_findings(delivered, never_made))),
    )


def seed_of(day: str) -> int:
    """Return the seed by which a day's other stories are drawn."""
    return date.fromisoformat(day).toordinal()


def delivery_metadata(delivered: Sequence[Delivered]) -> dict[str, Any]:
    """Return the metadata; files that are wrong come first."""
    times = [file.first_byte_ms for file in delivered if file.status]
    weights = {kind: [file.bytes for file in delivered if file.found == kind] for kind in FORMATS}
    mean = [round(statistics.fmean(sizes) / 1000, 1) if sizes else 0 for sizes in weights.values()]
    places = Counter(file.place for file in delivered)
    ordered = sorted(delivered, key=lambda file: (not file.wrong, file.is_cacheable))
    shown = [{"wrong": file.wrong, "story": cut(file.story, 30), "type": file.content_type} for file in ordered]
    rows = [{**file.model_dump(), **more} for file, more in zip(ordered, shown, strict=True)]
    return {
        "as of": dg.MetadataValue.timestamp(now()),
        "files": len(delivered),
        "wrong": sum(bool(file.wrong) for file in delivered),
        "not cacheable": sum(not file.is_cacheable for file in delivered),
        "first byte ms, median": float(statistics.median(times)) if times else 0.0,
        "first byte ms, slowest": max(times, default=0.0),
        "bytes": sum(file.bytes for file in delivered),
        "places": ", ".join(f"{count} from {place}" for place, count in places.items()) or "none yet",
        "weight by format": bars(mean, f"Mean kB of {', '.join(FORMATS)}"),
        "by file": table(rows, COLUMNS),
    }
