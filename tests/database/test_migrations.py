"""Migrations: one at a time, each whole or not at all, up and down on data, and held against rules before they ship."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from makers import make_draft, make_image, make_publication, make_score, make_thread

from threadjuice_dagster.assets.upkeep.database import database_schema
from threadjuice_dagster.database import schema
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.schema import Step, current_revision, head_revision, migrate, require_schema
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.failures import ConfigurationError, TransientFailure
from threadjuice_dagster.resources.postgres import Postgres

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "threadjuice_dagster" / "database" / "migrations"
REVISIONS = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("0*.py"))


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(database_url)
    yield engine
    engine.dispose()


def go_to(engine: sa.Engine, revision: str) -> None:
    """Move the database to a revision, in whichever direction."""
    from alembic import command

    with engine.connect() as connection:
        config = schema._config(connection)
        forward = revision != "base" and (current_revision(connection) or "") < revision
        connection.commit()
        (command.upgrade if forward else command.downgrade)(config, revision)
        connection.commit()


def revision_of(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        return current_revision(connection)


def fill(url: str) -> Store:
    """Stories in every state of their life, written by the store."""
    store = open_store(url, 4)
    Catalogue(store.engine).seed()
    store.save_threads([make_thread(f"abc{number}") for number in range(6)])
    stories = [one.story_id for one in store.assign(store.open_order(5, None, None, 9))]
    for story_id in stories[:3]:
        store.claim(story_id, "run")
        for model in (make_draft(story_id), make_score(story_id), make_image(story_id)):
            store.save(model)
        store.record_verdicts(story_id, {gate: GateFinding(True, "fine") for gate in GATES})
        store.save(make_publication(store, story_id))
    store.withdraw(stories[0], "ada", "asked to")
    store.record_verdicts(stories[3], {GATES[0]: GateFinding(False, "7.9 of 10")})
    store.overrule(stories[3], "ada", "good enough")
    Ledger(store.engine).add_error(TransientFailure("away", "wait"), "story_draft", stories[4], "run")
    return store


def contents(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, as text."""
    found = {}
    with engine.connect() as connection:
        for name in set(sa.inspect(connection).get_table_names()) - {"alembic_version"}:
            rows = connection.execute(sa.select(sa.Table(name, sa.MetaData(), autoload_with=connection)))
            texts = [{key: str(value) for key, value in row._mapping.items()} for row in rows]
            found[name] = sorted(texts, key=lambda row: json.dumps(row, sort_keys=True))
    return found


