"""What an environment check found: a row for each variable and each outside system, and the verdict over all rows.

Asking the systems belongs in ``operations/environment/service.py``.
"""

from collections import Counter
from typing import Literal

from pydantic import computed_field

from threadjuice_dagster.domain.model import Model

State = Literal["ok", "stand-in", "warning", "failed"]

STATES: tuple[State, ...] = ("ok", "stand-in", "warning", "failed")
"""From what nobody has to look at to what has to be mended; a stand-in works, in place of the system it names."""


class Probe(Model):
    """A variable or an outside system as it was found; ``latency_ms`` is None for what was not asked anything."""

    name: str
    kind: Literal["variable", "system"]
    state: State
    latency_ms: float | None = None
    message: str
    next_step: str = ""


class EnvironmentReport(Model):
    """Every row of a check. A warning works but wants looking at, so only a failed row makes a report not ok."""

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
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in STATES}

    def failed(self, kind: str = "") -> list[Probe]:
        """The rows that failed, of one kind or of all."""
        return [row for row in self.rows if row.state == "failed" and kind in ("", row.kind)]

    def row(self, name: str) -> Probe:
        """The row of a variable or system."""
        return next(row for row in self.rows if row.name == name)
