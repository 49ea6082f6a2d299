"""What calls to a model cost on each UTC day, counted over all processes.

The most that a request may cost is reserved before it is sent, and replaced by its cost afterwards. The reservation of
a process that dies in between stays, because the request may have been made.
"""

from datetime import date

import sqlalchemy as sa

from threadjuice_dagster.domain.writing.budget import Spent


class Spending:
    """Reads and writes the spending of each day, by the database's clock."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def today(self) -> Spent:
        """Return what was spent and what is reserved today."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.text(_TODAY)).one_or_none()
        return Spent(*row) if row else Spent()

    def reserve(self, usd: float, budget: float) -> date | None:
        """Reserve what a request may cost and return the day it counts for; None where ``budget`` (0: none) forbids."""
        if budget and usd > budget:
            return None
        with self._engine.begin() as connection:
            day: date | None = connection.scalar(sa.text(_RESERVE), {"usd": usd, "budget": budget})
        return day

    def settle(self, day: date, reserved: float, cost: float) -> None:
        """Replace a reservation by what the request cost."""
        with self._engine.begin() as connection:
            connection.execute(sa.text(_SETTLE), {"day": day, "reserved": reserved, "cost": cost})


_TODAY = """SELECT spent_usd, reserved_usd FROM model_spending
WHERE day = (clock_timestamp() AT TIME ZONE 'UTC')::date"""
_RESERVE = """INSERT INTO model_spending AS s (day, reserved_usd)
VALUES ((clock_timestamp() AT TIME ZONE 'UTC')::date, :usd)
ON CONFLICT (day) DO UPDATE SET reserved_usd = s.reserved_usd + :usd
WHERE :budget = 0 OR s.spent_usd + s.reserved_usd + :usd <= :budget
RETURNING day"""
_SETTLE = """UPDATE model_spending
SET reserved_usd = greatest(reserved_usd - :reserved, 0), spent_usd = spent_usd + :cost
WHERE day = :day"""
