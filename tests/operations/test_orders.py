"""How orders end: an unfilled one opens one incident with every cause, the next filled one closes it."""

from typing import Any
from unittest import mock

import dagster as dg
import pytest
import sqlalchemy as sa
from makers import make_thread

from threadjuice_dagster.assets.threads import threads as assets
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.assignments import order_lock
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.supply import ThreadSupply
from threadjuice_dagster.domain.judging.gates import GateFinding
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.assignments import Order
from threadjuice_dagster.domain.writing.shortage import PlaceReading
from threadjuice_dagster.failures import ConfigurationError, ThreadJuiceError, TransientFailure
from threadjuice_dagster.operations.alerts.rules import Incident
from threadjuice_dagster.operations.alerts.service import Watch
from threadjuice_dagster.operations.alerts.store import Incidents
from threadjuice_dagster.operations.orders import UNFILLED
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.resources.postgres import Database, Postgres
from threadjuice_dagster.resources.writers import ExtractiveWriter
from threadjuice_dagster.sensors.assignments import story_assignment_sensor
from threadjuice_dagster.sources.registry import Candidates, ThreadSources


@pytest.fixture
def database(prepared_url: str) -> Postgres:
    database = Postgres(url=prepared_url, pool_size=3)
    Catalogue(database.store.engine).seed()
    return database


def gives(*found: Thread, problem: ThreadJuiceError | None = None) -> Candidates:
    """What a look at the places gives: threads of one place and none of another, or why neither could be read."""
    if problem:
        return Candidates([], {}, {"hackernews:ask": problem})
    return Candidates(list(found), {"hackernews:ask": len(found), "reddit:tea": 0}, {})


def tick(database: Database) -> Any:
    resources = {"database": database, "writer": ExtractiveWriter()}
    with dg.build_sensor_context(resources=resources) as context:
        return story_assignment_sensor(context)


def incidents(database: Database) -> list[Incident]:
    return Incidents(database.store.engine).listed()


def end(database: Database, order: Order, status: str) -> None:
    """End every waiting story of an order."""
    this = (t.assignments.c.order_id == order.id) & (t.assignments.c.status == "assigned")
    with database.store.engine.begin() as connection:
        connection.execute(t.assignments.update().where(this).values(status=status))


def discover(instance: dg.DagsterInstance, database: Database, found: Candidates, **policy: Any) -> Any:
    resources = {"database": database, "threads": ThreadSources(), "policy": EditorialPolicy(**policy)}
    with mock.patch.object(ThreadSources, "candidates", return_value=found):
        return dg.materialize([assets.discovered_threads], instance=instance, resources=resources, raise_on_error=False)


def assign(database: Database, **config: Any) -> dict[str, Any]:
    """Materialize ``story_assignments`` and return its metadata."""
    resources = {"database": database, "threads": ThreadSources(), "policy": EditorialPolicy()}
    result = dg.materialize(
        [assets.story_assignments],
        resources=resources,
        run_config={"ops": {"story_assignments": {"config": config}}},
        selection=dg.AssetSelection.assets(assets.story_assignments),
    )
    metadata = result.asset_materializations_for_node("story_assignments")[0].metadata
    return {name: value.value for name, value in metadata.items()}


