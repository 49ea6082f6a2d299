"""The real SDK against a loopback server that misbehaves on command."""

import logging
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import dagster as dg
import pytest
from servers.loopback import Reply
from servers.openai_server import KEY_ECHO, OpenAIServer, moderated

from threadjuice_dagster.domain.judging.judge import JudgeVerdict
from threadjuice_dagster.domain.judging.moderation import Verdict
from threadjuice_dagster.domain.story.stories import EXTRACTIVE, Category, Draft, Persona, Section, Usage
from threadjuice_dagster.domain.story.threads import Comment, Thread
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure
from threadjuice_dagster.resources.openai import OpenAIResource
from threadjuice_dagster.resources.openai_compatibility import BadAnswer, learned_of
from threadjuice_dagster.resources.openai_connection import ATTEMPTS, ModelRefused, RequestLimiter
from threadjuice_dagster.resources.writers import SCREENED_CHARACTERS, ExtractiveWriter, OpenAIWriter

KEY = "sk-loopback-0123456789abcdef"
NOW = datetime(2024, 5, 1, tzinfo=UTC)
CATEGORY = Category(slug="food", name="Food", description="Kitchens.", colour="#000000")
PERSONA = Persona(slug="ida", name="Ida Marsh", byline="By Ida", voice="Dry.")
DRAFT = Draft(title="The soup", sections=(Section(kind="opening", text="It boiled."),))
THREAD = Thread(
    id="abc123",
    source="file",
    subreddit="soup",
    title="My soup boiled over while the inspector watched",
    body="The inspector came at 9 in the morning. My soup had been on the stove since 6. He asked about the lid. "
    "I told him that the lid was in the sink with the spoons. Then the soup rose and went over the edge.",
    permalink="https://www.reddit.com/r/soup/comments/abc123/",
    created_at=NOW,
    comments=(
        Comment(id="c1", body="A lid in the sink is a lid that has given up on you.", score=9, created_at=NOW),
        Comment(id="c2", body="Inspectors have seen far worse than a little soup on the stove.", created_at=NOW),
    ),
)
TRANSIENT = ("500", "502", "503", "504", "529", "408", "429", "reset", "html")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    learned_of.cache_clear()  # a port may have been another server's
    with OpenAIServer() as running:
        yield running


def model(server: OpenAIServer, **fields: Any) -> OpenAIResource:
    settings = {"api_key": KEY, "base_url": server.url, "backoff_seconds": 0.01, "timeout_seconds": 5.0, **fields}
    return OpenAIResource(**settings)


def write(server: OpenAIServer, meter: Meter | None = None, **fields: Any) -> tuple[Draft, Usage, str]:
    meter = meter or Meter()
    draft, name = model(server, **fields).write(THREAD, CATEGORY, PERSONA, meter)
    return draft, meter.usage, name


def judge(server: OpenAIServer, **fields: Any) -> tuple[JudgeVerdict, Usage]:
    meter = Meter()
    return model(server, **fields).judge(DRAFT, THREAD, meter), meter.usage


def moderate(server: OpenAIServer, text: str) -> Verdict | None:
    return model(server).moderate(text, Meter())


def test_a_story_comes_back_with_its_model_its_tokens_and_its_cost(server: OpenAIServer) -> None:
    draft, usage, name = write(server)
    assert {quote.comment_id for quote in draft.quotes} <= {"c1", "c2"}
    assert name == "gpt-4o"
    assert usage.requests == 1
    assert usage.cost_usd == pytest.approx((usage.input_tokens * 2.5 + usage.output_tokens * 10) / 1e6, abs=1e-6)


