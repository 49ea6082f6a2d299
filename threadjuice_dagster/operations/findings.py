"""Findings: what a look at one subject came to, how bad that is, and what to do next.

Environment checks, lines of the deployment checklist, thresholds of the monitoring and ``threadjuice diagnose`` all
report findings. A threshold itself belongs in the rules of its subject.
"""

from collections.abc import Iterable
from typing import Literal

from threadjuice_dagster.domain.model import Model

State = Literal["ok", "stand-in", "warning", "failed"]

STATES: tuple[State, ...] = ("ok", "stand-in", "warning", "failed")
"""From fine to broken. A stand-in works in place of the system that is not configured."""


class Finding(Model):
    """One line on a subject; ``runbook`` is a section of docs/EMERGENCY.md."""

    name: str = ""
    state: State
    message: str
    next_step: str = ""
    runbook: str = "alerts"

    @property
    def passed(self) -> bool:
        """Whether nobody has to do anything."""
        return self.state in ("ok", "stand-in")


def finding(state: State, message: str, next_step: str = "") -> Finding:
    """Return a finding whose name and runbook the caller adds."""
    return Finding(state=state, message=message, next_step=next_step)


def first_problem(name: str, runbook: str, good: str, *problems: tuple[State, bool, str, str]) -> Finding:
    """Return the first of ``problems`` (state, whether it applies, message, next step) that applies, else ``good``."""
    for state, applies, message, next_step in problems:
        if applies:
            return Finding(name=name, state=state, message=message, next_step=next_step, runbook=runbook)
    return Finding(name=name, state="ok", message=good, runbook=runbook)


def in_runbook(findings: Iterable[Finding], runbook: str) -> list[Finding]:
    """Return the findings with the section of docs/EMERGENCY.md that treats them."""
    return [found.model_copy(update={"runbook": runbook}) for found in findings]