class TestUnfilledOrders:
    def test_one_incident_tells_of_all_and_a_filled_order_ends_it(self, database: Postgres) -> None:
        store = database.store
        ThreadSupply(store.engine).note_places([PlaceReading(spec="samples", threads=14)], everything=True)
        for _ in range(2):
            store.open_order(2, None, None, 6)
            assert "Published 0 of 2" in tick(database).skip_message
        (incident,) = incidents(database)
        assert (incident.cause, incident.trouble.severity, incident.count) == (UNFILLED, "warning", 2)
        assert incident.trouble.section == "too-few-threads"
        assert "the bundled samples are the only source" in incident.trouble.message
        assert "THREAD_SOURCES" in incident.trouble.next_step
        assert len(Incidents(store.engine).messages()) == 1
        assert store.open_orders() == []

        store.save_threads([make_thread("good")])
        order = store.open_order(1, None, None, 3)
        assert tick(database).run_requests
        end(database, order, "published")
        assert tick(database).skip_message == "Every order is filled, given up, or being written."
        assert incidents(database) == []

    def test_the_gates_that_refused_are_named(self, database: Postgres) -> None:
        store = database.store
        store.save_threads([make_thread("one"), make_thread("two")])
        order = store.open_order(1, None, None, 2)
        for _ in range(2):
            (request,) = tick(database).run_requests
            store.record_verdicts(request.partition_key, {"is_original": GateFinding(False, "Seen.")})
        tick(database)
        (incident,) = incidents(database)
        assert "of 2 threads that were tried, 2 were refused (is_original 2)" in incident.trouble.message
        assert order.id not in {one.id for one in store.open_orders()}

    def test_an_order_whose_story_is_being_written_is_not_over(self, database: Postgres) -> None:
        database.store.save_threads([make_thread("one")])
        order = database.store.open_order(2, None, None, 6)
        (request,) = tick(database).run_requests
        with database.store.locks.held("run:alive"):
            database.store.claim(request.partition_key, "alive")
            tick(database)
            assert [one.id for one in database.store.open_orders()] == [order.id]
        assert incidents(database) == []

    @pytest.mark.parametrize("status", ["rejected", "published"])
    def test_a_named_thread_says_nothing_of_the_supply(self, database: Postgres, status: str) -> None:
        store = database.store
        store.open_order(1, None, None, 3)
        tick(database)
        store.save_threads([make_thread("one")])
        order = store.open_order(1, None, None, 1)
        store.assign(order, only=make_thread("one"))
        end(database, order, status)
        tick(database)
        assert [(incident.cause, incident.count) for incident in incidents(database)] == [(UNFILLED, 1)]

    def test_the_asset_that_can_assign_nothing_says_why_and_alerts(self, database: Postgres) -> None:
        metadata = assign(database, count=2)
        assert metadata["assigned"] == 0
        assert metadata["cause"].startswith("Published 0 of 2: no unused thread that suits a story is left")
        assert "THREAD_SOURCES" in metadata["next step"]
        assert [incident.cause for incident in incidents(database)] == [UNFILLED]

    def test_who_waits_for_the_answer_of_a_command_is_not_alerted(self, database: Postgres) -> None:
        order = database.store.open_order(2, None, None, 6, by_command=True)
        with database.store.locks.held(order_lock(order.id)):
            assert "cause" in assign(database, order=order.id)
        assert incidents(database) == []


class TestSupply:
    """Discovery measures what is left; Dagster's check on it is what alerts."""

    def test_less_than_a_week_opens_one_incident_and_enough_closes_it(self, database: Postgres) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            for _ in range(2):
                result = discover(instance, database, gives(make_thread("one", spec="hackernews:ask")))
                assert result.success
                Watch(instance, database.store).checks()
            (incident,) = incidents(database)
            assert incident.cause == "check:threads:supply_lasts_a_week"
            assert (incident.trouble.severity, incident.count) == ("warning", 2)
            assert "enough for 0.3 days, and 7 are wanted" in incident.trouble.message
            assert "reddit:tea had no thread for a story" in incident.trouble.message
            assert "THREAD_SOURCES" in incident.trouble.next_step
            assert incident.trouble.section == "too-few-threads"
            assert len(Incidents(database.store.engine).messages()) == 1

            plenty = [make_thread(f"t{number}", spec="hackernews:ask") for number in range(21)]
            result = discover(instance, database, gives(*plenty))
            Watch(instance, database.store).checks()
            assert incidents(database) == []
        metadata = result.asset_materializations_for_node("threads")[0].metadata
        assert (metadata["suitable"].value, metadata["days"].value) == (22, 7.3)

    def test_a_demo_that_lives_on_its_samples_alarms_nobody(self, database: Postgres) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            result = discover(instance, database, gives(make_thread("one")), supply_days=0)
            Watch(instance, database.store).checks()
        assert [check.passed for check in result.get_asset_check_evaluations()] == [True]
        assert incidents(database) == []

    def test_while_every_place_is_down_stored_threads_are_enough(self, database: Postgres) -> None:
        down = TransientFailure("hackernews is down.", "Wait.")
        with dg.DagsterInstance.ephemeral() as instance:
            assert not discover(instance, database, gives(problem=down)).success
            assert discover(instance, database, gives(make_thread("one"))).success
            result = discover(instance, database, gives(problem=down))
            assert result.success
            (check,) = result.get_asset_check_evaluations()
            assert "hackernews:ask could not be read (hackernews is down)" in (check.description or "")
            wrong = ConfigurationError("There is no such place.", "Correct THREAD_SOURCES.")
            assert not discover(instance, database, gives(problem=wrong)).success
        with database.store.engine.connect() as connection:
            assert connection.scalar(sa.select(t.thread_places.c.problem)) == "There is no such place."
