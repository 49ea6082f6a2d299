"""Counting what is left: suitable threads by place, the share that is published, and how far an order came."""

import time
from typing import Any

import pytest
import sqlalchemy as sa
from makers import make_comment, make_thread

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.database.supply import ThreadSupply
from threadjuice_dagster.domain.judging.gates import GateFinding
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.assignments import Order
from threadjuice_dagster.domain.writing.shortage import PlaceReading
from threadjuice_dagster.failures import TransientFailure, Unsuitable

SENTENCES = """The council came to measure our fence on a Tuesday, and nobody had told my brother about it.
He stood in the garden with a cup of tea and asked them what they wanted from us after eleven years.
They said that the line on their map ran through the pond, and that the pond would have to be moved by June.
My brother asked who moves a pond, and the younger surveyor said that he had wondered about that as well.
In the end they left a letter under the door, and the pond is still where my grandfather dug it in the autumn."""
ANSWER = make_comment(
    "c1", "I would ask the council for the original survey before anybody lifts a spade near that pond."
)


def good(name: str, **changes: Any) -> Thread:
    return make_thread(name, **{"body": SENTENCES, "comments": (ANSWER,), "spec": "hackernews:ask", **changes})


def thin(name: str, **changes: Any) -> Thread:
    return good(name, **{"body": "No.", "comments": (), **changes})


@pytest.fixture
def store(prepared_url: str) -> Store:
    store = Store(sa.create_engine(prepared_url))
    Catalogue(store.engine).seed()
    return store


@pytest.fixture
def threads(store: Store) -> ThreadSupply:
    return ThreadSupply(store.engine)


def reasons(store: Store) -> dict[str, str | None]:
    with store.engine.connect() as connection:
        return dict(connection.execute(sa.select(t.threads.c.id, t.threads.c.unsuitable)).tuples().all())


def end(store: Store, order: Order, status: str) -> str:
    """End the next waiting story of an order with a status."""
    story = store.waiting(order.id)[0].story_id
    with store.engine.begin() as connection:
        connection.execute(t.assignments.update().where(t.assignments.c.story_id == story).values(status=status))
    return story


class TestSupply:
    def test_threads_are_judged_once_and_again_when_they_change(self, store: Store, threads: ThreadSupply) -> None:
        store.save_threads([good("one"), thin("two")])
        assert threads.supply(3).suitable == 2  # nobody looked at them yet
        assert (threads.assess(), threads.assess()) == (2, 0)
        assert reasons(store)["one"] == ""
        assert "quotable comments" in (reasons(store)["two"] or "")
        supply = threads.supply(3)
        assert (supply.unused, supply.by_place) == (2, {"hackernews:ask": 1})
        store.save_threads([good("one"), good("two")])
        assert threads.assess() == 1
        assert threads.supply(3).suitable == 2

    def test_places_are_counted_apart_and_a_thread_of_no_place_by_its_source(
        self, store: Store, threads: ThreadSupply
    ) -> None:
        places = ["hackernews:ask", "stackexchange:diy", "stackexchange:diy", ""]
        store.save_threads(good(f"t{number}", spec=spec) for number, spec in enumerate(places))
        threads.assess()
        supply = threads.supply(3)
        assert supply.by_place == {"stackexchange:diy": 2, "hackernews:ask": 1, "reddit": 1}
        assert list(supply.by_source) == ["stackexchange", "hackernews", "reddit"]

    def test_used_and_expired_threads_are_no_supply(self, store: Store, threads: ThreadSupply) -> None:
        store.save_threads([good("one"), good("two"), good("three")])
        with store.engine.begin() as connection:
            gone = t.threads.update().where(t.threads.c.id == "two").values(expired_at=sa.func.now())
            connection.execute(gone)
        store.assign(store.open_order(1, None, None, 3))
        threads.assess()
        assert (threads.supply(3).unused, threads.supply(3).suitable) == (1, 1)

    def test_unsuitable_threads_are_passed_over_and_cost_no_attempt(self, store: Store, threads: ThreadSupply) -> None:
        store.save_threads([thin(f"thin{number}", score=9000) for number in range(5)])
        threads.assess()
        store.save_threads([thin("new", score=9000), good("good")])  # these nobody has looked at yet
        order = store.open_order(2, None, None, 6)
        assert [assignment.thread_id for assignment in store.assign(order)] == ["good"]
        assert store.order_counts(order.id).total() == 1

    def test_a_named_thread_is_tried_whatever_it_holds(self, store: Store, threads: ThreadSupply) -> None:
        store.save_threads([thin("thin")])
        threads.assess()
        order = store.open_order(1, None, None, 1)
        assert [assignment.thread_id for assignment in store.assign(order, only=thin("thin"))] == ["thin"]

    def test_the_newest_outcomes_tell_the_share_that_is_published(self, store: Store, threads: ThreadSupply) -> None:
        store.save_threads(good(f"t{number:02}") for number in range(14))
        order = store.open_order(12, None, None, 30)
        store.assign(order)
        for status in ["published"] * 5 + ["withdrawn"] + ["rejected"] * 3 + ["held"] + ["failed"] * 2:
            end(store, order, status)
        supply = threads.supply(1)
        assert (supply.tried, supply.published, supply.published_share) == (10, 6, 0.6)
        assert supply.days == 1.2

    def test_ten_thousand_unused_threads_are_counted_in_no_time(self, store: Store, threads: ThreadSupply) -> None:
        store.save_threads([good("one")])
        with store.engine.begin() as connection:
            connection.execute(
                sa.text("""INSERT INTO threads (id, source, spec, title, permalink, digest, engagement, num_comments,
                record, unsuitable) SELECT 't' || n, source, 'stackexchange:s' || n % 20, title, permalink, digest, n,
                num_comments, record, CASE WHEN n % 4 = 0 THEN 'thin' ELSE '' END
                FROM threads, generate_series(1, 10000) n""")
            )
            connection.execute(sa.text("ANALYZE threads"))
        threads.assess()
        began = time.perf_counter()
        supply = threads.supply(3)
        assert time.perf_counter() - began < 0.5
        assert (supply.unused, supply.suitable) == (10_001, 7501)