def shared(rows: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[str]:
    """The rows in those columns that both sides have."""
    columns = set(rows[0]) & set(other[0]) if rows and other else set()
    return sorted(json.dumps({name: row[name] for name in sorted(columns)}) for row in rows)


class TestUpAndDown:
    @pytest.mark.parametrize("revision", REVISIONS[1:])
    def test_what_a_downgrade_keeps_is_there_after_the_way_back(
        self, engine: sa.Engine, database_url: str, revision: str
    ) -> None:
        migrate(engine)
        fill(database_url)
        go_to(engine, revision)
        above = contents(engine)
        go_to(engine, REVISIONS[REVISIONS.index(revision) - 1])
        below = contents(engine)
        go_to(engine, revision)
        again = contents(engine)
        assert set(again) == set(above)
        for table, rows in below.items():
            if table in above:  # a summary of other tables may exist on one side only
                assert shared(rows, again[table]) == shared(again[table], rows), table
                assert shared(rows, above[table]) == shared(above[table], rows), table
        migrate(engine)
        assert revision_of(engine) == head_revision()

    def test_up_and_all_the_way_down_and_up_leaves_the_same_schema(self, engine: sa.Engine) -> None:
        migrate(engine)
        before = outline(engine)
        go_to(engine, "base")
        with engine.connect() as connection:
            assert sa.inspect(connection).get_table_names() == ["alembic_version"]
        migrate(engine)
        assert outline(engine) == before

    def test_a_story_is_written_in_a_database_that_came_all_the_way_on_data(
        self, engine: sa.Engine, database_url: str
    ) -> None:
        migrate(engine)
        store = fill(database_url)
        public = {story.story_id for story in store.published()}
        go_to(engine, REVISIONS[0])
        migrate(engine)
        assert {story.story_id for story in store.published()} == public
        assert len(store.assign(store.open_order(1, None, None, 3))) == 1


def outline(engine: sa.Engine) -> dict[str, Any]:
    """Columns, keys, indexes and checks of every table."""
    with engine.connect() as connection:
        looked = sa.inspect(connection)
        return {
            name: (
                [(one["name"], str(one["type"]), one["nullable"], one["default"]) for one in looked.get_columns(name)],
                sorted(one["name"] or "" for one in looked.get_indexes(name)),
                sorted((one["name"] or "", one["sqltext"]) for one in looked.get_check_constraints(name)),
                sorted(one["name"] or "" for one in looked.get_foreign_keys(name)),
            )
            for name in looked.get_table_names()
        }


class TestWaitingForLocks:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schema, "LOCK_TIMEOUT", "100ms")
        monkeypatch.setattr(schema, "_PAUSE", 0.02)

    def test_a_migration_waits_for_a_reader_and_is_tried_again(self, engine: sa.Engine) -> None:
        go_to(engine, "0003")
        reader = engine.connect()
        reader.execute(sa.text("SELECT count(*) FROM assignments"))
        threading.Timer(0.4, reader.close).start()
        steps: list[Step] = []
        assert migrate(engine, steps.append) == ("0003", head_revision())
        assert [step.name for step in steps] == [one for one in REVISIONS if one > "0003"]
        assert "tries" in steps[0].message

    def test_a_lock_that_is_never_granted_is_one_clear_transient_failure(self, engine: sa.Engine) -> None:
        go_to(engine, "0003")
        with engine.connect() as reader:
            reader.execute(sa.text("SET application_name = 'long report'"))
            reader.execute(sa.text("SELECT count(*) FROM assignments"))
            with pytest.raises(TransientFailure, match=r"0004 got no lock in 6 tries.*long report.*deploy migrate"):
                migrate(engine)
        assert revision_of(engine) == "0003"
        migrate(engine)

    def test_nobody_waits_behind_a_migration_for_longer_than_its_lock_time_out(self, engine: sa.Engine) -> None:
        go_to(engine, "0003")
        done = threading.Event()

        def work() -> None:
            with pytest.raises(TransientFailure):
                migrate(engine)
            done.set()

        with engine.connect() as reader:
            reader.execute(sa.text("SELECT count(*) FROM assignments"))
            migrator = threading.Thread(target=work)
            migrator.start()
            while not done.is_set():
                with engine.connect() as other:  # it would wait for ever behind a migration that does
                    other.execute(sa.text("SET lock_timeout = '5s'"))
                    other.execute(sa.text("SELECT count(*) FROM assignments"))
            migrator.join()

    def test_a_statement_limit_of_the_server_does_not_stop_a_migration(self, engine: sa.Engine) -> None:
        with engine.begin() as connection:
            name = connection.dialect.identifier_preparer.quote(str(engine.url.database))
            connection.execute(sa.text(f"ALTER DATABASE {name} SET statement_timeout = '500ms'"))
        with lone_engine(engine.url).connect() as connection:  # the kind of connection a migration has
            connection.execute(sa.text("SELECT pg_sleep(0.7)"))
        migrate(engine)
        engine.dispose()
        with engine.connect() as connection, pytest.raises(sa.exc.OperationalError, match="statement timeout"):
            connection.execute(sa.text("SELECT pg_sleep(1)"))


BLOCKED = """
import sys, sqlalchemy as sa
from threadjuice_dagster.database import schema
schema.LOCK_TIMEOUT = "60s"
print("going", flush=True)
schema.migrate(sa.create_engine(sys.argv[1]))
"""


