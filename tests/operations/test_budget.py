"""The day's budget: it stops new work before it is passed, says so, and loses no story."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from command import candidates, threadjuice
from servers.loopback import Reply
from servers.openai_server import OpenAIServer
from test_openai import CATEGORY, PERSONA, THREAD

from threadjuice_dagster.cli.printed import status_text
from threadjuice_dagster.cli.session import open_session
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.schema import require_schema
from threadjuice_dagster.database.spending import Spending
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.domain.writing.budget import Budget
from threadjuice_dagster.domain.writing.costs import Meter, Prices
from threadjuice_dagster.failures import BudgetSpent, ConfigurationError, TransientFailure
from threadjuice_dagster.operations.limits import SharedRateLimit
from threadjuice_dagster.resources.openai import OpenAIResource
from threadjuice_dagster.resources.openai_compatibility import learned_of
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.settings import load_settings, read_settings
from threadjuice_dagster.wiring import build_resources

SAMPLES = sorted((Path(__file__).parents[2] / "threadjuice_dagster" / "editorial" / "threads").glob("*.json"))
PRICED = {"OPENAI_PRICE_INPUT": "0", "OPENAI_PRICE_OUTPUT": "50"}
"""With these a request for a story may cost 0.40 USD, and for a judgement 0.30."""


@pytest.fixture
def model(newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    learned_of.cache_clear()
    with OpenAIServer() as server:
        for name, value in (("API_KEY", "sk-hunter2-hunter2"), ("BASE_URL", server.url), ("TIMEOUT_SECONDS", "2")):
            monkeypatch.setenv(f"OPENAI_{name}", value)
        monkeypatch.setenv("CONTENT_GENERATION_RATE_LIMIT", "10000")
        yield server


@pytest.fixture
def store(newsroom_environment: dict[str, str]) -> Store:
    return open_store(newsroom_environment["DATABASE_URL"], 2)


def state_of(name: str, **variables: str) -> str:
    """What the environment's report says of one system."""
    settings, problems = read_settings({**os.environ, **variables})
    with build_resources(settings)["environment"].process_config_and_initialize_cm() as environment:
        return str(environment.report(settings, problems, [name]).row(name).state)


def test_a_budget_too_small_for_one_request_lets_none_through(model: OpenAIServer) -> None:
    variables = {"DAILY_BUDGET_USD": "0.0001"}
    code, document, _ = threadjuice("content", "generate", "--count", "2", **variables)
    assert (code, document["error"]["kind"], model.requests) == (1, "waiting", [])
    assert "one request to gpt-4o may cost 0.0800 USD" in document["error"]["message"]
    assert "raise DAILY_BUDGET_USD" in document["error"]["next_step"]
    status = threadjuice("status", **variables)[1]
    assert "not built yet: threadjuice deploy build" in status_text(status)
    budget = status["budget"]
    assert (budget["state"], budget["daily_usd"], budget["spent_usd"]) == ("too small", 0.0001, 0.0)
    assert [state_of(name, **variables) for name in ("budget", "openai")] == ["warning", "warning"]
    assert {one.kind for one in model.requests} == {"models"}


def test_stories_wait_for_the_next_day_or_for_a_higher_budget(model: OpenAIServer, store: Store) -> None:
    variables = {**PRICED, "DAILY_BUDGET_USD": "0.45"}
    code, document, said = threadjuice("content", "generate", "--count", "3", **variables)
    assert code == 1
    waiting = [one for one in document["stories"] if one["status"] == "waiting"]
    assert sorted(one["status"] for one in document["stories"]) == ["published", "waiting", "waiting"]
    assert {one["error"]["kind"] for one in waiting} == {"waiting"}
    assert "Stories wait for the next day. Wait for the next day (UTC), or raise DAILY_BUDGET_USD" in said
    assert 0 < Spending(store.engine).today().spent < 0.1
    assert Spending(store.engine).today().reserved == pytest.approx(0)
    status = threadjuice("status", **variables)[1]
    assert (status["budget"]["state"], Path(status["site"]).is_file()) == ("spent", True)
    assert len(threadjuice("content", "list", "--status", "waiting")[1]["stories"]) == 2
    assert store.open_orders() == []
    asked = len(model.requests)
    code, refused, _ = threadjuice("content", "generate", "--count", "1", **variables)
    assert (code, refused["error"]["kind"], len(model.requests)) == (1, "waiting", asked)

    raised = threadjuice("content", "generate", "--count", "1", **{**variables, "DAILY_BUDGET_USD": "9"})
    assert (raised[0], raised[1]["stories"][0]["status"]) == (0, "published")
    assert raised[1]["stories"][0]["id"] in {one["id"] for one in waiting}
    with store.engine.begin() as connection:
        connection.execute(sa.text("UPDATE model_spending SET day = day - 1"))
    next_day = threadjuice("content", "generate", "--count", "1", **variables)
    assert (next_day[0], next_day[1]["stories"][0]["status"]) == (0, "published")
    assert {one["id"] for one in document["stories"]} == {
        one["id"] for one in threadjuice("content", "list")[1]["stories"]
    }