class TestPlaces:
    def test_the_newest_look_at_each_place_is_kept(self, threads: ThreadSupply) -> None:
        ask = PlaceReading(spec="hackernews:ask", threads=4)
        down = PlaceReading(spec="stackexchange:diy", problem="It is down.", next_step="Wait.")
        threads.note_places([ask, down], everything=True)
        assert threads.places() == [ask, down]
        back = PlaceReading(spec="stackexchange:diy", threads=2)
        threads.note_places([back], everything=False)
        assert threads.places() == [ask, back]
        assert threads.places("hackernews") == threads.places("hackernews:ask") == [ask]
        threads.note_places([back], everything=True)
        assert threads.places() == [back]


class TestShortfall:
    def test_a_filled_order_has_none(self, store: Store, threads: ThreadSupply) -> None:
        store.save_threads([good("one")])
        order = store.open_order(1, None, None, 3)
        store.assign(order)
        end(store, order, "published")
        assert threads.shortfall(order) is None

    def test_an_order_without_a_thread_lacks_all(self, store: Store, threads: ThreadSupply) -> None:
        shortfall = threads.shortfall(store.open_order(3, "food", None, 9))
        assert shortfall
        assert (shortfall.published, shortfall.tried, shortfall.category, shortfall.ran_dry) == (0, 0, "food", True)

    def test_refusals_are_counted_by_gate_and_failures_say_why(self, store: Store, threads: ThreadSupply) -> None:
        store.save_threads(good(f"t{number}") for number in range(5))
        order = store.open_order(5, None, None, 15)
        store.assign(order)
        end(store, order, "published")
        refusals = {"meets_quality_threshold": GateFinding(False, "4.0"), "is_appropriate": GateFinding(True, "")}
        story = store.waiting(order.id)[0].story_id
        store.record_verdicts(story, refusals)
        store.fail(store.waiting(order.id)[0].story_id, Unsuitable("The thread is too thin."), rejected=True)
        store.fail(store.waiting(order.id)[0].story_id, TransientFailure("The model is down.", "Wait for it."))
        shortfall = threads.shortfall(order)
        assert shortfall
        assert (shortfall.published, shortfall.refused, shortfall.failed, shortfall.waiting) == (1, 2, 1, 1)
        assert shortfall.by_gate == {"can_be_written": 1, "meets_quality_threshold": 1}
        assert (shortfall.problem, shortfall.next_step) == ("The model is down.", "Wait for it.")
