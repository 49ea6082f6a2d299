"""From assignments to runs: one run per story, and further threads for stories that were rejected."""

from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.assets.steps import ORDER_TAG
from threadjuice_dagster.domain.assignments import Assignment, Order
from threadjuice_dagster.jobs import STORY_STEPS, story_job
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.resources.postgres import Database

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store


def story_assignments_sensor(status: dg.DefaultSensorStatus, waits_for: str = "") -> dg.SensorDefinition:
    """The sensor that has every open order written, whoever opened it.

    While the service ``waits_for`` is down it starts one story now and then, to see whether it is back.
    """

    @dg.sensor(
        name="story_assignment_sensor",
        job=story_job,
        minimum_interval_seconds=10,
        default_status=status,
        description="Starts one run per assigned story, and assigns another thread for each story that was rejected.",
    )
    def story_assignment_sensor(
        context: dg.SensorEvaluationContext, database: Database
    ) -> dg.SensorResult | dg.SkipReason:
        store = database.store
        outage = next(iter(store.outages.known(waits_for)), None) if waits_for else None
        if outage and outage.waits > 0:
            return dg.SkipReason(f"{outage} One story is tried again in {outage.waits:.0f} s; the others wait.")
        waiting = [one for order in store.open_orders() for one in _advance(store, order)]
        if not waiting:
            return dg.SkipReason("Every order is fulfilled, given up, or being written.")
        waiting = waiting[:1] if outage else waiting
        return dg.SensorResult(
            run_requests=[story_run(store, one) for one in waiting],
            dynamic_partitions_requests=[STORIES.build_add_request([one.story_id for one in waiting])],
        )

    return story_assignment_sensor


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
