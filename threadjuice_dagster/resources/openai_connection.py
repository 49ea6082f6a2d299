"""Send one request to an OpenAI-compatible server: keys, limits, budget, retries, and the kinds of failure.

What is requested belongs in ``resources/openai.py``. The SDK's own retries are off, because every attempt has to pass
the limiter. Servers differ most in how they report errors: an ``error`` may be an object, a text, a list's first entry
or the whole body, with status 200 as well. The shapes read here were seen of OpenAI, Azure, OpenRouter, Mistral,
Gemini, vLLM, LiteLLM, Ollama and LM Studio.
"""

import contextlib
import functools
import json
import logging
import random
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from time import sleep
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import dagster as dg
from pydantic import PrivateAttr

from threadjuice_dagster.domain.language.text import clean, cut
from threadjuice_dagster.domain.story.stories import Usage
from threadjuice_dagster.domain.writing.costs import Meter, Prices, usage_of
from threadjuice_dagster.failures import (
    ConfigurationError,
    PermanentFailure,
    ThreadJuiceError,
    TransientFailure,
    Unsuitable,
)
from threadjuice_dagster.resources.http import MAX_WAIT, retry_after

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

SERVICE = "openai"
"""The name under which all processes share the rate limit and outages."""

ATTEMPTS = 4
"""Attempts for one request while the server limits requests, fails or does not answer."""

TRIAL_ATTEMPTS = 2
"""The same while an outage is recorded."""


class Complaint(NamedTuple):
    """A reported error: its HTTP status (200 where none is given), its message, and all of it in lower case."""

    status: int
    message: str
    hint: str


class UnknownThing(ConfigurationError):
    """The server has no such model or endpoint."""

    hint = ""


class RefusedKey(ConfigurationError):
    """The server does not take the key."""


class Rejected(PermanentFailure):
    """The server rejected the request itself. ``hint`` is the whole error in lower case."""

    hint = ""


class ModelRefused(Unsuitable):
    """The model, or a filter before it, declined to answer."""


def read_complaint(status: int, text: str) -> Complaint:
    """Return the error in the body of an answer with this HTTP status. The body need not be JSON."""
    try:
        document = json.loads(text[:_LONGEST])
    except (ValueError, RecursionError):
        document = None
    return complaint_in(document, status) or Complaint(status, "", text[:_LONGEST].lower())


def complaint_in(document: Any, status: int = 200) -> Complaint | None:
    """Return the error that a document reports, or None."""
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, Mapping):
        return None
    whole = document if status >= 400 or document.get("object") == "error" else None
    error = document.get("error") or whole
    if not error:
        return None
    fields = error if isinstance(error, Mapping) else {"message": error}
    said = fields.get("message") or fields.get("detail") or fields.get("msg") or ""
    message = said if isinstance(said, str) else json.dumps(said)
    hint = f"{message} {json.dumps(fields, default=str)}"[:_LONGEST].lower()
    return Complaint(_status(status, str(fields.get("code") or ""), hint), message[:2000], hint)


Send = Callable[["openai.OpenAI"], Any]
"""Sends one request through the SDK, with the client of the current key."""

Complains = Callable[[Any], Complaint | None]
"""Returns the error that an answer of status 200 reports, or None."""


class _MayBeBilled(TransientFailure):
    """The request was sent and not answered, so that it may be billed."""


class RequestLimiter:
    """Decides whether and when a request may be sent. This one has no limit: the server's own is the only one."""

    def enter(self, service: str) -> bool:
        """Return whether this caller is to send the trial request of an outage. Raises while another one does."""
        return False

    def acquire(self, service: str) -> None:
        """Wait until a request to ``service`` is allowed."""

    def reserve(self, usd: float | None) -> date | None:
        """Set aside what a request may cost (None: no price is known), and return the day it counts for.

        Raises ``BudgetSpent`` where the day's budget does not allow it, ``ConfigurationError`` where a budget is set
        and no price is known.
        """
        return None

    def settle(self, day: date | None, reserved: float | None, cost: float) -> None:
        """Count what the request cost in place of what was set aside for it."""

    def record_outage(self, service: str, message: str, *, on_trial: bool) -> None:
        """Record that every attempt to reach the service failed."""

    def record_recovery(self, service: str) -> None:
        """Record that the trial request succeeded, so that other processes use the service again."""

    def record_refused_key(self, variable: str, message: str) -> None:
        """Record that the key of ``variable`` was refused, and the next key is used instead."""

    def record_accepted_key(self, variable: str) -> None:
        """Record that the key of ``variable`` was accepted."""


class BudgetOnlyLimiter(RequestLimiter):
    """For a trial of the server: keeps the budget of another limiter, but no rate, and records no outage."""

    def __init__(self, limiter: RequestLimiter) -> None:
        if getattr(limiter, "daily_budget_usd", 0.0):
            self.reserve, self.settle = limiter.reserve, limiter.settle  # type: ignore[method-assign]


class OpenAIConnection(dg.ConfigurableResource):
    """Sends requests to one server. Prices are US dollars per million tokens."""

    api_key: str
    next_key: str = ""
    base_url: str = ""
    model: str = "gpt-4o"
    timeout_seconds: float = 60.0
    backoff_seconds: float = 1.0
    price_input: float | None = None
    price_output: float | None = None
    attempts: int = ATTEMPTS
    limiter: dg.ResourceDependency[RequestLimiter] = RequestLimiter()  # type: ignore[assignment]

    _on_next: bool | None = PrivateAttr(default=None)

    def _send(
        self, send: Send, meter: Meter, complaint: Complains = complaint_in, bounds: tuple[str, int, int] | None = None
    ) -> dict[str, Any]:
        """Send a request with retries and return the answer.

        ``bounds`` are the model and the most tokens that it may read and write, for requests that cost anything.
        """
        self._client()  # imports the SDK first: an allowed request has to be sent at once
        on_trial = self.limiter.enter(SERVICE)
        attempts = min(TRIAL_ATTEMPTS, self.attempts) if on_trial else self.attempts
        for attempt in range(1, attempts + 1):
            self.limiter.acquire(SERVICE)
            with self._paid(bounds) as outcomes:
                meter.add(Usage(requests=1))
                outcome = self._attempt(send, complaint)
                outcomes.append(outcome)
            if on_trial and not isinstance(outcome, TransientFailure):
                self.limiter.record_recovery(SERVICE)
            if isinstance(outcome, dict):
                return outcome
            if not isinstance(outcome, TransientFailure):
                raise outcome
            failure = outcome
            if attempt == attempts or failure.exhausted:
                break
            pause = self._pause(attempt, failure.retry_after)
            log.warning("%s Trying again in %.1f s (attempt %d of %d).", failure.message, pause, attempt, attempts)
            sleep(pause)
        self.limiter.record_outage(SERVICE, failure.message, on_trial=on_trial)
        failure.exhausted, failure.service = True, SERVICE
        raise failure

    @contextlib.contextmanager
    def _paid(self, bounds: tuple[str, int, int] | None) -> Iterator[list[dict[str, Any] | ThreadJuiceError]]:
        """Reserve the worst case of a request, then count its real cost, or the worst case where that is unknown."""
        outcomes: list[dict[str, Any] | ThreadJuiceError] = []
        if bounds is None:
            yield outcomes
            return
        model, *tokens = bounds
        worst = self._prices.cost(model, self.base_url, *tokens)
        day = self.limiter.reserve(worst)
        yield outcomes
        cost = 0.0
        for outcome in outcomes:
            if isinstance(outcome, dict):
                used = usage_of(outcome, model, self.base_url, self._prices)
                cost = used.cost_usd if used.output_tokens else worst or 0.0
            elif isinstance(outcome, _MayBeBilled):
                cost = worst or 0.0
        self.limiter.settle(day, worst, cost)

    def _attempt(self, send: Send, complaint: Complains = complaint_in) -> dict[str, Any] | ThreadJuiceError:
        """Send a request with the current key. If that is refused, switch to the next key for good."""
        outcome = self._ask(send, complaint)
        if self._on_next:
            return outcome
        if isinstance(outcome, RefusedKey) and self.next_key:
            self._on_next = True
            self.limiter.record_refused_key("OPENAI_API_KEY", outcome.message)
            return self._ask(send, complaint)
        # Only the first success closes the incident of a refused key.
        if self._on_next is None and isinstance(outcome, dict):
            self._on_next = False
            self.limiter.record_accepted_key("OPENAI_API_KEY")
        return outcome

    def _ask(self, send: Send, complaint: Complains) -> dict[str, Any] | ThreadJuiceError:
        """Send one request. Failures are returned, so that the SDK's exception, with the request, is not chained."""
        import openai

        try:
            response = send(self._client()).http_response
            document = json.loads(response.text)
            if isinstance(document, dict | list):
                reported = complaint(document)
                if reported is None and isinstance(document, dict):
                    return document
                return self._failure(reported or Complaint(200, "", ""), response.headers)
            problem = "answered with something other than a JSON object"
        except openai.APIStatusError as error:
            response = error.response
            return self._failure(read_complaint(response.status_code, response.text), response.headers)
        except openai.APITimeoutError:
            return _MayBeBilled(f"{self._host} did not answer within {self.timeout_seconds:g} s.", "Try again later.")
        except openai.APIConnectionError as error:
            # A refused connection cost nothing; a connection lost after the request may have.
            lost = type(error.__cause__).__name__ != "ConnectError"
            message = f"{self._host} cannot be reached or broke the connection off."
            return (_MayBeBilled if lost else TransientFailure)(message, "Try again later.")
        except (ValueError, RecursionError):
            problem = "answered with something other than JSON"
        return TransientFailure(f"{self._host} {problem}.", "Try again later.")

    def _failure(self, complaint: Complaint, headers: Mapping[str, str]) -> ThreadJuiceError:
        key = ("OPENAI_API_KEY_NEXT" if self._on_next else "OPENAI_API_KEY", self._key)
        return failure_of(complaint, self._host, self.model, key, requested_wait(headers))

    def _pause(self, attempt: int, retry_after: float | None) -> float:
        # Jitter: processes that failed together must not retry together.
        spread = random.uniform(1.0, 1.25)  # noqa: S311 -- keeps processes apart, hides nothing
        wait = self.backoff_seconds * 2 ** (attempt - 1) if retry_after is None else retry_after
        return min(wait * spread, MAX_WAIT)

    @property
    def _prices(self) -> Prices:
        return Prices(self.price_input, self.price_output)

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
        # Without an address the SDK would take one from the environment.
        base_url = self.base_url or "https://api.openai.com/v1"
        return _client_of(key, base_url, self.timeout_seconds)