class TestSeveralMigrators:
    def test_one_migrates_and_the_others_wait_and_find_nothing_to_do(
        self, engine: sa.Engine, database_url: str
    ) -> None:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(3, mp_context=context) as pool:
            found = list(pool.map(migrate_at, [database_url] * 3))
        assert sorted(before or "" for before, _ in found) == ["", head_revision(), head_revision()]
        assert revision_of(engine) == head_revision()

    def test_a_migrator_that_is_killed_in_the_middle_leaves_the_database_as_before(
        self, engine: sa.Engine, database_url: str
    ) -> None:
        go_to(engine, "0001")
        before = outline(engine)
        with engine.connect() as reader:
            reader.execute(
                sa.text("SELECT count(*) FROM gate_verdicts")
            )  # 0002 creates two tables, then waits for this
            process = subprocess.Popen([sys.executable, "-c", BLOCKED, database_url], stdout=subprocess.PIPE)
            wait_until(engine, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        wait_until(
            engine,
            "SELECT count(*) = 0 FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND datname = current_database()",
        )
        assert revision_of(engine) == "0001"
        assert outline(engine) == before
        assert migrate(engine) == ("0001", head_revision())


def migrate_at(url: str) -> tuple[str | None, str]:
    return migrate(sa.create_engine(url))


def wait_until(engine: sa.Engine, question: str) -> None:
    for _ in range(600):
        with engine.connect() as connection:
            if connection.execute(sa.text(question)).scalar():
                return
        time.sleep(0.05)
    pytest.fail(question)


class TestRefusals:
    @pytest.mark.parametrize("allowed", [True, False])
    def test_a_newer_schema_is_refused_by_every_command_in_one_clear_line(
        self, engine: sa.Engine, database_url: str, allowed: bool
    ) -> None:
        migrate(engine)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(ConfigurationError, match=r"9999.*Install the ThreadJuice version"):
            require_schema(Store(engine), migrate_if_missing=allowed)
        with pytest.raises(ConfigurationError, match="9999"):
            migrate(engine)
        assert revision_of(engine) == "9999"

    def test_a_database_that_is_away_is_a_transient_failure(self) -> None:
        with pytest.raises(TransientFailure, match="DATABASE_URL"):
            migrate(sa.create_engine("postgresql+psycopg://nobody:hunter2@127.0.0.1:1/none"))


class TestTheAsset:
    def test_it_migrates_where_nothing_else_may(self, engine: sa.Engine, database_url: str) -> None:
        database = Postgres(url=database_url, pool_size=2, migrates_itself=False)
        result = dg.materialize([database_schema], resources={"database": database})
        assert result.success
        metadata = result.asset_materializations_for_node("database_schema")[0].metadata
        assert (metadata["before"].value, metadata["after"].value) == ("empty", head_revision())
        steps = metadata["steps"].value
        assert [step["name"] for step in steps] == REVISIONS
        assert all(step["state"] == "done" and step["message"] and step["seconds"] >= 0 for step in steps)

    def test_a_lock_it_cannot_get_fails_the_run_with_what_to_do(
        self, engine: sa.Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(schema, "LOCK_TIMEOUT", "50ms")
        monkeypatch.setattr(schema, "_PAUSE", 0.01)
        go_to(engine, "0003")
        with engine.connect() as reader:
            reader.execute(sa.text("SELECT count(*) FROM assignments"))
            database = Postgres(url=database_url, pool_size=2, migrates_itself=False)
            result = dg.materialize([database_schema], resources={"database": database}, raise_on_error=False)
        assert not result.success
        failure = result.failure_data_for_node("database_schema").user_failure_data
        assert failure.metadata["kind"].value == "transient"
        assert "deploy migrate" in failure.metadata["next step"].value


CONTRACTING = """
revision = "0999"
down_revision = "{last}"
branch_labels = None
depends_on = None

from alembic import op

def upgrade():
    op.{change}

def downgrade():
    pass
"""


class TestTheLinter:
    @pytest.mark.parametrize(
        ("change", "rule"),
        [
            ('drop_column("stories", "model")', "ban-drop-column"),
            ('drop_table("events")', "ban-drop-table"),
            ('alter_column("stories", "model", new_column_name="maker")', "renaming-column"),
            ('create_index("late", "stories", ["title"])', "require-concurrent-index-creation"),
            ('execute("ALTER TABLE stories ALTER COLUMN title TYPE varchar(80)")', "changing-column-type"),
        ],
    )
    def test_a_migration_that_the_version_before_would_not_survive_is_caught(
        self, tmp_path: Path, change: str, rule: str
    ) -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, folder)
        text = textwrap.dedent(CONTRACTING).format(last=REVISIONS[-1], change=change)
        (folder / "versions" / "0999_contract.py").write_text(text)
        code, said = lint(folder)
        assert code != 0
        assert rule in said
        assert "0999.sql" in said

    def test_the_migrations_there_are_keep_the_rules(self) -> None:
        code, said = lint(MIGRATIONS)
        assert code == 0, said


def lint(folder: Path) -> tuple[int, str]:
    command = [sys.executable, ROOT / ".ci" / "lint_migrations.py", folder]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr
