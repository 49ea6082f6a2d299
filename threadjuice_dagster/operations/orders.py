"""Working through an order: which of its stories a run can take up now, and which wait for the day's budget.

Starting the runs belongs in ``cli/writing.py`` and ``sensors/assignments.py``, SQL in ``database/assignments.py``.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from threadjuice_dagster.domain.writing.assignments import Assignment, Order
from threadjuice_dagster.domain.writing.budget import Budget, Spent
from threadjuice_dagster.failures import ThreadJuiceError

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store

STEPS_WITH_A_MODEL = {"story_draft", "quality_score"}
"""Assets of a story that ask a model, which costs money."""


class Progress(NamedTuple):
    """The stories of an order that a run can take up now, and why its other stories have to wait."""

    ready: list[Assignment]
    problem: ThreadJuiceError | None = None


def advance(store: "Store", order: Order, budget: Callable[[Spent], Budget]) -> Progress:
    """Assign the stories that an order lacks, and return those that a run can take up now.

    Another thread is assigned for each story that was rejected or held, up to the order's bound. Where the day's budget
    is spent, stories wait that a model has still to write or judge. An order with nothing left to do is closed.
    """
    from threadjuice_dagster.database.spending import Spending

    waiting = store.assign(order)
    if not waiting:
        if not store.order_counts(order.id)["running"]:
            store.close_order(order.id)
        return Progress([])
    problem = budget(Spending(store.engine).today()).problem
    if problem is None:
        return Progress(waiting)
    ready = [story for story in waiting if set(store.finished_steps(story.story_id)) >= STEPS_WITH_A_MODEL]
    if len(ready) < len(waiting):
        store.hold_back(order.id, problem)
    return Progress(ready, problem)
