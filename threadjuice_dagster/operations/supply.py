"""The supply of threads as operators see it: what a look at the places gave, and whether what is left lasts.

What is said of a shortage belongs in ``domain/writing/shortage.py``, counting in ``database/supply.py``.
"""

from collections.abc import Sequence

from threadjuice_dagster.domain.writing.shortage import PlaceReading, is_short, supply_advice, supply_message
from threadjuice_dagster.domain.writing.supply import Supply
from threadjuice_dagster.operations.findings import Finding
from threadjuice_dagster.sources.registry import Candidates


def readings(found: Candidates) -> list[PlaceReading]:
    """Return what a look at places gave, a reading for each."""
    read = [PlaceReading(spec=spec, threads=count) for spec, count in found.counts.items()]
    return read + [
        PlaceReading(spec=spec, problem=problem.message, next_step=problem.next_step)
        for spec, problem in found.problems.items()
    ]


def supply_finding(supply: Supply, places: Sequence[PlaceReading], days: float) -> Finding:
    """Return whether the unused threads last for so many ``days``; 0 asks for none."""
    short = is_short(supply, days)
    return Finding(
        name="supply_lasts_a_week",
        state="warning" if short else "ok",
        message=supply_message(supply, places, days),
        next_step=supply_advice(places) if short else "",
        runbook="too-few-threads",
    )
