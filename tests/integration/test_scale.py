"""Queries stay flat as stories add up: their plans go through indexes, and what is kept instead of counted is right."""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from makers import make_image, make_publication, make_thread
from many import fill, made, made_bands

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.assignments import order_lock, run_lock
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.records import story_record, story_records
from threadjuice_dagster.database.schema import require_schema
from threadjuice_dagster.database.server import create_database
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.database.supply import ThreadSupply
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.operations.imports.store import import_files
from threadjuice_dagster.operations.imports.validation import Validation
from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.operations.takedowns.store import Takedowns
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.storage import FolderStorage
from threadjuice_dagster.resources.writers import ExtractiveWriter
from threadjuice_dagster.sensors.assignments import story_assignment_sensor
from threadjuice_dagster.sensors.inbox import import_inbox_sensor
from threadjuice_dagster.sensors.site import site_sensor

COUNT = 20_000
GROWING = {"threads", "orders", "assignments", "stories", "quality_scores", "gate_verdicts", "images", "image_variants",
           "publications", "imports", "events", "audit", "pipeline_errors", "model_usage", "tombstones"}  # fmt: skip
PARTIAL = {
    index.name
    for name in GROWING
    for index in t.metadata.tables[name].indexes
    if index.dialect_kwargs["postgresql_where"] is not None
}
"""Indexes of the few rows something is still to be done with."""

ON = dg.DefaultSensorStatus.RUNNING


def page(slug: str) -> str:
    return f"https://example.org/{slug}"


@pytest.fixture(scope="module")
def many(server_url: str) -> Iterator[Store]:
    """A newsroom with 20,000 stories, which no test of this file leaves changed."""
    url = sa.make_url(server_url)
    name = f"t_{uuid.uuid4().hex[:12]}"
    create_database(url, name)
    store = Store(sa.create_engine(url.set(database=name), pool_size=5))
    require_schema(store, migrate_if_missing=True)
    fill(store.engine, COUNT)
    yield store
    store.engine.dispose()
    with sa.create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
def store(database_url: str) -> Store:
    store = Store(sa.create_engine(database_url, pool_size=10))
    require_schema(store, migrate_if_missing=True)
    return store


