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
from collections.abc import Callable, Sequence
from time import sleep
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import dagster as dg
from pydantic import BaseModel, PrivateAttr

from threadjuice_dagster.domain import prompts
from threadjuice_dagster.domain.judging import SAMPLES, JudgeAnswer, JudgeVerdict, combine
from threadjuice_dagster.domain.moderation import Verdict
from threadjuice_dagster.domain.stories import Category, Draft, Persona, Usage
from threadjuice_dagster.domain.text import clean, cut
from threadjuice_dagster.domain.threads import Thread
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, ThreadJuiceError, TransientFailure
from threadjuice_dagster.resources.http import MAX_WAIT
from threadjuice_dagster.resources.metering import Meter, spent
from threadjuice_dagster.resources.openai_answers import Answer, BadAnswer, Refused, read_answers, read_verdict, waiting

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

Messages = list[dict[str, str]]

Send = Callable[["openai.OpenAI"], Any]
"""One request through the SDK, with the client of the key in use."""

_MODERATED_CHARACTERS = 20_000
_PICTURE_MODERATOR = "omni-moderation-latest"

_KEY_LIKE = re.compile(r"\b(?:sk|pk|key)-[\w*.…-]+", re.IGNORECASE)
_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_POLICY = ("content_filter", "content_policy_violation")


class _UnknownThingError(ConfigurationError):
    """The server has no such model or endpoint."""


class _RefusedKeyError(ConfigurationError):
    """The server does not take the key."""


class _RejectedError(PermanentFailure):
    """The server found the request itself wrong; ``hint`` says which part, as far as it told."""

    def __init__(self, message: str, next_step: str, hint: str) -> None:
        super().__init__(message, next_step)
        self.hint = hint


@runtime_checkable
class RateLimiter(Protocol):
    """Whoever decides whether and when a request may be sent."""

    def enter(self, service: str) -> bool:
        """Whether this caller is the one that finds out if ``service`` is back. Raises while it is known to be down."""

    def acquire(self, service: str) -> None:
        """Return once a request to ``service`` is allowed."""

    def failed(self, service: str, message: str, *, on_trial: bool) -> None:
        """The service failed as often as it is tried."""

    def over(self, service: str) -> None:
        """The service answered on trial."""

    def refused(self, variable: str, message: str) -> None:
        """The key of ``variable`` was refused, and the one to come is used instead."""

    def accepted(self, variable: str) -> None:
        """The key of ``variable`` was taken."""


class Unlimited:
    """No limit of our own: the server's is the only one."""

    def enter(self, service: str) -> bool:
        """Nothing is known."""
        return False

    def acquire(self, service: str) -> None:
        """Return at once."""

    def failed(self, service: str, message: str, *, on_trial: bool) -> None:
        """Nobody else needs to know."""

    def over(self, service: str) -> None:
        """Nobody else needs to know."""

    def refused(self, variable: str, message: str) -> None:
        """Nobody else needs to know."""

    def accepted(self, variable: str) -> None:
        """Nobody else needs to know."""


