"""One request to an OpenAI-compatible server: the key in use, limits, budget, retries, and what a failure is.

What is asked belongs in ``resources/openai.py``. The SDK's own retries are off: every request has to pass the rate
limiter, so the retrying is done here.
"""

import contextlib
import functools
import json
import logging
import random
import re
from collections.abc import Callable, Iterator, Mapping
from time import sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import dagster as dg
from pydantic import PrivateAttr

from threadjuice_dagster.domain.story.stories import Usage
from threadjuice_dagster.failures import ConfigurationError, ThreadJuiceError, TransientFailure
from threadjuice_dagster.resources.http import MAX_WAIT
from threadjuice_dagster.resources.limits import RateLimiter, Unlimited
from threadjuice_dagster.resources.metering import Meter, spent
from threadjuice_dagster.resources.openai_answers import waiting
from threadjuice_dagster.resources.openai_failures import (
    Complaint,
    RefusedKey,
    complaint_in,
    failure_of,
    read_complaint,
)
from threadjuice_dagster.resources.prices import Prices

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

SERVICE = "openai"
"""Under which the limit of requests and an outage are known to all processes."""

ATTEMPTS = 4
"""Times one request is sent while the server is limiting, failing or silent."""

TRIAL_ATTEMPTS = 2
"""The same, while the server is known to be down."""

Send = Callable[["openai.OpenAI"], Any]
"""One request through the SDK, with the client of the key in use."""

Complains = Callable[[Any], Complaint | None]
"""What an answer of status 200 complains of, if it does."""


class _MayBeBilled(TransientFailure):
    """The request was sent, and no answer came: nobody knows whether it was counted there."""


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
    limiter: dg.ResourceDependency[RateLimiter] = Unlimited()  # type: ignore[assignment]

    _on_next: bool | None = PrivateAttr(default=None)

    def _send(
        self, send: Send, meter: Meter, complaint: Complains = complaint_in, bounds: tuple[str, int, int] | None = None
    ) -> dict[str, Any]:
        """An answer; ``bounds`` are the model and the most tokens it may read and write, where that costs anything."""
        self._client()  # loaded before a request is allowed: what is allowed is to be sent at once
        on_trial = self.limiter.enter(SERVICE)
        attempts = min(TRIAL_ATTEMPTS, self.attempts) if on_trial else self.attempts
        for attempt in range(1, attempts + 1):
            self.limiter.acquire(SERVICE)
            with self._paid(bounds) as outcomes:
                meter.add(Usage(requests=1))
                outcome = self._attempt(send, complaint)
                outcomes.append(outcome)
            if on_trial and not isinstance(outcome, TransientFailure):
                self.limiter.over(SERVICE)
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
        self.limiter.failed(SERVICE, failure.message, on_trial=on_trial)
        failure.exhausted, failure.service = True, SERVICE
        raise failure

    @contextlib.contextmanager
    def _paid(self, bounds: tuple[str, int, int] | None) -> Iterator[list[dict[str, Any] | ThreadJuiceError]]:
        """Reserve the worst case of a request, and count what its outcome cost; what nobody knows counts in full."""
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
                used = spent(outcome, model, self.base_url, self._prices)
                cost = used.cost_usd if used.output_tokens else worst or 0.0
            elif isinstance(outcome, _MayBeBilled):
                cost = worst or 0.0
        self.limiter.settle(day, worst, cost)

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
            return _MayBeBilled(f"{self._host} did not answer within {self.timeout_seconds:g} s.", "Try again later.")
        except openai.APIConnectionError as error:
            lost = type(error.__cause__).__name__ != "ConnectError"
            told = f"{self._host} cannot be reached or broke the connection off."
            return (_MayBeBilled if lost else TransientFailure)(told, "Try again later.")
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
        # An address always given: with none, the SDK would take one from the environment.
        base_url = self.base_url or "https://api.openai.com/v1"
        return _client_of(key, base_url, self.timeout_seconds)


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