def test_a_request_asks_by_strict_schema_and_sends_no_temperature(server: OpenAIServer) -> None:
    write(server)
    (request,) = server.requests
    assert request.json["response_format"]["json_schema"]["strict"] is True
    assert set(request.json) == {"model", "messages", "response_format", "max_completion_tokens"}
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_a_revision_sends_the_draft_and_the_findings(server: OpenAIServer) -> None:
    meter = Meter()
    draft, _ = model(server).revise(THREAD, CATEGORY, PERSONA, DRAFT, ["Quote somebody."], meter)
    assert draft.quotes
    assert meter.usage.requests == 1
    assert "Quote somebody." in server.requests[0].json["messages"][3]["content"]


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_passing_fault_is_tried_again(server: OpenAIServer, fault: str) -> None:
    server.script("write", fault)
    draft, usage, _ = write(server)
    assert draft.title
    assert (usage.requests, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("fault", ["503", "429", "reset"])
def test_a_lasting_fault_ends_as_a_transient_failure_with_its_retries_used_up(server: OpenAIServer, fault: str) -> None:
    server.always("write", fault)
    meter = Meter()
    with pytest.raises(TransientFailure) as caught:
        write(server, meter)
    assert caught.value.exhausted
    assert (len(server.requests), meter.usage.requests) == (ATTEMPTS, ATTEMPTS)


def test_a_server_that_is_not_there_is_a_transient_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        resource = OpenAIResource(
            api_key=KEY, base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", backoff_seconds=0.01
        )
        with pytest.raises(TransientFailure, match="cannot be reached"):
            resource.write(THREAD, CATEGORY, PERSONA, Meter())


def test_a_silent_server_is_given_up_on_after_the_time_out(server: OpenAIServer) -> None:
    server.script("write", "slow:1.0")
    _, usage, _ = write(server, timeout_seconds=0.3)
    assert usage.requests == 2
    server.always("write", "slow:0.6")
    with pytest.raises(TransientFailure, match="did not answer within"):
        write(server, timeout_seconds=0.1)


def test_a_slow_answer_within_the_time_out_is_waited_for(server: OpenAIServer) -> None:
    server.script("write", "slow:0.4")
    assert write(server)[1].requests == 1


@pytest.mark.parametrize(("headers", "least"), [({"Retry-After": "1"}, 1.0), ({"retry-after-ms": "400"}, 0.4)])
def test_the_wait_a_server_asks_for_is_kept(server: OpenAIServer, headers: dict[str, str], least: float) -> None:
    server.script("write", Reply(server.problem(429), 429, headers))
    write(server)
    first, second = server.requests
    assert second.at - first.at >= least


def test_a_wait_told_as_a_date_is_kept(server: OpenAIServer) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.script("write", Reply(server.problem(503), 503, {"Retry-After": date}))
    write(server)
    assert server.requests[1].at - server.requests[0].at >= 0.9


@pytest.mark.parametrize("told", ["nonsense", "-5", "nan", "inf", ""])
def test_a_senseless_wait_is_ignored(server: OpenAIServer, told: str) -> None:
    server.script("write", Reply(server.problem(429), 429, {"Retry-After": told}))
    started = time.monotonic()
    write(server)
    assert time.monotonic() - started < 2


def test_an_overlong_wait_is_capped_and_told_to_the_caller(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("threadjuice_dagster.resources.openai_connection.sleep", waits.append)
    server.always("write", "429:3600")
    with pytest.raises(TransientFailure) as caught:
        write(server)
    assert waits == [60.0] * (ATTEMPTS - 1)
    assert caught.value.retry_after == 3600


def test_a_used_up_quota_is_an_outage_that_is_asked_about_once(server: OpenAIServer) -> None:
    server.always("write", "quota")
    with pytest.raises(TransientFailure, match="quota") as caught:
        write(server)
    assert (caught.value.exhausted, caught.value.service, len(server.requests)) == (True, "openai", 1)


@pytest.mark.parametrize("fault", ["wrong_key", "403"])
def test_a_refused_key_is_a_setting_to_mend_and_no_part_of_it_is_shown(
    server: OpenAIServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.always("write", fault)
    with caplog.at_level(logging.INFO), pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as caught:
        write(server)
    assert len(server.requests) == 1
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    for shown in (*map(str, chain), caplog.text):
        assert KEY not in shown
        assert KEY_ECHO not in shown
        assert KEY[:10] not in shown


def test_a_rejection_that_echoes_the_key_is_scrubbed(server: OpenAIServer) -> None:
    server.always("write", "key_in_rejection")
    with pytest.raises(PermanentFailure, match="rejected") as caught:
        write(server)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "two words", "sk-\u00e9", "sk-a\nb"])
def test_a_key_that_cannot_be_one_is_refused_before_anything_is_sent(server: OpenAIServer, key: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        write(server, api_key=key)
    assert not server.requests


def test_an_address_that_is_none_is_refused(server: OpenAIServer) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL"):
        write(server, base_url="127.0.0.1:80/v1")


def test_an_unknown_model_is_a_setting_to_mend(server: OpenAIServer) -> None:
    server.always("write", "no_model")
    with pytest.raises(ConfigurationError, match="OPENAI_MODEL"):
        write(server, model="gpt-none")


def test_a_refusal_is_permanent_and_keeps_its_reason_and_its_cost(server: OpenAIServer) -> None:
    server.always("write", "refusal")
    meter = Meter()
    with pytest.raises(ModelRefused, match="can't help"):
        write(server, meter)
    assert len(server.requests) == 1
    assert meter.usage.input_tokens > 0


@pytest.mark.parametrize("fault", ["truncated", "violating"])
def test_an_unusable_answer_is_asked_for_again_and_still_counted(server: OpenAIServer, fault: str) -> None:
    server.script("write", fault)
    _, usage, _ = write(server)
    assert usage.requests == 2
    server.always("write", fault)
    meter = Meter()
    with pytest.raises(BadAnswer):
        write(server, meter)
    assert meter.usage.requests == 3
    assert meter.usage.input_tokens > 0


@pytest.mark.parametrize("fault", ["fenced", "nulls"])
def test_a_usable_answer_in_an_odd_wrapping_is_taken(server: OpenAIServer, fault: str) -> None:
    server.script("write", fault)
    assert write(server)[1].requests == 1


def test_hostile_and_invented_text_arrives_as_plain_text_for_the_gates_to_judge(server: OpenAIServer) -> None:
    server.script("write", "injected", "invented_quote")
    assert "<script>" in write(server)[0].text
    assert "zzzzzz" in {quote.comment_id for quote in write(server)[0].quotes}


def test_a_server_without_schemas_is_asked_in_words_and_remembered(server: OpenAIServer) -> None:
    server.always("write", "no_schema")
    resource = model(server)
    resource.write(THREAD, CATEGORY, PERSONA, Meter())
    resource.write(THREAD, CATEGORY, PERSONA, Meter())
    forms = [request.json["response_format"]["type"] for request in server.requests]
    assert forms == ["json_schema", "json_object", "json_object"]
    assert '"picture_query"' in server.requests[1].json["messages"][0]["content"]


def test_a_prompt_too_long_for_the_model_is_permanent(server: OpenAIServer) -> None:
    server.always("write", "context")
    with pytest.raises(PermanentFailure, match="context length"):
        write(server)
    assert len(server.requests) == 1


def test_senseless_usage_counts_as_no_tokens(server: OpenAIServer) -> None:
    server.script("write", "bad_usage")
    assert write(server)[1] == Usage(requests=1)


def test_a_model_of_unknown_price_costs_nothing_and_is_warned_of_once(
    server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert write(server, model="house-model-7b")[1].cost_usd == 0
    assert caplog.text.count("No price for house-model-7b") == 1


def test_three_samples_come_from_one_request(server: OpenAIServer) -> None:
    verdict, usage = judge(server, judge_model="gpt-4o-mini")
    assert (verdict.samples, usage.requests, verdict.model) == (3, 1, "gpt-4o-mini")
    assert verdict.overall == pytest.approx(8.67)
    assert server.requests[0].json["n"] == 3


@pytest.mark.parametrize(("fault", "requests"), [("one_choice", 3), ("no_n", 4)])
def test_a_server_that_gives_one_answer_at_a_time_is_topped_up(server: OpenAIServer, fault: str, requests: int) -> None:
    server.always("judge", fault)
    verdict, usage = judge(server)
    assert (verdict.samples, usage.requests) == (3, requests)


def test_unusable_samples_are_replaced_and_a_judge_that_gives_none_fails_the_gate(server: OpenAIServer) -> None:
    server.script("judge", "truncated", "ok", "violating", "ok", "ok")
    verdict, usage = judge(server)
    assert (verdict.samples, usage.requests) == (3, 5)
    server.always("judge", "violating")
    with pytest.raises(BadAnswer):
        judge(server)


def test_a_judge_that_refuses_gives_no_verdict(server: OpenAIServer) -> None:
    server.always("judge", "refusal")
    with pytest.raises(ModelRefused):
        judge(server)


def test_moderation_tells_clean_from_flagged(server: OpenAIServer) -> None:
    server.script("moderate", "ok", "flagged")
    clean, flagged = moderate(server, "Soup."), moderate(server, "Soup!")
    assert clean is not None
    assert (clean.flagged, clean.source) == (False, "openai")
    assert flagged is not None
    assert flagged.flagged
    assert flagged.score == pytest.approx(0.97)
    assert flagged.reasons == ("harassment",)


def test_a_long_text_is_moderated_to_its_last_character(server: OpenAIServer) -> None:
    text = "a" * 45_000 + "z"
    verdict = moderate(server, text)
    assert verdict is not None
    assert "".join(server.requests[0].json["input"]) == text


def test_a_server_without_moderation_gives_no_verdict(server: OpenAIServer) -> None:
    server.always("moderate", "404")
    assert moderate(server, "Soup.") is None


@pytest.mark.parametrize("fault", ["500", "reset", "html", "empty"])
def test_a_moderation_outage_never_counts_as_clean(server: OpenAIServer, fault: str) -> None:
    server.always("moderate", fault)
    with pytest.raises(TransientFailure):
        moderate(server, "Soup.")


PICTURE = b"\xff\xd8\xff picture"
HARM = "Shut up, you stupid ugly bitch."


def writer(server: OpenAIServer, fallback: str = "") -> OpenAIWriter:
    return OpenAIWriter(openai=model(server), fallback=fallback)


def talk(*bodies: str, **changes: Any) -> Thread:
    comments = (Comment(id=f"c{at}", body=body, created_at=NOW) for at, body in enumerate(bodies))
    return THREAD.model_copy(update={"comments": tuple(comments), **changes})


def test_the_stricter_of_local_and_endpoint_verdict_holds(server: OpenAIServer) -> None:
    clean, harmful = (
        writer(server).moderate("Soup.", "openai", Meter()),
        writer(server).moderate(HARM, "openai", Meter()),
    )
    assert (clean.flagged, clean.source) == (False, "openai and local")
    assert harmful.flagged
    server.always("moderate", "flagged")
    flagged = writer(server).moderate("Soup.", "openai", Meter())
    assert flagged.flagged
    assert flagged.reasons == ("harassment",)


@pytest.mark.parametrize("writer_name", [EXTRACTIVE, "manual"])
def test_what_no_model_wrote_is_judged_during_an_outage(server: OpenAIServer, writer_name: str) -> None:
    server.always("moderate", "500")
    assert writer(server).moderate(HARM, writer_name, Meter()).flagged
    assert not writer(server).moderate("Soup.", writer_name, Meter()).flagged
    assert writer(server).judge(DRAFT, THREAD, writer_name, Meter()) is None
    assert server.requests == []


@pytest.mark.parametrize(
    ("scores", "flagged", "category", "refused"),
    [
        ({"sexual": 0.45}, (), "family", True),
        ({"sexual": 0.45}, (), "travel", False),
        ({"sexual": 0.3}, ("sexual",), "travel", True),
        ({"sexual": 0.3}, ("sexual",), "relationships", False),
        ({"sexual": 0.3, "hate": 0.3}, ("sexual", "hate"), "relationships", True),
        ({"violence": 0.55}, (), "food", False),
        ({"violence": 0.55}, (), "", True),
    ],
)
def test_the_endpoints_scores_are_held_against_the_desks_thresholds(
    server: OpenAIServer, scores: dict[str, float], flagged: tuple[str, ...], category: str, refused: bool
) -> None:
    server.always("moderate", Reply(moderated(scores, *flagged)))
    assert writer(server).moderate("Soup.", "openai", Meter(), category).flagged is refused


def test_a_service_that_flags_without_saying_why_is_believed(server: OpenAIServer) -> None:
    server.always("moderate", Reply({"results": [{"flagged": True, "categories": {}, "category_scores": {}}]}))
    assert writer(server).moderate("Soup.", "openai", Meter(), "relationships").flagged


@pytest.mark.parametrize("body", [HARM, "Her number is (415) 555-0132."])
def test_a_flagged_comment_is_left_out_before_the_story_is_written(server: OpenAIServer, body: str) -> None:
    kept, verdict = writer(server).screen(talk("Put the lid on.", body, "Buy a bigger pot."), "food", Meter())
    assert [comment.id for comment in kept.comments] == ["c0", "c2"]
    assert not verdict.flagged
    (request,) = server.requests
    assert THREAD.title in request.json["input"]
    assert "bigger pot" in request.json["input"]
    assert body not in request.json["input"]


@pytest.mark.parametrize(("harmful", "sound", "refused"), [(3, 3, True), (2, 4, False), (5, 0, False)])
def test_a_thread_that_loses_more_than_a_third_of_its_comments_is_refused(
    server: OpenAIServer, harmful: int, sound: int, refused: bool
) -> None:
    thread = talk(*[HARM] * harmful, *["Put the lid on."] * sound)
    kept, verdict = ExtractiveWriter().screen(thread, "food", Meter())
    assert (len(kept.comments), verdict.flagged) == (sound, refused)


@pytest.mark.parametrize("part", ["title", "body"])
def test_a_thread_with_a_harmful_post_is_refused_without_asking_the_endpoint(server: OpenAIServer, part: str) -> None:
    _, verdict = writer(server).screen(talk("Put the lid on.", **{part: HARM}), "food", Meter())
    assert verdict.flagged
    assert server.requests == []


def test_a_thread_is_refused_on_the_endpoints_word_and_shown_to_it_in_one_bounded_request(
    server: OpenAIServer,
) -> None:
    server.script("moderate", "flagged")
    _, verdict = writer(server).screen(talk(*["Put the lid on the pot. " * 200] * 20), "food", Meter())
    assert verdict.flagged
    (request,) = server.requests
    assert len(request.json["input"]) == SCREENED_CHARACTERS


def test_a_screening_outage_raises_unless_the_extractive_writer_may_step_in(server: OpenAIServer) -> None:
    server.always("moderate", "500")
    with pytest.raises(TransientFailure):
        writer(server).screen(talk("Put the lid on."), "food", Meter())
    _, verdict = writer(server, fallback=EXTRACTIVE).screen(talk("Put the lid on."), "food", Meter())
    assert not verdict.flagged
    assert verdict.source.startswith("local, without the endpoint: 127.0.0.1")


def test_a_picture_is_shown_to_the_endpoint(server: OpenAIServer) -> None:
    server.script("moderate", "ok", "flagged")
    clean, flagged = (writer(server).inspect(PICTURE, "image/jpeg", Meter()) for _ in range(2))
    assert clean is not None
    assert not clean.flagged
    assert flagged is not None
    assert flagged.flagged
    assert server.requests[0].json == {
        "model": "omni-moderation-latest",
        "input": [{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/IHBpY3R1cmU="}}],
    }


@pytest.mark.parametrize("fault", ["404", "no_pictures"])
def test_a_server_that_does_not_look_at_pictures_gives_no_verdict_on_them(server: OpenAIServer, fault: str) -> None:
    server.always("moderate", fault)
    assert writer(server).inspect(PICTURE, "image/jpeg", Meter()) is None


def test_without_a_model_nobody_looks_at_pictures() -> None:
    assert ExtractiveWriter().inspect(PICTURE, "image/jpeg", Meter()) is None


def test_an_outage_while_a_picture_is_looked_at_is_no_verdict(server: OpenAIServer) -> None:
    server.always("moderate", "500")
    with pytest.raises(TransientFailure):
        writer(server).inspect(PICTURE, "image/jpeg", Meter())


class Counting(RequestLimiter):
    def __init__(self) -> None:
        self.services: list[str] = []

    def acquire(self, service: str) -> None:
        self.services.append(service)


def test_every_attempt_passes_the_limiter(server: OpenAIServer) -> None:
    limiter = Counting()
    server.script("write", "503", "truncated")
    server.script("moderate", "429")
    resource = model(server, limiter=limiter)
    resource.write(THREAD, CATEGORY, PERSONA, Meter())
    resource.judge(DRAFT, THREAD, Meter())
    resource.moderate("Soup.", Meter())
    assert limiter.services == ["openai"] * len(server.requests) == ["openai"] * 6


def test_the_resource_serves_a_dagster_asset_with_its_limiter(server: OpenAIServer) -> None:
    limiter = Counting()

    @dg.asset
    def story(openai: OpenAIResource) -> str:
        return openai.write(THREAD, CATEGORY, PERSONA, Meter())[0].title

    result = dg.materialize([story], resources={"openai": model(server, limiter=limiter)})
    assert result.output_for_node("story").startswith("My soup")
    assert limiter.services == ["openai"]


def test_a_meter_adds_up_over_calls(server: OpenAIServer) -> None:
    meter = Meter()
    model(server).write(THREAD, CATEGORY, PERSONA, meter)
    first = meter.usage
    model(server).judge(DRAFT, THREAD, meter)
    assert (first.requests, meter.usage.requests) == (1, 2)
    assert meter.usage == first + judge(server)[1]
