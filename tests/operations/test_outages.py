"""An hour without the model: few calls, one alert, one recovery, and the day's stories all the same."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from command import candidates, threadjuice
from makers import make_thread
from servers.openai_server import OpenAIServer
from servers.webhook import Webhook

from threadjuice_dagster.cli.session import NewsroomSession, open_session
from threadjuice_dagster.cli.writing import write_story
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.outages import FIRST, MOST, Outages
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.failures import ConfigurationError, TransientFailure
from threadjuice_dagster.operations.alerts.rules import Trouble
from threadjuice_dagster.operations.alerts.service import Watch
from threadjuice_dagster.operations.alerts.store import Incidents
from threadjuice_dagster.resources.openai import OpenAIResource
from threadjuice_dagster.resources.openai_connection import ATTEMPTS, TRIAL_ATTEMPTS
from threadjuice_dagster.settings import load_settings
from threadjuice_dagster.wiring import build_resources

KEY, NEXT = "sk-hunter2-hunter2-hunter2", "sk-hunter3-hunter3-hunter3"


@pytest.fixture
def model() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        yield server


@pytest.fixture
def newsroom(
    newsroom_environment: dict[str, str], model: OpenAIServer, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> Iterator[NewsroomSession]:
    given = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_API_KEY_NEXT": NEXT,
        "OPENAI_BASE_URL": model.url,
        "OPENAI_TIMEOUT_SECONDS": "2",
        "CONTENT_GENERATION_RATE_LIMIT": "10000",
        "MONITORING_WEBHOOK": webhook.url,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with open_session(load_settings(), prepare=True) as newsroom:
        yield newsroom


def pass_time(newsroom: NewsroomSession) -> None:
    """As much as it takes until the service may be asked again."""
    with newsroom.store.engine.begin() as connection:
        connection.execute(sa.text("UPDATE outages SET next_at = now() - interval '1 second'"))


def look(newsroom: NewsroomSession) -> None:
    """What the alert sensors do in a tick."""
    with newsroom.resources["alerts"].process_config_and_initialize_cm() as alerts:
        watch = Watch(newsroom.instance, newsroom.store)
        watch.runs()
        watch.now()
        alerts.deliver()


def tick(newsroom: NewsroomSession) -> list[dg.RunRequest] | str:
    """One tick of the sensor, and the runs it asks for; or why it asks for none."""
    sensor = newsroom.definitions.resolve_sensor_def("story_assignment_sensor")
    resources = {name: newsroom.resources[name] for name in ("database", "writer")}
    with dg.build_sensor_context(newsroom.instance, resources=resources) as context:
        result = sensor(context)
    if isinstance(result, dg.SkipReason):
        return str(result.skip_message)
    assert isinstance(result, dg.SensorResult)
    for request in result.run_requests or []:
        write_story(newsroom, newsroom.store.assignment(str(request.partition_key)))
    return list(result.run_requests or [])


@pytest.fixture
def openai(newsroom: NewsroomSession) -> Iterator[OpenAIResource]:
    with newsroom.resources["writer"].process_config_and_initialize_cm() as writer:
        yield writer.openai


def ask(openai: OpenAIResource, newsroom: NewsroomSession, name: str = "abc1") -> Any:
    catalogue = Catalogue(newsroom.store.engine)
    return openai.write(make_thread(name), catalogue.categories()[0], catalogue.personas()[0], Meter())


def test_an_hour_without_the_model_costs_few_calls_one_alert_and_no_story(
    newsroom: NewsroomSession,
    openai: OpenAIResource,
    model: OpenAIServer,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("threadjuice_dagster.resources.openai_connection.sleep", lambda seconds: None)
    newsroom.store.save_threads(candidates(newsroom))
    newsroom.store.open_order(3, None, None, 9)
    for kind in ("write", "judge", "moderate"):
        model.always(kind, "503")
    assert len(tick(newsroom)) == 3  # the first finds out, the others need not
    waited, trials = 0.0, 0
    while waited < 3600:
        said = tick(newsroom)
        assert isinstance(said, str)
        assert "openai is down since" in said
        (outage,) = Outages(newsroom.store.engine).ongoing("openai")
        waited, trials = waited + outage.waits, trials + 1
        look(newsroom)
        pass_time(newsroom)
        with pytest.raises(TransientFailure):
            ask(openai, newsroom)
    pass_time(newsroom)
    assert len(tick(newsroom)) == 1  # one story finds out whether it is back
    assert trials <= 3600 / MOST + 5
    assert len(model.requests) <= ATTEMPTS + TRIAL_ATTEMPTS * (trials + 1)
    assert [message["cause"] for message in webhook.messages] == ["outage:openai"]
    model.heal()
    pass_time(newsroom)
    assert len(tick(newsroom)) == 1
    assert len(tick(newsroom)) == 2
    look(newsroom)
    assert newsroom.store.status_counts()["published"] == 3
    assert [message["type"] for message in webhook.messages] == ["alert", "recovery"]


def test_a_hundred_stories_cost_an_outage_no_more_calls_than_one(
    newsroom: NewsroomSession, openai: OpenAIResource, model: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadjuice_dagster.resources.openai_connection.sleep", lambda seconds: None)
    model.always("write", "503")
    for number in range(100):
        with pytest.raises(TransientFailure) as failed:
            ask(openai, newsroom, f"abc{number}")
        assert failed.value.exhausted
        assert failed.value.service == "openai"
    assert len(model.requests) == ATTEMPTS
    (outage,) = Outages(newsroom.store.engine).ongoing()
    assert 0 < outage.waits <= FIRST


def test_a_refused_key_moves_on_to_the_next_and_somebody_is_told_until_it_is_taken_again(
    newsroom: NewsroomSession, openai: OpenAIResource, model: OpenAIServer, webhook: Webhook
) -> None:
    model.script("write", "401")
    ask(openai, newsroom)
    ask(openai, newsroom)
    used = [request.headers["authorization"] for request in model.requests]
    assert used == [f"Bearer {KEY}", f"Bearer {NEXT}", f"Bearer {NEXT}"]
    look(newsroom)
    (message,) = webhook.messages
    assert (message["cause"], message["severity"]) == ("key:OPENAI_API_KEY", "warning")
    assert "hunter" not in str(message)
    with newsroom.resources["writer"].process_config_and_initialize_cm() as another:
        ask(another.openai, newsroom)
    look(newsroom)
    assert [message["type"] for message in webhook.messages] == ["alert", "recovery"]


def told_to(webhook: Webhook) -> list[dict[str, Any]]:
    """The messages that were posted; a check only asks whether somebody is there."""
    return [message for message in webhook.messages if message]


def test_the_incidents_of_a_key_rotation_close_with_the_check_that_ends_it_and_need_no_story(
    newsroom: NewsroomSession,
    openai: OpenAIResource,
    model: OpenAIServer,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model.script("write", "401")
    ask(openai, newsroom)
    incidents, now = Incidents(newsroom.store.engine), datetime.now(UTC)
    Outages(newsroom.store.engine).failed("openai", "OpenAI fails (503).", on_trial=False)
    told = {"title": "It failed", "at": now, "job": "story_job"}
    for cause, source, more in (
        ("run:1", "run", {"kind": "configuration", "message": "OpenAI refused the key in OPENAI_API_KEY (401)."}),
        ("run:2", "run", {"kind": "configuration", "message": "Set VERCEL_TOKEN."}),
        ("check:environment_report:keys_are_young", "check", {"message": "OPENAI_API_KEY is 99 days old"}),
        ("check:environment_report:systems_answer", "check", {"message": "openai: it refused the key"}),
        ("check:database_health:no_bloat", "check", {"message": "Bloated: stories"}),
    ):
        incidents.note(Trouble.model_validate({**told, **more, "cause": cause, "source": source}))
    look(newsroom)
    begun = {message["cause"] for message in told_to(webhook)}
    assert {"key:OPENAI_API_KEY", "outage:openai", "run:1"} < begun
    model.always("models", "401")
    assert threadjuice("deploy", "check")[0] == 1
    look(newsroom)
    over = {message["cause"] for message in told_to(webhook) if message["type"] == "recovery"}
    assert over == {"check:environment_report:keys_are_young"}
    model.heal()
    monkeypatch.setenv("OPENAI_API_KEY", NEXT)
    monkeypatch.setenv("OPENAI_API_KEY_NEXT", "")
    assert threadjuice("deploy", "check")[0] == 0
    look(newsroom)
    over = {message["cause"] for message in told_to(webhook) if message["type"] == "recovery"}
    assert begun - over == {"run:2", "check:database_health:no_bloat"}
    threadjuice("diagnose", "database")
    look(newsroom)
    assert [one.cause for one in incidents.listed()] == ["run:2"]


def test_a_check_that_was_answered_to_the_next_key_does_not_end_the_rotation(
    newsroom: NewsroomSession, openai: OpenAIResource, model: OpenAIServer
) -> None:
    model.script("write", "401")
    ask(openai, newsroom)
    model.script("probe", "401")
    assert threadjuice("deploy", "check")[0] == 0
    assert [one.cause for one in Incidents(newsroom.store.engine).listed()] == ["key:OPENAI_API_KEY"]


def test_a_key_that_is_taken_closes_its_incident_also_where_no_next_one_is_set(
    newsroom: NewsroomSession, openai: OpenAIResource, model: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.script("write", "401")
    ask(openai, newsroom)
    assert [one.cause for one in Incidents(newsroom.store.engine).listed()] == ["key:OPENAI_API_KEY"]
    monkeypatch.setenv("OPENAI_API_KEY", NEXT)
    monkeypatch.delenv("OPENAI_API_KEY_NEXT")
    with build_resources(load_settings())["writer"].process_config_and_initialize_cm() as writer:
        ask(writer.openai, newsroom)
    assert Incidents(newsroom.store.engine).listed() == []


def test_when_both_keys_are_refused_the_next_one_is_named(
    newsroom: NewsroomSession, openai: OpenAIResource, model: OpenAIServer
) -> None:
    model.always("write", "401")
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY_NEXT"):
        ask(openai, newsroom)
    assert len(model.requests) == 2


def test_the_watch_tells_once_that_the_database_is_gone_and_once_that_it_is_back(
    newsroom_environment: dict[str, str], webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threadjuice_dagster.cli.watching import look_once

    monkeypatch.setenv("MONITORING_WEBHOOK", webhook.url)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
    for _ in range(2):
        with pytest.raises(TransientFailure, match="cannot be reached"):
            look_once(load_settings())
    assert [(one["type"], one["cause"]) for one in webhook.messages] == [("alert", "database")]
    monkeypatch.setenv("DATABASE_URL", newsroom_environment["DATABASE_URL"])
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    found = look_once(load_settings())
    told = sorted((one["type"], one["cause"]) for one in webhook.messages)
    assert told == [("alert", "daemon"), ("alert", "database"), ("recovery", "database")]
    assert [one["cause"] for one in found["incidents"]] == ["daemon"]
