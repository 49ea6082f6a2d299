"""OpenAI, or any server that speaks its API: writing, judging and moderating, with limits and metering.

What a model is told belongs in ``domain/prompts.py``, what its scores mean in ``domain/judging.py``.
The SDK's own retries are off: every request has to pass the rate limiter, so the retrying is done here.
"""

import base64
import dataclasses
import functools
import json
import logging
import random
import re
from collections.abc import Callable, Mapping, Sequence
from time import sleep
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import dagster as dg
from pydantic import BaseModel, PrivateAttr

from threadjuice_dagster.domain import prompts
from threadjuice_dagster.domain.judging import SAMPLES, JudgeAnswer, JudgeVerdict, combine
from threadjuice_dagster.domain.moderation import Verdict
from threadjuice_dagster.domain.stories import Category, Draft, Persona, Usage
from threadjuice_dagster.domain.text import clean, cut
from threadjuice_dagster.domain.threads import Thread
from threadjuice_dagster.failures import ConfigurationError, ThreadJuiceError, TransientFailure
from threadjuice_dagster.resources.http import MAX_WAIT
from threadjuice_dagster.resources.limits import RateLimiter, Unlimited
from threadjuice_dagster.resources.metering import Meter, spent
from threadjuice_dagster.resources.openai_answers import (
    Answer,
    BadAnswer,
    CutOff,
    read_answers,
    read_verdict,
    unanswered,
    waiting,
)
from threadjuice_dagster.resources.openai_dialect import ROOMIER, Dialect, Messages, is_about_the_model, learned_of
from threadjuice_dagster.resources.openai_failures import (
    Complaint,
    Refused,
    RefusedKey,
    Rejected,
    UnknownThing,
    complaint_in,
    failure_of,
    read_complaint,
)

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

SERVICE = "openai"
"""Under which the limit of requests and an outage are known to all processes."""

ATTEMPTS = 4
"""Times one request is sent while the server is limiting, failing or silent."""

TRIAL_ATTEMPTS = 2
"""The same, while the server is known to be down."""

SPARE_ASKS = 2
"""Further requests for answers that came back unusable, per story or verdict."""

Send = Callable[["openai.OpenAI"], Any]
"""One request through the SDK, with the client of the key in use."""

Complains = Callable[[Any], Complaint | None]
"""What an answer of status 200 complains of, if it does."""

_MODERATED_CHARACTERS = 20_000
_PICTURE_MODERATOR = "omni-moderation-latest"
_HARMLESS = "The kettle is on the stove."

TOKENS = {"Draft": 8_000, "JudgeAnswer": 2_000}
"""Tokens an answer of each shape may take; a story has about 2,500, a judge's answer 600."""

_PROBE_TOKENS = 500


class ModelReport(NamedTuple):
    """What a trial of the server found: requests a minute it allows, the form of its answers, whether it moderates."""

    allowed: int | None
    form: str
    moderates: bool


class _ProbeAnswer(BaseModel):
    word: str = ""


