"""Requests to the APIs of sources: rationed by the limits that all processes share, and answered with JSON.

What an answer means belongs to the source that asks.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from threadjuice_dagster.failures import TransientFailure
from threadjuice_dagster.resources.http import ATTEMPTS, MAX_WAIT, Answer, send
from threadjuice_dagster.sources.thread_source import SourcePolicy

HEADERS = {"User-Agent": "ThreadJuice/1.0", "Accept": "application/json"}

_PAUSE = 0.5
"""Seconds before a failed request is sent again where the service names none; doubled with each failure."""


class SourceLimiter:
    """Keeps the pauses that services ask for, within this process.

    ``operations/limits.py`` has the limiter that all processes share.
    """

    def __init__(self) -> None:
        self._paused_until: dict[str, float] = {}

    def acquire(self, service: str, per_minute: int, per_day: int | None) -> None:
        """Block until a request to ``service`` is allowed.

        Raises ``TransientFailure`` where that takes longer than a minute: the quota is used up, or the service asked
        for a longer pause.
        """
        wait = self._paused_until.get(service, 0.0) - time.monotonic()
        if wait > MAX_WAIT:
            raise paused(service, wait)
        time.sleep(max(wait, 0.0))

    def record(self, service: str, *, pause: float = 0.0, left: int | None = None, most: int | None = None) -> None:
        """Record what a service said: no request for ``pause`` seconds, ``left`` of ``most`` requests of its quota."""
        self._paused_until[service] = max(self._paused_until.get(service, 0.0), time.monotonic() + pause)

    def record_outage(self, service: str, message: str) -> None:
        """Record that a service is down or used up, so that operators hear of it once."""

    def record_recovery(self, service: str) -> None:
        """Record that a service answers again."""


def paused(service: str, wait: float) -> TransientFailure:
    """Return the failure of a request that a service wants no earlier than in ``wait`` seconds."""
    message = f"{service} asked for a pause of {wait:.0f} more seconds."
    return TransientFailure(
        message,
        "Nothing needs to be done: it is tried again by itself.",
        retry_after=wait,
        exhausted=True,
        service=service,
    )


class SourceClient:
    """Asks one service, which ``service`` names in limits and alerts: ``stackexchange``, ``lemmy:lemmy.world``.

    ``reason`` returns what a 429 or 5xx says in the service's own words, which become part of the failure's message.
    """

    def __init__(
        self,
        service: str,
        policy: SourcePolicy,
        limiter: SourceLimiter,
        reason: Callable[[Answer], str] | None = None,
    ) -> None:
        self.service, self.limiter, self._policy, self._reason = service, limiter, policy, reason

    def get(self, url: str, params: Mapping[str, Any] | None = None) -> Answer:
        """Return a service's answer, whatever its status below 500 except 429. Redirects are not followed.

        A 429, a 5xx and silence are tried again after the pause that the service names, each try within its limits.
        Raises ``TransientFailure`` for an outage, a longer pause or a used-up quota. Its message holds no query.
        """
        for attempt in range(ATTEMPTS):
            self.limiter.acquire(self.service, self._policy.requests_per_minute, self._policy.requests_per_day)
            try:
                return send("GET", url, params, HEADERS, attempts=1, reason=self._reason)
            except TransientFailure as failure:
                message, pause = failure.message.removesuffix(" It was tried 1 times."), failure.retry_after
                self.limiter.record(self.service, pause=_PAUSE * 2**attempt if pause is None else pause)
        message = f"{message} It was tried {ATTEMPTS} times."
        raise TransientFailure(message, "Try again later.", retry_after=pause, exhausted=True, service=self.service)

    def get_json(self, url: str, params: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer. Raises as ``get`` does, and for an answer that is no JSON."""
        answer = self.get(url, params)
        try:
            return answer.status, json.loads(answer.body)
        except (ValueError, RecursionError):
            message = f"{self.service} did not answer with JSON ({answer.status})."
            raise TransientFailure(message, "Try again later.", exhausted=True, service=self.service) from None


def versioned(url: str, path: str) -> str:
    """Return the base address of an API; to one without a path, that of the documented version is added."""
    url = url.strip().rstrip("/")
    return url if urlsplit(url).path else url + path
