"""Working through an order: which of its stories a run can take up now, which wait for the day's budget, how it ends.

Starting the runs belongs in ``cli/writing.py`` and ``sensors/assignments.py``, SQL in ``database/assignments.py``, what
is said of an order that was not filled in ``domain/writing/shortage.py``.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from threadjuice_dagster.domain.writing.assignments import Assignment, Order
from threadjuice_dagster.domain.writing.budget import Budget, Spent
from threadjuice_dagster.domain.writing.shortage import explain
from threadjuice_dagster.failures import OrderUnfilled, ThreadJuiceError
from threadjuice_dagster.operations.alerts.rules import Trouble

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store

STEPS_WITH_A_MODEL = {"story_draft", "quality_score"}
"""Assets of a story that ask a model, which costs money."""

UNFILLED = "supply:unfilled"
"""The cause of the incident of orders that were not filled."""


class Progress(NamedTuple):
    """The stories of an order that a run can take up now, why its others have to wait, and whether it is over."""

    ready: list[Assignment]
    problem: ThreadJuiceError | None = None
    is_over: bool = False


def advance(store: "Store", order: Order, budget: Callable[[Spent], Budget]) -> Progress:
    """Assign the stories that an order lacks, and return those that a run can take up now.

    Another thread is assigned for each story that was rejected or held, up to the order's bound. Where the day's budget
    is spent, stories wait that a model has still to write or judge. Whoever asked closes an order that is over.
    """
    from threadjuice_dagster.database.spending import Spending

    waiting = store.assign(order)
    if not waiting:
        return Progress([], is_over=not store.order_counts(order.id)["running"])
    problem = budget(Spending(store.engine).today()).problem
    if problem is None:
        return Progress(waiting)
    ready = [story for story in waiting if set(store.finished_steps(story.story_id)) >= STEPS_WITH_A_MODEL]
    if len(ready) < len(waiting):
        store.hold_back(order.id, problem)
    return Progress(ready, problem)


def close(store: "Store", order: Order, *, alerts: bool = True) -> OrderUnfilled | None:
    """Close an order and return why it was not filled, if it was not.

    An unfilled order opens an incident, unless ``alerts`` is off because somebody waits for the answer; the next filled
    order ends it. An order for a named thread does neither: whether that thread passes says nothing of the supply.
    """
    from threadjuice_dagster.database.supply import ThreadSupply
    from threadjuice_dagster.operations.alerts.store import Incidents

    supply, incidents, now = ThreadSupply(store.engine), Incidents(store.engine), datetime.now(UTC)
    shortfall = None if order.names_its_thread else supply.shortfall(order)
    problem = explain(shortfall, supply.places(order.source)) if shortfall else None
    # The incident comes first: whoever is killed in between notes it again, and forgets none.
    if problem and alerts:
        incidents.note(_trouble(problem, now))
    elif not problem and not order.names_its_thread:
        incidents.end(UNFILLED, now)
    store.close_order(order.id)
    return problem


def _trouble(problem: OrderUnfilled, now: datetime) -> Trouble:
    return Trouble(
        cause=UNFILLED,
        source="supply",
        severity="warning",
        title="Fewer stories were published than ordered",
        message=problem.message,
        next_step=problem.next_step,
        kind=problem.kind,
        at=now,
    )
