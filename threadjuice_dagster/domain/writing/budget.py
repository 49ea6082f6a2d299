"""The day's budget: what calls to a model may still cost today, and what an operator reads about it.

A day is a UTC day, as everywhere in the figures. What a request costs belongs in ``domain/writing/costs.py``, counting
over all processes in ``database/spending.py``.
"""

from typing import Literal, NamedTuple

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.failures import BudgetSpent, ConfigurationError, ThreadJuiceError

UNPRICED = "Set OPENAI_PRICE_INPUT and OPENAI_PRICE_OUTPUT, in US dollars per million tokens; 0 where it costs nothing."

State = Literal["unlimited", "open", "spent", "too small", "unpriced"]


class Spent(NamedTuple):
    """US dollars of a day: spent, and reserved for requests under way."""

    spent: float = 0.0
    reserved: float = 0.0


class Budget(Model):
    """A day's budget (0 is none), what was spent and is reserved for requests under way, and the least a story costs.

    ``request_usd`` is what a request for a story may cost before a word of its thread is counted; None where the price
    of ``model`` is not known.
    """

    daily_usd: float
    spent_usd: float = 0.0
    reserved_usd: float = 0.0
    model: str = ""
    request_usd: float | None = 0.0

    @property
    def state(self) -> State:
        """Whether stories can be written today, as far as money goes."""
        if self.request_usd is None:
            return "unpriced"
        if not self.daily_usd:
            return "unlimited"
        if self.request_usd > self.daily_usd:
            return "too small"
        return "spent" if self.spent_usd + self.request_usd > self.daily_usd else "open"

    @property
    def message(self) -> str:
        """One sentence for people."""
        spent = f"{self.spent_usd:.4f} USD" + (f" of {self.daily_usd:g}" if self.daily_usd else "")
        if self.state == "unpriced":
            bound = "so that DAILY_BUDGET_USD cannot be kept" if self.daily_usd else "so that it is counted as 0"
            return f"No price is known for {self.model}, {bound}."
        if self.state == "too small":
            least = f"{self.request_usd:.4f}"
            return f"DAILY_BUDGET_USD is {self.daily_usd:g}, and one request to {self.model} may cost {least} USD."
        line = f"{spent} were spent today." if self.spent_usd else "Nothing was spent today."
        return f"{line} Stories wait for the next day." if self.state == "spent" else line

    @property
    def problem(self) -> ThreadJuiceError | None:
        """Why no story can be written today, or None."""
        if self.state == "unpriced" and self.daily_usd:
            return ConfigurationError(self.message, UNPRICED)
        return BudgetSpent(self.message) if self.state in ("spent", "too small") else None

    @property
    def record(self) -> dict[str, object]:
        """As ``status`` prints it."""
        return {**self.model_dump(mode="json"), "state": self.state, "message": self.message}
