"""What calls to a model cost: the price list, the tokens a server reports, and the meter that adds them up."""

import functools
import logging
import math
import re
from collections.abc import Mapping
from typing import Any

from threadjuice_dagster.domain.stories import Usage

log = logging.getLogger(__name__)

PRICES: dict[str, tuple[float, float]] = {
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4.1": (2.00, 8.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
    "gpt-5": (1.25, 10.00),
    "gpt-5-mini": (0.25, 2.00),
    "gpt-5-nano": (0.05, 0.40),
    "o3": (2.00, 8.00),
    "o4-mini": (1.10, 4.40),
}
"""US dollars per million input and output tokens (OpenAI's list prices; cached input is cheaper)."""


class Meter:
    """Counts what calls took as they happen, so that the figures survive a call that raises."""

    def __init__(self) -> None:
        self.usage = Usage()

    def add(self, usage: Usage) -> None:
        """Count ``usage``."""
        self.usage += usage


def spent(document: Mapping[str, Any], model: str, price_input: float | None, price_output: float | None) -> Usage:
    """The tokens a completion reports and their price; given prices go before the list's.

    A model of unknown price costs 0 and is warned of once; a report that makes no sense counts as no tokens.
    """
    told = document.get("usage")
    told = told if isinstance(told, Mapping) else {}
    tokens_in, tokens_out = _tokens(told.get("prompt_tokens")), _tokens(told.get("completion_tokens"))
    listed = PRICES.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model))
    if listed is None and price_input is None and price_output is None:
        _warn_unpriced(model)
    list_in, list_out = listed or (0.0, 0.0)
    price_in = list_in if price_input is None else price_input
    price_out = list_out if price_output is None else price_output
    cost = (tokens_in * price_in + tokens_out * price_out) / 1_000_000
    return Usage(input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=round(cost, 6))


def _tokens(value: Any) -> int:
    counted = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return max(int(value), 0) if counted else 0


@functools.cache
def _warn_unpriced(model: str) -> None:
    log.warning("No price for %s: it counts as free. Set OPENAI_PRICE_INPUT and OPENAI_PRICE_OUTPUT.", model)
