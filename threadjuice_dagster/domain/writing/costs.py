"""What calls to a model cost: the tokens that a server reports, their price, and the meter that adds them up.

Prices are those in the settings, else those of the list in ``genai-prices``, which is part of the package and never
fetched. Cached tokens count at the full price.
"""

import functools
import logging
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from threadjuice_dagster.domain.story.stories import Usage

log = logging.getLogger(__name__)


class Prices(NamedTuple):
    """Prices that an operator set, in US dollars per million input and output tokens. None uses the list."""

    input: float | None = None
    output: float | None = None

    def cost(self, model: str, base_url: str, tokens_in: int, tokens_out: int) -> float | None:
        """Return the cost of a request in US dollars, or None where no price is known."""
        if self.input is not None and self.output is not None:
            listed = (0.0, 0.0)
        elif (list_prices := _listed(model, base_url, tokens_in, tokens_out)) is not None:
            listed = list_prices
        else:
            return None
        cost_in = listed[0] if self.input is None else tokens_in * self.input / 1_000_000
        cost_out = listed[1] if self.output is None else tokens_out * self.output / 1_000_000
        return cost_in + cost_out


class Meter:
    """Adds up the usage of calls as they happen, so that the figures survive a call that raises."""

    def __init__(self) -> None:
        self.usage = Usage()

    def add(self, usage: Usage) -> None:
        """Add ``usage``."""
        self.usage += usage


def usage_of(document: Mapping[str, Any], model: str, base_url: str, prices: Prices) -> Usage:
    """Return the tokens that a completion reports and their cost. A malformed report counts as no tokens.

    A model without a known price costs 0, with a warning once. Where there is a budget, it is not called at all.
    """
    reported = document.get("usage")
    reported = reported if isinstance(reported, Mapping) else {}
    tokens_in, tokens_out = _tokens(reported.get("prompt_tokens")), _tokens(reported.get("completion_tokens"))
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


_LOOKED_UP = 1_000


@functools.lru_cache(maxsize=_LOOKED_UP)
def _listed(model: str, base_url: str, tokens_in: int, tokens_out: int) -> tuple[float, float] | None:
    """Return the list's prices of so many tokens, at the address's provider or else at the model's own."""
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    # An address that the list does not know is mostly a proxy or a compatible server.
    for provider in (base_url or "https://api.openai.com", None):
        try:
            price = calc_price(usage, model_ref=model, provider_api_url=provider)
        except LookupError:
            continue
        return float(price.input_price), float(price.output_price)
    return None
