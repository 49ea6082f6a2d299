"""What a request to a model costs: by the prices in the settings, else by the list of ``genai-prices``.

The list comes with the package and is never fetched. A model of an address that the list does not know costs what its
first maker asks. Cached tokens are counted at the full price.
"""

import functools
from typing import NamedTuple

_LOOKED_UP = 1_000


class Prices(NamedTuple):
    """US dollars per million input and output tokens that an operator set; None where the list decides."""

    input: float | None = None
    output: float | None = None

    def cost(self, model: str, base_url: str, tokens_in: int, tokens_out: int) -> float | None:
        """US dollars of a request, or None where no price is known."""
        if self.input is not None and self.output is not None:
            listed = (0.0, 0.0)
        elif (found := _listed(model, base_url, tokens_in, tokens_out)) is not None:
            listed = found
        else:
            return None
        cost_in = listed[0] if self.input is None else tokens_in * self.input / 1_000_000
        cost_out = listed[1] if self.output is None else tokens_out * self.output / 1_000_000
        return cost_in + cost_out


@functools.lru_cache(maxsize=_LOOKED_UP)
def _listed(model: str, base_url: str, tokens_in: int, tokens_out: int) -> tuple[float, float] | None:
    """The list's prices of so many tokens, at the address's provider or else at the model's first."""
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    for provider in (base_url or "https://api.openai.com", None):
        try:
            price = calc_price(usage, model_ref=model, provider_api_url=provider)
        except LookupError:
            continue
        return float(price.input_price), float(price.output_price)
    return None
