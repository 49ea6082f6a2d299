"""Servers that call themselves compatible: each says less, or says it otherwise, and the newsroom works with all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import threadjuice
from servers.loopback import Reply, Request
from servers.openai_server import DIALECTS, OUTAGES, WRAPPINGS, OpenAIServer, moderated
from test_openai import CATEGORY, DRAFT, PERSONA, THREAD, judge, model, moderate, write

from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure
from threadjuice_dagster.resources.openai_compatibility import CutOff, learned_of
from threadjuice_dagster.resources.openai_connection import ATTEMPTS, ModelRefused
from threadjuice_dagster.settings import read_settings
from threadjuice_dagster.wiring import build_resources

SAMPLE = sorted((Path(__file__).parents[2] / "threadjuice_dagster" / "editorial" / "threads").glob("*.json"))[0]
LM_STUDIO = {"error": "Unexpected endpoint or method. (POST /v1/moderations)"}


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    learned_of.cache_clear()  # a port may have been another server's
    with OpenAIServer() as running:
        yield running


def forms(server: OpenAIServer) -> list[str | None]:
    return [one.json.get("response_format", {}).get("type") for one in server.seen("write")]


@pytest.mark.parametrize("name", OUTAGES)
def test_an_answer_that_holds_none_is_an_outage(server: OpenAIServer, name: str) -> None:
    server.script("write", f"outage:{name}")
    assert write(server)[1].requests == 2
    server.always("write", f"outage:{name}")
    with pytest.raises(TransientFailure) as caught:
        write(server)
    assert caught.value.exhausted
    assert caught.value.service == "openai"
    assert len(server.requests) == 2 + ATTEMPTS


@pytest.mark.parametrize(
    ("body", "failure", "message"),
    [
        ({"error": {"code": 429, "message": "Rate limited upstream"}}, TransientFailure, "limits"),
        ({"error": {"code": 402, "message": "Insufficient credits"}}, TransientFailure, "quota"),
        ({"error": {"message": "Budget has been exceeded!", "type": "budget_exceeded"}}, TransientFailure, "quota"),
        ({"error": {"code": 403, "message": "Key limit exceeded (total limit)"}}, TransientFailure, "quota"),
        ({"error": {"code": 403, "message": "Your input was flagged"}}, ModelRefused, "policy"),
        ({"error": {"code": 401, "message": "No auth"}}, ConfigurationError, "OPENAI_API_KEY"),
        ({"error": "Unexpected endpoint or method. (POST /chat/completions)"}, ConfigurationError, "no such endpoint"),
        ({"object": "error", "message": "The model `x` does not exist.", "code": 404}, ConfigurationError, "model"),
    ],
)
def test_an_error_with_status_200_is_what_it_says(
    server: OpenAIServer, body: Any, failure: type[Exception], message: str
) -> None:
    server.always("write", Reply(body))
    with pytest.raises(failure, match=message):
        write(server)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "The model has crashed without additional information. (Exit code: 6)"),
        (400, "Model unloaded by user or API request."),
        (400, 'Failed to load model "x": insufficient system resources.'),
        (404, "No models loaded. Please load a model in the developer page."),
        (200, "Model is unloaded."),
    ],
)
def test_a_model_that_is_not_loaded_is_an_outage_and_costs_no_thread(
    server: OpenAIServer, status: int, words: str
) -> None:
    server.always("write", Reply({"error": words}, status))
    with pytest.raises(TransientFailure, match="has not loaded its model") as caught:
        write(server)
    assert (caught.value.exhausted, len(server.requests)) == (True, ATTEMPTS)


def test_an_answer_that_was_cut_off_gets_more_room_once_and_is_a_limit_then(server: OpenAIServer) -> None:
    server.always("write", "roomy")
    assert write(server)[1].requests == 2
    assert write(server)[1].requests == 1
    server.always("write", "length")
    with pytest.raises(CutOff) as caught:
        write(server)
    assert caught.value.exhausted


@pytest.mark.parametrize("fault", ["filtered", "azure_filter"])
def test_what_a_filter_stops_is_refused(server: OpenAIServer, fault: str) -> None:
    server.always("write", fault)
    with pytest.raises(ModelRefused):
        write(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", WRAPPINGS)
def test_an_answer_is_found_wherever_it_stands(server: OpenAIServer, name: str) -> None:
    server.always("write", f"wrapped:{name}")
    server.always("judge", f"wrapped:{name}")
    draft, usage, _ = write(server)
    assert (draft.title[:7], usage.requests) == ("My soup", 1)
    assert judge(server)[0].samples == 3


@pytest.mark.parametrize("name", DIALECTS)
def test_a_server_that_refuses_schemas_is_asked_in_words_and_remembered(server: OpenAIServer, name: str) -> None:
    server.always("write", f"dialect:{name}")
    write(server)
    write(server)
    assert forms(server) == ["json_schema", "json_object", None, None]
    assert '"picture_query"' in server.requests[2].json["messages"][0]["content"]


def test_a_server_that_takes_no_schema_and_says_nothing_is_told_it_in_words(server: OpenAIServer) -> None:
    server.always("write", "ignores_schema")
    assert [write(server)[1].requests for _ in "ab"] == [2, 1]


def test_a_server_that_takes_schemas_alone_is_never_asked_otherwise(server: OpenAIServer) -> None:
    server.always("write", "only_schema")
    write(server)
    assert forms(server) == ["json_schema"]


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ("max_completion_tokens", ["max_completion_tokens", "max_tokens", "max_tokens"]),
        ("max_completion_tokens=Unrecognized request argument supplied: max_completion_tokens", None),
        ("max_completion_tokens='max_tokens' or 'max_completion_tokens' is too large: 8000. context length 4096", []),
    ],
)
def test_a_parameter_that_is_refused_is_renamed_or_left_out(
    server: OpenAIServer, told: str, names: list[str] | None
) -> None:
    server.always("write", f"refuses:{told}")
    write(server)
    write(server)
    sent = [name for one in server.requests for name in one.json if name.startswith("max_")]
    assert sent[1:] == (["max_tokens"] * 2 if names is None else names[1:])
    assert set(forms(server)) == {"json_schema"}


def test_several_answers_are_asked_for_singly_where_they_are_refused_or_not_given(server: OpenAIServer) -> None:
    server.always("judge", "refuses:n")
    assert [judge(server)[1].requests for _ in "ab"] == [4, 3]
    learned_of.cache_clear()
    server.always("judge", "one_choice")
    assert [judge(server)[1].requests for _ in "ab"] == [3, 3]
    assert [one.json.get("n") for one in server.requests[-3:]] == [None] * 3


def test_a_refusal_of_every_dialect_ends_with_the_servers_own_words(server: OpenAIServer) -> None:
    server.always("write", Reply({"error": {"message": "The moon is in the wrong house."}}, 400))
    with pytest.raises(PermanentFailure, match="wrong house"):
        write(server)
    assert len(server.requests) <= 5
    assert learned_of(server.url).dialects == {}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(LM_STUDIO),
        Reply({"error": "not supported"}, 400),
        Reply({"detail": [{"type": "missing", "loc": ["body", "model"]}]}, 422),
        *(Reply({"detail": "Not Found"}, status) for status in (404, 405, 501)),
    ],
    ids=lambda reply: f"{reply.status} {reply.document}"[:40],
)
def test_a_server_without_moderation_is_known_by_what_it_says_of_a_harmless_text(
    server: OpenAIServer, reply: Reply
) -> None:
    server.always("moderate", reply)
    assert moderate(server, "Soup.") is None
    asked = len(server.requests)
    assert moderate(server, "Soup.") is None
    assert len(server.requests) == asked <= 2


def test_a_text_that_alone_is_refused_has_no_verdict(server: OpenAIServer) -> None:
    server.script("moderate", "key_in_rejection")
    with pytest.raises(PermanentFailure, match="rejected"):
        moderate(server, "Soup.")
    assert moderate(server, "Soup.") is not None


def test_a_verdict_without_a_word_on_the_whole_is_read_from_its_categories(server: OpenAIServer) -> None:
    result = {"categories": {"pii": True, "hate": False}, "category_scores": {"pii": 0.9, "hate": 0.1}}
    server.always("moderate", Reply({"results": [result]}))
    verdict = moderate(server, "Soup.")
    assert verdict is not None
    assert (verdict.flagged, verdict.reasons) == (True, ("pii",))


def test_azure_is_asked_by_deployment_version_and_its_own_header(server: OpenAIServer) -> None:
    address = server.url.removesuffix("/v1")
    for base in (f"{address}/openai", f"{address}/openai/deployments/gpt-4o"):
        resource = model(server, base_url=f"{base}?api-version=2024-10-21")
        assert resource.write(THREAD, CATEGORY, PERSONA, Meter())[0].title
    for request in server.requests:
        assert request.path == "/openai/deployments/gpt-4o/chat/completions"
        assert request.query == {"api-version": "2024-10-21"}
        assert request.headers["api-key"].startswith("sk-loopback")
        assert "authorization" not in request.headers


class LMStudio(OpenAIServer):
    """As LM Studio: any other endpoint answers 200 with a word of regret, and one answer is all it gives."""

    def answer(self, request: Request) -> Reply:
        if request.kind == "moderate" or request.path.count("/models/"):
            return Reply({"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})
        if request.json and "n" in request.json:
            return self._one_choice(request)
        return super().answer(request)


def test_a_story_is_published_with_a_server_like_lm_studio(
    newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learned_of.cache_clear()
    with LMStudio() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "lm-studio")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("CONTENT_GENERATION_RATE_LIMIT", "1000")
        settings, problems = read_settings()
        with build_resources(settings)["environment"].process_config_and_initialize_cm() as environment:
            row = environment.report(settings, problems, ["openai"]).row("openai")
        assert row.state == "ok"
        assert "the local moderator decides alone" in row.message
        story = threadjuice("content", "generate", "--thread", str(SAMPLE))[1]["stories"][0]
        assert (story["status"], story["writer"]) == ("published", "openai")


def test_an_outage_in_disguise_uses_up_no_thread(
    newsroom_environment: dict[str, str], server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadjuice_dagster.resources.openai_connection.sleep", lambda seconds: None)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2-hunter2")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("CONTENT_GENERATION_RATE_LIMIT", "1000")
    server.always("write", "outage:null choices")
    code, document, _ = threadjuice("content", "generate", "--count", "2")
    assert (code, [one["status"] for one in document["stories"]]) == (1, ["failed", "failed"])
    server.heal()
    again = threadjuice("content", "generate", "--count", "2")[1]["stories"]
    assert {one["id"] for one in again} == {one["id"] for one in document["stories"]}
    assert [one["status"] for one in again] == ["published", "published"]


def test_what_an_endpoint_scores_is_held_against_the_local_thresholds(server: OpenAIServer) -> None:
    server.always("moderate", Reply(moderated({"violence": 0.99}, "violence")))
    verdict = moderate(server, DRAFT.text)
    assert verdict is not None
    assert verdict.flagged