@contextmanager
def explained(engine: sa.Engine) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every statement of the block with its plan, made where and when the statement runs."""
    found: list[tuple[str, dict[str, Any]]] = []

    def explain(connection: sa.Connection, _: Any, statement: str, parameters: Any, *rest: object) -> None:
        if statement.split(None, 1)[0] in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
            with connection.connection.driver_connection.cursor() as cursor:  # type: ignore[union-attr]
                (plan,) = cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters).fetchone()
                found.append((statement, plan[0]["Plan"]))

    sa.event.listen(engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", explain)


def read_whole(plan: dict[str, Any], limited: bool = False) -> set[str]:
    """Growing tables that a plan reads from end to end; what a limit ends, or what a partial index leaves, is not."""
    kind, index = plan["Node Type"], plan.get("Index Name", "")
    unbounded = "Index" in kind and "Index Cond" not in plan and index not in PARTIAL
    below = kind in ("Limit", "Result") or (limited and kind in ("LockRows", "Nested Loop", "Subquery Scan"))
    parts = plan.get("Plans", ())
    read = set().union(*(read_whole(part, below and part is parts[0]) for part in parts))
    return (
        read | {plan.get("Relation Name", index)} if kind == "Seq Scan" or (unbounded and not limited) else read
    ) & GROWING


def assign(store: Store) -> None:
    order = store.open_order(3, None, None, 9)
    assigned = store.assign(order)
    assert len(assigned) == 3
    for one in assigned:
        store.forget(one.story_id)
    store.close_order(order.id)


def claim_and_settle(store: Store) -> None:
    store.claim(made(80), "run")
    store.settle(made(80), "run")
    store.record_verdicts(made(80), {"is_original": GateFinding(False, "It repeats another.")})


def look_up(store: Store) -> None:
    story = made(COUNT // 2 + 1)
    store.thread(store.assignment(story).thread_id or "", text=False)
    store.draft(story), store.score(story), store.image(story), store.finished_steps(story)
    store.first_published(story), Ledger(store.engine).spent(story), store.order_counts("order-7")


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "choosing and assigning threads": assign,
    "claiming, settling and judging a story": claim_and_settle,
    "what a story's run looks up": look_up,
    "whether a picture is used": lambda store: "picture-7" in store.used_pictures(excluding=made(8)),
    "a free slug": lambda store: store.free_slug("a-fence", made(80)),
    "stories alike": lambda store: store.stories_alike(made_bands(7), excluding=made(8)),
    "stories by status": lambda store: store.status_counts(),
    "unused threads": lambda store: store.unused_threads(),
    "the supply of threads": lambda store: ThreadSupply(store.engine).supply(3),
    "threads to be judged": lambda store: ThreadSupply(store.engine).assess(),
    "how far an order came": lambda store: ThreadSupply(store.engine).shortfall(store.open_order(1, None, None, 3)),
    "the newest errors": lambda store: Ledger(store.engine).errors(limit=5),
    "a run's errors": lambda store: Ledger(store.engine).errors(run_id="none", limit=1),
    "decisions": lambda store: store.decisions(),
    "a list of stories": lambda store: story_records(store, page, limit=20),
    "a list of published stories": lambda store: story_records(store, page, status="published", limit=20),
    "a list of failed stories": lambda store: story_records(store, page, status="failed", limit=20),
    "a list of running stories": lambda store: story_records(store, page, status="running", limit=20),
    "one story": lambda store: story_record(store, made(7), page),
    "open orders": lambda store: store.open_orders(),
    "the last publication": lambda store: store.last_publication(),
    "imports to check or hand over": lambda store: Validation(store).has_work(),
    "imports handed over": lambda store: Validation(store).release(0),
    "imports to check": lambda store: Validation(store).check(limit=1),
    "a takedown": lambda store: Takedowns(store.engine).apply(Tombstone(kind="story", id=made(91), reason="Gone.")),
    "takedowns that are not cleared": lambda store: Takedowns(store.engine).uncleared(),
    "threads that expire": lambda store: Takedowns(store.engine).expire(24 * 3650),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_plan_reads_a_growing_table_from_end_to_end(many: Store, operation: str) -> None:
    with explained(many.engine) as found:
        OPERATIONS[operation](many)
    assert found
    assert {statement: read_whole(plan) for statement, plan in found if read_whole(plan)} == {}


def test_assigning_looks_only_at_stories_that_are_unfinished(many: Store) -> None:
    with explained(many.engine) as found:
        assign(many)
    assert "assignments_unfinished_idx" in str([plan for _, plan in found])


def test_no_tick_of_a_sensor_reads_a_growing_table_from_end_to_end(many: Store, tmp_path: Path) -> None:
    database = Postgres(url=many.engine.url.render_as_string(hide_password=False), pool_size=2)
    resources = {
        "database": database,
        "inbox": FolderStorage(root=str(tmp_path)),
        "policy": EditorialPolicy(),
        "writer": ExtractiveWriter(),
    }
    order = many.open_order(1, None, None, 1)
    with explained(database.store.engine) as found, dg.DagsterInstance.ephemeral() as instance:
        for sensor in (story_assignment_sensor, site_sensor, import_inbox_sensor):
            needed = {name: resources[name] for name in sensor.required_resource_keys}
            with dg.build_sensor_context(instance, resources=needed) as context:
                assert sensor(context)
    for one in many.waiting(order.id):
        many.forget(one.story_id)
    many.close_order(order.id)
    assert len(found) > 10
    assert {statement: read_whole(plan) for statement, plan in found if read_whole(plan)} == {}


def counted(store: Store) -> tuple[Counter[str], Counter[str]]:
    """Stories by status and by persona, counted one by one."""
    columns = t.assignments.c
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(columns.status, columns.persona)).all()
    return Counter(status for status, _ in rows), Counter(persona for _, persona in rows)


def kept(store: Store) -> tuple[Counter[str], Counter[str]]:
    with store.engine.connect() as connection:
        return store.status_counts(), store._counts(connection, t.story_counts.c.persona)


class TestCounts:
    def test_a_story_counts_once_wherever_it_goes(self, store: Store) -> None:
        store.save_threads([make_thread(name) for name in ("one", "two", "three", "four")])
        assert (store.status_counts(), store.unused_threads()) == ({}, 4)
        one, two, three = store.assign(store.open_order(3, None, None, 3))
        assert (store.status_counts(), store.unused_threads()) == ({"assigned": 3}, 1)
        store.claim(one.story_id, "run-1")
        for gate in GATES:
            store.record_verdicts(one.story_id, {gate: GateFinding(True, "Fine.")})
        store.save(make_publication(store, one.story_id))
        store.claim(two.story_id, "run-2")
        store.settle(two.story_id, "run-2")
        store.forget(three.story_id)
        assert store.status_counts() == {"published": 1, "failed": 1}
        assert kept(store) == counted(store)
        assert store.unused_threads() == 2

    def test_what_is_taken_back_is_not_counted(self, store: Store) -> None:
        store.save_threads([make_thread("one")])
        (one,) = store.assign(store.open_order(1, None, None, 3))
        with store.engine.connect() as connection:
            connection.execute(t.assignments.update().values(status="held"))
            connection.rollback()
        assert store.status_counts() == {"assigned": 1}
        store.forget(one.story_id)
        assert (store.status_counts(), store.unused_threads()) == ({}, 1)

    def test_many_changes_at_once_leave_the_right_counts_in_few_rows(self, store: Store) -> None:
        stories = [f"story-{number}" for number in range(40)]
        category, (persona, other) = (
            Catalogue(store.engine).categories()[0].slug,
            Catalogue(store.engine).personas()[:2],
        )
        for story in stories:
            store.assign_manual(story, category, persona.slug)
        start = threading.Barrier(4)

        def change(worker: int) -> None:
            start.wait()
            for turn in range(60):
                for story in stories[worker::4][:5]:
                    store.claim(story, f"run-{worker}-{turn}")
                    store.settle(story, f"run-{worker}-{turn}")
                store.assign_manual(stories[worker], category, (persona, other)[turn % 2].slug)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(change, range(4)))
        assert kept(store) == counted(store)
        with store.engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(t.story_counts)) < 3000

    def test_a_statement_for_many_rows_writes_few_counts(self, many: Store) -> None:
        rows = sa.select(sa.func.count()).select_from(t.story_counts)
        with many.engine.connect() as connection:
            before = connection.scalar(rows) or 0
            connection.execute(t.assignments.update().values(status="held"))
            assert (connection.scalar(rows) or 0) <= before + 100
            connection.rollback()

    def test_stories_that_were_there_before_the_migration_are_counted_by_it(self, store: Store) -> None:
        from alembic import command

        from threadjuice_dagster.database.schema import _config, migrate

        store.save_threads([make_thread("used"), make_thread("free")])
        store.assign(store.open_order(1, None, None, 1))
        with store.engine.connect() as connection:
            command.downgrade(_config(connection), "0004")
            connection.commit()
        migrate(store.engine)
        assert (store.status_counts(), store.unused_threads()) == ({"assigned": 1}, 1)
        assert kept(store) == counted(store)


class TestAdoption:
    def interrupted(self, store: Store, count: int) -> list[str]:
        """Stories of an order that nobody works on any more, oldest first."""
        store.save_threads([make_thread(f"t{number}") for number in range(count)])
        return [one.story_id for one in store.assign(store.open_order(count, None, None, count))]

    def test_an_order_takes_the_oldest_unfinished_stories_and_no_more_than_it_lacks(self, store: Store) -> None:
        stories = self.interrupted(store, 40)
        with store.engine.begin() as connection:
            moments = enumerate(reversed(stories))
            for age, story in moments:
                made_then = sa.func.now() - sa.func.make_interval(0, 0, 0, age)
                connection.execute(
                    t.assignments.update().where(t.assignments.c.story_id == story).values(created_at=made_then)
                )
        order = store.open_order(2, None, None, 9)
        assert {one.story_id for one in store.assign(order)} == set(stories[:2])

    def test_stories_of_living_owners_are_passed_over(self, store: Store) -> None:
        stories = self.interrupted(store, 45)
        owner = store.assignment(stories[0]).order_id or ""
        order = store.open_order(2, None, None, 2)
        with store.locks.held(order_lock(owner)):
            assert store.assign(order) == []
        assert len(store.assign(order)) == 2

    def test_stories_that_are_not_adopted_stay_free_for_others(self, store: Store) -> None:
        stories = self.interrupted(store, 60)
        order = store.open_order(1, None, None, 1)
        with store.engine.begin() as connection:
            store._adopt(connection, order, 1, None)
            free = sa.select(t.assignments.c.story_id).with_for_update(skip_locked=True)
            with store.engine.begin() as other:
                assert len(other.execute(free).all()) >= len(stories) - 20


class TestLists:
    def test_a_list_of_one_status_is_the_newest_of_it(self, many: Store) -> None:
        columns = t.assignments.c
        newest = sa.select(columns.story_id).order_by(columns.created_at.desc()).limit(30)
        with many.engine.connect() as connection:
            for status in ("published", "rejected", "held", "failed", "imported", "withdrawn"):
                wanted = list(connection.scalars(newest.where(columns.status == status)))
                assert [one.id for one in story_records(many, page, status=status, limit=30)] == wanted
            assert [one.id for one in story_records(many, page, limit=30)] == list(connection.scalars(newest))

    def test_a_dead_run_is_listed_as_interrupted_and_a_live_one_as_running(self, store: Store) -> None:
        store.save_threads([make_thread("dead"), make_thread("live"), make_thread("free")])
        dead, live, _ = (one.story_id for one in store.assign(store.open_order(3, None, None, 3)))
        store.claim(dead, "dead")
        store.claim(live, "live")
        with store.locks.held(run_lock("live")):
            listed = {
                status: story_records(store, page, status=status) for status in ("interrupted", "running", "assigned")
            }
        assert {status: [one.id for one in found][:1] for status, found in listed.items()} == {
            "interrupted": [dead],
            "running": [live],
            "assigned": [listed["assigned"][0].id],
        }
        assert [len(found) for found in listed.values()] == [1, 1, 1]


class TestLookUps:
    def test_the_first_free_slug_is_found_behind_many_that_are_taken(self, many: Store) -> None:
        assert many.free_slug("a-house", made(80)) == "a-house"
        assert many.free_slug("a-fence-1", made(80)) == "a-fence-1-2"

    def test_a_slug_taken_by_a_hundred_stories_gets_the_next_number(self, store: Store) -> None:
        category, persona = Catalogue(store.engine).categories()[0].slug, Catalogue(store.engine).personas()[0].slug
        for number in range(1, 102):
            store.assign_manual(f"s{number}", category, persona)
            for gate in GATES:
                store.record_verdicts(f"s{number}", {gate: GateFinding(True, "Fine.")})
            store.save(make_publication(store, f"s{number}"))
        assert store.publication("s101").slug == "a-fence-101"
        store.assign_manual("new", category, persona)
        assert store.free_slug("a-fence", "new") == "a-fence-102"
        assert store.free_slug("a-fence", "s7") == "a-fence-7"

    def test_a_picture_is_used_if_another_story_shows_it(self, many: Store) -> None:
        used = many.used_pictures(excluding=made(7))
        assert ["picture-8" in used, "picture-7" in used, "picture-none" in used, "" in used] == [True, False] + [
            False
        ] * 2

    def test_title_cards_are_never_used_up(self, store: Store) -> None:
        category, persona = Catalogue(store.engine).categories()[0].slug, Catalogue(store.engine).personas()[0].slug
        store.assign_manual("one", category, persona)
        store.save(make_image("one"))
        assert "" not in store.used_pictures(excluding="two")

    def test_an_import_that_was_refused_is_not_looked_at_again(self, store: Store, tmp_path: Path) -> None:
        thin = {"title": "The fence moves", "slug": "fence", "category": "neighbours", "text": "The fence moved."}
        (tmp_path / "thin.json").write_text(json.dumps([{**thin, "status": "published"}]))
        import_files(store, [tmp_path / "thin.json"], tmp_path / "rejects")
        assert Validation(store).check().checked == 1
        assert store.status_counts() == {"rejected": 1}
        with store.engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count()).where(t.imports.c.state == 1)) == 0
        assert not Validation(store).has_work()
