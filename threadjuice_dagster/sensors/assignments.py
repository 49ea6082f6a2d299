"""From assignments to runs: one run for each story that an order waits for."""

from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.assets.steps import ORDER_TAG, TITLE_TAG
from threadjuice_dagster.domain.writing.assignments import Assignment
from threadjuice_dagster.jobs import remaining_steps, story_job, title_of
from threadjuice_dagster.operations.orders import advance, close
from threadjuice_dagster.partitions import STORIES
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.writers import Writer

if TYPE_CHECKING:
    from threadjuice_dagster.database.store import Store


@dg.sensor(
    job=story_job,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts one run per assigned story, and assigns another thread for each story that was rejected.",
)
def story_assignment_sensor(
    context: dg.SensorEvaluationContext, database: Database, writer: Writer
) -> dg.SensorResult | dg.SkipReason:
    """Have every open order written, whether the UI, a schedule or an operator opened it; an unfilled one alerts.

    While the service that the writer needs is down, it starts one story now and then to see whether it is back.
    """
    from threadjuice_dagster.database.outages import Outages

    store = database.store
    outage = next(iter(Outages(store.engine).ongoing(writer.needed_service)), None) if writer.needed_service else None
    if outage and outage.waits > 0:
        return dg.SkipReason(f"{outage} One story is tried again in {outage.waits:.0f} s; the others wait.")
    orders = [order for order in store.open_orders() if not store.is_driven(order.id)]
    for order in orders:
        store.resume(order)
    progress = [(order, advance(store, order, writer.budget)) for order in orders]
    unfilled = [close(store, order) for order, step in progress if step.is_over]
    ready = [assignment for _, step in progress for assignment in step.ready]
    if not ready:
        problems = filter(None, [*unfilled, *(step.problem for _, step in progress)])
        return dg.SkipReason(str(next(problems, "Every order is filled, given up, or being written.")))
    ready = ready[:1] if outage else ready
    return dg.SensorResult(
        run_requests=[story_run(store, assignment) for assignment in ready],
        dynamic_partitions_requests=[STORIES.build_add_request([assignment.story_id for assignment in ready])],
    )


def story_run(store: "Store", assignment: Assignment) -> dg.RunRequest:
    """Return the run that writes a story from its first unfinished step on; its key allows one run for each crash."""
    return dg.RunRequest(
        run_key=f"{assignment.order_id}:{assignment.story_id}:{assignment.runs}",
        partition_key=assignment.story_id,
        asset_selection=remaining_steps(store, assignment.story_id),
        tags={ORDER_TAG: assignment.order_id, TITLE_TAG: title_of(store, assignment)},
    )
