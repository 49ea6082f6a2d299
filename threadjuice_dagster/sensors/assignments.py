"""From assignments to runs: one run per story, and further threads for stories that were rejected."""

from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.assets.steps import ORDER_TAG
from threadjuice_dagster.assets.stories.quality_score import quality_score
from threadjuice_dagster.assets.stories.story_draft import story_draft
from threadjuice_dagster.domain.writing.assignments import Assignment, Order
from threadjuice_dagster.failures import ThreadJuiceError
from threadjuice_dagster.jobs import STORY_STEPS, story_job
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.writers import Writer

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store

_ASKING = {story_draft.key, quality_score.key}
"""Steps of a story that ask a model."""


@dg.sensor(
    job=story_job,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts one run per assigned story, and assigns another thread for each story that was rejected.",
)
def story_assignment_sensor(
    context: dg.SensorEvaluationContext, database: Database, writer: Writer
) -> dg.SensorResult | dg.SkipReason:
    """Have every open order written, whoever opened it.

    While the service that the writer needs is down, it starts one story now and then, to see whether it is back. Where
    the day's budget is spent, stories wait that a model has still to write or judge.
    """
    from threadjuice_dagster.database.outages import Outages
    from threadjuice_dagster.database.spending import Spending

    store = database.store
    outage = next(iter(Outages(store.engine).known(writer.needed_service)), None) if writer.needed_service else None
    if outage and outage.waits > 0:
        return dg.SkipReason(f"{outage} One story is tried again in {outage.waits:.0f} s; the others wait.")
    waiting = [one for order in store.open_orders() for one in _advance(store, order)]
    if waiting and (problem := writer.budget(Spending(store.engine).today()).problem):
        waiting = _kept_waiting(store, waiting, problem)
        if not waiting:
            return dg.SkipReason(str(problem))
    if not waiting:
        return dg.SkipReason("Every order is fulfilled, given up, or being written.")
    waiting = waiting[:1] if outage else waiting
    return dg.SensorResult(
        run_requests=[story_run(store, one) for one in waiting],
        dynamic_partitions_requests=[STORIES.build_add_request([one.story_id for one in waiting])],
    )


def _kept_waiting(store: "Store", waiting: list[Assignment], problem: ThreadJuiceError) -> list[Assignment]:
    """Those that ask no model for anything any more; the others note why they wait."""
    asking = {one.story_id for one in waiting if set(remaining_steps(store, one.story_id)) & _ASKING}
    for order_id in {one.order_id for one in waiting if one.story_id in asking and one.order_id}:
        store.hold_back(order_id, problem)
    return [one for one in waiting if one.story_id not in asking]


def story_run(store: "Store", assignment: Assignment) -> dg.RunRequest:
    """The run that writes a story, from the first step that is not done; asked for once, and once per crash."""
    return dg.RunRequest(
        run_key=f"{assignment.order_id}:{assignment.story_id}:{assignment.runs}",
        partition_key=assignment.story_id,
        asset_selection=remaining_steps(store, assignment.story_id),
        tags={ORDER_TAG: assignment.order_id},
    )


def remaining_steps(store: "Store", story_id: str) -> list[dg.AssetKey]:
    """Keys of a story's assets that still have to be made."""
    done = store.finished_steps(story_id)
    return [asset.key for asset in STORY_STEPS if asset.key.path[-1] not in done]


def _advance(store: "Store", order: Order) -> list[Assignment]:
    """Assign what an order lacks and return what waits for a run; close the order when nothing is left to do."""
    if store.is_driven(order.id):
        return []
    store.resume(order)
    waiting = store.assign(order)
    if not waiting and not store.order_counts(order.id)["running"]:
        store.close_order(order.id)
    return waiting
