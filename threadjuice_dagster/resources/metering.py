"""What calls to a model took: the tokens a server reports, their cost, and the meter that adds them up."""

import functools
import logging
import math
from collections.abc import Mapping
from typing import Any

from threadjuice_dagster.domain.story.stories import Usage
from threadjuice_dagster.resources.prices import Prices

log = logging.getLogger(__name__)


class Meter:
    """Counts what calls took as they happen, so that the figures survive a call that raises."""

    def __init__(self) -> None:
        self.usage = Usage()

    def add(self, usage: Usage) -> None:
        """Count ``usage``."""
        self.usage += usage


def spent(document: Mapping[str, Any], model: str, base_url: str, prices: Prices) -> Usage:
    """The tokens a completion reports and their cost; a report that makes no sense counts as no tokens.

    A model of unknown price costs 0 and is warned of once: where there is a budget, it is not asked at all.
    """
    told = document.get("usage")
    told = told if isinstance(told, Mapping) else {}
    tokens_in, tokens_out = _tokens(told.get("prompt_tokens")), _tokens(told.get("completion_tokens"))
    cost = prices.cost(model, base_url, tokens_in, tokens_out)
    if cost is None:
        _warn_unpriced(model)
    return Usage(input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=round(cost or 0.0, 6))


def _tokens(value: Any) -> int:
    counted = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return max(int(value), 0) if counted else 0


@functools.cache
def _warn_unpriced(model: str) -> None:
    log.warning("No price for %s: it counts as free. Set OPENAI_PRICE_INPUT and OPENAI_PRICE_OUTPUT.", model)
