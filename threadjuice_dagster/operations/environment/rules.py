"""The report of an environment check: a row for each variable and each outside system, and a verdict on all rows.

Asking the systems belongs in ``operations/environment/service.py``.
"""

from collections import Counter
from typing import Literal

from pydantic import computed_field

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.operations.findings import STATES, Finding, State


class Probe(Finding):
    """The finding on one variable or outside system; ``latency_ms`` is None where nothing was asked."""

    kind: Literal["variable", "system"]
    latency_ms: float | None = None

    @classmethod
    def of(
        cls, found: Finding, name: str, kind: Literal["variable", "system"], latency_ms: float | None = None
    ) -> "Probe":
        """Return a finding as the row of a variable or system."""
        return cls(**{**found.model_dump(), "name": name, "kind": kind, "latency_ms": latency_ms})


class EnvironmentReport(Model):
    """All rows of a check. Only a failed row makes the report not ok: what is warned of works."""

    environment: str
    rows: tuple[Probe, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed()

    @property
    def counts(self) -> dict[State, int]:
        """Rows by state."""
        counted = Counter(row.state for row in self.rows)
        return {state: counted[state] for state in STATES}

    def failed(self, kind: str = "") -> list[Probe]:
        """Return the rows that failed, of one kind or of all."""
        return [row for row in self.rows if row.state == "failed" and kind in ("", row.kind)]

    def row(self, name: str) -> Probe:
        """Return the row of a variable or system."""
        return next(row for row in self.rows if row.name == name)