def test_a_story_that_is_half_done_waits_with_what_it_has(
    model: OpenAIServer, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    def spent(*_: object) -> None:
        raise BudgetSpent("0.4 of 0.5 USD were spent today.")

    with monkeypatch.context() as patched:
        patched.setattr(OpenAIResource, "judge", spent)
        code, document, _ = threadjuice("content", "generate", "--thread", str(SAMPLES[0]))
    story = document["stories"][0]
    assert (code, story["status"], story["run_id"]) == (1, "waiting", "")
    assert Ledger(store.engine).errors() == []
    code, document, _ = threadjuice("content", "generate", "--count", "1")
    assert (code, document["stories"][0]["id"], document["stories"][0]["status"]) == (0, story["id"], "published")
    assert len(model.seen("write")) == 1


def test_a_model_of_unknown_price_is_never_counted_as_free_in_silence(model: OpenAIServer) -> None:
    house = {"OPENAI_MODEL": "cottage-model-3b"}
    code, document, _ = threadjuice("content", "generate", "--count", "1", **house, DAILY_BUDGET_USD="5")
    assert (code, document["error"]["kind"], model.requests) == (2, "configuration", [])
    assert "OPENAI_PRICE_INPUT" in document["error"]["next_step"]
    model.always("models", Reply({"data": [{"id": "cottage-model-3b"}]}))
    assert state_of("budget", **house, DAILY_BUDGET_USD="5") == "failed"
    assert state_of("budget", **house) == "warning"
    code, _, said = threadjuice("content", "generate", "--thread", str(SAMPLES[0]), **house)
    assert code == 0
    assert "No price is known for cottage-model-3b" in said
    free = threadjuice("status", **house, OPENAI_PRICE_INPUT="0", OPENAI_PRICE_OUTPUT="0")[1]["budget"]
    assert (free["state"], free["request_usd"]) == ("unlimited", 0.0)


def test_the_sensor_starts_no_story_that_a_model_has_to_write(
    model: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAILY_BUDGET_USD", "0.0001")
    with open_session(load_settings(), prepare=True) as newsroom:
        newsroom.store.save_threads(candidates(newsroom))
        order = newsroom.store.open_order(2, None, None, 6)
        sensor = newsroom.definitions.resolve_sensor_def("story_assignment_sensor")
        resources = {name: newsroom.resources[name] for name in ("database", "writer")}
        with dg.build_sensor_context(newsroom.instance, resources=resources) as ours:
            skipped = sensor(ours)
        assert isinstance(skipped, dg.SkipReason)
        assert "DAILY_BUDGET_USD is 0.0001" in str(skipped.skip_message)
        assert newsroom.store.order_counts(order.id) == {"assigned": 2}
        assert [one.id for one in newsroom.store.open_orders()] == [order.id]
    listed = threadjuice("content", "list")[1]["stories"]
    assert {one["status"] for one in listed} == {"waiting"}


def test_a_story_that_waited_fails_like_any_other_when_its_next_run_says_nothing(store: Store) -> None:
    require_schema(store, migrate_if_missing=True)
    store.save_threads([THREAD])
    first = store.open_order(1, None, None, 1)
    (waiting,) = store.assign(first, THREAD)
    store.hold_back(first.id, BudgetSpent("The day's budget is spent."))
    store.close_order(first.id)
    second = store.open_order(1, None, None, 3)
    assert [one.story_id for one in store.assign(second)] == [waiting.story_id]
    store.settle(waiting.story_id, "a run that ended before it began")
    assert store.order_counts(second.id) == {"failed": 1}


class TestCounting:
    @pytest.fixture
    def limiter(self, newsroom_environment: dict[str, str]) -> SharedRateLimit:
        database = Postgres(url=newsroom_environment["DATABASE_URL"], migrates_itself=True, pool_size=4)
        return SharedRateLimit(database=database, per_minute=1000, daily_budget_usd=1.0, patience_seconds=0.0)

    def test_requests_at_once_never_pass_the_budget_together(self, limiter: SharedRateLimit) -> None:
        granted: list[object] = []

        def ask() -> None:
            with contextlib.suppress(BudgetSpent):
                granted.append(limiter.reserve(0.3))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(granted) == 3
        limiter.settle(granted[0], 0.3, 0.01)  # type: ignore[arg-type]
        assert limiter.reserve(0.3)
        with pytest.raises(ConfigurationError, match="price"):
            limiter.reserve(None)

    @pytest.mark.parametrize(
        ("fault", "least", "most"),
        [("ok", 0.005, 0.1), ("503", 0, 0), ("slow:3", 0.39, 0.41), ("bad_usage", 0.39, 0.41)],
    )
    def test_what_nobody_knows_counts_in_full_and_what_failed_counts_nothing(
        self, limiter: SharedRateLimit, model: OpenAIServer, fault: str, least: float, most: float
    ) -> None:
        resource = OpenAIResource(
            api_key="sk-hunter2-hunter2",
            base_url=model.url,
            timeout_seconds=1.0,
            attempts=1,
            price_input=0.0,
            price_output=50.0,
            limiter=limiter,
        )
        model.always("write", fault)
        try:
            resource.write(THREAD, CATEGORY, PERSONA, Meter())
        except TransientFailure:
            assert fault in ("503", "slow:3")
        today = Spending(limiter.database.store.engine).today()
        assert least <= today.spent <= most
        assert today.reserved == pytest.approx(0)


def test_a_price_is_the_settings_or_the_lists() -> None:
    million = 1_000_000
    assert Prices().cost("gpt-4o-mini", "", million, 2 * million) == pytest.approx(1.35)
    assert Prices().cost("gpt-4o-2024-08-06", "http://127.0.0.1:1/v1", million, 0) == pytest.approx(2.5)
    assert Prices(1.0, 0.5).cost("house-model", "", million, 2 * million) == pytest.approx(2.0)
    assert Prices(0.0).cost("gpt-4o", "", million, million) == pytest.approx(10.0)
    assert Prices(1.0).cost("house-model", "", 1, 1) is None


def test_a_budget_that_is_just_enough_is_open() -> None:
    assert Budget(daily_usd=1, spent_usd=0.6, request_usd=0.4).state == "open"
    assert Budget(daily_usd=1, spent_usd=0.61, request_usd=0.4).state == "spent"
    assert Budget(daily_usd=0, spent_usd=99, request_usd=0.4).problem is None