@functools.lru_cache(maxsize=4)
def _client_of(key: str, base_url: str, timeout: float) -> "openai.OpenAI":
    """Return the process's client: making one takes time, since it reads all certificates.

    An address with an ``api-version`` is Azure's, where the key travels in another header and a model is a deployment
    in the path.
    """
    import openai

    address = urlsplit(base_url)
    plain = urlunsplit(address._replace(query="", fragment=""))
    query: dict[str, str] = dict(parse_qsl(address.query))
    options: dict[str, Any] = {"api_key": key, "base_url": plain, "timeout": timeout, "max_retries": 0}
    if "api-version" in query:
        return openai.AzureOpenAI(api_version=query.pop("api-version"), default_query=query, **options)
    return openai.OpenAI(default_query=query, **options)


_LONGEST = 20_000
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key)-[\w*.…-]+", re.IGNORECASE)
_QUOTA = re.compile(
    r"insufficient_quota|billing_hard_limit|billing_not_active|budget.{0,20}exceeded"
    r"|insufficient (?:credit|funds|balance)|key limit exceeded"
)
_POLICY = re.compile(r"content_?filter|content[ _](?:management[ _])?policy|responsibleaipolicy|prompt_blocked|flagged")
_SHAPE = re.compile(r"response_format|json_schema|json_object|grammar|structured output")
_LOADING = re.compile(r"(?:is|still|currently) loading|loading model")
_NOT_LOADED = re.compile(
    r"no models? (?:is |are )?loaded|model (?:(?:is|was|has|has been) )?(?:crashed|unloaded)"
    r"|failed to load (?:the )?model"
)