class OpenAIResource(dg.ConfigurableResource):
    """Writer, judge and moderator behind one key. Prices are US dollars per million tokens."""

    api_key: str
    next_key: str = ""
    base_url: str = ""
    model: str = "gpt-4o"
    judge_model: str = ""
    timeout_seconds: float = 60.0
    backoff_seconds: float = 1.0
    price_input: float | None = None
    price_output: float | None = None
    attempts: int = ATTEMPTS
    limiter: dg.ResourceDependency[RateLimiter] = Unlimited()  # type: ignore[assignment]

    _on_next: bool | None = PrivateAttr(default=None)

    def write(self, thread: Thread, category: Category, persona: Persona, meter: Meter) -> tuple[Draft, str]:
        """A draft of the thread's story and the model that wrote it.

        Raises ``Refused``, ``BadAnswer``, ``ConfigurationError`` or, after its own retries, ``TransientFailure``.
        """
        return self._draft(prompts.write_messages(thread, category, persona), meter)

    def revise(
        self, thread: Thread, category: Category, persona: Persona, draft: Draft, findings: Sequence[str], meter: Meter
    ) -> tuple[Draft, str]:
        """``draft`` written again with every finding put right; otherwise as ``write``."""
        return self._draft(prompts.revise_messages(thread, category, persona, draft, findings), meter)

    def judge(self, draft: Draft, thread: Thread, meter: Meter) -> JudgeVerdict:
        """The verdict of ``SAMPLES`` answers of the judge model (the writer's, if none is named)."""
        model = self.judge_model or self.model
        return combine(*self._answers(prompts.judge_messages(draft, thread), JudgeAnswer, model, SAMPLES, meter))

    def moderate(self, text: str, meter: Meter) -> Verdict | None:
        """The moderation endpoint's verdict on ``text``, or None where the server has no such endpoint.

        Raises ``TransientFailure`` when no verdict can be had: nothing counts as clean unread.
        """
        slices = [text[at : at + _MODERATED_CHARACTERS] for at in range(0, len(text), _MODERATED_CHARACTERS)] or [" "]
        verdict = self._moderated(slices[0] if len(slices) == 1 else slices, meter)
        return None if verdict is None else read_verdict(verdict, len(slices))

    def moderate_picture(self, data: bytes, content_type: str, meter: Meter) -> Verdict | None:
        """The endpoint's verdict on a small picture, or None where the server does not look at pictures."""
        if not learned_of(self.base_url).moderates:
            return None
        url = f"data:{content_type};base64,{base64.b64encode(data).decode()}"
        asked: Any = [{"type": "image_url", "image_url": {"url": url}}]
        try:
            document = self._send(
                lambda api: api.moderations.with_raw_response.create(model=_PICTURE_MODERATOR, input=asked), meter
            )
        except (UnknownThing, Rejected):
            return None
        return read_verdict(document, 1)

    @property
    def uses_next_key(self) -> bool:
        """Whether the key in use was refused, and the one to come is used instead."""
        return bool(self._on_next)

    def check(self) -> ModelReport:
        """Try the server with one small request each: its models, a completion, an answer by schema, a moderation.

        Nothing is tried again but in another dialect. Raises as ``write`` does.
        """
        meter, once = Meter(), self.model_copy(update={"attempts": 1, "limiter": Unlimited()})
        allowed = self._models_are_there()
        asked = [{"role": "user", "content": 'Answer with the word "ready" and nothing else.'}]
        forms = []
        for model in dict.fromkeys((self.model, self.judge_model or self.model)):
            once._complete(asked, None, model, 1, _PROBE_TOKENS, meter)
            once._answers(asked, _ProbeAnswer, model, 1, meter)
            forms.append(learned_of(self.base_url).dialects[model].form)
        moderates = once.moderate(_HARMLESS, meter) is not None
        return ModelReport(allowed, " and ".join(dict.fromkeys(forms)), moderates)

    def _models_are_there(self) -> int | None:
        """The requests a minute the server allows, where it tells. Raises for a model it does not have."""
        headers: dict[str, str] = {}
        for model in dict.fromkeys((self.model, self.judge_model or self.model)):

            def ask(api: "openai.OpenAI", model: str = model) -> Any:
                answer = api.models.with_raw_response.retrieve(model)
                headers.update(answer.headers)
                return answer

            found = self._attempt(ask)
            if isinstance(found, UnknownThing) and self._lacks(model, found):
                raise UnknownThing(f"{self._host} knows no model {model!r} (404).", found.next_step)
            if isinstance(found, ThreadJuiceError) and not isinstance(found, UnknownThing):
                raise found
        told = headers.get("x-ratelimit-limit-requests", "")
        return int(told) if told.isdecimal() else None

    def _lacks(self, model: str, refusal: UnknownThing) -> bool:
        """Whether a server that could not be asked for a model lists others; some compatible ones list none."""
        found = self._attempt(lambda api: api.models.with_raw_response.list())
        listed = found.get("data") if isinstance(found, dict) else None
        names = [str(one.get("id")) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        return model not in names if names else is_about_the_model(refusal.hint)

    def _moderated(self, text_or_slices: str | list[str], meter: Meter) -> dict[str, Any] | None:
        """The endpoint's answer; None where there is no endpoint, which is told by its refusing a harmless text too."""
        learned = learned_of(self.base_url)
        if not learned.moderates:
            return None
        try:
            return self._send(lambda api: api.moderations.with_raw_response.create(input=text_or_slices), meter)
        except UnknownThing:
            learned.moderates = False
        except Rejected:
            if text_or_slices != _HARMLESS and self._moderated(_HARMLESS, meter) is not None:
                raise
            learned.moderates = False
        return None

    def _draft(self, messages: Messages, meter: Meter) -> tuple[Draft, str]:
        (draft,), model = self._answers(messages, Draft, self.model, 1, meter)
        return draft, model

    def _answers(
        self, messages: Messages, shape: type[Answer], model: str, wanted: int, meter: Meter
    ) -> tuple[list[Answer], str]:
        """So many usable answers and the model that gave them; unusable ones are asked for again, one at a time."""
        found: list[Answer] = []
        tokens = TOKENS.get(shape.__name__, _PROBE_TOKENS)
        problem: ThreadJuiceError = BadAnswer(f"{model} gave no answer.")
        for ask in range(wanted + SPARE_ASKS):
            document = self._complete(messages, shape, model, 1 if ask else wanted, tokens, meter)
            for outcome in read_answers(document, shape):
                if isinstance(outcome, ThreadJuiceError):
                    problem = outcome
                else:
                    found.append(outcome)
            if len(found) >= wanted:
                return found[:wanted], cut(clean(str(document.get("model") or model)), 100)
            if not found and (isinstance(problem, Refused) or not self._speaks_otherwise(model, problem)):
                break
        raise problem

    def _speaks_otherwise(self, model: str, problem: ThreadJuiceError) -> bool:
        """Whether to ask again after an unusable answer: with more room, or with the schema spelled out."""
        dialects = learned_of(self.base_url).dialects
        if isinstance(problem, CutOff):
            if dialects[model].room > 1:
                return False
            dialects[model] = dataclasses.replace(dialects[model], room=ROOMIER)
        elif isinstance(problem, BadAnswer):
            dialects[model] = dataclasses.replace(dialects[model], worded=True)
        return True

    def _complete(
        self, messages: Messages, shape: type[BaseModel] | None, model: str, wanted: int, tokens: int, meter: Meter
    ) -> dict[str, Any]:
        """A completion with an answer in it, asked for in whatever dialect the server understands."""
        dialects = learned_of(self.base_url).dialects
        dialect = dialects.get(model, Dialect())
        while True:
            request = dialect.request(model, messages, shape, wanted, tokens)
            try:
                document = self._send(functools.partial(_create, request), meter, unanswered)
            except (Rejected, UnknownThing) as refusal:
                other = dialect.without(refusal, request)
                if other is None:
                    raise
                dialect = other
            else:
                if len(document["choices"]) < request.get("n", 1):
                    dialect = dataclasses.replace(dialect, several=False)
                dialects[model] = dialect
                meter.add(spent(document, model, self.price_input, self.price_output))
                return document

    def _send(self, send: Send, meter: Meter, complaint: Complains = complaint_in) -> dict[str, Any]:
        self._client()  # loaded before a request is allowed: what is allowed is to be sent at once
        on_trial = self.limiter.enter(SERVICE)
        attempts = min(TRIAL_ATTEMPTS, self.attempts) if on_trial else self.attempts
        for attempt in range(1, attempts + 1):
            self.limiter.acquire(SERVICE)
            meter.add(Usage(requests=1))
            outcome = self._attempt(send, complaint)
            if on_trial and not isinstance(outcome, TransientFailure):
                self.limiter.over(SERVICE)
            if isinstance(outcome, dict):
                return outcome
            if not isinstance(outcome, TransientFailure):
                raise outcome
            failure = outcome
            if attempt == attempts:
                break
            pause = self._pause(attempt, failure.retry_after)
            log.warning("%s Trying again in %.1f s (attempt %d of %d).", failure.message, pause, attempt, attempts)
            sleep(pause)
        self.limiter.failed(SERVICE, failure.message, on_trial=on_trial)
        failure.exhausted, failure.service = True, SERVICE
        raise failure

    def _attempt(self, send: Send, complaint: Complains = complaint_in) -> dict[str, Any] | ThreadJuiceError:
        """One answer: to the key in use, or where that is refused to the one to come, which is in use from then on."""
        outcome = self._ask(send, complaint)
        if self._on_next:
            return outcome
        if isinstance(outcome, RefusedKey) and self.next_key:
            self._on_next = True
            self.limiter.refused("OPENAI_API_KEY", outcome.message)
            return self._ask(send, complaint)
        if self._on_next is None and isinstance(outcome, dict):
            self._on_next = False
            self.limiter.accepted("OPENAI_API_KEY")
        return outcome

    def _ask(self, send: Send, complaint: Complains) -> dict[str, Any] | ThreadJuiceError:
        """One request. Failures are returned: raised in here they would carry the SDK's words along."""
        import openai

        try:
            response = send(self._client()).http_response
            document = json.loads(response.text)
            if isinstance(document, dict | list):
                found = complaint(document)
                if found is None and isinstance(document, dict):
                    return document
                return self._failure(found or Complaint(200, "", ""), response.headers)
            problem = "answered with something other than a JSON object"
        except openai.APIStatusError as error:
            response = error.response
            return self._failure(read_complaint(response.status_code, response.text), response.headers)
        except openai.APITimeoutError:
            problem = f"did not answer within {self.timeout_seconds:g} s"
        except openai.APIConnectionError:
            problem = "cannot be reached or broke the connection off"
        except (ValueError, RecursionError):
            problem = "answered with something other than JSON"
        return TransientFailure(f"{self._host} {problem}.", "Try again later.")

    def _failure(self, complaint: Complaint, headers: Mapping[str, str]) -> ThreadJuiceError:
        key = ("OPENAI_API_KEY_NEXT" if self._on_next else "OPENAI_API_KEY", self._key)
        return failure_of(complaint, self._host, self.model, key, waiting(headers))

    def _pause(self, attempt: int, retry_after: float | None) -> float:
        spread = random.uniform(1.0, 1.25)  # noqa: S311 -- keeps processes apart, hides nothing
        wait = self.backoff_seconds * 2 ** (attempt - 1) if retry_after is None else retry_after
        return min(wait * spread, MAX_WAIT)

    @property
    def _key(self) -> str:
        return (self.next_key if self._on_next else self.api_key).strip()

    @property
    def _host(self) -> str:
        return (urlsplit(self.base_url).hostname or "OPENAI_BASE_URL") if self.base_url else "OpenAI"

    def _client(self) -> "openai.OpenAI":
        key = self._key
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigurationError("OPENAI_API_KEY is empty or not a key.", "Set it, as in OPENAI_API_KEY=sk-....")
        if self.base_url and not re.match(r"https?://[^/\s]+", self.base_url):
            raise ConfigurationError(
                "OPENAI_BASE_URL is not an address.", "Set it, as in OPENAI_BASE_URL=https://api.openai.com/v1."
            )
        # An address always given: with none, the SDK would take one from the environment.
        base_url = self.base_url or "https://api.openai.com/v1"
        return _client_of(key, base_url, self.timeout_seconds)


def _create(request: dict[str, Any], api: "openai.OpenAI") -> Any:
    return api.chat.completions.with_raw_response.create(**request)


@functools.lru_cache(maxsize=4)
def _client_of(key: str, base_url: str, timeout: float) -> "openai.OpenAI":
    """One client for the process: each reads every certificate anew when it is made.

    An address of Azure's is known by its ``api-version``: there the key travels in another header, and a model is a
    deployment in the path.
    """
    import openai

    address = urlsplit(base_url)
    plain = urlunsplit(address._replace(query="", fragment=""))
    query: dict[str, str] = dict(parse_qsl(address.query))
    options: dict[str, Any] = {"api_key": key, "base_url": plain, "timeout": timeout, "max_retries": 0}
    if "api-version" in query:
        return openai.AzureOpenAI(api_version=query.pop("api-version"), default_query=query, **options)
    return openai.OpenAI(default_query=query, **options)
