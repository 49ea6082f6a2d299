"""Monitoring: figures of a day or of now, held against their thresholds, as the checks in the UI show them."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

import dagster as dg
import pytest
import sqlalchemy as sa
from makers import make_draft, make_image, make_publication, make_score, make_thread

from threadjuice_dagster.assets.monitoring.database_health import database_health
from threadjuice_dagster.assets.monitoring.error_report import error_report
from threadjuice_dagster.assets.monitoring.generation_metrics import generation_metrics
from threadjuice_dagster.assets.monitoring.image_delivery import image_delivery
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.schema import migrate
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.domain.pictures.images import FAST, Variant, drawn_picture, encode_variants
from threadjuice_dagster.domain.pictures.title_card import draw_title_card
from threadjuice_dagster.domain.story.stories import Usage
from threadjuice_dagster.failures import PermanentFailure, TransientFailure, Unsuitable, UsageError
from threadjuice_dagster.operations.monitoring.database_health_store import measure
from threadjuice_dagster.operations.monitoring.errors_store import errors_of_day
from threadjuice_dagster.operations.monitoring.generation_store import stories_of_day, with_seconds
from threadjuice_dagster.operations.monitoring.thresholds import Thresholds
from threadjuice_dagster.resources.postgres import Postgres, Replica
from threadjuice_dagster.resources.storage import FolderStorage

DAY = datetime.now(UTC).date()
NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = open_store(app_url(database_url), 3)
    migrate(store.engine)
    Catalogue(store.engine).seed()
    store.save_threads([make_thread(f"abc{number}") for number in range(9)])
    yield store
    store.engine.dispose()


@pytest.fixture
def look(store: Store, database_url: str, tmp_path: Any) -> Callable[..., dg.ExecuteInProcessResult]:
    """Materializes a monitoring asset for a day; further names are fields of its resources."""
    database = Postgres(url=database_url, pool_size=2)

    def run(
        asset: dg.AssetsDefinition, day: date = DAY, instance: dg.DagsterInstance | None = None, **limits: float
    ) -> dg.ExecuteInProcessResult:
        resources = {
            "database": database,
            "replica": Replica(database=database),
            "cdn": FolderStorage(root=str(tmp_path / "cdn")),
            "backups": FolderStorage(root=str(tmp_path / "backups")),
            "thresholds": Thresholds(**limits),
        }
        return dg.materialize([asset], partition_key=day.isoformat(), resources=resources, instance=instance)

    return run


def figures(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def records(result: dg.ExecuteInProcessResult, table: str) -> list[dict[str, Any]]:
    return [dict(record.data) for record in figures(result)[table].records]


def checked(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def publish(store: Store, story_id: str, run_id: str = "run") -> None:
    store.claim(story_id, run_id)
    for model in (make_draft(story_id), make_score(story_id), make_image(story_id)):
        store.save(model)
    store.record_verdicts(story_id, {gate: GateFinding(True, "fine") for gate in GATES})
    store.save(make_publication(store, story_id).model_copy(update={"published_at": datetime.now(UTC)}))


def spend(store: Store, story_id: str, dollars: float, purpose: str = "write") -> None:
    usage = Usage(requests=2, input_tokens=300, output_tokens=100, cost_usd=dollars)
    Ledger(store.engine).add_usage(purpose, "", usage, story_id, "run")


class TestErrors:
    def test_errors_of_one_cause_are_one_row_and_the_most_frequent_comes_first(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        Ledger(store.engine).add_error(
            PermanentFailure("No such model: m.", "Set OPENAI_MODEL."), "story_draft", None, "r0"
        )
        for number in range(3):
            failure = TransientFailure(f"It answered 503 after {number} s.", "Wait.")
            Ledger(store.engine).add_error(failure, "quality_score", "s1", f"r{number}")
        result = look(error_report)
        first, second = records(result, "by cause")
        assert (first["count"], first["class"], first["asset"], first["run"]) == (3, "transient", "quality_score", "r2")
        assert (second["count"], second["class"], second["next step"]) == (1, "permanent", "Set OPENAI_MODEL.")
        found = figures(result)
        assert (found["errors"], found["transient"], found["permanent"], found["causes"]) == (4, 3, 1, 2)

    def test_the_first_time_a_cause_was_seen_may_be_long_ago(self, store: Store) -> None:
        for days in (40, 0):
            Ledger(store.engine).add_error(TransientFailure("away"), "site", None, "r")
            old = {"at": datetime.now(UTC) - timedelta(days=days)}
            with store.engine.begin() as connection:
                newest = sa.select(sa.func.max(t.pipeline_errors.c.id)).scalar_subquery()
                connection.execute(t.pipeline_errors.update().where(t.pipeline_errors.c.id == newest).values(old))
        (group,) = errors_of_day(store.engine, DAY).groups
        assert group.count == 1
        assert (group.last_at - group.first_at).days in (39, 40)

    def test_few_errors_pass_and_many_name_the_commonest_cause(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        for _ in range(3):
            Ledger(store.engine).add_error(TransientFailure("The model is away.", "Wait."), "story_draft", None, "r")
        assert checked(look(error_report))["errors_stay_few"].passed
        Ledger(store.engine).add_error(TransientFailure("The model is away.", "Wait."), "story_draft", None, "r")
        evaluation = checked(look(error_report))["errors_stay_few"]
        assert not evaluation.passed
        assert evaluation.severity == dg.AssetCheckSeverity.WARN
        assert "story_draft: The model is away." in str(evaluation.description)
        assert evaluation.metadata["next step"].value == "Wait."
        assert evaluation.metadata["runbook"].value == "alerts"

    def test_editorial_outcomes_and_slips_of_operators_are_shown_and_not_counted(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        for failure in [Unsuitable("Too short."), UsageError("No such story.")] * 10:
            Ledger(store.engine).add_error(failure, "story_draft", None, "r")
        result = look(error_report)
        assert checked(result)["errors_stay_few"].passed
        assert (figures(result)["errors"], figures(result)["editorial"]) == (20, 20)

    def test_a_day_long_past_is_counted_again_but_raises_no_alarm(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        for _ in range(50):
            Ledger(store.engine).add_error(TransientFailure("away"), "site", None, "r")
        with store.engine.begin() as connection:
            connection.execute(t.pipeline_errors.update().values(at=NOON))
        result = look(error_report, NOON.date())
        assert figures(result)["errors"] == 50
        assert checked(result)["errors_stay_few"].passed
        assert "not judged any more" in str(checked(result)["errors_stay_few"].description)
        assert figures(look(error_report))["errors"] == 0


class TestGeneration:
    def test_a_story_counts_once_as_it_ended(self, store: Store) -> None:
        first, second, third, fourth = [one.story_id for one in store.assign(store.open_order(4, None, None, 9))]
        Ledger(store.engine).add_error(TransientFailure("away"), "story_draft", first, "r")
        publish(store, first)
        store.record_verdicts(second, {GATES[0]: GateFinding(False, "7.0 of 10"), GATES[1]: GateFinding(False, "rude")})
        Ledger(store.engine).add_error(Unsuitable("Nothing happens in it."), "story_draft", third, "r")
        Ledger(store.engine).add_error(TransientFailure("away"), "story_draft", fourth, "r")
        found = stories_of_day(store.engine, DAY).set_index("story_id")
        assert found["outcome"].to_dict() == {
            first: "published", second: "rejected", third: "rejected", fourth: "failed",
        }  # fmt: skip
        assert set(found["reasons"][second]) == {GATES[0], GATES[1]}

    def test_imported_stories_are_none_of_the_day(self, store: Store) -> None:
        (story,) = store.assign(store.open_order(1, None, None, 9))
        publish(store, story.story_id)
        with store.engine.begin() as connection:
            connection.execute(t.assignments.update().values(thread_id=None))
        assert stories_of_day(store.engine, DAY).empty

    def test_figures_are_of_their_day_alone_and_can_be_had_again(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        (story,) = store.assign(store.open_order(1, None, None, 9))
        publish(store, story.story_id)
        spend(store, story.story_id, 0.5)
        with store.engine.begin() as connection:
            for column in (t.publications.c.published_at, t.model_usage.c.at):
                connection.execute(column.table.update().values({column: NOON}))
        past = figures(look(generation_metrics, NOON.date()))
        assert (past["published"], past["cost_usd"], past["success %"]) == (1, 0.5, 100.0)
        for day in (DAY, NOON.date() - timedelta(days=1), NOON.date() + timedelta(days=1)):
            assert figures(look(generation_metrics, day))["stories"] == 0

    def test_what_is_not_published_is_paid_for_by_what_is(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        first, second = [one.story_id for one in store.assign(store.open_order(2, None, None, 9))]
        publish(store, first)
        store.record_verdicts(second, {GATES[0]: GateFinding(False, "7.0 of 10")})
        spend(store, first, 0.2)
        spend(store, first, 0.1, "judge")
        spend(store, second, 0.3)
        result = look(generation_metrics)
        found = figures(result)
        assert (found["cost_usd per story"], found["cost_usd per published story"]) == (0.3, 0.6)
        assert (found["requests"], found["input_tokens"], found["output_tokens"]) == (6, 900, 300)
        assert {one["purpose"]: one["cost_usd"] for one in records(result, "by purpose")} == {
            "judge": 0.1,
            "write": 0.5,
        }
        assert records(result, "by reason") == [{"reason": GATES[0], "stories": 1}]
        assert sum(one["stories"] for one in records(result, "by persona")) == 2
        assert {one["model"] for one in records(result, "by model")} == {"extractive", "none"}

    def test_a_story_takes_from_the_beginning_of_its_run_to_its_publication(self, store: Store) -> None:
        (story,) = store.assign(store.open_order(1, None, None, 9))
        publish(store, story.story_id, "run-1")
        ends = (t.stories.c.written_at, t.quality_scores.c.scored_at, t.images.c.chosen_at)
        with store.engine.begin() as connection:
            for number, column in enumerate((*ends, t.publications.c.published_at), 1):
                connection.execute(column.table.update().values({column: NOON + timedelta(seconds=10 * number)}))
        stories = with_seconds(stories_of_day(store.engine, NOON.date()), {"run-1": NOON})
        (found,) = stories.to_dict("records")
        assert [found[name] for name in ("seconds", "write", "judge", "picture", "publish")] == [40, 10, 10, 10, 10]
        assert with_seconds(stories_of_day(store.engine, NOON.date()), {})["seconds"].isna().all()

    def test_a_budget_is_warned_of_before_it_is_spent(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        (story,) = store.assign(store.open_order(1, None, None, 9))
        spend(store, story.story_id, 0.9)
        severities = {}
        for budget in (0.0, 2.0, 1.0, 0.5):
            one = checked(look(generation_metrics, daily_budget_usd=budget))["spend_is_within_budget"]
            severities[budget] = None if one.passed else one.severity
        warn, error = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
        assert severities == {0.0: None, 2.0: None, 1.0: warn, 0.5: error}

    def test_gates_that_keep_back_nearly_all_are_named(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        stories = [one.story_id for one in store.assign(store.open_order(5, None, None, 9))]
        for story_id in stories[:3]:
            store.record_verdicts(story_id, {GATES[0]: GateFinding(False, "7.0 of 10")})
        assert checked(look(generation_metrics))["gates_let_enough_through"].passed
        publish(store, stories[3])
        evaluation = checked(look(generation_metrics))["gates_let_enough_through"]
        assert not evaluation.passed
        assert GATES[0] in str(evaluation.description)
        assert checked(look(generation_metrics, rejection_share=0.8))["gates_let_enough_through"].passed

    def test_an_outage_that_fails_the_days_stories_is_an_error(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        for story in store.assign(store.open_order(2, None, None, 9)):
            Ledger(store.engine).add_error(TransientFailure("away"), "story_draft", story.story_id, "r")
        evaluation = checked(look(generation_metrics))["generation_succeeds"]
        assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert evaluation.metadata["runbook"].value == "content-generation-failure"


@contextmanager
def elsewhere(store: Store, statement: str) -> Iterator[None]:
    """Another connection runs a statement, begun shortly after the block is entered."""

    def run() -> None:
        time.sleep(0.3)
        with store.engine.begin() as connection:
            connection.exec_driver_sql(statement)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run)
        yield
        done.result(30)


def seen(store: Store, what: str) -> Any:
    """The first of what is measured to be running or waiting, once there is one."""
    for _ in range(100):
        if found := getattr(measure(store.engine), what):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"nothing was {what}")


class TestDatabaseHealth:
    def test_a_database_in_order_passes_all_but_the_backup_it_has_not(
        self, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        result = look(database_health)
        assert {name for name, one in checked(result).items() if not one.passed} == {"backup_is_recent"}
        assert figures(result)["size MB"] > 1
        assert "publications" in {one["name"] for one in records(result, "tables")}

    def test_of_proven_backups_of_many_days_the_newest_that_is_still_stored_is_looked_at(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        now = datetime.now(UTC)
        rows = [
            {
                "id": f"backup-{days}",
                "key": f"backups/backup-{days}/dump.zst",
                "taken_at": now - timedelta(days=days),
                "sha256": "",
                "bytes": 9,
                "encrypted": False,
                "proven_at": now - timedelta(days=days),
                "deleted_at": now if days == 1 else None,
            }
            for days in (3, 1, 2)
        ]
        with store.engine.begin() as connection:
            connection.execute(t.backups.insert(), rows)
        evaluation = checked(look(database_health))["backup_is_recent"]
        assert "The newest proven backup is 48.0 hours old." in str(evaluation.description)

    def test_a_statement_that_runs_long_is_seen_without_the_texts_in_it(self, store: Store) -> None:
        with elsewhere(store, "SELECT 'hunter2', pg_sleep(4)"):
            found = seen(store, "running")
        assert "pg_sleep" in found.statement
        assert "hunter2" not in found.statement

    def test_who_waits_for_a_lock_is_seen_and_who_holds_it(self, store: Store) -> None:
        with store.engine.connect() as holder:
            pid = holder.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            holder.exec_driver_sql("LOCK TABLE orders")
            with elsewhere(store, "LOCK TABLE orders"):
                found = seen(store, "waiting")
                holder.rollback()
        assert found.blocked_by == str(pid)

    def test_growth_is_counted_from_the_day_before(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            assert figures(look(database_health, DAY - timedelta(days=1), instance))["growth MB"] == 0.0
            with store.engine.begin() as connection:
                connection.exec_driver_sql(
                    "CREATE TABLE heavy AS SELECT repeat(md5(i::text), 40) FROM generate_series(1, 5000) i"
                )
            assert figures(look(database_health, DAY, instance))["growth MB"] > 1


class PictureHost(http.server.BaseHTTPRequestHandler):
    """Serves files by path with the headers given; what is not there is 404."""

    files: ClassVar[dict[str, tuple[bytes, dict[str, str]]]] = {}
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Accept"]))
        data, headers = self.files.get(self.path, (b"gone", {}))
        self.send_response(200 if self.path in self.files else 404)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


IMMUTABLE = "public, max-age=31536000, immutable"


@pytest.fixture
def host(store: Store) -> Iterator[type[PictureHost]]:
    """A CDN with the picture of one public story."""
    PictureHost.files, PictureHost.asked = {}, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PictureHost)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (story,) = store.assign(store.open_order(1, None, None, 9))
    publish(store, story.story_id)
    picture = encode_variants(drawn_picture(draw_title_card("A card", "Tests", "#2f5d8a")), 85, FAST)
    variants = []
    for width, height, kind, data in picture.variants:
        path = f"/img/{width}.{kind}"
        PictureHost.files[path] = (data, {"Content-Type": f"image/{kind}", "Cache-Control": IMMUTABLE})
        url = f"http://127.0.0.1:{server.server_port}{path}"
        variants.append(Variant(width=width, height=height, format=kind, key=path[1:], url=url, bytes=len(data)))
    image = make_image(story.story_id).model_copy(update={"variants": tuple(variants), "width": picture.width})
    with store.engine.begin() as connection:
        connection.execute(t.images.update().values(record=image.model_dump(mode="json")))
    yield PictureHost
    server.shutdown()
    server.server_close()


class TestImageDelivery:
    def test_every_file_of_a_public_picture_is_fetched(
        self, host: type[PictureHost], look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        result = look(image_delivery)
        assert {path for path, _ in host.asked} == set(host.files)
        assert [name for name, one in checked(result).items() if not one.passed] == []
        assert (figures(result)["wrong"], figures(result)["never made"]) == (0, 0)
        assert any("avif" not in accept for _, accept in host.asked)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda data, headers: (data, {**headers, "Content-Type": "text/html"}), "it is called text/html"),
            (lambda data, headers: (data[:-7], headers), "bytes, not"),
            (lambda data, headers: (b"<html>" + data[6:], headers), "its bytes are no picture"),
        ],
    )
    def test_a_file_that_is_not_what_it_should_be_is_named(
        self,
        host: type[PictureHost],
        look: Callable[..., dg.ExecuteInProcessResult],
        change: Callable[[bytes, dict[str, str]], tuple[bytes, dict[str, str]]],
        told: str,
    ) -> None:
        path = sorted(host.files)[0]
        host.files[path] = change(*host.files[path])
        evaluation = checked(look(image_delivery))["pictures_are_delivered"]
        assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert told in str(evaluation.description)
        assert evaluation.metadata["runbook"].value == "image-loading-problems"

    def test_a_file_that_is_gone_is_named_with_what_brings_it_back(
        self, host: type[PictureHost], look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        del host.files[sorted(host.files)[-1]]
        evaluation = checked(look(image_delivery))["pictures_are_delivered"]
        assert "answers 404" in str(evaluation.description)
        assert evaluation.metadata["next step"].value == "Run: threadjuice maintenance optimize"

    @pytest.mark.parametrize("cache", ["", "no-store", "public, max-age=3600", "max-age=31536000"])
    def test_a_picture_that_caches_may_not_keep_is_a_warning(
        self, host: type[PictureHost], look: Callable[..., dg.ExecuteInProcessResult], cache: str
    ) -> None:
        path = sorted(host.files)[0]
        data, headers = host.files[path]
        host.files[path] = (data, {**headers, "Cache-Control": cache})
        found = checked(look(image_delivery))
        assert found["pictures_are_delivered"].passed
        assert not found["pictures_are_cacheable"].passed

    def test_a_format_that_was_never_made_is_missed(
        self, host: type[PictureHost], store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        with store.engine.begin() as connection:
            record = dict(connection.scalar(sa.select(t.images.c.record)) or {})
            record["variants"] = [one for one in record["variants"] if one["format"] != "avif"]
            connection.execute(t.images.update().values(record=record))
        result = look(image_delivery)
        assert figures(result)["never made"] > 0
        assert not checked(result)["pictures_are_delivered"].passed

    def test_without_a_cdn_the_files_of_the_folder_are_read(
        self, store: Store, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        (story,) = store.assign(store.open_order(1, None, None, 9))
        publish(store, story.story_id)
        result = look(image_delivery)
        (row,) = records(result, "by file")
        assert (row["place"], row["status"]) == ("storage", 0)
        assert not checked(result)["pictures_are_delivered"].passed

    def test_a_newsroom_without_a_story_has_nothing_to_complain_of(
        self, look: Callable[..., dg.ExecuteInProcessResult]
    ) -> None:
        assert all(one.passed for one in checked(look(image_delivery)).values())
