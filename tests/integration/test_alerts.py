"""From a failure to one message: real runs on a real instance, a real webhook, and what goes wrong between them."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from command import threadjuice
from dagster._core.errors import DagsterCodeLocationNotFoundError
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.test_utils import freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._utils.error import SerializableErrorInfo, serializable_error_info_from_exc_info
from servers.loopback import Reply
from servers.webhook import Webhook

from threadjuice_dagster.assets.steps import reported
from threadjuice_dagster.cli.watching import UnreachableDatabase
from threadjuice_dagster.database.ledger import Ledger
from threadjuice_dagster.database.outages import Outages
from threadjuice_dagster.failures import ConfigurationError, TransientFailure
from threadjuice_dagster.instance import open_instance
from threadjuice_dagster.operations.alerts.delivery import AlertDelivery
from threadjuice_dagster.operations.alerts.rules import Trouble
from threadjuice_dagster.operations.alerts.service import Watch
from threadjuice_dagster.operations.alerts.store import Incidents
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.settings import load_settings
from threadjuice_dagster.wiring import build_resources

LAST = {"dagster/max_retries": "0"}
"""Of a run that Dagster does not try again when it crashes."""

BOOM = SerializableErrorInfo("Boom", [], "Error")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        yield server


class Room:
    """A newsroom whose clock is moved by hand, with the desk that delivers its alerts."""

    def __init__(self, instance: dg.DagsterInstance, alerts: AlertDelivery) -> None:
        self.instance, self.alerts, self.ahead = instance, alerts, timedelta()
        self.store = alerts.database.store

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    @property
    def watch(self) -> Watch:
        return Watch(self.instance, self.store, clock=self.clock)

    def look(self) -> int:
        """What all alert sensors do in a tick."""
        watch = self.watch
        for one in (watch.runs, watch.checks, watch.ticks, watch.now):
            one()
        return Incidents(self.store.engine).deliver(self.alerts.send, 1000, self.clock)

    def run(self, error: Exception | None, name: str = "story_draft", **tags: str) -> str:
        """A run of an asset that raises ``error`` as ours do, or succeeds."""

        @dg.asset(name=name)
        def asset(context: dg.AssetExecutionContext, database: Database) -> None:
            with reported(context, database):
                if error:
                    raise error

        definitions = dg.Definitions([asset], resources={"database": self.alerts.database})
        job = definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=self.instance, raise_on_error=False, tags=tags).run_id


@pytest.fixture
def room(newsroom_environment: dict[str, str], webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setenv("MONITORING_WEBHOOK", webhook.url)
    monkeypatch.setenv("MONITORING_WEBHOOK_SECRET", SECRET)
    settings = load_settings()
    with (
        open_instance(settings) as instance,
        build_resources(settings)["alerts"].process_config_and_initialize_cm() as alerts,
    ):
        yield Room(instance, alerts)


def kinds(webhook: Webhook) -> list[tuple[str, str]]:
    return [(message["type"], message["cause"].partition(":")[0]) for message in webhook.messages]


def tick(
    instance: dg.DagsterInstance,
    name: str,
    status: TickStatus,
    at: datetime,
    error: SerializableErrorInfo | None = None,
) -> None:
    """A tick of a sensor, as the daemon writes it."""
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="nowhere"), location_name="here")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "all"), name)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData())
    names = state.instigator_origin_id, state.selector_id
    if not instance.get_instigator_state(*names):
        instance.add_instigator_state(state)
    made = TickData(names[0], name, state.instigator_type, status, at.timestamp(), error=error, selector_id=names[1])
    instance.create_tick(made)


class TestAFailedRun:
    def test_is_told_once_with_its_cause_its_place_and_what_to_do_and_once_when_it_is_over(
        self, room: Room, webhook: Webhook
    ) -> None:
        failed = ConfigurationError("api.example refused the key in OPENAI_API_KEY (401).", "Set a current key.")
        run_id = room.run(failed, **{"dagster/partition": "t3_ab12-a-title"})
        room.look()
        room.look()
        (message,) = webhook.messages
        assert message["message"] == failed.message
        assert message["next_step"] == "Set a current key."
        assert (message["asset"], message["partition"], message["kind"]) == (
            "story_draft",
            "t3_ab12-a-title",
            "configuration",
        )
        assert message["run"] == {"id": run_id, "url": f"http://127.0.0.1:3000/runs/{run_id}"}
        assert message["runbook"] == "docs/EMERGENCY.md#content-generation-failure"
        room.run(failed, **{"dagster/partition": "t3_cd34-another"})
        room.look()
        assert len(webhook.messages) == 1
        assert Incidents(room.store.engine).listed()[0].count == 2
        room.run(None)
        room.look()
        room.look()
        assert kinds(webhook) == [("alert", "run"), ("recovery", "run")]
        assert Incidents(room.store.engine).listed() == []
        room.run(failed)
        room.look()
        assert len({message["id"] for message in webhook.messages}) == 3

    def test_that_dagster_tries_again_or_a_gate_ended_is_not_told(self, room: Room, webhook: Webhook) -> None:
        again = room.run(RuntimeError("killed"))
        gate = room.run(RuntimeError("below 8.0"))
        room.instance.add_run_tags(again, {"dagster/will_retry": "true"})
        room.instance.add_run_tags(gate, {"threadjuice/outcome": "rejected"})
        room.look()
        assert webhook.messages == []

    def test_that_was_stopped_in_the_middle_of_a_story_is_not_told(self, room: Room, webhook: Webhook) -> None:
        @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
        def story_draft(context: dg.AssetExecutionContext, database: Database) -> None:
            with reported(context, database, "abc123-a-story"):
                raise KeyboardInterrupt

        definitions = dg.Definitions([story_draft], resources={"database": room.alerts.database})
        job = definitions.resolve_implicit_global_asset_job_def()
        stopped = job.execute_in_process(instance=room.instance, raise_on_error=False)
        room.look()
        assert (stopped.success, webhook.messages) == (False, [])

    def test_whose_process_was_killed_is_in_the_error_log_and_told(self, room: Room, webhook: Webhook) -> None:
        run = room.instance.create_run_for_job(_some_job, tags=LAST)
        room.instance.report_run_failed(run, "The process of the run is gone.")
        room.look()
        room.look()
        assert [message["kind"] for message in webhook.messages] == ["crashed"]
        (kept,) = Ledger(room.store.engine).errors(run_id=run.run_id)
        assert (kept["kind"], kept["asset"]) == ("crashed", "some_job")

    def test_of_one_partition_that_nobody_foresaw_is_over_when_that_partition_works(
        self, room: Room, webhook: Webhook
    ) -> None:
        room.run(KeyError("title"), **{"dagster/partition": "t3_ab12-a-title"})
        room.look()
        room.run(None)
        room.look()
        assert kinds(webhook) == [("alert", "run")]
        room.ahead = timedelta(days=8)
        room.look()
        assert kinds(webhook) == [("alert", "run"), ("recovery", "run")]

    def test_for_a_service_that_is_down_is_one_cause_whatever_failed(self, room: Room, webhook: Webhook) -> None:
        Outages(room.store.engine).failed("openai", "OpenAI fails (503).", on_trial=False)
        for name, problem in (("story_draft", "fails (503)"), ("quality_score", "did not answer within 60 s")):
            room.run(TransientFailure(f"OpenAI {problem}.", exhausted=True, service="openai"), name)
        room.look()
        assert [(one["type"], one["cause"]) for one in webhook.messages] == [("alert", "outage:openai")]
        Outages(room.store.engine).over("openai")
        room.look()
        assert [one["type"] for one in webhook.messages] == ["alert", "recovery"]


@dg.op
def _nothing() -> None:
    pass


@dg.job(name="some_job")
def _some_job() -> None:
    _nothing()


def check(instance: dg.DagsterInstance, name: str, passed: bool, severity: dg.AssetCheckSeverity) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("database_health"),
            check_name=name,
            passed=passed,
            severity=severity,
            description=f"{name}: a query took 9 s.",
            metadata={"next step": "Look at it.", "runbook": "database-issues"},
        )
    )


class TestAFailedCheck:
    def test_in_a_green_run_is_told_with_its_severity_again_when_it_gets_worse_and_when_it_passes(
        self, room: Room, webhook: Webhook
    ) -> None:
        check(room.instance, "queries_are_fast", False, dg.AssetCheckSeverity.WARN)
        room.look()
        check(room.instance, "queries_are_fast", False, dg.AssetCheckSeverity.WARN)
        check(room.instance, "queries_are_fast", False, dg.AssetCheckSeverity.ERROR)
        room.look()
        check(room.instance, "queries_are_fast", True, dg.AssetCheckSeverity.ERROR)
        room.look()
        told = [(one["type"], one["severity"]) for one in webhook.messages]
        assert told == [("alert", "warning"), ("worse", "error"), ("recovery", "error")]
        assert webhook.messages[0]["runbook"].endswith("#database-issues")
        assert webhook.messages[0]["next_step"] == "Look at it."

    def test_that_is_a_gate_of_stories_is_not_told(self, room: Room, webhook: Webhook) -> None:
        check(room.instance, "is_appropriate", False, dg.AssetCheckSeverity.ERROR)
        room.look()
        assert webhook.messages == []


class TestAFailedTick:
    def test_is_told_once_and_over_with_the_next_good_one(self, room: Room, webhook: Webhook) -> None:
        now = datetime.now(UTC)
        for minute in (5, 4, 3):
            tick(room.instance, "site_sensor", TickStatus.FAILURE, now - timedelta(minutes=minute), BOOM)
        room.look()
        tick(room.instance, "site_sensor", TickStatus.SKIPPED, now - timedelta(minutes=2))
        room.look()
        assert kinds(webhook) == [("alert", "tick"), ("recovery", "tick")]
        assert webhook.messages[0]["message"] == "Boom"
        assert Incidents(room.store.engine).listed(everything=True)[0].count == 3

    def test_of_a_sensor_whose_daemon_was_stopped_is_not_told(self, room: Room, webhook: Webhook) -> None:
        with (
            WorkspaceProcessContext(room.instance, EmptyWorkspaceTarget()) as emptied,
            pytest.raises(DagsterCodeLocationNotFoundError) as raised,
        ):
            emptied.create_request_context().get_code_location("threadjuice")
        error = serializable_error_info_from_exc_info((raised.type, raised.value, raised.tb))
        tick(room.instance, "site_sensor", TickStatus.FAILURE, datetime.now(UTC), error)
        room.look()
        assert kinds(webhook) == []


class TestARunThatTakesLong:
    def test_is_told_while_it_does(self, room: Room, webhook: Webhook) -> None:
        run = room.instance.create_run_for_job(_some_job, status=dg.DagsterRunStatus.STARTED)
        room.look()
        room.ahead = timedelta(hours=2)
        room.look()
        assert kinds(webhook) == [("alert", "duration")]
        room.instance.report_run_canceled(run)
        room.look()
        assert kinds(webhook) == [("alert", "duration"), ("recovery", "duration")]


class TestDelivery:
    def test_is_signed_as_standard_webhooks_are(self, room: Room, webhook: Webhook) -> None:
        import base64
        import hashlib
        import hmac

        room.run(RuntimeError("broken"))
        room.look()
        (request,) = webhook.seen("alert")
        sent = request.headers
        signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + request.body
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert sent["webhook-signature"] == f"v1,{expected}"
        assert sent["webhook-id"] == request.json["id"]

    def test_waits_out_an_outage_of_the_webhook_in_order_and_with_few_attempts(
        self, room: Room, webhook: Webhook
    ) -> None:
        webhook.always("alert", "503")
        for number in "abcdef":
            room.run(RuntimeError(f"broken {number}"), name=f"asset_{number}")
        attempts = 0
        for _ in range(60):  # ten minutes of ticks
            attempts += room.look()
            room.ahead += timedelta(seconds=10)
        assert attempts == 0
        assert len(webhook.messages) <= 12
        webhook.heal()
        before = len(webhook.messages)
        room.ahead += timedelta(minutes=5)
        room.look()
        told = [message["asset"] or message["title"] for message in webhook.messages[before:]]
        assert [title.split()[0] for title in told] == [f"asset_{number}" for number in "abcdef"]

    def test_of_one_message_that_is_refused_does_not_keep_the_others(self, room: Room, webhook: Webhook) -> None:
        webhook.script("alert", "400")
        for number in "ab":
            room.run(RuntimeError(f"broken {number}"), name=f"asset_{number}")
        room.look()
        assert len(webhook.messages) == 2
        assert Incidents(room.store.engine).waiting() == 1
        room.ahead += timedelta(minutes=1)
        room.look()
        assert Incidents(room.store.engine).waiting() == 0

    def test_that_a_service_takes_with_a_200_and_refuses_in_words_is_none(self, room: Room, webhook: Webhook) -> None:
        again = b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with .."
        webhook.script("alert", Reply(raw=b"invalid_payload"), Reply(raw=again))
        for name in "ab":
            room.run(RuntimeError(f"broken {name}"), name=f"asset_{name}")
        room.look()
        incidents = Incidents(room.store.engine)
        assert (incidents.waiting(), incidents.given_up()) == (1, 1)
        room.ahead += timedelta(minutes=1)
        room.look()
        told = [message["asset"] or message["title"].split()[0] for message in webhook.messages]
        assert told == ["asset_a", "asset_b", "asset_b"]
        assert (incidents.waiting(), incidents.given_up()) == (0, 1)
        assert incidents.problem() == "given up: The webhook answered invalid_payload."
        code, document, _ = threadjuice("alerts", "list")
        assert (code, document["given_up"], document["problem"]) == (0, 1, incidents.problem())

    def test_to_a_channel_that_is_gone_waits_for_the_operator_who_is_told_where_webhooks_are_looked_at(
        self, room: Room, webhook: Webhook
    ) -> None:
        webhook.always("alert", Reply({"ok": False, "error": f"channel_not_found, {webhook.prefix[6:]}"}))
        for name in "ab":
            room.run(RuntimeError(f"broken {name}"), name=f"asset_{name}")
        room.look()
        assert (Incidents(room.store.engine).waiting(), Incidents(room.store.engine).given_up()) == (2, 0)
        assert len(webhook.messages) == 1
        _, report, _ = threadjuice("deploy", "check")
        (row,) = [row for row in report["rows"] if row["name"] == "webhook"]
        assert row["state"] == "warning"
        assert "channel_not_found" in row["message"]
        assert "s3cr3t" not in row["message"]
        webhook.heal()
        room.ahead += timedelta(minutes=5)
        assert room.look() == 2

    def test_through_a_day_without_a_receiver_is_in_order_complete_and_seldom_tried(
        self, room: Room, webhook: Webhook
    ) -> None:
        webhook.always("alert", "503")
        for number in range(40):
            check(room.instance, f"check_{number}", False, dg.AssetCheckSeverity.WARN)
        room.look()
        for _ in range(24 * 4):
            room.ahead += timedelta(minutes=15)
            Incidents(room.store.engine).deliver(room.alerts.send, 50, room.clock)
        assert len(webhook.messages) == 24 * 4 + 1
        assert Incidents(room.store.engine).waiting() == 40
        webhook.heal()
        tried = len(webhook.messages)
        room.ahead += timedelta(minutes=5)
        room.look()
        arrived = [message["cause"].rpartition("_")[2] for message in webhook.messages[tried:]]
        assert arrived == [str(number) for number in range(40)]

    def test_never_tells_the_address_of_the_webhook(
        self, room: Room, webhook: Webhook, caplog: pytest.LogCaptureFixture
    ) -> None:
        webhook.always("alert", "404")
        room.run(RuntimeError("broken"))
        room.look()
        webhook.always("alert", "reset")
        room.ahead += timedelta(minutes=5)
        room.look()
        problems = [message["problem"] for message in Incidents(room.store.engine).messages()]
        assert problems
        assert "s3cr3t" not in f"{problems} {caplog.text}"

    def test_that_was_muted_is_made_when_the_time_is_over_and_the_trouble_is_not(
        self, room: Room, webhook: Webhook
    ) -> None:
        check(room.instance, "queries_are_fast", False, dg.AssetCheckSeverity.WARN)
        room.look()
        cause = Incidents(room.store.engine).listed()[0].cause
        Incidents(room.store.engine).mute(cause, room.clock() + timedelta(hours=4), "ann", room.clock())
        check(room.instance, "queries_are_fast", True, dg.AssetCheckSeverity.WARN)
        check(room.instance, "queries_are_fast", False, dg.AssetCheckSeverity.WARN)
        room.look()
        assert [one["type"] for one in webhook.messages] == ["alert", "recovery"]
        room.ahead = timedelta(hours=5)
        room.look()
        room.look()
        assert [one["type"] for one in webhook.messages] == ["alert", "recovery", "alert"]


def test_five_hundred_failures_are_each_told_through_an_outage_and_a_kill_and_none_is_told_twice(
    room: Room, webhook: Webhook
) -> None:
    causes = 0
    now = datetime.now(UTC)
    for number in range(170):  # runs: 34 causes, five times each
        run = room.instance.create_run_for_job(_some_job, tags=LAST)
        room.instance.report_run_failed(run, f"Cause {chr(97 + number % 34 // 26)}{chr(97 + number % 26)} of many")
    causes += len({f"{number % 34 // 26}{number % 26}" for number in range(170)})
    for number in range(165):  # checks: 33 of them, five times each
        check(room.instance, f"check_{number % 33}", False, dg.AssetCheckSeverity.WARN)
    causes += 33
    for number in range(165):  # ticks of 15 sensors
        tick(room.instance, f"sensor_{number % 15}", TickStatus.FAILURE, now - timedelta(seconds=200 - number), BOOM)
    causes += 15
    webhook.always("alert", "503")
    for _ in range(5):
        room.look()
        room.ahead += timedelta(minutes=2)
    webhook.heal()
    taken = len(webhook.messages)
    webhook.script("alert", *["slow:0.2"] * 10)
    room.ahead += timedelta(minutes=5)
    _kill_while_sending(room, webhook, taken)
    room.look()
    for number in range(33):
        check(room.instance, f"check_{number}", True, dg.AssetCheckSeverity.WARN)
    room.look()
    arrived = webhook.messages[taken:]
    told = Counter((message["type"], message["cause"]) for message in arrived)
    assert sum(kind == "alert" for kind, _ in told) == causes
    assert sum(kind == "recovery" for kind, _ in told) == 33
    assert len({message["id"] for message in arrived}) == causes + 33
    assert sum(told.values()) <= causes + 33 + 1  # the one that was being sent at the kill, under the same id
    assert Incidents(room.store.engine).waiting() == 0


def test_what_comes_and_goes_a_hundred_times_is_one_incident_and_a_handful_of_messages(
    room: Room, webhook: Webhook
) -> None:
    for turn in range(100):
        for passed in (False, True):
            with freeze_time(room.clock()):
                check(room.instance, "queries_are_fast", passed, dg.AssetCheckSeverity.WARN)
            room.watch.checks()
            room.ahead += timedelta(minutes=1)
        if turn % 10 == 0:
            room.watch.now()
        Incidents(room.store.engine).deliver(room.alerts.send, 50, room.clock)
    kinds_told = [message["type"] for message in webhook.messages]
    assert kinds_told == ["alert", "recovery"] * 3 + ["flapping"]
    room.ahead += timedelta(hours=1)
    room.look()
    assert [message["type"] for message in webhook.messages] == [*kinds_told, "recovery"]
    with room.store.engine.connect() as connection:
        counts = "SELECT (SELECT count(*) FROM incidents), (SELECT count(*) FROM alerts)"
        assert tuple(connection.execute(sa.text(counts)).one()) == (1, len(webhook.messages))
    with freeze_time(room.clock()):
        check(room.instance, "queries_are_fast", False, dg.AssetCheckSeverity.WARN)
    room.look()
    assert webhook.messages[-1]["type"] == "alert"


def test_two_watches_at_once_tell_everything_once(room: Room, webhook: Webhook) -> None:
    for number in range(30):
        check(room.instance, f"check_{number}", False, dg.AssetCheckSeverity.WARN)
        Incidents(room.store.engine).note(
            Trouble(cause=f"x:{number}", source="key", title="X", message="x", at=room.clock())
        )
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            list(pool.map(lambda _: room.look(), range(2)))
    told = [(message["type"], message["cause"]) for message in webhook.messages]
    assert len(told) == len(set(told)) == 60


def test_two_watches_that_find_the_database_gone_tell_it_once(room: Room, webhook: Webhook) -> None:
    gone = UnreachableDatabase(load_settings())
    failure = TransientFailure("The database cannot be reached.", "Start it.")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: gone.tell(room.alerts, failure), range(8)))
        list(pool.map(lambda _: gone.over(room.alerts), range(8)))
    assert [message["type"] for message in webhook.messages] == ["alert", "recovery"]


def _kill_while_sending(room: Room, webhook: Webhook, taken: int) -> None:
    """A process delivers, and is killed while its fourth message is under way."""
    code = (
        "from datetime import UTC, datetime, timedelta\n"
        "from threadjuice_dagster.operations.alerts.store import Incidents\n"
        "from threadjuice_dagster.wiring import build_resources\n"
        "from threadjuice_dagster.settings import load_settings\n"
        "with build_resources(load_settings())['alerts'].process_config_and_initialize_cm() as alerts:\n"
        f"    later = timedelta(seconds={room.ahead.total_seconds()})\n"
        "    Incidents(alerts.database.store.engine).deliver(alerts.send, 1000, lambda: datetime.now(UTC) + later)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
    until = time.monotonic() + 60
    while len(webhook.messages) < taken + 4 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with room.store.engine.connect() as connection:
        left = connection.scalar(sa.text("SELECT count(*) FROM alerts WHERE delivered_at IS NULL"))
    assert left


def test_the_sensors_do_it(room: Room, webhook: Webhook) -> None:
    from threadjuice_dagster.sensors.alerts import ALERT_SENSORS

    room.run(RuntimeError("broken"))
    said: list[Any] = []
    for sensor in ALERT_SENSORS:
        with dg.build_sensor_context(room.instance, resources={"alerts": room.alerts}) as context:
            said.append(sensor(context))
    assert all(isinstance(one, dg.SkipReason) for one in said)
    assert len(webhook.messages) == 1