# The status of an error in an answer of status 200 without a code: that of the first pattern that fits.
_STATUSES = (
    (404, r"unexpected endpoint|unknown (?:request )?(?:url|endpoint|path|route)|invalid url|not[ _]found|no such"),
    (404, r"does not exist|not[ _]implemented|endpoint.{0,40}(?:not|un)[ -]?(?:supported|available)"),
    (429, r"rate.?limit|too many requests|overloaded|resource.?exhausted|capacity"),
    (401, r"unauthori[sz]ed|(?:invalid|incorrect).{0,8}api.?key|authentication"),
    (400, r"context.length|unsupported_(?:parameter|value)|invalid_request|response_format"),
)


def failure_of(
    complaint: Complaint, host: str, model: str, key: tuple[str, str], retry_after: float | None = None
) -> ThreadJuiceError:
    """Return the failure for an error of ``host``. ``key`` is the variable of the current key, and the key."""
    status, hint = complaint.status, complaint.hint
    if status == 402 or _QUOTA.search(hint):
        message = f"The quota of {host} is used up."
        return TransientFailure(message, "Add credit or raise the account's limit, then run it again.", exhausted=True)
    if status in (400, 403, 422) and _POLICY.search(hint):
        return ModelRefused(f"{host} refused the request by its content policy.")
    if status in (401, 403):
        return RefusedKey(
            f"{host} refused the key in {key[0]} ({status}).",
            "Set OPENAI_API_KEY to a current key with access to the chat and moderation endpoints.",
        )
    if status < 500 and _NOT_LOADED.search(complaint.message[:300].lower()):
        message = f"{host} has not loaded its model, or has lost it."
        return TransientFailure(message, "Load it there, then run it again.", retry_after=retry_after)
    if status in (404, 405, 501):
        unknown = UnknownThing(
            f"{host} knows no model {model!r}, or has no such endpoint ({status}).",
            "Set OPENAI_MODEL (and OPENAI_JUDGE_MODEL) to a model it has, such as gpt-4o, or mend OPENAI_BASE_URL.",
        )
        unknown.hint = hint
        return unknown
    if status < 400 or status in (408, 409, 425, 429) or (status >= 500 and not _SHAPE.search(hint)):
        return _outage(status, host, retry_after)
    if _LOADING.search(hint):
        return TransientFailure(f"{host} is loading its model.", "Try again later.", retry_after=retry_after)
    said = cut(_KEY_LIKE.sub("[key]", clean(complaint.message).replace(key[1], "[key]")), 200)
    rejected = Rejected(f"{host} rejected the request ({status}): {said}", "Check OPENAI_MODEL.")
    rejected.hint = hint
    return rejected


def _outage(status: int, host: str, retry_after: float | None) -> TransientFailure:
    problem = f"fails ({status})" if status >= 400 else "answered without an answer"
    problem = "limits requests (429)" if status == 429 else problem
    return TransientFailure(f"{host} {problem}.", "Try again later.", retry_after=retry_after)


def _status(status: int, code: str, hint: str) -> int:
    """Return the status of an error: that of an HTTP error, else its code, else the one that its words suggest."""
    if status >= 400:
        return status
    if code.isdecimal() and 400 <= int(code) < 600:
        return int(code)
    return next((number for number, words in _STATUSES if re.search(words, hint)), status)


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait by ``retry-after-ms`` or ``Retry-After``, or None."""
    milliseconds = headers.get("retry-after-ms", "")
    if milliseconds.isdecimal():
        return float(milliseconds[:12]) / 1000
    return retry_after(headers.get("retry-after", ""), datetime.now(UTC))
