"""Errors of runs, grouped by cause: which count, and how many of a day need no look.

How they are read belongs in ``operations/monitoring/errors_store.py``, what kinds there are in ``failures.py``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.operations.findings import Finding, first_problem

NO_FAULTS = ("unsuitable", "usage")
"""Kinds that are editorial outcomes, or slips of an operator: shown, and not counted."""

TOLERATED, TOLERATED_SHARE = 3, 0.1
"""Errors of a day that need no look, and the share of the day's stories that may end in one."""

_KINDS_OF_CLASS = {"transient": ("transient",), "editorial": NO_FAULTS}


class ErrorGroup(Model):
    """Errors of one day with one cause; the text and where it happened are those of the newest."""

    fingerprint: str
    kind: str
    count: int
    first_at: datetime
    """When it was seen for the first time at all."""
    last_at: datetime
    asset: str
    partition: str
    run_id: str
    message: str
    next_step: str

    @property
    def of_class(self) -> str:
        """``transient``, ``permanent``, or ``editorial`` for what is no fault."""
        return class_of(self.kind)


def class_of(kind: str) -> str:
    """The class of a kind of failure."""
    return next((name for name, kinds in _KINDS_OF_CLASS.items() if kind in kinds), "permanent")


def by_class(kinds: Mapping[str, int]) -> dict[str, int]:
    """Errors by class, of errors by kind."""
    counts = dict.fromkeys(("transient", "permanent", "editorial"), 0)
    for kind, count in kinds.items():
        counts[class_of(kind)] += count
    return counts


def error_finding(kinds: Mapping[str, int], stories: int, groups: Sequence[ErrorGroup] = ()) -> Finding:
    """Whether errors of a day stay few, for as many stories as it had; the commonest cause is named."""
    errors = sum(count for kind, count in kinds.items() if kind not in NO_FAULTS)
    allowed = max(TOLERATED, round(stories * TOLERATED_SHARE))
    faults = [group for group in groups if group.kind not in NO_FAULTS]
    worst = max(faults, key=lambda group: group.count, default=None)
    message = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if kind not in NO_FAULTS) or "none"
    cause = f" Mostly {worst.asset}: {worst.message}" if worst else ""
    step = (worst.next_step if worst else "") or "Read error_report, the commonest cause first."
    return first_problem(
        "errors_stay_few",
        "alerts",
        f"Errors: {message}; {allowed} are tolerated.",
        ("failed", errors > 3 * allowed, f"Errors: {message}, far more than the {allowed} tolerated.{cause}", step),
        ("warning", errors > allowed, f"Errors: {message}, more than the {allowed} tolerated.{cause}", step),
    )
