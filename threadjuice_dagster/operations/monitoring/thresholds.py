"""From where on an operator should look at figures, as a resource so that the UI shows it.

Thresholds that no newsroom changes are constants of the subjects in ``domain/``.
"""

import dagster as dg


class Thresholds(dg.ConfigurableResource):
    """``daily_budget_usd`` 0 is no budget; ``rejection_share`` is of the stories of a day that the gates judged."""

    daily_budget_usd: float = 0.0
    rejection_share: float = 0.5
    slow_query_seconds: float = 5.0
