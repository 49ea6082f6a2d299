"""The gates a story has to pass, and what they say.

How an assessment becomes findings is decided in ``domain/judging/verdicts.py``.
"""

from typing import Literal, NamedTuple

from threadjuice_dagster.domain.model import Model

TEXT_GATES: tuple[str, ...] = ("meets_quality_threshold", "is_appropriate", "quotes_are_grounded", "is_original")
PICTURE_GATE = "image_is_licensed"
GATES: tuple[str, ...] = (*TEXT_GATES, PICTURE_GATE)
"""Every gate a story has to pass, in the order they are evaluated."""

QUALITY_THRESHOLD = 8.0
"""The lowest overall score, of 10, that is published."""


Outcome = Literal["pass", "hold", "reject"]


class GateFinding(NamedTuple):
    """What a gate says of an assessment. A story that did not pass and is ``held`` waits for a person to decide."""

    passed: bool
    message: str
    held: bool = False

    @property
    def outcome(self) -> Outcome:
        """Whether the story passes the gate, waits for a person, or is rejected."""
        return "pass" if self.passed else "hold" if self.held else "reject"


class GateVerdict(Model):
    """What one gate said of one story. An override lets it through, with the name and reason given."""

    gate: str
    passed: bool
    message: str
    held: bool = False
    overridden_by: str | None = None
    override_reason: str | None = None

    @property
    def lets_through(self) -> bool:
        """Passed, or overruled by an operator."""
        return self.passed or self.overridden_by is not None
