"""What sensors ask for when they tick, and why they do not."""

from typing import Any

import dagster as dg
import pytest
from makers import make_thread

from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.writers import ExtractiveWriter
from threadjuice_dagster.sensors.assignments import story_assignment_sensor
from threadjuice_dagster.sensors.site import site_sensor


def tick(sensor: dg.SensorDefinition, database: Postgres) -> Any:
    resources = {"database": database, "writer": ExtractiveWriter(), "policy": EditorialPolicy()}
    needed = {name: resources[name] for name in sensor.required_resource_keys}
    with dg.build_sensor_context(resources=needed) as context:
        return sensor(context)


@pytest.fixture
def database(database_url: str) -> Postgres:
    return Postgres(url=database_url, pool_size=3, migrates_itself=True)


def test_without_an_order_there_is_nothing_to_do(database: Postgres) -> None:
    result = tick(story_assignment_sensor, database)
    assert isinstance(result, dg.SkipReason)


def test_each_assignment_gets_one_run_and_its_partition(database: Postgres) -> None:
    database.store.save_threads([make_thread("abc1"), make_thread("abc2"), make_thread("abc3")])
    database.store.open_order(2, None, None, 6)
    result = tick(story_assignment_sensor, database)
    assert isinstance(result, dg.SensorResult)
    requests = result.run_requests or []
    assert len({request.partition_key for request in requests}) == len(requests) == 2
    again = tick(story_assignment_sensor, database)
    assert {one.run_key for one in again.run_requests} == {one.run_key for one in requests}


def test_a_rejected_story_is_made_up_for_with_another_thread(database: Postgres) -> None:
    database.store.save_threads([make_thread("abc1"), make_thread("abc2")])
    order = database.store.open_order(1, None, None, 3)
    first = tick(story_assignment_sensor, database).run_requests[0].partition_key
    database.store.claim(first, "run")
    database.store.record_verdicts(first, {GATES[0]: GateFinding(False, "too low")})
    second = tick(story_assignment_sensor, database).run_requests[0].partition_key
    assert second != first
    database.store.claim(second, "run")
    database.store.record_verdicts(second, {GATES[0]: GateFinding(False, "too low")})
    result = tick(story_assignment_sensor, database)
    assert isinstance(result, dg.SkipReason)
    assert order.id not in {one.id for one in database.store.open_orders()}


def test_the_site_is_left_alone_until_something_is_published(database: Postgres) -> None:
    result = tick(site_sensor, database)
    assert isinstance(result, dg.SkipReason)