@dataclasses.dataclass(frozen=True)
class _Dialect:
    """How much of the API a server understands: answers by schema, several answers per request."""

    schema: bool = True
    several: bool = True

    def request(self, model: str, messages: Messages, shape: type[BaseModel], wanted: int) -> dict[str, Any]:
        schema = prompts.strict_schema(shape)
        form: dict[str, Any] = {"type": "json_object"}
        if self.schema:
            named = {"name": shape.__name__, "strict": True, "schema": schema}
            form = {"type": "json_schema", "json_schema": named}
        else:
            messages = prompts.with_schema(messages, schema)
        several = {"n": wanted} if wanted > 1 and self.several else {}
        return {"model": model, "messages": messages, "response_format": form, **several}

    def weaker(self, rejected: _RejectedError, wanted: int) -> "_Dialect | None":
        # None: the rejection is not about the dialect.
        if "context_length" in rejected.hint or "string_above_max" in rejected.hint:
            return None
        if self.several and wanted > 1 and "response_format" not in rejected.hint:
            return dataclasses.replace(self, several=False)
        return dataclasses.replace(self, schema=False) if self.schema else None


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
    limiter: dg.ResourceDependency[RateLimiter] = Unlimited()  # type: ignore[assignment]

    _dialect: _Dialect = PrivateAttr(default=_Dialect())
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
        text_or_slices = slices[0] if len(slices) == 1 else slices
        try:
            document = self._send(lambda api: api.moderations.with_raw_response.create(input=text_or_slices), meter)
        except _UnknownThingError:
            return None
        return read_verdict(document, len(slices))

    def moderate_picture(self, data: bytes, content_type: str, meter: Meter) -> Verdict | None:
        """The endpoint's verdict on a small picture, or None where the server does not look at pictures."""
        url = f"data:{content_type};base64,{base64.b64encode(data).decode()}"
        asked: Any = [{"type": "image_url", "image_url": {"url": url}}]
        try:
            document = self._send(
                lambda api: api.moderations.with_raw_response.create(model=_PICTURE_MODERATOR, input=asked), meter
            )
        except (_UnknownThingError, _RejectedError):
            return None
        return read_verdict(document, 1)

    def check(self) -> int | None:
        """That the key is taken and the server has both models, with nothing generated and nothing tried again.

        Returns the requests a minute the server allows, where it tells. Raises as ``write`` does.
        """
        headers: dict[str, str] = {}
        for model in dict.fromkeys((self.model, self.judge_model or self.model)):

            def ask(api: "openai.OpenAI", model: str = model) -> Any:
                answer = api.models.with_raw_response.retrieve(model)
                headers.update(answer.headers)
                return answer

            found = self._attempt(ask)
            if isinstance(found, _UnknownThingError) and model not in self._listed():
                raise _UnknownThingError(f"{self._host} knows no model {model!r} (404).", found.next_step)
            if isinstance(found, ThreadJuiceError) and not isinstance(found, _UnknownThingError):
                raise found
        told = headers.get("x-ratelimit-limit-requests", "")
        return int(told) if told.isdecimal() else None

    def _listed(self) -> set[str]:
        """The models a server lists: many compatible ones cannot be asked for a single one."""
        found = self._attempt(lambda api: api.models.with_raw_response.list())
        listed = found.get("data") if isinstance(found, dict) else None
        return {str(one.get("id")) for one in listed if isinstance(one, dict)} if isinstance(listed, list) else set()

    def _draft(self, messages: Messages, meter: Meter) -> tuple[Draft, str]:
        (draft,), model = self._answers(messages, Draft, self.model, 1, meter)
        return draft, model

    def _answers(
        self, messages: Messages, shape: type[Answer], model: str, wanted: int, meter: Meter
    ) -> tuple[list[Answer], str]:
        """So many usable answers and the model that gave them; unusable ones are asked for again, one at a time."""
        found: list[Answer] = []
        problem: PermanentFailure = BadAnswer(f"{model} gave no answer.")
        for ask in range(wanted + SPARE_ASKS):
            document = self._complete(messages, shape, model, 1 if ask else wanted, meter)
            for outcome in read_answers(document, shape):
                if isinstance(outcome, PermanentFailure):
                    problem = outcome
                else:
                    found.append(outcome)
            if len(found) >= wanted:
                return found[:wanted], cut(clean(str(document.get("model") or model)), 100)
            if isinstance(problem, Refused) and not found:
                break
        raise problem

    def _complete(
        self,
        messages: Messages,
        shape: type[BaseModel],
        model: str,
        wanted: int,
        meter: Meter,
    ) -> dict[str, Any]:
        dialect: _Dialect | None = self._dialect
        while dialect:
            request = dialect.request(model, messages, shape, wanted)
            try:
                document = self._send(functools.partial(_create, request), meter)
            except _RejectedError as failure:
                rejected, dialect = failure, dialect.weaker(failure, wanted)
            else:
                self._dialect = dialect
                meter.add(spent(document, model, self.price_input, self.price_output))
                return document
        raise rejected

    def _send(self, send: Send, meter: Meter) -> dict[str, Any]:
        self._client()  # loaded before a request is allowed: what is allowed is to be sent at once
        on_trial = self.limiter.enter(SERVICE)
        attempts = TRIAL_ATTEMPTS if on_trial else ATTEMPTS
        for attempt in range(1, attempts + 1):
            self.limiter.acquire(SERVICE)
            meter.add(Usage(requests=1))
            outcome = self._attempt(send)
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

    def _attempt(self, send: Send) -> dict[str, Any] | ThreadJuiceError:
        """One answer: to the key in use, or where that is refused to the one to come, which is in use from then on."""
        outcome = self._ask(send)
        if not self.next_key or self._on_next:
            return outcome
        if isinstance(outcome, _RefusedKeyError):
            self._on_next = True
            self.limiter.refused("OPENAI_API_KEY", outcome.message)
            return self._ask(send)
        if self._on_next is None and isinstance(outcome, dict):
            self._on_next = False
            self.limiter.accepted("OPENAI_API_KEY")
        return outcome

    def _ask(self, send: Send) -> dict[str, Any] | ThreadJuiceError:
        """One request. Failures are returned: raised in here they would carry the SDK's words along."""
        import openai

        try:
            document = json.loads(send(self._client()).http_response.text)
            if isinstance(document, dict):
                return document
            problem = "answered with something other than a JSON object"
        except openai.APIStatusError as error:
            return self._failure(error)
        except openai.APITimeoutError:
            problem = f"did not answer within {self.timeout_seconds:g} s"
        except openai.APIConnectionError:
            problem = "cannot be reached or broke the connection off"
        except (ValueError, RecursionError):
            problem = "answered with something other than JSON"
        return TransientFailure(f"{self._host} {problem}.", "Try again later.")

    def _failure(self, error: "openai.APIStatusError") -> ThreadJuiceError:
        status, host = error.status_code, self._host
        code = f"{error.code or ''} {error.type or ''}".lower()
        if status in (401, 403):
            variable = "OPENAI_API_KEY_NEXT" if self._on_next else "OPENAI_API_KEY"
            return _RefusedKeyError(
                f"{host} refused the key in {variable} ({status}).",
                "Set OPENAI_API_KEY to a current key with access to the chat and moderation endpoints.",
            )
        if status in (404, 405, 501):
            return _UnknownThingError(
                f"{host} knows no model {self.model!r}, or has no such endpoint ({status}).",
                "Set OPENAI_MODEL (and OPENAI_JUDGE_MODEL) to a model it has, such as gpt-4o, or mend OPENAI_BASE_URL.",
            )
        if status == 429 and any(name in code for name in _QUOTA):
            return PermanentFailure(f"The quota of {host} is used up.", "Add credit or raise the account's limit.")
        if status in (408, 409, 429) or status >= 500:
            message = f"{host} limits requests (429)." if status == 429 else f"{host} fails ({status})."
            return TransientFailure(message, "Try again later.", retry_after=waiting(error.response.headers))
        if any(name in code for name in _POLICY):
            return Refused(f"{host} refused the request by its content policy.")
        said = cut(_KEY_LIKE.sub("[key]", clean(error.message).replace(self._key, "[key]")), 200)
        hint = f"{code} {error.param or ''} {said}".lower()
        return _RejectedError(f"{host} rejected the request ({status}): {said}", "Check OPENAI_MODEL.", hint)

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
    """One client for the process: each reads every certificate anew when it is made."""
    import openai

    return openai.OpenAI(api_key=key, base_url=base_url, timeout=timeout, max_retries=0)
