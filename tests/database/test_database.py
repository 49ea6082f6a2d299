"""The database: migrations, the catalogue, assignments, claims and publication on a real PostgreSQL."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from makers import make_draft, make_image, make_score, make_thread

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.assignments import order_lock, run_lock
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.locks import is_held
from threadjuice_dagster.database.refusals import meaning
from threadjuice_dagster.database.schema import current_revision, head_revision, migrate, require_schema
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure, UsageError


@pytest.fixture
def store(database_url: str) -> Store:
    store = Store(sa.create_engine(database_url, pool_size=10))
    require_schema(store, migrate_if_missing=True)
    return store


def assigned(store: Store, thread_id: str = "abc123") -> str:
    store.save_threads([make_thread(thread_id)])
    order = store.open_order(1, None, None, 3)
    return store.assign(order)[0].story_id


def pass_all_gates(store: Store, story_id: str) -> None:
    for gate in GATES:
        store.record_verdicts(story_id, {gate: GateFinding(True, "fine")})


class TestSchema:
    def test_migrating_leaves_exactly_the_tables_the_code_knows(self, store: Store) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        with store.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), t.metadata) == []
            assert current_revision(connection) == head_revision()

    def test_migrating_twice_changes_nothing(self, store: Store) -> None:
        assert migrate(store.engine) == (head_revision(), head_revision())

    def test_migrating_down_removes_every_table(self, store: Store) -> None:
        from alembic import command

        from threadjuice_dagster.database.schema import _config

        with store.engine.connect() as connection:
            command.downgrade(_config(connection), "base")
            connection.commit()
            assert sa.inspect(connection).get_table_names() == ["alembic_version"]
        migrate(store.engine)

    def test_several_migrators_at_once_end_with_one_schema(self, database_url: str) -> None:
        engines = [sa.create_engine(database_url) for _ in range(4)]
        threads = [threading.Thread(target=migrate, args=[engine]) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        with engines[0].connect() as connection:
            assert current_revision(connection) == head_revision()

    def test_words_of_the_server_end_in_a_full_stop_before_the_next_step(self) -> None:
        for words in ("Connection refused", "The connection was closed."):
            error = meaning(sa.exc.OperationalError("SELECT 1", {}, Exception(words)))
            assert str(error).startswith(f"The database cannot be reached: {words.rstrip('.')}. Check that")

    def test_a_newer_schema_is_refused(self, store: Store) -> None:
        with store.engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(ConfigurationError, match="9999"):
            migrate(store.engine)

    def test_an_unmigrated_database_is_named_where_it_may_not_be_migrated(self, database_url: str) -> None:
        with pytest.raises(ConfigurationError, match="threadjuice database seed"):
            require_schema(Store(sa.create_engine(database_url)), migrate_if_missing=False)

    def test_an_unreachable_database_is_one_clear_line_without_its_password(self) -> None:
        store = Store(sa.create_engine("postgresql+psycopg://user:hunter2@127.0.0.1:1/none"))
        with pytest.raises(TransientFailure) as raised:
            require_schema(store, migrate_if_missing=True)
        assert "DATABASE_URL" in str(raised.value)
        assert "hunter2" not in str(raised.value)

    def test_seeding_twice_changes_nothing(self, store: Store) -> None:
        assert Catalogue(store.engine).seed() == {"categories": 0, "personas": 0}

    def test_seeding_brings_back_what_was_altered(self, store: Store) -> None:
        with store.engine.begin() as connection:
            connection.execute(t.categories.update().values(record={}))
        assert Catalogue(store.engine).seed()["categories"] == len(Catalogue(store.engine).categories()) >= 6


class TestAssignments:
    def test_a_thread_is_assigned_once_only(self, store: Store) -> None:
        store.save_threads([make_thread("abc123")])
        first = store.assign(store.open_order(1, None, None, 3))
        store.claim(first[0].story_id, "run")
        with store.locks.held(run_lock("run")):
            assert store.assign(store.open_order(1, None, None, 3)) == []

    def test_orders_at_once_never_share_a_thread(self, store: Store) -> None:
        store.save_threads([make_thread(f"abc{number}") for number in range(8)])
        orders = [store.open_order(2, None, None, 6) for _ in range(4)]
        found: list[str] = []

        def work(order: object) -> None:
            with store.locks.held(order_lock(order.id)):  # type: ignore[attr-defined]
                found.extend(one.story_id for one in store.assign(order))  # type: ignore[arg-type]
                barrier.wait(30)

        barrier = threading.Barrier(4)
        threads = [threading.Thread(target=work, args=[order]) for order in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(found) == len(set(found)) == 8

    def test_a_rejected_story_is_made_up_for_until_the_bound(self, store: Store) -> None:
        store.save_threads([make_thread(f"abc{number}") for number in range(9)])
        order = store.open_order(1, None, None, 3)
        tried = []
        while waiting := store.assign(order):
            tried.append(waiting[0].story_id)
            store.claim(waiting[0].story_id, "run")
            store.record_verdicts(waiting[0].story_id, {GATES[0]: GateFinding(False, "too low")})
        assert len(set(tried)) == len(tried) == 3

    def test_a_published_story_ends_the_order(self, store: Store) -> None:
        store.save_threads([make_thread(f"abc{number}") for number in range(3)])
        order = store.open_order(1, None, None, 3)
        publish(store, store.assign(order)[0].story_id)
        assert store.assign(order) == []

    def test_what_a_killed_command_left_is_taken_up_by_the_next_order(self, store: Store) -> None:
        story_id = assigned(store)
        store.claim(story_id, "dead-run")
        assert [one.story_id for one in store.assign(store.open_order(1, None, None, 3))] == [story_id]

    def test_a_story_whose_run_died_gets_another_run_but_not_for_ever(self, store: Store) -> None:
        store.save_threads([make_thread("abc123")])
        order = store.open_order(1, None, None, 3)
        for number in range(3):
            waiting = store.assign(order)
            assert [one.runs for one in waiting] == [number]
            store.claim(waiting[0].story_id, f"dead-{number}")
        assert store.assign(order) == []
        assert store.order_counts(order.id)["failed"] == 1

    def test_a_run_that_was_refused_leaves_the_story_to_the_one_that_lives(self, store: Store) -> None:
        story_id = assigned(store)
        with store.locks.held(run_lock("one")):
            store.claim(story_id, "one")
            store.settle(story_id, "two")
            assert store.order_counts(store.assignment(story_id).order_id)["running"] == 1

    def test_what_a_live_command_works_on_is_left_to_it(self, store: Store) -> None:
        store.save_threads([make_thread("abc123")])
        order = store.open_order(1, None, None, 3)
        with store.locks.held(order_lock(order.id)):
            store.assign(order)
            assert store.assign(store.open_order(1, None, None, 3)) == []

    def test_an_unknown_category_is_refused_with_the_known_ones(self, store: Store) -> None:
        store.save_threads([make_thread("abc123")])
        order = store.open_order(1, "astrology", None, 3)
        with pytest.raises(UsageError, match="food"):
            store.assign(order)

    def test_category_and_persona_are_respected(self, store: Store) -> None:
        store.save_threads([make_thread("abc1", subreddit="cooking"), make_thread("abc2", subreddit="personalfinance")])
        voice = Catalogue(store.engine).personas()[-1].slug
        found = store.assign(store.open_order(5, "money", voice, 15))
        assert [(one.thread_id, one.category, one.persona) for one in found] == [("abc2", "money", voice)]

    def test_adult_threads_are_passed_over(self, store: Store) -> None:
        store.save_threads([make_thread("abc1", over_18=True)])
        assert store.assign(store.open_order(1, None, None, 3)) == []


class TestClaims:
    def test_a_second_live_run_is_refused(self, store: Store) -> None:
        story_id = assigned(store)
        with store.locks.held(run_lock("one")):
            store.claim(story_id, "one")
            with pytest.raises(PermanentFailure, match="one"):
                store.claim(story_id, "two")
        store.claim(story_id, "two")

    def test_a_run_for_another_order_is_refused(self, store: Store) -> None:
        with pytest.raises(PermanentFailure, match="another order"):
            store.claim(assigned(store), "run", order_id="older")

    def test_the_lock_of_a_killed_process_is_free(self, store: Store, database_url: str) -> None:
        code = (
            "import sys, time, sqlalchemy as sa\n"
            "from threadjuice_dagster.database.locks import Locks\n"
            f"with Locks(sa.engine.make_url({database_url!r})).held('run:x'):\n"
            "    print('held', flush=True); time.sleep(60)"
        )
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "held"
        with store.engine.connect() as connection:
            assert is_held(connection, "run:x")
        process.kill()
        process.wait()
        for _ in range(100):
            with store.engine.connect() as connection:
                if not is_held(connection, "run:x"):
                    return
            threading.Event().wait(0.05)
        pytest.fail("the lock outlived its holder")


def publish(store: Store, story_id: str) -> None:
    from makers import make_publication

    store.claim(story_id, "run")
    store.save(make_draft(story_id))
    store.save(make_score(story_id))
    store.save(make_image(story_id))
    pass_all_gates(store, story_id)
    store.save(make_publication(store, story_id))


class TestPublication:
    @pytest.mark.parametrize("gate", GATES)
    def test_a_story_with_one_gate_not_passed_is_not_published(self, store: Store, gate: str) -> None:
        from makers import make_publication

        story_id = assigned(store)
        pass_all_gates(store, story_id)
        store.record_verdicts(story_id, {gate: GateFinding(False, "no")})
        with pytest.raises(PermanentFailure, match=gate):
            store.save(make_publication(store, story_id))
        assert store.published() == []

    def test_a_story_with_a_gate_not_evaluated_is_not_published(self, store: Store) -> None:
        from makers import make_publication

        story_id = assigned(store)
        for gate in GATES[1:]:
            store.record_verdicts(story_id, {gate: GateFinding(True, "fine")})
        with pytest.raises(PermanentFailure, match=GATES[0]):
            store.save(make_publication(store, story_id))

    def test_a_new_draft_has_to_pass_every_gate_on_the_text_again(self, store: Store) -> None:
        from makers import make_publication

        story_id = assigned(store)
        publish(store, story_id)
        store.overrule(story_id, "ada", "fine")
        store.save(make_draft(story_id, title="Another story altogether"))
        assert [verdict.gate for verdict in store.verdicts(story_id)] == [GATES[4]]
        with pytest.raises(PermanentFailure, match=GATES[0]):
            store.save(make_publication(store, story_id))

    def test_an_overruled_gate_lets_the_story_through_and_keeps_name_and_reason(self, store: Store) -> None:
        story_id = assigned(store)
        store.record_verdicts(story_id, {GATES[0]: GateFinding(False, "7.9 of 10")})
        assert store.overrule(story_id, "ada", "good enough") == [GATES[0]]
        again = store.record_verdicts(story_id, {GATES[0]: GateFinding(False, "7.9 of 10")})[0]
        assert again.lets_through
        assert (again.overridden_by, again.override_reason) == ("ada", "good enough")

    def test_publishing_twice_leaves_one_row_and_the_first_date(self, store: Store) -> None:
        story_id = assigned(store)
        publish(store, story_id)
        first = store.first_published(story_id)
        publish(store, story_id)
        assert len(store.published()) == 1
        assert store.first_published(story_id) == first

    def test_two_stories_of_one_title_get_two_slugs(self, store: Store) -> None:
        one = assigned(store, "abc1")
        publish(store, one)
        assert store.free_slug("a-fence", "other") != store.publication(one).slug

    def test_a_withdrawn_story_is_gone_from_the_public_list(self, store: Store) -> None:
        story_id = assigned(store)
        publish(store, story_id)
        store.withdraw(story_id, "ada", "asked to")
        assert store.published() == []
        with pytest.raises(PermanentFailure, match="not published"):
            store.withdraw(story_id, "ada", "again")

    def test_a_new_run_goes_on_where_the_last_one_ended(self, store: Store) -> None:
        story_id = assigned(store)
        assert store.finished_steps(story_id) == []
        store.save(make_draft(story_id))
        assert store.finished_steps(story_id) == ["story_draft"]
        store.save(make_score(story_id))
        assert store.finished_steps(story_id) == ["story_draft"]
        for gate in GATES[:4]:
            store.record_verdicts(story_id, {gate: GateFinding(True, "fine")})
        assert store.finished_steps(story_id) == ["story_draft", "quality_score"]

    def test_hostile_text_is_stored_as_text(self, store: Store) -> None:
        hostile = "'); DROP TABLE stories; -- %s {x} \\ \u2028 💥"
        store.save_threads([make_thread("abc123", title=hostile, body=hostile * 5)])
        assert store.thread("abc123").title == hostile
        story_id = store.assign(store.open_order(1, None, None, 1))[0].story_id
        store.save(make_draft(story_id, title=hostile))
        assert store.draft(story_id).draft.title == " ".join(hostile.split()) or store.draft(story_id).draft.title


def test_the_embedded_server_is_shared_and_survives_a_killed_user(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib, sqlalchemy as sa\n"
        "from threadjuice_dagster.database.server import embedded_url\n"
        "url = embedded_url(pathlib.Path(sys.argv[1]))\n"
        "with sa.create_engine(url).begin() as c:\n"
        "    c.execute(sa.text('CREATE TABLE IF NOT EXISTS seen (n int)'))\n"
        "    c.execute(sa.text('INSERT INTO seen VALUES (1)'))\n"
        "    n = c.execute(sa.text('SELECT count(*) FROM seen')).scalar()\n"
        "print(n, flush=True); time.sleep(float(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    first = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=120, check=False)
    assert first.returncode == 0, first.stderr
    users = [subprocess.Popen([*command, "60"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for user in users:
        assert user.stdout is not None
        assert int(user.stdout.readline()) >= 2
    for user in users:
        user.kill()
        user.wait()
    last = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=120, check=False)
    assert last.returncode == 0, last.stderr
    assert int(last.stdout) == 4
