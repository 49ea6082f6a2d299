"""Findings: what a measurement came to, held against its threshold; for asset checks and ``threadjuice diagnose``.

The thresholds themselves belong with their subject: ``operations/monitoring/generation_rules.py``,
``operations/monitoring/errors_rules.py``, ``operations/monitoring/database_health_rules.py``,
``operations/monitoring/image_delivery_rules.py``.
"""

from collections.abc import Iterable

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.operations.environment.rules import Probe, State


class Finding(Model):
    """One line on a subject; ``runbook`` is a section of docs/EMERGENCY.md."""

    name: str
    state: State
    message: str
    next_step: str = ""
    runbook: str = "alerts"

    @property
    def passed(self) -> bool:
        """Whether nobody has to do anything."""
        return self.state in ("ok", "stand-in")


def judged(name: str, runbook: str, good: str, *problems: tuple[State, bool, str, str]) -> Finding:
    """The first of ``problems`` (state, whether it is one, message, next step) that is one, else ``good``."""
    for state, wrong, message, next_step in problems:
        if wrong:
            return Finding(name=name, state=state, message=message, next_step=next_step, runbook=runbook)
    return Finding(name=name, state="ok", message=good, runbook=runbook)


def of_probes(probes: Iterable[Probe], runbook: str) -> list[Finding]:
    """Findings of an environment check's rows."""
    return [
        Finding(**probe.model_dump(include={"name", "state", "message", "next_step"}), runbook=runbook)
        for probe in probes
    ]
